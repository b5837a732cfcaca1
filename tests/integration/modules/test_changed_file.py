"""A configuration is validated once in a run: a file that changes before a later task uses it is an error there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PARAMETER, assert_no_writes
from in_process import on_host, on_instance, run_module, transact
from states import States
from storing import WAITS, Result, Storing, ready_to_store, refusal, succeeded

from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import ONPREM, WAYS

CONFIG = {"agent": {"metrics_collection_interval": 30}}
OTHER = {"agent": {"metrics_collection_interval": 60}}
CHANGED = "{file} has changed since it was validated in this run. Run again."


def replace(file: Path) -> None:
    file.write_text(json.dumps(OTHER))


def truncate(file: Path) -> None:
    file.write_text(file.read_text()[:-1])


def break_rules(file: Path) -> None:
    """Nobody would have accepted the new content."""
    file.write_text('{"agnet": {}}')


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (replace, CHANGED),
    (truncate, CHANGED),
    (break_rules, CHANGED),
    (Path.unlink, "{file} cannot be read: No such file or directory."),
]


@pytest.fixture
def account(states: States, monkeypatch: pytest.MonkeyPatch) -> Storing:
    account = states.begin(ready_to_store)
    account.add_machine("ops1", group="onprem_admin")
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.aws.endpoint)  # for the lookup of a saved key
    return account


@pytest.fixture
def file(account: Storing) -> Path:
    return Path(account.controller.file("linux.json", CONFIG))


def store(account: Storing, way: str, file: Path, **options: Any) -> Result:
    """Store a configuration in one of the ways, from a host that is ready to."""
    aws, admin = account.aws, account.instances["admin1"]
    host = on_host(aws, account.machines["ops1"]) if way == ONPREM else on_instance(aws, admin)
    given = {
        "from": way,
        "configs": [{"name": PARAMETER, "file": str(file)}],
        "instance_id": admin,
        "environment": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(admin)} if way != ONPREM else {},
        "key_store_directory": str(account.controller.credentials),
        **WAITS,
        **options,
    }
    return transact(aws, "cwagent_store_config", host, host="admin1", **given)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_changed_is_named_before_the_first_write(account: Storing, way: str, check: bool) -> None:
    account.create_admin_user()
    for change, message in CHANGES:
        file = Path(account.controller.file("linux.json", CONFIG))
        compared = succeeded(store(account, way, file, state="compared"))
        change(file)
        with assert_no_writes(account.aws):
            told = refusal(store(account, way, file, compared=compared, check=check))
        assert told.endswith(f"/{message.format(file=file.name)} Nothing was stored.")
    assert account.stored == {}
    account.assert_clean()


def test_a_comparison_has_no_content(account: Storing, file: Path) -> None:
    """Ansible prints the results of tasks with -v, and AWX keeps them."""
    account.aws.client("ssm").put_parameter(Name=PARAMETER, Value=json.dumps(OTHER), Type="String")
    compared = succeeded(store(account, "controller", file, state="compared"))
    assert "metrics_collection_interval" not in json.dumps(compared)
    done = succeeded(store(account, "controller", file, compared=compared))
    assert account.stored == {PARAMETER: CONFIG}
    assert "metrics_collection_interval" in json.dumps(done["diff"])


def test_a_stored_configuration_is_not_read_again(account: Storing, file: Path) -> None:
    succeeded(store(account, "controller", file))
    compared = succeeded(store(account, "controller", file, state="compared"))
    since = account.aws.mark()
    assert not succeeded(store(account, "controller", file, compared=compared))["changed"]
    assert account.aws.calls(since) == []


def test_a_value_stored_since_the_comparison_is_compared_again(account: Storing, file: Path) -> None:
    """Another run has stored the same. The window opens for nothing that is stored already."""
    ssm = account.aws.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value=json.dumps(OTHER), Type="String")
    compared = succeeded(store(account, "instance", file, state="compared"))
    ssm.put_parameter(Name=PARAMETER, Value=json.dumps(CONFIG), Type="String", Overwrite=True)
    with assert_no_writes(account.aws):
        assert not succeeded(store(account, "instance", file, compared=compared))["changed"]


@pytest.mark.parametrize("check", [False, True])
def test_the_fitted_policies_need_the_file_that_was_validated(account: Storing, file: Path, check: bool) -> None:
    configs = [{"name": PARAMETER, "file": str(file)}]
    compared = succeeded(store(account, "controller", file, state="compared"))
    for change, message in CHANGES:
        account.controller.file("linux.json", CONFIG)
        change(file)
        with assert_no_writes(account.aws):
            found = run_module(account.aws, "cwagent_fitted_policy", configs=configs, compared=compared, check=check)
        assert refusal(found).endswith(f"/{message.format(file=file.name)} Nothing was changed.")
    account.controller.file("linux.json", CONFIG)
    succeeded(run_module(account.aws, "cwagent_fitted_policy", configs=configs, compared=compared, check=check))


def test_without_a_comparison_the_module_validates(account: Storing, file: Path) -> None:
    break_rules(file)
    configs = [{"name": PARAMETER, "file": str(file)}]
    assert "is not valid" in refusal(run_module(account.aws, "cwagent_fitted_policy", configs=configs))
    assert "is not valid" in refusal(store(account, "controller", file))

"""The host that stores, and whether it could, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aws_model import Gateway, Ssm
from store_options import store_options

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.options import Validation
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import Parameter, desired_config
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, HostUnreachable
from ansible_collections.cwagent.iam.plugins.module_utils._storing.base import InstanceChecks, Wiring
from ansible_collections.cwagent.iam.plugins.module_utils._storing.comparison import Validated, compare
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import AUTO, WAYS, Compared, Given
from ansible_collections.cwagent.iam.plugins.module_utils._storing.task import CLASSES, Task
from ansible_collections.cwagent.iam.plugins.module_utils._storing.transaction import (
    Comparison,
    Configuration,
    Report,
)

NAME, TEXT, REGION = "AmazonCloudWatch-linux", '{"agent":{}}', "eu-central-1"
IDENTITY = {"instance_profile": "Server", "role": "Server"}
PROBLEM = "Systems Manager does not know it."
PARAMS = {"instance_id": "i-1", "admin_user_name": "Admin", "credentials_profile": "agent"}
SUDO = {"failed": True, "msg": "sudo"}


@dataclass
class Host:
    """A host that answers with these results."""

    answer: dict[str, Any] | None = field(default_factory=lambda: {"ping": "pong"})
    result: dict[str, Any] = field(default_factory=lambda: {"identity": IDENTITY})
    files: Sequence[str] = ()
    asked: list[str] = field(default_factory=list)

    def ping(self) -> dict[str, Any]:
        self.asked.append("ping")
        if self.answer is None:
            raise HostUnreachable("no route to host.")
        return self.answer

    def probe(self, regions: Sequence[str]) -> dict[str, Any]:
        self.asked.append(f"probe {' '.join(regions)}")
        return self.result

    def has_file(self, path: str) -> bool:
        self.asked.append(f"file {path}")
        return path in self.files


def configuration(*, differs: bool = True, name: str = NAME) -> Configuration:
    desired = desired_config(name, json.loads(TEXT), None, can_be_split=False)
    known = {name: None if differs else Parameter(TEXT, "String", 1)}
    return Configuration(desired, known, REGION)


class Checks(InstanceChecks):
    """The answers of AWS about the instance."""

    def __init__(self, problem: str = "", stopped: str = "") -> None:
        self.problem, self.stopped = problem, stopped

    def agent_problem(self) -> str:
        return self.problem

    def state_problem(self) -> str:
        return self.stopped


def check_all(
    configurations: list[Configuration], source: str, host: Any, checks: InstanceChecks, file: str = ""
) -> tuple[Comparison, list[str]]:
    said: list[str] = []
    nothing: Any = None
    wiring = Wiring(
        client=nothing,
        shield=nullcontext,
        check_mode=False,
        name="web1",
        host=host,
        report=Report(said.append),
        guard=nothing,
        show=nothing,
    )
    task = Task(store_options(**PARAMS, credentials_file=file), wiring, checks)
    return task.check_host(Comparison(configurations, source)), said


def checked(
    source: str, host: Host, problem: str = "", *, file: str = "", differs: bool = True, stopped: str = ""
) -> tuple[Comparison, list[str]]:
    return check_all([configuration(differs=differs)], source, host, Checks(problem, stopped), file)


def test_each_way_has_a_class_with_its_principal() -> None:
    found = {name: each.principal for name, each in CLASSES.items()}
    assert found == {name: need.principal for name, need in WAYS.items() if name != AUTO}


@pytest.mark.parametrize("source", WAYS)
def test_where_nothing_differs_nothing_is_asked(source: str) -> None:
    host = Host(answer=None)
    found, said = checked(source, host, PROBLEM, differs=False)
    assert (host.asked, said, found.to_store) == ([], [], [])
    assert found.source == ("run_command" if source == "auto" else source)


@pytest.mark.parametrize(
    ("source", "host", "taken", "asked", "said"),
    [
        ("instance", Host(), "instance", ["ping", f"probe {REGION}"], 0),
        # Of sudo, for instance; the next module fails with the reason.
        ("instance", Host(SUDO), "instance", ["ping", f"probe {REGION}"], 0),
        ("auto", Host(), "instance", ["ping", f"probe {REGION}"], 1),
        ("auto", Host(None), "run_command", ["ping"], 1),
        ("auto", Host(SUDO), "run_command", ["ping"], 1),
        ("run_command", Host(), "run_command", [], 0),
        ("onprem", Host(result={}), "onprem", ["ping", f"probe {REGION}"], 0),
        ("controller", Host(), "controller", [], 0),
    ],
)
def test_the_host_gets_only_the_checks_of_its_way(
    source: str, host: Host, taken: str, asked: list[str], said: int
) -> None:
    found, lines = checked(source, host)
    assert (found.source, host.asked, len(lines)) == (taken, asked, said)
    assert found.earlier == (IDENTITY if taken == "instance" else {})


def test_an_agent_that_is_not_online_yet_can_be_so_later() -> None:
    assert checked("run_command", Host(), PROBLEM)[0].source == "run_command"


@pytest.mark.parametrize(
    ("source", "host", "words"),
    [
        ("instance", Host(None), "Ansible does not reach web1, which stores the configuration: no route to host. Not"),
        ("onprem", Host(None), "Ansible does not reach web1"),
        ("auto", Host(None), f"cannot store the configuration. Ansible: no route to host. Systems Manager: {PROBLEM}"),
        ("auto", Host({}), "Ansible: no answer. Systems Manager: "),
        ("instance", Host(result={"failed": True, "msg": "no way"}), "web1: no way"),
        ("onprem", Host(result={"failed": True, "msg": "no key"}), "web1: no key"),
    ],
)
def test_a_host_that_could_not_store_is_refused(source: str, host: Host, words: str) -> None:
    with pytest.raises(CwagentError) as failed:
        checked(source, host, PROBLEM)
    assert words in str(failed.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("instance", "stores the configuration: i-1 is stopped. Start it. Nothing was stored."),
        ("auto", f"Ansible: i-1 is stopped. Start it. Systems Manager: {PROBLEM}"),
        ("onprem", "no route to host."),  # its host is no instance
    ],
)
def test_a_stopped_instance_is_the_reason_why_it_is_not_reached(source: str, reason: str) -> None:
    with pytest.raises(CwagentError) as failed:
        checked(source, Host(None), PROBLEM, stopped="i-1 is stopped. Start it")
    assert reason in str(failed.value)


def test_a_credentials_file_must_be_on_the_host() -> None:
    checked("onprem", Host(files=["/root/key"]), file="/root/key")
    with pytest.raises(CwagentError, match=r"web1 has no /root/key with the access key of Admin.*profile agent"):
        checked("onprem", Host(), file="/root/key")


def store(region: str, *names: str) -> Any:
    """Parameter Store of a region, with these parameters."""
    gateway: Any = Gateway(Ssm({name: Parameter(TEXT, version=7) for name in names}))
    gateway.region = region
    return gateway


@pytest.mark.parametrize("region", ["", "us-east-1"])
def test_a_configuration_is_compared_in_each_of_its_regions(region: str) -> None:
    names = [f"{NAME}-{number}" for number in (1, 2)]
    desired = [desired_config(name, json.loads(TEXT), None, can_be_split=False) for name in names]
    regions = (region, "eu-west-1")
    validated = Validated([(Given(each.name, "a.json", regions), Validation(each.name, each)) for each in desired])
    stores = {None: store(REGION, names[0]), "us-east-1": store("us-east-1", names[0]), "eu-west-1": store("eu-west-1")}
    found = compare(validated, stores.__getitem__)
    places = [(name, where) for name in names for where in (region or REGION, "eu-west-1")]
    assert [(each.name, each.region) for each in found] == places
    assert [each.plan.has_changes for each in found] == [False, True, True, True]
    assert found[0].known == {names[0]: Parameter(TEXT, version=7)}
    reads = [len(each.model.read) for each in stores.values()]
    again = Compared([each.to_comparison() for each in found], "controller", {}).differing
    assert compare(validated, stores.__getitem__, again) == found[1:]
    assert [len(each.model.read) for each in stores.values()] == reads, "no parameter existed"
    assert compare(validated, stores.__getitem__, dict.fromkeys(again, True)) == found[1:]
    assert sum(len(each.model.read) for each in stores.values()) == sum(reads) + 3
    assert [each.warnings for each in found] == [[]] * 4


def test_every_region_of_a_configuration_that_differs_is_probed() -> None:
    host = Host()
    given = [configuration(differs=False), configuration(name="b"), replace(configuration(name="c"), region="a-1")]
    check_all(given, "onprem", host, Checks())
    assert host.asked == ["ping", f"probe a-1 {REGION}"]

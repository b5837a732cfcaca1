"""Runs of playbooks, for the tests of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import yaml
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.accounts import ACCOUNT_VARIABLES
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.given import Given
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.interpretation import interpret
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import Undefined
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.variables import HOST_VARIABLES, declared_options

PLAYBOOKS = PLUGINS.parent / "playbooks"
OPTIONS = declared_options(yaml.safe_load((PLAYBOOKS / "vars" / "argument_specs.yml").read_text()))
RUN_OPTIONS = {name: option for name, option in OPTIONS.items() if name not in HOST_VARIABLES}
WEB, ADMIN = {"instance_id": "i-0123456789abcdef0"}, {"instance_id": "i-0123456789abcdef1"}
INSTANCES = {"web": WEB, "adm": ADMIN}
EU, US, AP = "eu-central-1", "us-east-1", "ap-south-1"
USER, ADMIN_USER = "CloudWatchAgentServerUser-{}", "CloudWatchAgentAdminUser"
ROLE = "arn:aws:iam::123456789012:role/Controller"
NOPE = Undefined("'nope' is undefined")
ONE_FILE = {"cwagent_config_file": "a.json"}
HYBRID = {"cwagent_onprem_identity": "hybrid"}
SHARED = {"cwagent_user_name": "shared"}
PATTERN = "Host {}: Ansible reads the name as a pattern and would leave the host out."
# Options with another default where the configuration is applied to servers.
OF_ACCOUNTS = {"cwagent_batch_size": ["100%"], "cwagent_max_fail_percentage": 100}
OF_SERVERS = {"cwagent_batch_size": ["1", "25%", "100%"], "cwagent_max_fail_percentage": 0}
_SAMPLES = {"str": "text", "int": 30, "bool": True, "list": [], "dict": {"team": "ops"}}
VALID: dict[str, Any] = {
    **{name: option.get("choices", [_SAMPLES[option["type"]]])[-1] for name, option in OPTIONS.items()},
    "cwagent_configs": [{"name": "AmazonCloudWatch-a", "file": "a.json"}],
    "cwagent_config_version": "previous",
    "cwagent_parameter_name": "AmazonCloudWatch-b",
    "cwagent_batch_size": ["1", "20%"],
    "cwagent_on_other_profile": "replace",
    "cwagent_account_id": "123456789012",
    "cwagent_account_admin_instance_id": ADMIN["instance_id"],
    "cwagent_account_assume_role_arn": ROLE,
    "cwagent_account_regions": [EU, US],
    "cwagent_account_session_duration": 900,
    "cwagent_iam_path": "/monitoring/",
    "cwagent_permissions_boundary": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "cwagent_key_store_prefix": "/keys/",
    "cwagent_region": EU,
    "cwagent_report_files": ["audit.html"],
    "cwagent_hybrid_role_name": "Hybrid",
    "cwagent_server_role_name": "Server",
    "cwagent_user_name": "agent",
}
"""A value of each variable that is not its default."""


def default_of(name: str) -> Any:
    option = OPTIONS[name]
    return option.get("default", OF_ACCOUNTS.get(name, {"str": "", "list": [], "dict": {}}.get(option["type"])))


def run_value(inputs: Mapping[str, Any], name: str) -> Any:
    return inputs[name.removeprefix("cwagent_")]


def in_a_survey(value: Any) -> Any:
    """The answer to a question of a survey: an integer question gives an integer, any other gives text."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, (int, str)) else yaml.safe_dump(value)


def find_file(path: str) -> str:
    if "missing" in path:
        raise InvalidInput(f"there is no file {path} in /here.")
    return f"/here/{path}"


def to_absolute(path: str) -> str:
    if path.startswith("~nobody"):
        raise InvalidInput(f"{path}: the home directory is not known.")
    return f"/tmp/{path}" if path.startswith("~") else path  # noqa: S108  nothing is written there


def a_run(
    groups: Mapping[str, list[str]] | None = None,
    hosts: Mapping[str, Mapping[str, Any]] | None = None,
    controller: Mapping[str, Any] | None = None,
    region: str = US,
    **others: Any,
) -> Given:
    """A run for some hosts; for ``web`` and ``adm`` on EC2 and ``db`` on premises by default."""
    if groups is None:
        groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"]}
    members = {f"cwagent_{group}": names for group, names in groups.items()}
    known: dict[str, dict[str, Any]] = {host: {} for names in members.values() for host in names}
    given: dict[str, Any] = {
        "options": OPTIONS,
        "controller": controller or {},
        "controller_host": "localhost",
        "hosts": {**known, **{host: INSTANCES[host] for host in known if host in INSTANCES}, **(hosts or {})},
        "groups": {"all": list(known), "ungrouped": [], **members},
        "find_default_region": lambda _profile: region,
        "find_file": find_file,
        "to_absolute": to_absolute,
    }
    return Given(**{**given, **others})


def run_with_values(places: Mapping[str, Mapping[str, Any]], **options: Any) -> Given:
    """A run in which variables are set for some hosts, and for the controller, which is ``localhost``."""
    hosts = {host: {**INSTANCES.get(host, {}), **variables} for host, variables in places.items()}
    return a_run(controller=hosts.pop("localhost", {}), hosts=hosts, **options)


def an_account(
    account: Mapping[str, Any] | None = None,
    groups: Mapping[str, list[str]] | None = None,
    hosts: Mapping[str, Mapping[str, Any]] | None = None,
    others: Mapping[str, Mapping[str, Any]] | None = None,
    **more: Any,
) -> Given:
    """A run for the hosts of the account ``shop``. :param others: the variables of the hosts for other accounts."""
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"]} if groups is None else groups
    account = {"cwagent_account_aws_profile": "own", **(account or {})}
    run = a_run({**groups, "accounts": ["shop"]}, {**(hosts or {}), "shop": account}, account)
    return replace(run, **{"controller_host": "shop", "accounts": {"shop": account, **(others or {})}, **more})


def run_with(name: str, value: Any, hosts: Mapping[str, Mapping[str, Any]]) -> Given:
    """A run in which a variable is set for the controller and for all hosts; for the account where it is of one."""
    if name in ACCOUNT_VARIABLES:
        return an_account({name: value})
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"], "onprem_admin": ["db"]}
    return a_run(groups, hosts, {name: value})


def interpreted(given: Given) -> tuple[dict[str, Any], list[str]]:
    """The record of a run, which also contains its settings, and the problems."""
    found = interpret(given)
    record = found.record()
    assert read_run(record) == found
    return record, [*found.problems]


def problems_of(run: Any = None, *arguments: Any, **options: Any) -> list[str]:
    """The problems of a run, or of what ``a_run`` makes of the arguments."""
    return interpreted(run if isinstance(run, Given) else a_run(run, *arguments, **options))[1]


def inputs_of(run: Any = None, *arguments: Any, **options: Any) -> dict[str, Any]:
    """The input of a run without problems, or of what ``a_run`` makes of the arguments."""
    inputs, problems = interpreted(run if isinstance(run, Given) else a_run(run, *arguments, **options))
    assert problems == []
    return inputs


def assert_problem(run: Given, words: str | Iterable[str]) -> None:
    """Assert that a run has one problem that contains these words, or none if there are no words."""
    problems, expected = problems_of(run), [words] if isinstance(words, str) else list(words)
    assert len(problems) == any(expected), problems
    assert [each for each in expected if each not in "".join(problems)] == []

"""Invalid input of site.yml is reported in one clear error, before the first write.

The interpretation of the input is a pure function, whose unit tests have tables of what is valid. These runs show that
it gets what Ansible knows, and what a person sees.
"""

from __future__ import annotations

import json
import re
from itertools import cycle
from typing import Any

import pytest
from emulator import NO_METADATA
from fleet import Fleet
from guide import playbook_options
from harness import Controller, Play

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.accounts import ACCOUNT_VARIABLES


@pytest.fixture(scope="module")
def site(shared_controller: Controller) -> Fleet:
    """An account with instances, and valid input. Each test makes something invalid."""
    fleet = Fleet(shared_controller)
    fleet.add_instance("web1")
    fleet.add_instance("admin1", group="ec2_admin")
    fleet.add_host("db1")
    fleet.configure({"agent": {}})
    return fleet


@pytest.fixture
def fleet(site: Fleet) -> Fleet:
    """That account with its own copy of the inventory."""
    groups = {group: {host: {**each} for host, each in hosts.items()} for group, hosts in site.groups.items()}
    return Fleet(site.controller, groups, site.instances, variables=site.variables)


def assert_one_error(fleet: Fleet, play: Play, words: list[str], *, calls: bool = True) -> None:
    """Assert that a play failed with one message that contains all words, and wrote nothing.

    :param calls: whether AWS could be called before.
    """
    play.assert_failed()
    assert len(play.failures) == 1, play.output
    assert [word for word in words if word not in play.message] == [], play.message
    assert play.writes == []
    assert calls or play.calls == []
    assert not fleet.controller.credentials.exists()


def sentences(message: str) -> list[str]:
    return re.split(r"(?<=[.?]) (?=Host |cwagent_|ec2_|onprem_|There |No |The |'|Nothing )", message)


def test_all_that_is_wrong_with_configurations_is_shown_before_the_first_write(fleet: Fleet) -> None:
    files = {
        "large": json.dumps({"agent": {"x": "y" * 8192}}),
        "text": "{agent: yes}",
        "list": "[]",
        "section": '{"agnet": {}}',
    }
    for name, content in files.items():
        fleet.controller.file(f"{name}.json", content)
    configs = [{"name": f"AmazonCloudWatch-{name}", "file": f"{name}.json"} for name in files]
    play = fleet.play("site", cwagent_config_file="", cwagent_configs=configs)
    words = {
        "large": ["bytes when minified", "8192"],
        "text": ["1:2 "],
        "list": ["1:1 $: ", "a list without entries, not an object"],
        "section": ["unknown section", "did you mean 'agent'"],
    }
    named = [part for name in files for part in (f"AmazonCloudWatch-{name} is not valid: ", f"/{name}.json: ")]
    shown = [part for parts in words.values() for part in parts]
    assert_one_error(fleet, play, [*named, *shown, "Nothing was changed."])
    assert [part for part in shown if play.words.count(part) < 2] == [], "they are in the lines above the message, too"
    counts = [(name, int(count)) for name, count in re.findall(r"/(\w+)\.json: (\d+) problem", play.output)]
    assert [name for name, _count in counts] == [*files]
    more = re.findall(r"There (?:is|are) (\d+) more", play.message)
    assert more == [str(count - 1) for _name, count in counts if count > 1]


TYPED = {name: option["type"] for name, option in playbook_options().items()} | {"instance_id": "str"}
HOST_OF = {
    "cwagent_region": "web1",
    "cwagent_user_name": "db1",
    "cwagent_deliver_keys": "db2",
    "cwagent_admin_user_name": "ops1",
    "instance_id": "web1",
    "cwagent_account": "web1",
    "cwagent_environment": "admin1",
    **dict.fromkeys(ACCOUNT_VARIABLES, "shop"),
}
"""By variable that each host has for itself, the host that has an invalid value."""
OF_TYPE: dict[str, list[Any]] = {
    "str": [["a"], {"a": "b"}, "{{ nope }}", ["{{ nope }}"]],
    "int": ["größe", ["a"], "{{ nope }}", 7.5, "x" * 65],
    "bool": ["a b", {"a": "b"}, "{{ nope }}", 7.5, "[a, b]"],
    "list": [{"a": "b"}, "{{ nope }}", ["{{ nope }}"], [["a"]]],
    "dict": ["a b", ["a"], "{{ nope }}", 7.5, "größe"],
}
"""By type, values that are invalid for every variable of that type."""
VALUES: dict[str, Any] = {
    "cwagent_ssm_policy": "AdministratorAccess",
    "cwagent_parameter_name": "linux",
    "cwagent_config_file": "nothing.json",
    "cwagent_server_role_name": "a b",
    "cwagent_admin_role_name": "x" * 65,
    "cwagent_iam_path": "monitoring",
    "cwagent_permissions_boundary": "arn:aws-cn:iam::aws:policy/ReadOnlyAccess",
    "cwagent_tags": {"aws:x": "y"},
    "cwagent_managed_policies": "soon",
    "cwagent_key_store_directory": "{home}/a file/in it",
    "cwagent_admin_window_minutes": 721,
    "cwagent_onprem_users": "everyone",
    "cwagent_key_max_age_days": -1,
    "cwagent_config_fil": "agent.json",
    # Variables of roles that the playbooks do not set.
    "ec2_server_nam": "R",
    "onprem_server_users": "foo",
}
"""Values that are invalid for other reasons than their type. Unit tests have the messages."""
HOST_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "web2": ({"instance_id": None}, "instance_id is not set"),
    "web3": ({"instance_id": 7}, "instance_id: '7'"),
    "web4": ({"instance_id": "i-xyz"}, "instance_id: 'i-xyz'"),
    "web5": ({"cwagent_region": "Frankfurt"}, "cwagent_region: 'Frankfurt'"),
    "web6": ({"cwagent_region": "", "placement": {"region": "{{ nope }}"}}, "placement"),
    "db3": ({"cwagent_user_name": "a b"}, "'a b' is not a valid user name"),
    "ip-10-0-12-34.eu-central-1.compute.internal": ({}, ".* 64 characters"),
}
"""By host, its variables, and the beginning of the sentence about it."""


def invalid_values(names: list[str]) -> dict[str, Any]:
    """For each of the variables, the next value that is invalid for its type."""
    values = {kind: cycle(each) for kind, each in OF_TYPE.items()}
    return {name: next(values[TYPED[name]]) for name in names}


INVALID = {
    **invalid_values([name for name in TYPED if name not in ACCOUNT_VARIABLES]),
    **VALUES,
}


@pytest.fixture(scope="module")
def everything_wrong(site: Fleet) -> Play:
    """One run in which every variable is invalid, with two hosts that may store the configuration."""
    site.controller.file("a file", "")
    groups = {group: {host: {**each} for host, each in hosts.items()} for group, hosts in site.groups.items()}
    fleet = Fleet(site.controller, groups, site.instances, variables=site.variables)
    fleet.add_host("db2")
    fleet.add_host("admin2", "ec2_admin", **groups["ec2_admin"]["admin1"])
    for host in ("ops1", "ops2"):
        fleet.add_host(host, "onprem_admin")
    for host, (variables, _beginning) in HOST_VALUES.items():
        is_ec2 = host.startswith("web")
        of_host = {**groups["ec2_servers"]["web1"], **variables} if is_ec2 else variables
        fleet.add_host(host, "ec2_servers" if is_ec2 else "onprem_servers", **of_host)
    home = str(site.controller.home)
    wrong: dict[str, Any] = {
        name: each.format(home=home) if isinstance(each, str) and "{home}" in each else each
        for name, each in INVALID.items()
    }
    for name in HOST_OF.keys() & wrong.keys():
        fleet.set(HOST_OF[name], **{name: wrong.pop(name)})
    return fleet.play("site", **wrong)


def test_everything_that_is_wrong_is_one_error_before_the_first_call(site: Fleet, everything_wrong: Play) -> None:
    groups = ["cwagent_ec2_admin must have exactly one host", "has admin1, admin2", "at most one host", "ops1, ops2"]
    assert_one_error(site, everything_wrong, [*groups, "Nothing was changed."], calls=False)


@pytest.mark.parametrize("name", INVALID)
def test_one_sentence_begins_with_an_invalid_variable(everything_wrong: Play, name: str) -> None:
    assert_named(everything_wrong.message, name, INVALID[name])


def assert_named(message: str, name: str, value: Any) -> None:
    """Assert that one sentence begins with a variable, after its host where each host has it for itself."""
    host = f"Host {HOST_OF[name]}: " if name in HOST_OF else ""
    found = [each for each in sentences(message) if re.match(rf"{host}{name}\b", each)]
    assert len(found) == 1, sentences(message)
    assert "nope" not in str(value) or "nope" in found[0]


@pytest.mark.parametrize(("host", "beginning"), [(host, each) for host, (_, each) in HOST_VALUES.items()])
def test_one_sentence_begins_with_a_host(everything_wrong: Play, host: str, beginning: str) -> None:
    found = [each for each in sentences(everything_wrong.message) if re.match(rf"Host {host}: {beginning}", each)]
    assert len(found) == 1, everything_wrong.message


def test_an_account_repeats_only_the_first_problem_that_all_accounts_have(site: Fleet) -> None:
    fleet = Fleet(site.controller, variables={"cwagent_config_file": ""})
    valid = {"cwagent_account_aws_profile": "x", "cwagent_account_server_filters": {"tag:agent": "yes"}}
    invalid = invalid_values([*ACCOUNT_VARIABLES])
    fleet.add_host("blog", "accounts", **valid)
    fleet.add_host("shop", "accounts", **invalid)
    play = fleet.play("site", cwagent_iam_path="monitoring", cwagent_key_max_age_days=-1).assert_failed()
    messages = {each.host: each.result["msg"] for each in play.failures}
    assert (play.calls, {*messages}) == ([], {"blog", "shop"})
    _problem, others = re.split(r"(?<=\.) (?=cwagent_)", messages["blog"])
    assert others.endswith(" Nothing was changed.")
    assert "cwagent_iam_path" not in messages["shop"]
    for name, value in invalid.items():
        assert_named(messages["shop"], name, value)


def test_two_sources_of_configurations_are_named_with_their_places(fleet: Fleet) -> None:
    """Ansible gives an extra variable to the controller and to each host."""
    fleet.set("web1", cwagent_configs=[{"name": "AmazonCloudWatch-x", "file": "agent.json"}])
    both = "cwagent_config_file (the controller) and cwagent_configs (host web1) are both set, "
    assert_one_error(fleet, fleet.play("site"), [both, "Set only one"], calls=False)


CUT: dict[str, tuple[list[str], list[str]]] = {
    "no controller": (["--limit", "web1"], ["Nothing was done", "left out localhost", "Run the playbook without"]),
    "no storing host": (["--limit", "localhost,web1"], ["The limit leaves out host admin1, which stores"]),
    "tags": (["--tags", "store"], ["without tags and skipped tags"]),
}
"""Arguments with which a run would do only a part of the work."""


@pytest.mark.parametrize("case", CUT)
def test_a_run_that_is_cut_in_two_reports_it(fleet: Fleet, case: str) -> None:
    arguments, words = CUT[case]
    assert_one_error(fleet, fleet.play("site", *arguments), words, calls=False)


def test_a_run_from_a_later_task_does_nothing(fleet: Fleet) -> None:
    play = fleet.play("site", "--start-at-task", "Manage the server users and their access keys").assert_failed()
    assert all("Nothing was done: this run left out" in each.result["msg"] for each in play.failures)
    assert all("from its first task" in each.result["msg"] for each in play.failures)
    assert play.calls == []


def test_restore_with_a_mistyped_group_fails(fleet: Fleet) -> None:
    fleet.groups = {"ec2_admins": fleet.groups["ec2_admin"]}
    words = ["No host of the inventory is in one of the groups", "cwagent_ec2_admin"]
    assert_one_error(fleet, fleet.play("restore"), words)


def test_instances_that_cannot_be_used_are_one_error(fleet: Fleet) -> None:
    [terminated] = fleet.aws.instances(1)
    fleet.aws.client("ec2").terminate_instances(InstanceIds=[terminated])
    fleet.add_host("web2", "ec2_servers", **{**fleet.groups["ec2_servers"]["web1"], "instance_id": terminated})
    fleet.set("web1", instance_id="i-00000000000000000")
    words = [
        "Instance i-00000000000000000 does not exist",
        f"Instance {terminated} is terminated. Remove it from the inventory",
        f"i-00000000000000000 is web1, {terminated} is web2.",
    ]
    assert_one_error(fleet, fleet.play("site"), words)


def test_a_stopped_admin_instance_is_the_reason_why_it_is_not_reached(fleet: Fleet) -> None:
    instance = fleet.instances["admin1"]
    fleet.aws.client("ec2").stop_instances(InstanceIds=[instance])
    fleet.set("admin1", ansible_connection="ssh", ansible_host="192.0.2.1", ansible_timeout=1)
    words = [
        f"Ansible does not reach admin1, which stores the configuration: Instance {instance} is stopped. Start it."
    ]
    assert_one_error(fleet, fleet.play("store_config"), words)


def test_missing_credentials_are_one_error(fleet: Fleet) -> None:
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": NO_METADATA}
    assert_one_error(fleet, fleet.play("site", env=env), ["no AWS credentials were found", "AWS_PROFILE"])

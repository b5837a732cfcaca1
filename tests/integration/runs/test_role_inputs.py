"""Each role validates its inputs before its first call. Which values are valid is a pure function."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from emulator.snapshot import snapshot
from harness import ADMIN_ROLE, CHECKOUT, COLLECTIONS, UNREACHABLE, Controller, Play

ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
CONFIGS = [{"name": "AmazonCloudWatch-linux", "file": "agent.json"}]
WRONG = ["agent-db-1", 7]
WRONG_BY_REGION = [{"": "i-0123456789abcdef0"}, {"": 7}, {"": None}]
"""Values that Ansible would take apart or hand on. It refuses others itself, before the role."""


def options(role: str) -> dict[str, Any]:
    specs = yaml.safe_load((CHECKOUT / "roles" / role / "meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


def is_by_region(name: str) -> bool:
    return name.endswith(("_by_region", "_instances"))


def is_left_to_the_role(name: str, option: dict[str, Any]) -> bool:
    """Whether Ansible takes text for the list. It refuses text that is no mapping or no choice."""
    is_of_texts = option["type"] == "list" and option.get("elements", "str") == "str" and "choices" not in option
    return is_by_region(name) or is_of_texts


LISTS = {
    role: names
    for role in ROLES
    if (names := [name for name, option in options(role).items() if is_left_to_the_role(name, option)])
}


def invalid(name: str, number: int) -> Any:
    values = WRONG_BY_REGION if is_by_region(name) else WRONG
    return values[number % len(values)]


REPORTING = ("verify", "audit")
"""The roles that write reports."""
BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    # The role reports all of its lists together.
    **{
        role: (role, {name: invalid(name, number) for number, name in enumerate(found)})
        for role, found in LISTS.items()
    },
    # It fails after that.
    **{f"{role}, reports": (role, {f"{role}_report_files": ["r.json", "r.pdf", "r.json"]}) for role in REPORTING},
}
"""Roles with their variables."""
REQUIRED = {"hybrid_registration_region": "eu-central-1", "store_config_configs": CONFIGS}
"""The variables without which Ansible refuses a role."""


def including(block: str, role: str, variables: dict[str, Any]) -> dict[str, Any]:
    """A block that includes a role, and prints why it failed."""
    reason = {
        "name": block,
        "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"},
    }
    include = {"ansible.builtin.include_role": {"name": f"cwagent.iam.{role}"}, "vars": {**REQUIRED, **variables}}
    return {"block": [include], "rescue": [reason]}


@pytest.fixture(scope="module")
def refused(shared_controller: Controller) -> Play:
    """One run that includes each of these, and prints why the role failed."""
    tasks = [including(block, role, variables) for block, (role, variables) in BLOCKS.items()]
    playbook = shared_controller.file("roles.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    return shared_controller.play(shared_controller.inventory({"ec2_servers": {}}), playbook).assert_succeeded()


def said(refused: Play, block: str) -> str:
    """Why a role failed."""
    [message] = [each.result["msg"] for each in refused.results if each.task == block]
    return str(message)


def test_the_lists_of_the_roles_are_found() -> None:
    names = {name for each in LISTS.values() for name in each}
    assert names >= {"onprem_server_users", "ec2_server_instances", "store_config_regions"}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in LISTS.items() for name in names])
def test_a_role_refuses_a_value_that_is_not_a_list(refused: Play, role: str, name: str) -> None:
    assert name in said(refused, role)


def test_no_call_was_made(refused: Play) -> None:
    assert "Traceback" not in refused.output
    assert refused.calls == []


@pytest.mark.parametrize("role", REPORTING)
def test_a_role_takes_the_report_files_that_a_playbook_takes(refused: Play, role: str) -> None:
    """The ending of a path chooses the format."""
    assert said(refused, f"{role}, reports") == (
        f"{role}_report_files: 'r.pdf' must end in .html, .json, .junit.xml, .sarif, .sarif.json, .template, "
        f".template.json or .tf. {role}_report_files has a duplicate path: r.json. Nothing was changed."
    )


SAME = "All hosts of an account must have the same"
REMEDY = "Set the same value for these hosts, or use one play for the hosts with each value. Nothing was changed."
DIFFERENT: dict[str, tuple[str, dict[str, Any], str]] = {
    "a variable": ("ec2_server", {"ec2_server_tags": {"team": "{{ team }}"}}, "ec2_server_tags"),
    "a setting": ("ec2_admin", {"cwagent_iam_path": "/{{ team }}/"}, "cwagent_iam_path"),
    "a setting with another name": (
        "ec2_server",
        {"cwagent_server_role_name": "{{ team }}"},
        "cwagent_server_role_name",
    ),
    "users": (
        "onprem_server",
        {"onprem_server_users": ["{{ inventory_hostname }}"], "cwagent_permissions_boundary": "{{ boundary }}"},
        "cwagent_permissions_boundary",
    ),
    "users and a window": (
        "onprem_admin",
        {"onprem_admin_window": "{{ team == 'blue' }}"},
        "onprem_admin_window",
    ),
    "regions": ("hybrid_server", {"hybrid_server_tags": {"team": "{{ team }}"}}, "hybrid_server_tags"),
}
"""By case, a role with variables, and the name of the one that must not differ between hosts."""


def team(name: str) -> dict[str, str]:
    return {**UNREACHABLE, "team": name, "boundary": f"arn:aws:iam::123456789012:policy/{name}-hush"}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_role_refuses_values_that_differ_in_one_account(shared_controller: Controller, case: str) -> None:
    role, variables, name = DIFFERENT[case]
    hosts = {"web": team("blue"), "db": team("green"), "app": team("blue")}
    of_play = {"hybrid_server_regions": ["eu-west-1"], **variables}
    play = {"hosts": "all", "gather_facts": False, "vars": of_play, "roles": [f"cwagent.iam.{role}"]}
    playbook = shared_controller.file("fleet.yml", [play])
    inventory = shared_controller.inventory({"fleet": hosts})
    refused = shared_controller.play(inventory, playbook, env={"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)})
    found = "one value for web, app; one value for db"
    assert [each.result["msg"] for each in refused.assert_failed().failures] == [
        f"{SAME} {name}, but there is {found}. {REMEDY}"
    ]
    assert refused.calls == []
    assert "hush" not in str([each.result for each in refused.results])


def test_uses_of_a_role_on_other_hosts_do_not_count(controller: Controller) -> None:
    """In loops with other items, with conditions, in batches and with hosts that failed before."""
    ids = dict(zip(("web", "db", "app"), controller.aws.instances(3), strict=True))
    hosts = {name: {**UNREACHABLE, "instance_id": each, "own": ["shared", name]} for name, each in ids.items()}
    of_user = {"onprem_server_users": ["{{ item }}"], "onprem_server_tags": {"item": "{{ item }}"}}
    loop = {"ansible.builtin.include_role": {"name": "cwagent.iam.onprem_server"}, "vars": of_user, "loop": "{{ own }}"}
    of_role = {"role": "cwagent.iam.ec2_server", "ec2_server_name": "First"}
    of_batch = {
        "role": "cwagent.iam.hybrid_server",
        "hybrid_server_name": "Of-{{ own[1] }}",
        "hybrid_server_regions": ["eu-west-1"],
    }
    fails = {"ansible.builtin.fail": {"msg": "no"}, "when": "inventory_hostname == 'web'"}
    common = {"hosts": "all", "gather_facts": False}
    plays = [
        {**common, "tasks": [loop]},
        # The first host has a result of the loop.
        {**common, "tasks": [{**loop, "loop": ["later"], "when": "inventory_hostname != 'web'"}]},
        {**common, "roles": [{**of_role, "when": "inventory_hostname != 'web'"}]},
        {**common, "serial": 1, "roles": [of_batch]},
        {**common, "roles": [{"role": "cwagent.iam.ec2_admin", "run_once": True}]},
        {
            **common,
            "tasks": [
                fails,
                {
                    "ansible.builtin.include_role": {"name": "cwagent.iam.ec2_server"},
                    "vars": {"ec2_server_name": "First"},
                },
            ],
        },
    ]
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    playbook = controller.file("fleet.yml", plays)
    predicted = controller.play(controller.inventory({"fleet": hosts}), playbook, "--check", env=env)
    assert (predicted.writes, [each.host for each in predicted.failures]) == ([], ["web"])
    done = controller.play(controller.inventory({"fleet": hosts}), playbook, env=env)
    after = snapshot(controller.aws)
    assert after["users"].keys() == {"shared", "web", "db", "app", "later"}
    assert after["roles"].keys() == {"First", ADMIN_ROLE, "Of-web", "Of-db", "Of-app"}
    # The last play associates the instance of the host that failed, and the condition of the other one excludes it.
    assert after["associations"] == dict.fromkeys(ids.values(), "First")
    called = [
        each.host for each in done.results if each.action == "cwagent.iam.cwagent_iam_user" and each.outcome == "ok"
    ]
    assert sorted(called) == ["app", "db", "db", "web", "web"]


def test_facts_choose_no_instance(controller: Controller) -> None:
    """Not even the facts of a host that failed before the role."""
    ids = dict(zip(("web", "db"), controller.aws.instances(2), strict=True))
    hosts = {"web": {**UNREACHABLE, "instance_id": ids["web"]}, "db": UNREACHABLE}
    fact = {
        "ansible.builtin.set_fact": {"instance_id": ids["db"], "cacheable": True},
        "when": "inventory_hostname == 'db'",
    }
    fails = {"ansible.builtin.fail": {"msg": "no"}, "when": "inventory_hostname == 'db'"}
    role = {"ansible.builtin.include_role": {"name": "cwagent.iam.ec2_server"}}
    for tasks in ([fact, fails, role], [fact, role]):
        play = controller.file("facts.yml", [{"hosts": "all", "gather_facts": False, "tasks": tasks}])
        env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
        refused = controller.play(controller.inventory({"fleet": hosts}), play, env=env).assert_failed()
        assert "Host db: its facts set instance_id." in refused.message
        assert refused.calls == []

"""Hosts with other AWS options belong to other accounts, and a role manages each of them."""

from __future__ import annotations

from typing import Any

import pytest
from accounts import Accounts
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    COLLECTIONS,
    HYBRID_ROLE,
    NO_CREDENTIALS,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    UNREACHABLE,
    Controller,
    Play,
)

pytestmark = pytest.mark.main_job  # the oldest ansible-core evaluates module_defaults in another way

OWN_REGION = {"one": "eu-central-1", "two": "us-east-1"}
"""By host, the region that only matters where regions are different."""
OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {"region": OWN_REGION["one"], "profile": "nothing-one"},
    "profile": {"region": OWN_REGION["one"], "profile": "{{ inventory_hostname }}"},
    "access_key": {"region": OWN_REGION["one"], "access_key": "{{ account }}", "secret_key": "test"},
    "region": {"region": "{{ own_region }}", "profile": "region-one"},
    "environment": {"region": OWN_REGION["one"]},
}
"""The AWS options of a play on two hosts, by what is different between the hosts."""
ENVIRONMENT = {"environment": {"AWS_PROFILE": "{{ inventory_hostname }}"}}
IN_ONE_ACCOUNT = ("nothing", "region")
ROLES: dict[str, dict[str, Any]] = {
    "ec2_server": {},
    "ec2_admin": {},
    "onprem_server": {"onprem_server_key_store": "parameter_store"},
    "onprem_admin": {"onprem_admin_key_store": "parameter_store"},
    "hybrid_server": {"hybrid_server_regions": [*OWN_REGION.values()]},
    "store_config": {
        "store_config_from": "controller",
        "store_config_configs": [{"name": PARAMETER, "file": "agent.json"}],
    },
    "audit": {"audit_fail_at": "none"},
    "verify": {
        "verify_servers": [{"host": "{{ inventory_hostname }}", "instance_id": "{{ instance_id }}"}],
        "verify_from": "none",
    },
}
SHARING = ("ec2_server", "ec2_admin", "onprem_server", "onprem_admin", "hybrid_server")
"""The roles that make one call for all hosts of an account. The others make one for each host."""
CALLING = tuple(
    f"cwagent.iam.cwagent_{name}" for name in ("iam_role", "iam_user", "store_config", "access_info", "server_info")
)
"""The modules that call AWS. Each role has one of them."""
CREATED = {
    "ec2_server": ("CreateRole", SERVER_ROLE),
    "ec2_admin": ("CreateRole", ADMIN_ROLE),
    "onprem_server": ("CreateUser", SERVER_USER),
    "onprem_admin": ("CreateUser", ADMIN_USER),
    "hybrid_server": ("CreateRole", HYBRID_ROLE),
    "store_config": ("PutParameter", PARAMETER),
}
"""By role, a call that it makes in each account once, and the name in it."""


def play_of(difference: str) -> dict[str, Any]:
    """A play on two hosts that includes every role."""
    return {
        "hosts": difference,
        "gather_facts": False,
        "module_defaults": {"group/cwagent.iam.aws": OPTIONS[difference]},
        "tasks": [
            {"ansible.builtin.include_role": {"name": f"cwagent.iam.{role}"}, "vars": variables}
            for role, variables in ROLES.items()
        ],
        **(ENVIRONMENT if difference == "environment" else {}),
    }


@pytest.fixture(scope="module")
def done(shared_controller: Controller) -> tuple[Play, Accounts]:
    """One run of a play for each difference, with hosts in accounts that no other play has."""
    controller, accounts = shared_controller, Accounts(shared_controller)
    groups: dict[str, Any] = {}
    for difference in OPTIONS:
        groups[difference] = {"hosts": {}}
        for name, region in OWN_REGION.items():
            account = f"{difference}-{'one' if difference in IN_ONE_ACCOUNT else name}"
            if account not in accounts.ids:
                accounts.create(account)
            accounts.servers[f"{difference}-{name}"] = instance = accounts.launch(
                account, region if difference == "region" else OWN_REGION["one"]
            )
            variables = {"account": accounts.ids[account], "own_region": region, "instance_id": instance}
            groups[difference]["hosts"][f"{difference}-{name}"] = {**UNREACHABLE, **variables}
    (controller.home / ".aws").mkdir()
    keys = {name: f"aws_access_key_id = {key}\naws_secret_access_key = test\n" for name, key in accounts.ids.items()}
    controller.file(".aws/credentials", "\n".join(f"[{name}]\n{lines}" for name, lines in keys.items()))
    controller.file("agent.json", {"agent": {"metrics_collection_interval": 60}})
    inventory = controller.file("hosts.yml", {"all": {"children": groups}})
    playbook = controller.file("playbook.yml", [play_of(difference) for difference in OPTIONS])
    env = {
        **NO_CREDENTIALS,
        **dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), ""),
        "AWS_ENDPOINT_URL": controller.aws.endpoint,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
    }
    return controller.play(inventory, playbook, env=env).assert_succeeded(), accounts


@pytest.mark.parametrize("difference", OPTIONS)
@pytest.mark.parametrize("role", ROLES)
def test_each_host_with_other_aws_options_is_managed(done: tuple[Play, Accounts], role: str, difference: str) -> None:
    of_role = [each for each in done[0].results if each.task.startswith(f"cwagent.iam.{role} : ")]
    called = {each.host for each in of_role if each.action in CALLING and each.outcome == "ok"}
    is_shared = role in SHARING and difference == "nothing"
    hosts = {f"{difference}-one"} if is_shared else {f"{difference}-{name}" for name in OWN_REGION}
    assert {host for host in called if host.startswith(f"{difference}-")} == hosts


@pytest.mark.parametrize("difference", [each for each in OPTIONS if each not in IN_ONE_ACCOUNT])
@pytest.mark.parametrize("role", CREATED)
def test_a_role_works_in_the_account_of_each_host(done: tuple[Play, Accounts], role: str, difference: str) -> None:
    play, accounts = done
    action, created = CREATED[role]
    calls = [call.access_key for call in play.calls if call.action == action and created in call.params.values()]
    assert [calls.count(accounts.ids[f"{difference}-{name}"]) for name in OWN_REGION] == [1, 1]


@pytest.mark.parametrize("difference", OPTIONS)
def test_every_instance_gets_the_profile_once(done: tuple[Play, Accounts], difference: str) -> None:
    play, accounts = done
    associated = [call for call in play.calls if call.action == "AssociateIamInstanceProfile" and not call.error]
    of_calls = [call.params["InstanceId"] for call in associated]
    assert [of_calls.count(accounts.servers[f"{difference}-{name}"]) for name in OWN_REGION] == [1, 1]


def test_the_secrets_of_the_hosts_are_in_no_result(done: tuple[Play, Accounts]) -> None:
    play, accounts = done
    of_roles = [str(each.result) for each in play.results if each.action == "cwagent.iam.cwagent_inputs"]
    assert of_roles
    assert [text for text in of_roles if any(key in text for key in accounts.ids.values())] == []

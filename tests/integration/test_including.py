"""The roles from somebody else's playbook, in every way there is to include a role.

Nothing of AWS is in the environment: region, endpoint and profile come by module_defaults for our group. The inventory
and the configuration tell Ansible to become somebody else everywhere.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__ as ansible_version
from harness import (
    ADMIN_ROLE,
    COLLECTIONS,
    SERVER_ROLE,
    WINDOW_POLICY,
    Play,
    Workplace,
    account,
    make_role,
    make_user,
    put_on,
)

pytestmark = pytest.mark.main_job

OLD_TEMPLATES = ansible_version.startswith("2.18.")
NATIVE = pytest.mark.parametrize("native", ["true"] if OLD_TEMPLATES else ["false"])
"""From ansible-core 2.19 on there is one way, whatever the setting. All other tests run with false, the default."""
CONFIG = '{"agent": {"metrics_collection_interval": 60}}'
SUDO = """#!/bin/sh
for last; do :; done
echo "$last" >>"$(dirname "$0")/became"
exec /bin/sh -c "$last"
"""


def inventory(at: Workplace, become_exe: Path, **hosts: dict[str, Any]) -> Path:
    """Hosts on which everything is done as somebody else, by a program of ours."""
    everywhere = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ansible_become": True,
        "ansible_become_exe": str(become_exe),
    }
    return at.file("hosts.yml", {"all": {"vars": everywhere, "children": {"fleet": {"hosts": hosts}}}})


def play_of(at: Workplace, hosts: str, **more: Any) -> dict[str, Any]:
    """A play as a stranger writes it."""
    given = {"region": at.aws.region, "endpoint_url": at.aws.endpoint, "profile": "theirs"}
    common = {"gather_facts": False, "become": True, "module_defaults": {"group/cwagent.iam.aws": given}}
    return {"hosts": hosts, **common, **more}


def include(role: str, how: str = "include_role", **more: Any) -> dict[str, Any]:
    kept = {key: more.pop(key) for key in ("apply", "tasks_from") if key in more}
    return {f"ansible.builtin.{how}": {"name": f"cwagent.iam.{role}", **kept}, **more}


def run(at: Workplace, hosts: Path, native: str, *plays: dict[str, Any]) -> Play:
    """Run plays from a folder of its own, with a profile and without anything else of AWS."""
    key = make_user(at.aws, "controller", policy="AdministratorAccess")
    (at.home / ".aws").mkdir()
    at.file(".aws/credentials", "\n".join(["[theirs]", *(f"{name.lower()} = {text}" for name, text in key.items())]))
    (at.home / "elsewhere").mkdir()
    at.file("elsewhere/agent.json", CONFIG)
    env = {
        **dict.fromkeys(at.aws.env(), ""),
        "ANSIBLE_BECOME": "true",
        "ANSIBLE_BECOME_ALLOW_SAME_USER": "true",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_JINJA2_NATIVE": native,
    }
    return at.play(hosts, at.file("elsewhere/theirs.yml", list(plays)), env=env, cwd=at.home / "elsewhere").succeeded()


@NATIVE
def test_what_runs_on_the_controller(workplace: Workplace, native: str) -> None:
    """Nobody else can be become there, and no host can be reached."""
    aws = workplace.aws
    ids = aws.instances(4)
    nowhere = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    hosts = inventory(
        workplace,
        workplace.home / "no-such-program",
        a={**nowhere, "instance_id": ids[0]},
        b={**nowhere, "instance_id": ids[1]},
    )
    theirs = [{"name": "One", "id": ids[2]}, {"name": "Two", "id": ids[3]}]
    role_of_item = {"ec2_server_name": "{{ item.name }}", "ec2_server_instances": {"": ["{{ item.id }}"]}}
    admin_of_item = {"ec2_admin_name": "{{ item.name }}Admin", "ec2_admin_instances": {"": ["{{ item.id }}"]}}
    user_of_item = {"onprem_admin_users": ["{{ item.name }}"]}
    plays = [
        play_of(workplace, "fleet", roles=["cwagent.iam.ec2_server", "cwagent.iam.ec2_admin"]),
        play_of(
            workplace,
            "localhost",
            roles=[{"role": "cwagent.iam.onprem_server", "delegate_to": "a", "onprem_server_users": ["delegated"]}],
            tasks=[
                include("onprem_server", "import_role", vars={"onprem_server_users": ["imported"]}),
                include("ec2_server", loop=theirs, vars=role_of_item),
                include("ec2_admin", loop=theirs, vars=admin_of_item),
                include("onprem_admin", loop=theirs, vars=user_of_item, apply={"delegate_to": "a"}),
                include("ec2_admin", loop=theirs, vars={**admin_of_item, "ec2_admin_state": "absent"}),
            ],
        ),
    ]
    run(workplace, hosts, native, *plays)
    held = account(aws)
    assert held["carried"] == {ids[0]: SERVER_ROLE, ids[1]: SERVER_ROLE, ids[2]: "One", ids[3]: "Two"}
    assert held["roles"].keys() == {SERVER_ROLE, ADMIN_ROLE, "One", "Two"}
    assert held["users"].keys() == {"controller", "delegated", "imported", "One", "Two"}
    assert [list(held["users"][name]["inline"]) for name in ("One", "Two")] == [[WINDOW_POLICY]] * 2


@NATIVE
def test_what_runs_on_hosts(workplace: Workplace, native: str) -> None:
    """There one becomes what the playbook says; on the controller, in the same roles, never."""
    aws = workplace.aws
    [instance] = aws.instances(1)
    make_role(aws, "shop")
    put_on(aws, instance, "shop")
    sudo = workplace.file("sudo", SUDO)
    sudo.chmod(stat.S_IRWXU)
    on_instance = workplace.on_instance(instance)
    del on_instance["cwagent_region"]
    hosts = inventory(workplace, sudo, a=on_instance)
    config = {"name": "AmazonCloudWatch-{{ item }}", "file": "agent.json"}
    from_elsewhere = {
        "store_config_instance_id": instance,
        "store_config_environment": on_instance["store_config_environment"],
        "store_config_configs": [config],
    }
    keys, brought = workplace.home / "keys", workplace.home / "brought"
    user = {"onprem_server_users": ["bringing"], "onprem_server_credentials_directory": str(keys)}
    bringing = {
        "onprem_credentials_user": "{{ item }}",
        "onprem_credentials_directory": str(keys),
        "onprem_credentials_file": f"{brought}/{{{{ item }}}}",
        "onprem_credentials_common_config": f"{brought}/common-config.toml",
        "onprem_credentials_agent_ctl": f"{brought}/no-agent",
        "onprem_credentials_owner": "",
        "onprem_credentials_group": "",
    }
    plays = [
        play_of(workplace, "localhost", tasks=[include("ec2_admin"), include("onprem_server", vars=user)]),
        play_of(workplace, "a", tasks=[include("onprem_credentials", loop=["bringing"], vars=bringing)]),
        play_of(
            workplace,
            "a",
            tasks=[
                include(
                    "store_config",
                    "import_role",
                    vars={"store_config_configs": [{**config, "name": "AmazonCloudWatch-on"}]},
                )
            ],
        ),
        play_of(
            workplace,
            "localhost",
            tasks=[include("store_config", loop=["by"], vars=from_elsewhere, apply={"delegate_to": "a"})],
        ),
    ]
    done = run(workplace, hosts, native, *plays)
    held = account(aws)
    assert held["parameters"][aws.region].keys() == {"AmazonCloudWatch-on", "AmazonCloudWatch-by"}
    assert held["carried"] == {instance: "shop"}
    stored = [call.principal for call in done.calls if call.action == "PutParameter"]
    assert [principal.endswith(f":assumed-role/{ADMIN_ROLE}/{instance}") for principal in stored] == [True, True]
    assert {path.name for path in brought.iterdir()} == {"bringing", "common-config.toml"}
    became = (workplace.home / "became").read_text()
    ours = {
        word for word in became.replace("AnsiballZ_", " ").replace(".py", " ").split() if word.startswith("cwagent_")
    }
    assert ours == {"cwagent_instance_identity", "cwagent_config_parameter"}

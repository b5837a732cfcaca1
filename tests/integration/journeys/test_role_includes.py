"""The roles in another playbook, included in every way that Ansible has.

The environment has no AWS variables: region, endpoint and profile come from module_defaults for the action group. The
inventory and the configuration enable become for all hosts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__ as ansible_version
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    COLLECTIONS,
    HYBRID_ROLE,
    PARAMETER,
    SERVER_ROLE,
    SUDO,
    UNREACHABLE,
    WINDOW_POLICY,
    Controller,
    Play,
    associate,
    create_role,
    create_user,
)

pytestmark = pytest.mark.main_job

OLD_TEMPLATES = ansible_version.startswith("2.18.")
NATIVE = pytest.mark.parametrize("native", ["true"] if OLD_TEMPLATES else ["false"])
"""ansible-core 2.19 and later ignore the setting. All other tests run with its default, false."""
IMPORTED_HYBRID = {"hybrid_server_name": "ImportedHybrid", "hybrid_server_regions": ["eu-west-1"]}
REGIONS = ["eu-west-1", "us-east-1"]
OWN_VALUES: dict[str, dict[str, Any]] = {
    "onprem_server": {"onprem_server_users": ["agent-{{ inventory_hostname }}", "shared"]},
    "onprem_admin": {
        "onprem_admin_users": ["admin-{{ inventory_hostname }}"],
        "onprem_admin_region": "{{ own_region }}",
    },
    # A boolean may be text, as -e name=value passes it.
    "ec2_admin": {"ec2_admin_name": "AdminOfBoth", "ec2_admin_window": "{{ shows_text | ternary('false', false) }}"},
    "hybrid_server": {"hybrid_server_regions": "{{ [own_region] }}"},
}
"""By role, variables of which the users and regions differ from host to host."""
CALLING = ("cwagent.iam.cwagent_iam_role", "cwagent.iam.cwagent_iam_user")
CONFIG = '{"agent": {"metrics_collection_interval": 60}}'


def inventory(controller: Controller, become_exe: Path, **hosts: dict[str, Any]) -> Path:
    """Hosts on which become is enabled and uses this program."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ansible_become": True,
        "ansible_become_exe": str(become_exe),
    }
    return controller.file("hosts.yml", {"all": {"vars": variables, "children": {"fleet": {"hosts": hosts}}}})


def play_of(controller: Controller, hosts: str, **more: Any) -> dict[str, Any]:
    """A play with module_defaults and become."""
    defaults = {"region": controller.aws.region, "endpoint_url": controller.aws.endpoint, "profile": "example"}
    common = {"gather_facts": False, "become": True, "module_defaults": {"group/cwagent.iam.aws": defaults}}
    return {"hosts": hosts, **common, **more}


def include(role: str, how: str = "include_role", **more: Any) -> dict[str, Any]:
    options = {key: more.pop(key) for key in ("apply", "tasks_from") if key in more}
    return {f"ansible.builtin.{how}": {"name": f"cwagent.iam.{role}", **options}, **more}


def run(controller: Controller, hosts: Path, native: str, *plays: dict[str, Any]) -> Play:
    """Run plays from another folder, with a named profile and without AWS variables."""
    key = create_user(controller.aws, "controller", policy="AdministratorAccess")
    (controller.home / ".aws").mkdir()
    controller.file(
        ".aws/credentials", "\n".join(["[example]", *(f"{name.lower()} = {text}" for name, text in key.items())])
    )
    (controller.home / "elsewhere").mkdir()
    controller.file("elsewhere/agent.json", CONFIG)
    env = {
        **dict.fromkeys([*controller.aws.env(), "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"], ""),
        "ANSIBLE_BECOME": "true",
        "ANSIBLE_BECOME_ALLOW_SAME_USER": "true",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_JINJA2_NATIVE": native,
    }
    return controller.play(
        hosts, controller.file("elsewhere/playbook.yml", list(plays)), env=env, cwd=controller.home / "elsewhere"
    ).assert_succeeded()


@NATIVE
def test_roles_that_run_on_the_controller(controller: Controller, native: str) -> None:
    """They work although become fails there and no host can be reached.

    A play on several hosts makes one call for all hosts of an account, with their users, instances and regions.
    """
    aws = controller.aws
    ids = aws.instances(4)
    hosts = inventory(
        controller,
        controller.home / "no-such-program",
        a={**UNREACHABLE, "instance_id": ids[0], "own_region": REGIONS[0], "shows_text": True},
        b={**UNREACHABLE, "instance_id": ids[1], "own_region": REGIONS[1], "shows_text": False},
    )
    items = [{"name": "One", "id": ids[2]}, {"name": "Two", "id": ids[3]}]
    role_of_item = {"ec2_server_name": "{{ item.name }}", "ec2_server_instances": {"": ["{{ item.id }}"]}}
    admin_of_item = {"ec2_admin_name": "{{ item.name }}Admin", "ec2_admin_instances": {"": ["{{ item.id }}"]}}
    hybrid_of_item = {"hybrid_server_name": "{{ item.name }}Hybrid", "hybrid_server_regions": [aws.region]}
    user_of_item = {"onprem_admin_users": ["{{ item.name }}"]}
    own_values = [{"role": f"cwagent.iam.{name}", **variables} for name, variables in OWN_VALUES.items()]
    plays = [
        play_of(controller, "fleet", roles=["cwagent.iam.ec2_server", "cwagent.iam.ec2_admin"]),
        play_of(controller, "fleet", roles=own_values),
        play_of(
            controller,
            "localhost",
            roles=[{"role": "cwagent.iam.onprem_server", "delegate_to": "a", "onprem_server_users": ["delegated"]}],
            tasks=[
                include("onprem_server", "import_role", vars={"onprem_server_users": ["imported"]}),
                include("ec2_server", loop=items, vars=role_of_item),
                include("ec2_admin", loop=items, vars=admin_of_item),
                include("hybrid_server", loop=items, vars=hybrid_of_item),
                include("hybrid_server", "import_role", vars=IMPORTED_HYBRID),
                include("onprem_admin", loop=items, vars=user_of_item, apply={"delegate_to": "a"}),
                include("ec2_admin", loop=items, vars={**admin_of_item, "ec2_admin_state": "absent"}),
            ],
        ),
    ]
    done = run(controller, hosts, native, *plays)
    after = snapshot(aws)
    assert after["associations"] == {ids[0]: SERVER_ROLE, ids[1]: SERVER_ROLE, ids[2]: "One", ids[3]: "Two"}
    hybrid = {HYBRID_ROLE, "OneHybrid", "TwoHybrid", "ImportedHybrid"}
    assert after["roles"].keys() == {SERVER_ROLE, ADMIN_ROLE, "AdminOfBoth", "One", "Two", *hybrid}
    [trusted] = after["roles"][HYBRID_ROLE]["trust"]["Statement"]
    arns = [f"arn:aws:ssm:{region}:123456789012:*" for region in REGIONS]
    assert trusted["Condition"]["ArnEquals"]["aws:SourceArn"] == arns
    users = {"delegated", "imported", "One", "Two", "agent-a", "agent-b", "shared", "admin-a", "admin-b"}
    assert after["users"].keys() == {"controller", *users}
    assert done.writes.count("CreateAccessKey") == len(users)
    assert [list(after["users"][name]["inline"]) for name in ("One", "Two")] == [[WINDOW_POLICY]] * 2
    windows = {name: [*after["roles"][name]["inline"]] for name in ("AdminOfBoth", ADMIN_ROLE)}
    assert windows == {"AdminOfBoth": [], ADMIN_ROLE: [WINDOW_POLICY]}
    called = {
        each.task: each.host
        for each in done.results
        if each.action in CALLING and each.host in "ab" and each.outcome == "ok"
    }
    assert {*called.values()} == {"a"}


@NATIVE
def test_roles_that_run_on_hosts(controller: Controller, native: str) -> None:
    """Tasks on hosts use become. Tasks on the controller, in the same roles, never do."""
    aws = controller.aws
    [instance] = aws.instances(1)
    create_role(aws, "shop")
    associate(aws, instance, "shop")
    sudo = controller.program("sudo", SUDO)
    host_variables = controller.instance_host(instance)
    del host_variables["cwagent_region"]
    hosts = inventory(controller, sudo, a=host_variables)
    config = {"name": "AmazonCloudWatch-{{ item }}", "file": "agent.json"}
    from_elsewhere = {
        "store_config_instance_id": instance,
        "store_config_environment": host_variables["cwagent_environment"],
        "store_config_configs": [config],
    }
    keys, host_files = controller.home / "keys", controller.home / "host"
    user = {"onprem_server_users": ["delivered"], "onprem_server_key_store_directory": str(keys)}
    delivery = {
        "onprem_credentials_user_name": "{{ item }}",
        "onprem_credentials_key_store_directory": str(keys),
        "onprem_credentials_file": f"{host_files}/{{{{ item }}}}",
        "onprem_credentials_common_config": f"{host_files}/common-config.toml",
        "onprem_credentials_agent_ctl": f"{host_files}/no-agent",
    }
    plays = [
        play_of(controller, "localhost", tasks=[include("ec2_admin"), include("onprem_server", vars=user)]),
        play_of(controller, "a", tasks=[include("onprem_credentials", loop=["delivered"], vars=delivery)]),
        play_of(
            controller,
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
            controller,
            "localhost",
            tasks=[include("store_config", loop=["by", "then"], vars=from_elsewhere, apply={"delegate_to": "a"})],
        ),
    ]
    done = run(controller, hosts, native, *plays)
    after = snapshot(aws)
    names = {"AmazonCloudWatch-on", "AmazonCloudWatch-by", "AmazonCloudWatch-then"}
    assert after["parameters"][aws.region].keys() == names
    assert after["associations"] == {instance: "shop"}
    stored = [call.principal for call in done.calls if call.action == "PutParameter"]
    assert [principal.endswith(f":assumed-role/{ADMIN_ROLE}/{instance}") for principal in stored] == [True] * 3
    assert {path.name for path in host_files.iterdir()} == {"delivered", "common-config.toml"}
    commands = (controller.home / "commands").read_text().replace("AnsiballZ_", " ").replace(".py", " ")
    modules = {word for word in commands.split() if word.startswith("cwagent_")}
    assert modules == {"cwagent_store_host"}


def test_roles_predict_their_first_run(controller: Controller) -> None:
    """In an empty account, so the principals of later tasks are only planned. ``make molecule`` has the run itself.

    The playbooks use single tasks of these roles, and leave out the tasks that close the windows.
    """
    aws = controller.aws
    ids = dict(zip("ab", aws.instances(2), strict=True))
    own = {
        "onprem_server_users": ["{{ inventory_hostname }}"],
        "onprem_admin_users": ["{{ inventory_hostname }}-admin"],
    }
    shared = {"hybrid_server_regions": [aws.region]}
    hosts = {name: controller.instance_host(each, **own, **shared) for name, each in ids.items()}
    storing = {"store_config_configs": [{"name": PARAMETER, "file": "agent.json"}]}
    hosts["a"] |= storing
    names = ["ec2_server", "ec2_admin", "onprem_server", "onprem_admin", "hybrid_server"]
    plays = [
        {"hosts": "all", "gather_facts": False, "roles": [f"cwagent.iam.{name}" for name in names]},
        {"hosts": "a", "gather_facts": False, "roles": ["cwagent.iam.store_config"]},
    ]
    controller.file("agent.json", CONFIG)
    playbook, before = controller.file("roles.yml", plays), snapshot(aws)
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    predicted = controller.play(controller.inventory({"fleet": hosts}), playbook, "--check", env=env)
    assert predicted.assert_succeeded().writes == []
    assert snapshot(aws) == before
    assert not (controller.home / ".cwagent").exists()
    changed = [each.partition(" : ")[0].removeprefix("cwagent.iam.") for each in predicted.changed_tasks]
    twice = ["ec2_server"]  # the role and the instances
    assert changed == [*sorted([*names, *twice], key=names.index), "store_config"]


def test_a_role_takes_settings_and_defaults_of_the_play(controller: Controller) -> None:
    """From its own variables, the settings of all roles, and module_defaults for one module, in this order of rank."""
    aws = controller.aws
    boundary, other = (f"arn:aws:iam::aws:policy/{name}" for name in ("PowerUserAccess", "ReadOnlyAccess"))
    of_module = {"cwagent.iam.cwagent_iam_role": {"max_session_duration": 7200, "iam_path": "/of-module/"}}
    settings = {
        "cwagent_permissions_boundary": boundary,
        "cwagent_tags": {"team": "{{ team }}"},
        "cwagent_iam_path": "/of-setting/",
        "cwagent_admin_role_name": "Administrators",
        "cwagent_wait_timeout": "60",
        "team": "monitoring",
    }
    names = ["One", "Two"]
    loop = include("ec2_server", loop=names, vars={"ec2_server_name": "{{ item }}", "ec2_server_tags": {"own": "x"}})
    of_user = {"onprem_server_users": ["u"], "onprem_server_permissions_boundary": other}
    plays = [
        {"hosts": "localhost", "gather_facts": False, "module_defaults": of_module, "tasks": [loop]},
        {
            "hosts": "localhost",
            "gather_facts": False,
            "roles": ["cwagent.iam.ec2_admin"],
            "tasks": [include("onprem_server", vars=of_user)],
        },
    ]
    hosts = controller.file(
        "hosts.yml", {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}, "vars": settings}}
    )
    playbook, env = controller.file("roles.yml", plays), {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    predicted = controller.play(hosts, playbook, "--check", env=env).assert_succeeded()
    done = controller.play(hosts, playbook, env=env).assert_succeeded()
    assert predicted.writes == [] != done.writes
    assert predicted.changed_tasks == done.changed_tasks
    roles = {name: aws.client("iam").get_role(RoleName=name)["Role"] for name in [*names, "Administrators"]}
    tags = {name: {each["Key"]: each["Value"] for each in role["Tags"]} for name, role in roles.items()}
    user = aws.client("iam").get_user(UserName="u")["User"]
    boundaries = {each["PermissionsBoundary"]["PermissionsBoundaryArn"] for each in roles.values()}
    assert (boundaries, user["PermissionsBoundary"]["PermissionsBoundaryArn"]) == ({boundary}, other)
    assert {name: role["Path"] for name, role in roles.items()} == {
        **dict.fromkeys(names, "/of-module/"),
        "Administrators": "/of-setting/",
    }
    assert {name: role["MaxSessionDuration"] for name, role in roles.items()} == {
        **dict.fromkeys(names, 7200),
        "Administrators": 3600,
    }
    assert [tags[name].get("own") for name in names] == ["x", "x"]
    assert (tags["One"].get("team"), tags["Administrators"]["team"], user["Path"]) == (
        None,
        "monitoring",
        "/of-setting/",
    )
    assert controller.play(hosts, playbook, env=env).assert_succeeded().writes == []

"""A small account, with the answers of a survey and without a region: first without a configuration, then with one."""

from __future__ import annotations

from typing import Any

from emulator.snapshot import snapshot
from fleet import Fleet
from harness import ADMIN_ROLE, ADMIN_USER, PARAMETER, SERVER_ROLE, SERVER_USER, Controller

CONFIG = {"agent": {"metrics_collection_interval": 60}}
NO_REGION = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
BLANK = ("ssm_policy", "parameter_name", "permissions_boundary", "iam_path", "server_role_name", "configs")
ANSWERS = {
    **{f"cwagent_{name}": "" for name in BLANK},
    "cwagent_tags": "team=ops,stage=test",
    "cwagent_admin_window": "true",
    "cwagent_on_other_profile": "replace",
    "cwagent_onprem_users": "",
}
"""A survey gives text, and a blank where a person does not answer."""


def named_profile(controller: Controller) -> dict[str, str]:
    """The environment of a controller whose credentials and region are in a profile."""
    aws, folder = controller.aws, controller.home / ".aws"
    folder.mkdir()
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    keys = "".join(f"{name.lower()} = {aws.env()[name]}\n" for name in names)
    controller.file(".aws/config", f"[profile work]\nregion = {aws.region}\n")
    controller.file(".aws/credentials", f"[work]\n{keys}")
    files = {"AWS_CONFIG_FILE": f"{folder}/config", "AWS_SHARED_CREDENTIALS_FILE": f"{folder}/credentials"}
    return {**NO_REGION, **dict.fromkeys(names, ""), **files, "AWS_PROFILE": "work"}


def test_a_small_account_needs_no_admin_instance_region_or_typed_answers(controller: Controller) -> None:
    """The inventory plugin of amazon.aws has set the region of the instance. IAM is the same in all regions."""
    aws, fleet = controller.aws, Fleet(controller, variables=ANSWERS)
    instance = fleet.add_instance("web1")
    of_instance: dict[str, Any] = fleet.groups["ec2_servers"]["web1"]
    del of_instance["cwagent_region"], of_instance["cwagent_environment"]
    of_instance["placement"] = {"region": aws.region}
    fleet.add_host("db1")
    fleet.add_host("ops1", "onprem_admin")
    before = snapshot(aws)

    predicted = fleet.play("site", "--check", env=NO_REGION).assert_succeeded()
    assert snapshot(aws) == before
    done = fleet.play("site", env=NO_REGION).assert_succeeded()
    assert predicted.changed_tasks == done.changed_tasks
    nothing_stored = "No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored."
    assert nothing_stored in " ".join(done.report)
    after = snapshot(aws)
    assert after["parameters"] == {aws.region: {}}
    assert after["associations"] == {instance: SERVER_ROLE}
    # The admin role exists all the same, so a configuration can be stored later without other permissions.
    tags = {"team": "ops", "stage": "test", "cwagent:managed": "created"}
    assert {name: each["tags"] for name, each in after["roles"].items()} == {SERVER_ROLE: tags, ADMIN_ROLE: tags}
    [key] = after["users"][ADMIN_USER]["keys"]
    users = {f"{SERVER_USER}-db1": tags, ADMIN_USER: {**tags, "cwagent:saved-key": key}}
    assert {name: each["tags"] for name, each in after["users"].items()} == users

    # The profile and the instance have the same region, so the configuration is written once.
    fleet.configure(CONFIG)
    fleet.variables["cwagent_store_config_from"] = "controller"
    stored = fleet.play("site", env=named_profile(controller))
    assert [call.params["Name"] for call in stored.assert_succeeded().calls if call.write] == [PARAMETER]
    assert snapshot(aws) == {**after, "parameters": {aws.region: {PARAMETER: CONFIG}}}

    fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert snapshot(aws) == before
    assert [*controller.credentials.iterdir()] == []

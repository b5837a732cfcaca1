"""An account as desired, and the tasks that site.yml compares with it."""

from __future__ import annotations

from typing import Any

from declarations import ADMIN, SERVER
from scripted_account import CLOSED_WINDOW, Account, Region, Role

INSTANCE, SECOND, OTHER = "i-11111111", "i-22222222", "i-33333333"
HERE, THERE = "eu-central-1", "us-east-1"
CONFIGURATION = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}


def account_as_desired() -> Account:
    return Account(
        roles={"Server": Role({SERVER}), "Admin": Role({ADMIN}, window=CLOSED_WINDOW)},
        regions={
            HERE: Region({INSTANCE: ("Server", "AIPA1")}, states={INSTANCE: "running", OTHER: "running"}),
            THERE: Region({SECOND: ("Server", "AIPA1")}, states={SECOND: "running"}),
        },
    )


def task(part: str, module: str, region: str = HERE, **options: Any) -> dict[str, Any]:
    """A task as the module takes it."""
    return {"part": part, "module": module, "options": options, "region": region}


def tasks(
    *, window: bool = True, adopt: bool = False, on_other_profile: str = "keep", **server: Any
) -> list[dict[str, Any]]:
    """The tasks for EC2. :param server: further options of the server role."""
    instances = {HERE: [INSTANCE], THERE: [SECOND]}
    close = [task("restore", "cwagent_admin_window", role="Admin", state="closed", managed_only=True)] if window else []
    remove = [] if window else [task("ec2", "cwagent_admin_window", role="Admin", state="absent")]
    released = {"admin_profile": "Admin", "server_profile": "Server", "state": "released"}
    return [
        *close,
        *(
            task("restore", "cwagent_admin_instance", region, fallback_instance_ids=ids, **released)
            for region, ids in instances.items()
        ),
        task("ec2", "cwagent_iam_role", **{"name": "Server", "access": "server", **server}),
        *(
            task(
                "ec2",
                "cwagent_instance_profile",
                region,
                name="Server",
                instance_ids=ids,
                on_other_profile=on_other_profile,
            )
            for region, ids in instances.items()
        ),
        task("ec2", "cwagent_iam_role", name="Admin", access="admin", admin_window=window, adopt_existing=adopt),
        *remove,
    ]


def configuration(region: str = HERE, **options: Any) -> dict[str, Any]:
    """The task that validates a configuration."""
    given = {"name": "AmazonCloudWatch-a", "config": CONFIGURATION, "state": "validated", **options}
    given = {option: value for option, value in given.items() if value}
    return task("configurations", "cwagent_config_parameter", region, **given)

"""Stores configurations in this process, in an account with both roles and a closed admin window."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from emulator import Call, Fault, Kind
from emulator.snapshot import associated_profiles, configurations
from emulator.testing import wait_until
from faults.evaluation import most_admins_at_once, overlapping_windows
from fleet import Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    CLOSED_WINDOW,
    PARAMETER,
    PATIENCE,
    REPLACE_ASSOCIATION,
    SERVER_POLICY,
    SERVER_ROLE,
    TIME,
    WINDOW_POLICY,
    associate,
    create_role,
    restore_records,
)
from in_process import Send, on_instance, run_module, transact
from states import States

APP = "shop-app"
CLOSED_POLICY = {"Version": "2012-10-17", "Statement": [CLOSED_WINDOW]}
UNTIL_DISARMED = 1000
"""More times than any run makes the call."""
WAITS = {f"{name}_timeout": PATIENCE for name in ("identity", "wait", "permission")}
AFTER_DEADLINE = 16 * 60
"""A window is open for 15 minutes by default."""
Result = dict[str, Any]


@dataclass
class Storing(Fleet):
    """A fleet whose hosts store in this process."""

    def store(
        self, host: str = "admin1", /, *faults: Mapping[str, Any], send: Send | None = None, **options: Any
    ) -> Result:
        """Store a configuration from an instance. ``config`` is by default its own."""
        instance = self.instances[host]
        file = self.controller.file(f"{host}.json", options.pop("config", None) or config_of(host))
        given = {
            "from": "instance",
            "configs": [{"name": PARAMETER, "file": str(file)}],
            "instance_id": instance,
            "environment": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.metadata_endpoint(instance)},
            **WAITS,
            **options,
        }
        there = send or on_instance(self.aws, instance)
        return transact(self.aws, "cwagent_store_config", there, *faults, host=host, **given)

    @contextmanager
    def storing(
        self, at: str, kind: Kind | None = None, *, code: str = "", nth: int = 1, times: int = 1, **options: Any
    ) -> Iterator[Future[Result]]:
        """Store in the background. The body runs once a call was made so often.

        :param kind: the temporary error, with its code, that the nth call and all later ones get during the body.
        """
        with ThreadPoolExecutor(1) as background, self.blocked_at(at, kind, code, nth) if kind else nullcontext():
            running = background.submit(self.store, **options)
            self.wait_for_calls(at, times)
            yield running

    @contextmanager
    def blocked_at(self, action: str, kind: Kind, code: str = "", nth: int = 1, text: str = "") -> Iterator[None]:
        """Block runs at a call, which they retry because the error is temporary on AWS."""
        self.aws.arm(Fault(kind, action=action, text=text, nth=nth, times=UNTIL_DISARMED, code=code, message="not yet"))
        try:
            yield
        finally:
            self.aws.disarm()

    def restore(self, *faults: Mapping[str, Any], **options: Any) -> Result:
        """Clean up as restore.yml does, with all instances listed by default."""
        listed = {"instances": {self.aws.region: [*self.instances.values()]}, "wait_timeout": PATIENCE}
        names = {"admin_role_name": ADMIN_ROLE, "server_profile": SERVER_ROLE}
        return run_module(self.aws, "cwagent_restore", *faults, **{**names, **listed, **options})

    def leave_open(self, host: str = "admin1") -> None:
        """Leave what an interrupted run leaves: record, restore tag, open window and admin profile."""
        opening: dict[str, Any] = {"state": "opened", "from": "run_command"}
        succeeded(self.store(host, **opening))

    def set_profile(self, profile: str, host: str = "admin1") -> str:
        """Associate an instance profile with the instance of a host. :returns: the ID of the instance."""
        associate(self.aws, self.instances[host], profile)
        return self.instances[host]

    def create_admin_user(self, key_store: str = "file", **options: Any) -> str:
        """Create the on-premises admin user with a closed window. :returns: the secret of its saved key."""
        saved = {"key_store": key_store, "key_store_directory": str(self.controller.credentials)}
        names: dict[str, Any] = {"name": [ADMIN_USER], "access": "admin", "admin_window": True, "saved_key": saved}
        succeeded(run_module(self.aws, "cwagent_iam_user", **names, **options))
        name = f"/cwagent/credentials/{ADMIN_USER}"
        if key_store == "file":
            text = (self.controller.credentials / f"{ADMIN_USER}.credentials").read_text()
            return text.partition("aws_secret_access_key = ")[2].splitlines()[0]
        if key_store == "parameter_store":
            text = self.aws.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        else:
            text = self.aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        return str(json.loads(text)["aws_secret_access_key"])

    @property
    def profiles(self) -> dict[str, str | None]:
        """By instance, its profile."""
        return associated_profiles(self.aws)

    @property
    def stored(self) -> dict[str, Any]:
        """By parameter, the configuration that is stored."""
        return configurations(self.aws)

    @property
    def window(self) -> Any:
        """The policy of the admin role's window."""
        return self.iam.get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)["PolicyDocument"]

    @property
    def swaps(self) -> list[str]:
        """The profiles that were associated instead of others."""
        return [call.params["IamInstanceProfile.Name"] for call in self.calls_of(REPLACE_ASSOCIATION)]

    def calls_of(self, action: str, since: int = 0) -> list[Call]:
        return [call for call in self.aws.calls(since) if call.action == action]

    def writes(self, since: int) -> list[str]:
        return [call.action for call in self.aws.writes(since)]

    def wait_for_calls(self, action: str, times: int = 1) -> None:
        """Wait until a call was made this many times."""
        wait_until(lambda: len(self.calls_of(action)) >= times)

    def can_write(self, credentials: Mapping[str, str], name: str = PARAMETER) -> bool:
        """Whether these credentials may store a configuration."""
        ssm = self.aws.client("ssm", credentials=credentials)
        try:
            ssm.put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return False
        return True

    def assert_safe(self) -> None:
        """Assert that nothing is open, and that no two instances had the admin profile or a window at once."""
        assert ADMIN_ROLE not in self.profiles.values()
        assert self.window == CLOSED_POLICY
        assert most_admins_at_once(self.aws.calls()) <= 1
        assert overlapping_windows(self.aws.calls()) == []

    def assert_clean(self) -> None:
        """Assert that the account is safe, and that no run has left a restore tag or a record."""
        self.assert_safe()
        assert self.aws.client("ec2").describe_tags()["Tags"] == []
        assert restore_records(self.aws) == {}

    def assert_restored(self, profile: str | None, stored: Any = None) -> None:
        """Assert that the account is clean, and admin1 has this profile. :param stored: its configuration, or none."""
        assert self.profiles[self.instances["admin1"]] == profile
        assert self.stored == ({} if stored is None else {PARAMETER: stored})
        self.assert_clean()


def ready_to_store(states: States) -> Storing:
    """A server on EC2 that can store, and the roles of an application and of this collection."""
    account = Storing(states.controller)
    for role, policy in ((SERVER_ROLE, SERVER_POLICY), (ADMIN_ROLE, ADMIN_POLICY), (APP, SERVER_POLICY)):
        create_role(account.aws, role, policy)
    closed = json.dumps(CLOSED_POLICY)
    account.iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=closed)
    account.add_instance("admin1", SERVER_ROLE, group="ec2_admin")
    return account


def config_of(host: str) -> dict[str, Any]:
    """The configuration that a host stores. No other host has the same."""
    return {"agent": {"metrics_collection_interval": 10 * int(host[-1])}}


def succeeded(result: Result) -> Result:
    assert not result["failed"], result
    return result


def refusal(result: Result) -> str:
    """The message of a result that failed."""
    assert result["failed"], result
    return str(result["msg"])


def without_times(value: Any) -> Any:
    return json.loads(re.sub(TIME, "TIME", json.dumps(value)))

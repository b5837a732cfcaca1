"""For a failure or an interruption at every call and at every task of the host, the permission is released."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore import xform_name
from disturbances import ERRORS, Cancelled, FakeGuard, Killed, denied

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import desired_config
from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import READING, Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    CwagentError,
    HostUnreachable,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import OPEN, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import closed_policy, is_closed
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import RESTORE_TAG, Profiles
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import Acquisition
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command import CommandSource, writes
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import DesiredCommand
from ansible_collections.cwagent.iam.plugins.module_utils._storing.instance import Admin, InstanceSource
from ansible_collections.cwagent.iam.plugins.module_utils._storing.onprem import OnPremisesSource
from ansible_collections.cwagent.iam.plugins.module_utils._storing.transaction import (
    ADVICE,
    GIVEN_BACK,
    Configuration,
    Report,
    Source,
    Transaction,
)

ADMIN, SHOP, INSTANCE, KEY = "admin", "shop", "i-0123456789abcdef0", "AKIATEST"
LEFT = "run cwagent.iam.restore"
pytestmark = pytest.mark.usefixtures("no_pauses")


@dataclass
class Account(Aws):
    """An account in a few values, which answers the calls of the real gateway.

    :param fault: a function that gets the number of a call or of the host's task, and may raise an error.
    """

    fault: Callable[[int, str], None] = lambda _number, _action: None
    profile: str | None = SHOP
    window: Any = field(default_factory=closed_policy)
    restore_tag: str | None = None
    role_tags: dict[str, str] = field(default_factory=dict)
    key_is_active: bool = False
    parameter: str | None = None
    command: dict[str, str] | None = None
    calls: list[str] = field(default_factory=list)
    associations: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    association: int = 0
    now = datetime(2026, 3, 1, tzinfo=UTC)
    region = "eu-1"

    def __post_init__(self) -> None:
        super().__init__(lambda *_: None, retry_timeout=2)

    @property
    def is_held(self) -> bool:
        """Whether somebody may write."""
        return self.profile == ADMIN or not is_closed(self.window) or self.key_is_active

    def begin(self, action: str) -> None:
        self.calls.append(action)
        self.fault(len(self.calls), action)

    def call(self, action: str, description: str, max_attempts: int = 0, **given: Any) -> dict[str, Any]:
        """Fail before the call takes effect; be interrupted after it, as the shield does."""
        try:
            self.begin(action)
        except Cancelled:
            if not action.partition(":")[2].startswith(READING):
                self.answer(action.partition(":")[2], given)
            raise
        except AwsApiError as error:
            raise AwsApiError(f"Could not {description} ({action}): {error}", error.code, action) from error
        return self.answer(action.partition(":")[2], given)

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if operation.startswith(READING):
            return self.read(operation)
        getattr(self, f"_{xform_name(operation)}")(given)
        return {"Command": self.command}

    def _put_role_policy(self, given: dict[str, Any]) -> None:
        self.window = json.loads(given["PolicyDocument"])

    _put_user_policy = _put_role_policy

    def _update_access_key(self, given: dict[str, Any]) -> None:
        self.key_is_active = given["Status"] == "Active"

    def _tag_role(self, given: dict[str, Any]) -> None:
        self.role_tags |= {each["Key"]: each["Value"] for each in given["Tags"]}

    def _untag_role(self, given: dict[str, Any]) -> None:
        self.role_tags = {key: value for key, value in self.role_tags.items() if key not in given["TagKeys"]}

    def _create_tags(self, given: dict[str, Any]) -> None:
        self.restore_tag = given["Tags"][0]["Value"]

    def _delete_tags(self, _given: dict[str, Any]) -> None:
        self.restore_tag = None

    def _replace_iam_instance_profile_association(self, given: dict[str, Any]) -> None:
        if given["AssociationId"] != f"iip-{self.association}":
            raise AwsApiError("another association", "InvalidAssociationID.NotFound")
        self.profile, self.association = given["IamInstanceProfile"]["Name"], next(self.associations)

    def _send_command(self, given: dict[str, Any]) -> None:
        self.command = {"CommandId": "c-1", "Comment": given["Comment"], "Status": "InProgress"}

    def _cancel_command(self, _given: dict[str, Any]) -> None:
        assert self.command
        self.command["Status"] = "Cancelled"

    def _put_parameter(self, given: dict[str, Any]) -> None:
        self.parameter = given["Value"]

    def run_command(self) -> None:
        """Let the instance store, once it has the permission to."""
        if self.command and self.command["Status"] == "InProgress" and self.profile == ADMIN:
            self.parameter, self.command["Status"] = TEXT, "Success"

    def read(self, operation: str) -> dict[str, Any]:
        tags = [{"Key": RESTORE_TAG, "Value": self.restore_tag}] if self.restore_tag else []
        association = {"InstanceId": INSTANCE, "AssociationId": f"iip-{self.association}", "State": "associated"}
        role_tags = [{"Key": key, "Value": value} for key, value in self.role_tags.items()]
        self.run_command()
        if operation == "GetParameter" and self.parameter is None:
            raise AwsApiError("none", "ParameterNotFound")
        written = {"region": "eu-1", "name": NAME, "status": "stored", "version": 1, "error": ""}
        output = json.dumps({"problem": "", "parameters": [written] if self.parameter else []})
        answers: dict[str, dict[str, Any]] = {
            "DescribeInstanceInformation": {
                "InstanceInformationList": [{"InstanceId": INSTANCE, "PingStatus": "Online", "PlatformType": "Linux"}]
            },
            "ListCommands": {"Commands": [self.command] if self.command else []},
            "GetCommandInvocation": {
                "Status": (self.command or {}).get("Status", "Pending"),
                "StandardOutputContent": output,
            },
            "GetParameter": {"Parameter": {"Value": self.parameter, "Type": "String", "Version": 1}},
            "ListTagsForResource": {"TagList": []},
            "DescribeIamInstanceProfileAssociations": {
                "IamInstanceProfileAssociations": [
                    {**association, "IamInstanceProfile": {"Arn": f"arn:aws:iam::1:instance-profile/{self.profile}"}}
                ]
            },
            "DescribeInstances": {
                "Reservations": [{"Instances": [{"InstanceId": INSTANCE, "State": {"Name": "running"}, "Tags": tags}]}]
            },
            "DescribeTags": {"Tags": [{"ResourceId": INSTANCE, **each} for each in tags]},
            "GetRolePolicy": {"PolicyDocument": self.window},
            "GetUserPolicy": {"PolicyDocument": self.window},
            "GetRole": {"Role": {"Tags": role_tags}},
            "GetUser": {"User": {"Tags": [{"Key": "cwagent:saved-key", "Value": KEY}]}},
            "ListRolePolicies": {"PolicyNames": []},
            "ListUserPolicies": {"PolicyNames": []},
            "ListAttachedRolePolicies": {"AttachedPolicies": []},
            "GetInstanceProfile": {
                "InstanceProfile": {
                    "InstanceProfileName": SHOP,
                    "Path": "/",
                    "Arn": "arn:aws:iam::1:instance-profile/shop",
                    "InstanceProfileId": "AIPA",
                    "Roles": [{"RoleName": SHOP}],
                }
            },
            "ListAccessKeys": {
                "AccessKeyMetadata": [
                    {
                        "AccessKeyId": KEY,
                        "Status": "Active" if self.key_is_active else "Inactive",
                        "CreateDate": self.now,
                    }
                ]
            },
        }
        return answers[operation]


class Host:
    """A host whose modules work at once."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def identity(self, profile: str | None, role: str | None, *, fail_on_refused_role: bool = False) -> dict[str, Any]:
        self.account.begin("host:identity")
        found = {"instance_profile": self.account.profile, "role": role}
        if profile == self.account.profile:
            return {"changed": False, "identity": found}
        return {"failed": True, "msg": "It has another identity.", "identity": found}

    def compare(self, configuration: Configuration) -> dict[str, Any]:
        self.account.begin("host:store")
        return {"changed": False, "steps": [] if self.account.parameter == value_of(configuration) else ["store"]}

    def store(self, configuration: Configuration) -> dict[str, Any]:
        self.account.begin("host:store")
        assert self.account.is_held
        self.account.parameter = value_of(configuration)
        return {"changed": True, "steps": ["store it"], "counts": {"create": 1}, "warnings": []}


def an_admin() -> Admin:
    profiles = Profiles(ADMIN, "server", ADMIN, "eu-1", frozenset({INSTANCE}))
    desired = Acquisition(profiles, INSTANCE, fail_if_tagged=True, is_running=True)
    return Admin("web", desired, DesiredWindow("role", ADMIN, OPEN, instance_id=INSTANCE), 2)


def value_of(configuration: Configuration) -> str:
    [parameter] = configuration.desired.parameters
    return parameter.value


def instance_source(account: Account, configurations: list[Configuration]) -> Source:
    earlier, host = {"instance_profile": SHOP, "role": SHOP}, cast(Any, Host(account))
    return InstanceSource(Report(), account, an_admin(), host, configurations=configurations, earlier=earlier)


def onprem_source(account: Account, _configurations: list[Configuration]) -> Source:
    account.profile = None
    window, host = DesiredWindow("user", ADMIN, OPEN), cast(Any, Host(account))
    return OnPremisesSource(Report(), account, host, name="db", window=window, wait_timeout=2)


def command_source(account: Account, configurations: list[Configuration]) -> Source:
    written = tuple(write for each in configurations for write in writes(each, can_change_tier=True))
    command = DesiredCommand("sent", INSTANCE, "run-1", ADMIN, written, 120, 60)
    return CommandSource(Report(), account, an_admin(), command, lambda _region: account)


SOURCES = {"instance": instance_source, "run_command": command_source, "onprem": onprem_source}
CONFIG = {"agent": {"metrics_collection_interval": 60}}
NAME, TEXT = "AmazonCloudWatch-linux", '{"agent":{"metrics_collection_interval":60}}'


def transaction(
    account: Account, source: str, names: Sequence[str] = (NAME,), guard: FakeGuard | None = None
) -> Transaction:
    configurations = [
        Configuration(desired_config(name, CONFIG, None, can_be_split=False), {name: None}, "eu-1") for name in names
    ]
    return Transaction(SOURCES[source](account, configurations), configurations, lambda: None, nullcontext, guard)


def undisturbed(source: str) -> Account:
    account = Account()
    assert transaction(account, source).run()["changed"]
    return account


@pytest.mark.parametrize("source", SOURCES)
def test_predicted_steps_are_done(source: str) -> None:
    account, predicted = Account(), Account()
    done, planned = transaction(account, source).run(), transaction(predicted, source).predict()
    assert [action for action in predicted.calls if not action.partition(":")[2].startswith(READING)] == []
    assert not account.is_held
    assert [each["name"] for each in planned["phases"]] == [each["name"] for each in done["phases"]]
    shown = [[step for step in each["steps"] if "store" not in step] for each in (planned, done)]
    assert shown[0] == shown[1]
    assert done["released"]
    assert not planned["released"]


@pytest.mark.parametrize("source", SOURCES)
def test_the_advice_on_interruptions_is_shown_before_anything_is_held(source: str) -> None:
    account = Account()
    storing, shown = transaction(account, source), {}
    storing._source.report.say = lambda text: shown.update({text: account.is_held})
    storing.run()
    assert shown[ADVICE] is False


def test_each_configuration_that_was_not_stored_is_in_the_message() -> None:
    failures = iter(["The first failed.", "The second failed."])

    def fail(_number: int, action: str) -> None:
        if action == "host:store":
            raise CwagentError(next(failures))

    account = Account(fault=fail)
    with pytest.raises(CwagentError, match=r"The first failed\. The second failed\."):
        transaction(account, "instance", ["a", "b"]).run()
    assert not account.is_held


@pytest.mark.parametrize("source", SOURCES)
def test_an_interruption_after_the_release_does_not_release_again(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storing = transaction(Account(), source)
    released: list[float | None] = []
    release = storing._source.release

    def count(wait: float | None = None) -> None:
        released.append(wait)
        release(wait)

    def interrupt(_failure: CwagentError | None) -> None:
        raise Cancelled

    monkeypatch.setattr(storing._source, "release", count)
    monkeypatch.setattr(storing._source, "finish", interrupt)
    with pytest.raises(Cancelled):
        storing.run()
    assert released == [None]


def fault_at(number: int, action: str, kind: str) -> Callable[[int, str], None]:
    """Raise an error at a call and, if its kind is always, at each later call of the action."""

    def fault(count: int, called: str) -> None:
        if count == number or ("always" in kind and count > number and called == action):
            raise ERRORS[kind](called)

    return fault


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ERRORS)
def test_whatever_happens_the_right_is_given_back(source: str, kind: str) -> None:
    """Otherwise, the message lists everything that is left."""
    for number, action in enumerate(undisturbed(source).calls, start=1):
        account, words = Account(fault=fault_at(number, action, kind)), list[str]()
        run = transaction(account, source)
        run._source.report.say_last = words.append
        try:
            run.run()
        except BaseException as error:  # noqa: BLE001  whatever was raised
            words.append(str(error))
        message = " ".join(words)
        where = f"{kind} call {number}, {action}: {message}"
        assert len(account.calls) >= number, where
        assert not account.is_held or LEFT in message, where
        is_running = account.command is not None and account.command["Status"] == "InProgress"
        assert not is_running or action == "ssm:CancelCommand" or "always" in kind, where


@pytest.mark.parametrize("source", ["instance", "onprem"])
@pytest.mark.parametrize("error", [CwagentError("It failed."), HostUnreachable("It does not answer.")])
def test_whatever_fails_afterwards_the_first_failure_is_named(source: str, error: CwagentError) -> None:
    """The message contains it once, together with the failure after it."""
    calls = undisturbed(source).calls
    for action in {*calls[calls.index("host:store") + 1 :]}:

        def fault(count: int, called: str, *, action: str = action) -> None:
            if called == "host:store":
                raise error
            if count > calls.index("host:store") and called == action:
                raise denied(called)

        with pytest.raises(CwagentError) as caught:
            transaction(Account(fault=fault), source).run()
        assert str(caught.value).count(str(error)) == 1, action
        assert action in str(caught.value) or action.partition(":")[2].startswith(READING) or action.startswith("host:")


DEADLINE = "2026-03-01T00:15:00Z"
ROLE_WINDOW = f"The admin window of role '{ADMIN}' may be open until {DEADLINE}."
USER_WINDOW, USER_KEY = (
    f"The admin window of user '{ADMIN}' may be open until {DEADLINE}.",
    f"The access key of user '{ADMIN}' may be active, and no deadline ends that.",
)
HAS_IDENTITY = f"web ({INSTANCE}) may still have the admin identity"
CANNOT_WRITE = ", which cannot write to Parameter Store any more, because the admin window is closed."
SWAP, PUT_ROLE, PUT_USER, SET_KEY = (
    "ec2:ReplaceIamInstanceProfileAssociation",
    "iam:PutRolePolicy",
    "iam:PutUserPolicy",
    "iam:UpdateAccessKey",
)
# By source and the steps of its release that fail, the beginning of the message.
STILL_OPEN = {
    **{
        (source, failing): begins
        for source in ("instance", "run_command")
        for failing, begins in {
            (SWAP,): f"{HAS_IDENTITY}{CANNOT_WRITE}",
            (PUT_ROLE,): f"{ROLE_WINDOW} web ({INSTANCE}) has its earlier profile again.",
            (SWAP, PUT_ROLE): f"{HAS_IDENTITY}. {ROLE_WINDOW}",
        }.items()
    },
    ("onprem", (PUT_USER,)): USER_WINDOW,
    ("onprem", (SET_KEY,)): USER_KEY,
    ("onprem", (PUT_USER, SET_KEY)): f"{USER_WINDOW} {USER_KEY}",
}


@pytest.mark.parametrize("code", ["AccessDenied", "InternalFailure", "ExpiredToken"])
@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize(("source", "failing"), STILL_OPEN)
def test_each_lock_is_tried_and_the_message_begins_with_what_is_open(
    source: str, failing: tuple[str, ...], is_stored: bool, code: str
) -> None:
    """If storing has failed before, this failure comes last."""
    stores = "ssm:GetCommandInvocation" if source == "run_command" else "host:store"
    begun: list[str] = []

    def fault(_number: int, action: str) -> None:
        if action == stores:
            begun.append(action)
            if not is_stored:
                raise CwagentError("It was not stored.")
        if begun and action in failing:
            raise AwsApiError("No.", code)

    account = Account(fault=fault)
    with pytest.raises(CwagentError) as caught:
        transaction(account, source).run()
    message = str(caught.value)
    assert message.startswith(f"{STILL_OPEN[source, failing]} ")
    assert "run cwagent.iam.restore" in message
    assert all(f"({action}): No." in message for action in failing)
    assert message.endswith(" Before that: It was not stored.") != is_stored
    assert (account.profile == ADMIN) == (SWAP in failing)
    assert is_closed(account.window) != any(action in failing for action in (PUT_ROLE, PUT_USER))
    assert account.key_is_active == (SET_KEY in failing)


@pytest.mark.parametrize(
    ("source", "begins"), [("instance", HAS_IDENTITY), ("onprem", "The admin window of user 'admin' was closed, but")]
)
def test_a_release_that_aws_does_not_show_is_no_open_window(source: str, begins: str) -> None:
    begun: list[str] = []

    def fault(_number: int, action: str) -> None:
        begun.extend([action] if action == "host:store" else [])
        if begun and action in ("iam:GetUserPolicy", "ec2:DescribeInstances"):
            raise denied(action)

    account = Account(fault=fault)
    with pytest.raises(CwagentError) as caught:
        transaction(account, source).run()
    assert str(caught.value).startswith(begins)
    assert account.key_is_active is False
    assert is_closed(account.window)


def test_a_profile_that_cannot_be_looked_up_is_restored_anyway() -> None:
    def fault(_number: int, action: str) -> None:
        if action == "iam:GetInstanceProfile":
            raise denied(action)

    account = Account(fault=fault)
    transaction(account, "instance").run()
    assert account.profile == SHOP


def opening(account: Account, source: str) -> Transaction:
    return Transaction(SOURCES[source](account, []), [], lambda: None, nullcontext)


@pytest.mark.parametrize("source", ["instance", "run_command"])
def test_a_right_that_is_opened_stays_unless_that_fails(source: str) -> None:
    predicted = Account()
    planned = opening(predicted, source).predict_opening()
    opened = Account()
    done = opening(opened, source).open()
    assert opened.is_held
    assert (planned["steps"], planned["window"]["state"]) == (done["steps"], "open")
    assert [action for action in predicted.calls if not action.partition(":")[2].startswith(READING)] == []


@pytest.mark.parametrize("source", ["instance", "run_command"])
@pytest.mark.parametrize("kind", ERRORS)
def test_whatever_fails_while_it_is_opened_the_right_is_given_back(source: str, kind: str) -> None:
    undisturbed_opening = Account()
    opening(undisturbed_opening, source).open()
    for number, action in enumerate(undisturbed_opening.calls, start=1):
        account, words, has_failed = Account(fault=fault_at(number, action, kind)), list[str](), False
        run = opening(account, source)
        run._source.report.say_last = words.append
        try:
            run.open()
        except BaseException as error:  # noqa: BLE001  whatever was raised
            words.append(str(error))
            has_failed = True
        message = " ".join(words)
        if has_failed:
            assert not account.is_held or LEFT in message, f"{kind} call {number}, {action}: {message}"


@pytest.mark.parametrize("source", SOURCES)
def test_where_nothing_differs_no_right_is_acquired(source: str) -> None:
    account = Account()
    assert not opening(account, source).predict()["changed"]
    assert not opening(account, source).run()["changed"]
    assert account.calls == []


@pytest.mark.parametrize("source", SOURCES)
def test_a_guard_gives_back_the_permission_of_a_process_that_is_killed_at_any_call(source: str) -> None:
    for number, action in enumerate(undisturbed(source).calls, start=1):

        def fault(count: int, _action: str, *, number: int = number) -> None:
            if count >= number:
                raise Killed

        account, guard = Account(fault=fault), FakeGuard()
        with pytest.raises(Killed):
            transaction(account, source, guard=guard).run()
        account.fault = lambda _number, _action: None
        if guard.give_back:
            assert guard.give_back() == GIVEN_BACK
        where = f"call {number}, {action}"
        assert not account.is_held, where
        assert account.command is None or account.command["Status"] != "InProgress", where


@pytest.mark.parametrize("source", SOURCES)
def test_the_guard_ends_with_the_permission(source: str) -> None:
    guard = FakeGuard()
    transaction(Account(), source, guard=guard).run()
    assert guard.give_back is None


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("is_denied", [False, True])
def test_the_last_words_after_an_interruption_tell_what_became_of_it(source: str, is_denied: bool) -> None:
    """A guard tries again where the release was denied."""
    storing = "ssm:GetCommandInvocation" if source == "run_command" else "host:store"
    interrupted: list[str] = []

    def fault(_number: int, action: str) -> None:
        if interrupted and is_denied:
            raise denied(action)
        if action == storing:
            interrupted.append(action)
            raise Cancelled

    account, guard, words = Account(fault=fault), FakeGuard(), list[str]()
    run = transaction(account, source, guard=guard)
    run._source.report.say_last = words.append
    with pytest.raises(Cancelled):
        run.run()
    [last] = words
    if not is_denied:
        assert (last, guard.give_back) == (f"The run was interrupted. {GIVEN_BACK}", None)
        return
    assert account.is_held
    assert last.startswith("The run was interrupted. The permission to write was not given back: ")
    assert " AWS denies writing from " in last
    assert last.endswith("To clean up, run cwagent.iam.restore with the same inventory.")
    assert guard.give_back
    account.fault = lambda _number, _action: None
    assert guard.give_back() == GIVEN_BACK
    assert not account.is_held

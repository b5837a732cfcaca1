"""Access keys: none is lost, none is created twice, and each saved key works."""

from __future__ import annotations

import configparser
import json
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Behaviour, Call, Emulator, Fault, Kind, program_environment
from emulator.snapshot import snapshot
from emulator.testing import wait_until
from harness import MODULE_SECONDS, NEEDS_AWS_CLI, assert_no_writes, create_user, execute_module
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import described_key

MODULE = "cwagent_iam_user"
SERVICES = {"parameter_store": "ssm", "secrets_manager": "secretsmanager"}
STORES = ("file", *SERVICES)
PREFIX = "/cwagent/credentials/"
SECTION = "AmazonCloudWatchAgent"
HOUR, DAY = 3600, 24 * 3600
CLAIM_LIFETIME = 30
# With more rounds this takes minutes.
ROUNDS = int(os.environ.get("CWAGENT_ROUNDS", "2"))
RUNS_AT_ONCE = 4


@dataclass
class Users:
    """Users whose access keys are saved in one of the stores."""

    aws: Emulator
    home: Path
    store: str

    @property
    def folder(self) -> Path:
        return self.home / "keys"

    def _options(self, names: list[str] | None = None, **more: Any) -> dict[str, Any]:
        directory = {"key_store_directory": str(self.folder)} if self.store == "file" else {}
        saved_key = {"key_store": self.store, **directory, **more.pop("saved_key", {})}
        options = {"name": names or ["U"], "access": "server", "saved_key": saved_key, "wait_timeout": 5, **more}
        return {key: value for key, value in options.items() if value is not None}

    def run(
        self, *faults: dict[str, Any], check: bool = False, credentials: dict[str, str] | None = None, **more: Any
    ) -> dict[str, Any]:
        options = self._options(**more)
        return run_module(self.aws, MODULE, *faults, check=check, credentials=credentials, **options)

    def succeed(self, *faults: dict[str, Any], **more: Any) -> dict[str, Any]:
        result = self.run(*faults, **more)
        assert not result["failed"], result
        return result

    def kill(self, fault: dict[str, Any], **more: Any) -> None:
        """Run the module in its own process, which the fault kills."""
        assert execute_module(self.aws, MODULE, self._options(**more), faults=[fault])["code"] == -9

    def empty(self) -> None:
        """Empty the account and the folder of the files."""
        self.aws.reset()
        for path in self.folder.glob("*"):
            path.unlink()

    def own_calls(self, mark: int) -> list[tuple[int, Call]]:
        """The calls of an undisturbed run with their numbers; where keys are saved in AWS, only those for a key.

        The other calls are the same for each store, so these are tested with files only.
        """
        calls = list(enumerate(self.aws.calls(mark), 1))
        if self.store == "file":
            return calls
        return [(n, call) for n, call in calls if call.service == SERVICES[self.store] or "AccessKey" in call.action]

    def document(self, user: str = "U") -> dict[str, Any]:
        """The saved credentials of a user, from any store."""
        name = PREFIX + user
        if self.store == "file":
            parser = configparser.RawConfigParser()
            parser.read(self.folder / f"{user}.credentials")
            return dict(parser[SECTION]) if parser.has_section(SECTION) else {}
        if self.store == "parameter_store":
            parameter = self.aws.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]
            assert parameter["Type"] == "SecureString"
            text = parameter["Value"]
        else:
            text = self.aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        found: dict[str, Any] = json.loads(text)
        return found

    def edit(self, text: str | None) -> None:
        """Replace the saved credentials by a text, or delete them, as somebody does by hand."""
        ssm, secrets = (self.aws.client(service) for service in ("ssm", "secretsmanager"))
        name, file = f"{PREFIX}U", self.folder / "U.credentials"
        if self.store == "file":
            file.unlink() if text is None else file.write_text(text)
        elif self.store == "parameter_store":
            ssm.delete_parameter(Name=name)
            if text is not None:
                ssm.put_parameter(Name=name, Value=text, Type="SecureString")
        elif text is None:
            secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        else:
            secrets.put_secret_value(SecretId=name, SecretString=text)

    def saved_key(self) -> str:
        return str(self.document()["aws_access_key_id"])

    def statuses(self, user: str = "U") -> dict[str, str]:
        """By access key of a user, its status."""
        found = self.aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in found}

    def sts(self, user: str = "U") -> Any:
        """A client that signs with the saved access key."""
        document = self.document(user)
        keys = {"AccessKeyId": document["aws_access_key_id"], "SecretAccessKey": document["aws_secret_access_key"]}
        return self.aws.client("sts", credentials=keys)

    def identity(self, user: str = "U") -> str:
        """The user of the saved access key, from a call that is signed with it."""
        return str(self.sts(user).get_caller_identity()["Arn"].rpartition("/")[2])

    def assert_one_working_key(self, user: str = "U") -> None:
        """Assert that the user has one active key, which is saved and works, and that no record or file is left."""
        document = self.document(user)
        assert self.statuses(user) == {document["aws_access_key_id"]: "Active"}
        assert self.identity(user) == user
        assert set(document) == {"aws_access_key_id", "aws_secret_access_key", "region"}
        if self.store == "file":
            assert [path.name for path in self.folder.iterdir() if user in path.name] == [f"{user}.credentials"]
            assert (self.folder / f"{user}.credentials").stat().st_mode & 0o777 == 0o600


@pytest.fixture(params=STORES)
def users(request: pytest.FixtureRequest, enforcing: Emulator, tmp_path: Path) -> Users:
    return Users(enforcing, tmp_path, request.param)


@pytest.fixture
def files(enforcing: Emulator, tmp_path: Path) -> Users:
    return Users(enforcing, tmp_path, "file")


@pytest.fixture
def parameters(enforcing: Emulator, tmp_path: Path) -> Users:
    return Users(enforcing, tmp_path, "parameter_store")


@pytest.fixture
def secrets(enforcing: Emulator, tmp_path: Path) -> Users:
    return Users(enforcing, tmp_path, "secrets_manager")


# -- Faults --


def disturb(calls: Iterable[Call], kind: Kind) -> list[dict[str, Any]]:
    """A fault for each of these calls. The repetition of a call is not disturbed."""
    counts, faults = Counter[str](), []
    for call in calls:
        counts[call.action] += 1
        faults.append({"kind": kind, "action": call.action, "nth": 2 * counts[call.action] - 1})
    return faults


@pytest.mark.parametrize("kind", [Kind.THROTTLE, Kind.SERVER_ERROR])
def test_a_run_survives_one_disturbance_of_each_action(users: Users, kind: Kind) -> None:
    """A second call could create a second key, so only its throttling is survived."""
    since = users.aws.mark()
    users.succeed()
    calls = [call for _, call in users.own_calls(since) if kind is Kind.THROTTLE or call.action != "CreateAccessKey"]
    users.empty()
    since, faults = users.aws.mark(), disturb({call.action: call for call in calls}.values(), kind)
    users.succeed(*faults, wait_timeout=MODULE_SECONDS)
    assert len([call for call in users.aws.calls(since) if call.fault]) == len(faults)
    users.assert_one_working_key()


@pytest.mark.parametrize("kind", [Kind.DENY, Kind.LOSE_ANSWER])
def test_the_next_run_recovers_from_a_fault_at_any_call(users: Users, kind: Kind, subtests: pytest.Subtests) -> None:
    """Without an answer, only a write leaves something."""
    since = users.aws.mark()
    users.succeed()
    assert "CreateAccessKey" in [call.action for call in users.aws.calls(since)]
    for position, call in users.own_calls(since):
        if kind is Kind.LOSE_ANSWER and not call.write:
            continue
        with subtests.test(position=position, action=call.action):
            users.empty()
            users.run({"kind": kind, "nth": position})
            users.aws.shift_clock(CLAIM_LIFETIME)
            users.succeed()
            users.assert_one_working_key()
    assert not users.run()["changed"]


def test_the_next_run_recovers_from_a_kill_at_any_call(users: Users, subtests: pytest.Subtests) -> None:
    """Files are written between calls, so there a kill before any call matters too."""
    since = users.aws.mark()
    users.succeed()
    for position, call in users.own_calls(since):
        for kind in [Kind.KILL_AFTER] * call.write + [Kind.KILL_BEFORE] * (users.store == "file"):
            with subtests.test(position=position, action=call.action, kind=kind):
                users.empty()
                users.kill({"kind": kind, "nth": position})
                users.aws.shift_clock(CLAIM_LIFETIME)
                users.succeed()
                users.assert_one_working_key()


LEAK: dict[str, Any] = {"rotate_now": True, "revoke_old": True}


@pytest.mark.parametrize("kind", [Kind.KILL_AFTER, Kind.DENY])
def test_a_leaked_key_is_replaced_and_revoked_after_a_fault_at_any_call(
    users: Users, kind: Kind, subtests: pytest.Subtests
) -> None:
    """The run that follows does the rest and does not begin anew; the one after it has nothing to do."""
    users.succeed()
    leaked = users.saved_key()
    users.aws.save("leaked", users.home)
    with assert_no_writes(users.aws):
        predicted = users.run(check=True, **LEAK)
    since, replaced = users.aws.mark(), users.succeed(**LEAK)
    assert predicted["steps"] == replaced["steps"]
    assert [step.split()[0] for step in replaced["steps"]] == ["create", "deactivate"]
    for position, call in users.own_calls(since):
        if kind is Kind.KILL_AFTER and not call.write and users.store != "file":
            continue
        with subtests.test(position=position, action=call.action):
            users.aws.restore("leaked")
            disturb = users.kill if kind is Kind.KILL_AFTER else users.run
            disturb({"kind": kind, "nth": position}, **LEAK)
            users.aws.shift_clock(CLAIM_LIFETIME)
            created, saved = users.statuses().keys() - {leaked}, users.saved_key()
            users.succeed(**LEAK)
            assert users.statuses() == {leaked: "Inactive", users.saved_key(): "Active"}
            assert users.identity() == "U"
            # A new key that was saved before the fault is the one to keep.
            assert saved not in created or users.saved_key() == saved
            assert not users.run(**LEAK)["changed"]


def test_a_claim_of_a_run_that_was_just_killed_is_waited_for(users: Users) -> None:
    users.kill({"kind": Kind.KILL_AFTER, "action": "CreateAccessKey"})
    result = users.run(wait_timeout=1)
    if users.store == "file":  # the kernel ended the lock
        assert not result["failed"], result
        return
    busy = "Another run is creating an access key of user 'U'. Wait until it has ended, then run again."
    assert busy in result["msg"]
    assert len(users.statuses()) == 1
    users.aws.shift_clock(CLAIM_LIFETIME)
    users.succeed()
    users.assert_one_working_key()


def test_a_killed_run_on_a_fleet_loses_no_key(files: Users) -> None:
    names = [f"U{number}" for number in range(20)]
    files.kill({"kind": Kind.KILL_AFTER, "action": "CreateAccessKey", "nth": 10}, names=names, wait=False)
    unfinished = sum(len(files.statuses(name)) for name in names if (files.folder / f".{name}.pending").exists())
    assert unfinished, "the run was not killed while it saved keys"
    files.succeed(names=names)
    assert all(path.suffix == ".credentials" for path in files.folder.iterdir())
    saved = {name: files.document(name)["aws_access_key_id"] for name in names}
    assert {name: [*files.statuses(name)] for name in names} == {name: [key] for name, key in saved.items()}
    assert {files.identity(name) for name in names[::7]} == set(names[::7])


CONTENTION = re.compile(
    r"Another run (saved|is creating|was interrupted)|took so long that another run|EntityAlreadyExists"
)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_runs_at_once_create_one_key_for_each_user(users: Users, seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311  it chooses cases
    names = ["U", "V"]
    for name in chosen.sample(names, chosen.randint(0, 2)):
        users.aws.client("iam").create_user(UserName=name)
    if chosen.random() < 0.25:
        users.run(names=names[:1])
    users.aws.arm(Fault(kind=Kind.DELAY, action="CreateAccessKey", seconds=chosen.choice([0, 0.2, 1])))
    since = users.aws.mark()
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        results = list(pool.map(lambda _number: users.run(names=names, wait_timeout=120), range(RUNS_AT_ONCE)))
    users.aws.disarm()
    reasons = [result.get("failures") or {"": result["msg"]} for result in results if result["failed"]]
    failures = [each for found in reasons for each in found.values()]
    assert [each for each in failures if not CONTENTION.search(each)] == []
    if failures:
        users.run(names=names)  # users whose creation collided may still have no key
    for name in names:
        users.assert_one_working_key(name)
    counts = Counter(call.action for call in users.aws.calls(since))
    assert counts["CreateAccessKey"] - counts["DeleteAccessKey"] <= len(names)
    assert not users.run(names=names)["changed"]


# -- Saved keys --


def test_three_runs_create_one_key(users: Users) -> None:
    predicted = users.run(check=True)
    results = [users.run() for _ in range(3)]
    assert [result["changed"] for result in results] == [True, False, False]
    assert predicted["steps"] == results[0]["steps"]
    assert [call.action for call in users.aws.writes()].count("CreateAccessKey") == 1
    users.assert_one_working_key()
    secret = users.document()["aws_secret_access_key"]
    assert secret not in json.dumps([*results, predicted, [call.params for call in users.aws.calls()]])


def test_a_deactivated_key_is_an_error_and_a_deleted_key_is_replaced(files: Users) -> None:
    iam = files.aws.client("iam")
    files.run()
    key = files.saved_key()
    iam.update_access_key(UserName="U", AccessKeyId=key, Status="Inactive")
    message = files.run()["msg"]
    assert f"access key {key} of user 'U'" in message
    assert "was deactivated" in message
    iam.delete_access_key(UserName="U", AccessKeyId=key)
    assert files.run()["changed"]
    # IAM does not distinguish a deleted key from one of another account.
    (files.folder / "U.credentials.earlier").unlink()
    files.assert_one_working_key()


@pytest.mark.parametrize("text", [None, "secret"])
def test_a_key_whose_saved_credentials_are_lost_is_kept_beside_a_new_one(users: Users, text: str | None) -> None:
    users.run()
    before = users.saved_key()
    users.edit(text)
    users.succeed()
    assert users.identity() == "U"
    assert users.statuses().keys() == {before, users.saved_key()}
    assert not users.run()["changed"]


def test_two_unmanaged_keys_are_an_error_unless_one_may_be_evicted(files: Users) -> None:
    iam = files.aws.client("iam")
    iam.create_user(UserName="U")
    first, second = (iam.create_access_key(UserName="U")["AccessKey"] for _ in range(2))
    files.aws.client("sts", credentials=first).get_caller_identity()
    result = files.run(names=["U", "V"])
    assert f"{first['AccessKeyId']} (active, 0 days old, last used 20" in result["msg"]
    assert f"{second['AccessKeyId']} (active, 0 days old, never used)" in result["msg"]
    assert "saved_key.evict_unmanaged_key" in result["msg"]
    files.assert_one_working_key("V")
    files.succeed(saved_key={"evict_unmanaged_key": True})
    assert files.statuses().keys() == {first["AccessKeyId"], files.saved_key()}
    assert files.identity() == "U"


def test_no_key_is_created_when_the_store_cannot_be_written(users: Users) -> None:
    if users.store == "file":
        (users.folder / "U.credentials").mkdir(parents=True)
        users.folder.chmod(0o700)
        result = users.run()
    else:
        service = SERVICES[users.store]
        result = users.run({"kind": Kind.DENY, "service": service, "writes": True, "times": 9})
        assert ("ssm:PutParameter" if service == "ssm" else "secretsmanager:") in result["msg"]
    assert result["failed"]
    assert "CreateAccessKey" not in [call.action for call in users.aws.calls()]


@pytest.mark.parametrize(
    ("store", "action", "nth"), [("parameters", "PutParameter", 2), ("secrets", "UpdateSecret", 1)]
)
def test_a_key_that_cannot_be_saved_is_deleted_again(
    request: pytest.FixtureRequest, store: str, action: str, nth: int
) -> None:
    """The first parameter is the claim, and a secret is created for it."""
    users: Users = request.getfixturevalue(store)
    result = users.run({"kind": Kind.DENY, "action": action, "nth": nth})
    assert result["failed"]
    assert "was deleted." in result["msg"]
    assert users.statuses() == {}
    users.succeed()
    users.assert_one_working_key()


@pytest.mark.parametrize("store", ["parameters", "secrets"])
def test_the_saved_key_is_known_without_its_secret(request: pytest.FixtureRequest, store: str) -> None:
    users: Users = request.getfixturevalue(store)
    for _ in range(2):
        users.run()
        [key] = users.statuses()
        if store == "parameters":
            [found] = users.aws.client("ssm").describe_parameters()["Parameters"]
        else:
            [found] = users.aws.client("secretsmanager").list_secrets()["SecretList"]
        assert described_key(found["Description"]) == key
        users.aws.client("iam").delete_access_key(UserName="U", AccessKeyId=key)


def test_a_secret_gets_the_kms_key_with_the_next_access_key(secrets: Users) -> None:
    """A parameter gets it with every write."""
    client, iam = secrets.aws.client("secretsmanager"), secrets.aws.client("iam")
    secrets.run()
    for saved_key in ({"key_store_kms_key_id": "alias/agent"}, {}):
        [key] = secrets.statuses()
        iam.delete_access_key(UserName="U", AccessKeyId=key)
        secrets.run(saved_key=saved_key)
        assert client.describe_secret(SecretId=f"{PREFIX}U")["KmsKeyId"] == "alias/agent"
    secrets.assert_one_working_key()


def test_a_secret_that_is_being_deleted_counts_as_deleted(secrets: Users) -> None:
    """AWS deletes in the background, also what was saved while the key was created; and an answer can be lost.

    A user that is created again a moment later gets a key as soon as AWS has deleted the secret of the old one.
    """
    credentials = create_user(secrets.aws, "controller", policy="AdministratorAccess")
    secrets.aws.be_unkind(Behaviour.DELETED_SECRETS, seconds=HOUR)
    secrets.succeed(credentials=credentials)
    lost = {"kind": Kind.LOSE_ANSWER, "action": "DeleteSecret"}
    assert secrets.succeed(lost, credentials=credentials, state="absent")["changed"]
    assert "U" not in snapshot(secrets.aws)["users"]
    with assert_no_writes(secrets.aws):
        assert not secrets.run(credentials=credentials, state="absent")["changed"]
        blocked = secrets.run(credentials=credentials, wait_timeout=1)
    assert "because it was marked for deletion" in blocked["msg"]
    since = secrets.aws.mark()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(secrets.run, credentials=credentials, wait_timeout=MODULE_SECONDS)
        wait_until(lambda: any(call.unkind for call in secrets.aws.calls(since)))
        secrets.aws.be_unkind()  # AWS has deleted it
    assert waiting.result()["changed"], waiting.result()
    secrets.assert_one_working_key()


def test_the_saved_key_and_the_replaced_one_are_deleted_with_the_user(users: Users) -> None:
    absent: dict[str, Any] = {"names": ["U"], "state": "absent", "access": None}
    users.run(names=["U", "V"])
    users.run(rotate_now=True)
    assert users.run(**absent)["changed"]
    assert not users.run(**absent)["changed"]
    assert list(snapshot(users.aws)["users"]) == ["V"]
    users.assert_one_working_key("V")
    if users.store == "file":
        assert [path.name for path in users.folder.iterdir()] == ["V.credentials"]
    else:
        with pytest.raises(ClientError):
            users.document("U")


@NEEDS_AWS_CLI
def test_the_aws_cli_can_use_the_saved_file_unchanged(files: Users) -> None:
    files.run()
    settings = {
        "AWS_SHARED_CREDENTIALS_FILE": str(files.folder / "U.credentials"),
        "AWS_PROFILE": SECTION,
        "AWS_ENDPOINT_URL": files.aws.endpoint,
        "HOME": str(files.home),
    }
    since, program = files.aws.mark(), [os.environ["AWS_CLI"], "sts", "get-caller-identity"]
    subprocess.run(program, env=program_environment(settings), check=True, capture_output=True, timeout=MODULE_SECONDS)
    [call] = files.aws.calls(since)
    assert (call.principal.rpartition("/")[2], call.status, call.region) == ("U", 200, files.aws.region)


UNREADABLE = {
    "InvalidKeyId": "The query key ID isn't valid",
    "KMSInvalidStateException": "arn:aws:kms:eu-central-1:123456789012:key/1 is pending deletion.",
    "AccessDeniedException": "The ciphertext refers to a customer master key that you are not allowed to access.",
}


def test_a_parameter_that_cannot_be_decrypted_fails_its_user_only(parameters: Users) -> None:
    """Whether AWS fails the whole call or not, is not documented. Where the call succeeds, nothing is read again."""
    names = [f"u{number}" for number in range(7)]
    parameters.run(names=names)
    since = parameters.aws.mark()
    assert not parameters.run(names=names)["changed"]
    assert [call.action for call in parameters.aws.calls(since)].count("GetParameters") == 2
    error = {"kind": Kind.ERROR, "action": "GetParameters", "text": 'u3"', "times": 1000}
    for code, message in UNREADABLE.items():
        since = parameters.aws.mark()
        result = parameters.run({**error, "code": code, "message": message}, names=[*names, f"new-{code}"])
        assert {*re.findall(r"\bu\d\b", result["msg"])} == {"u3"}
        assert message.rstrip(".") in result["msg"]
        assert ("kms:Decrypt" in result["msg"]) == (code == "AccessDeniedException")
        parameters.assert_one_working_key(f"new-{code}")
        assert {call.params.get("UserName") for call in parameters.aws.writes(since)} <= {f"new-{code}", None}


@pytest.mark.parametrize(("users", "read"), [(1, "u0 and 1 more"), (7, "u0 and 9 more")])
def test_a_denied_read_of_all_parameters_is_reported_once(parameters: Users, users: int, read: str) -> None:
    names = [f"u{number}" for number in range(users)]
    since = parameters.aws.mark()
    result = parameters.run({"kind": Kind.DENY, "action": "GetParameters", "times": 1000}, names=names)
    assert f"/{read} (ssm:GetParameters)" in result["msg"]
    assert "lacks ssm:GetParameters" in result["msg"]
    assert [call.action for call in parameters.aws.calls(since)].count("GetParameters") <= 2
    assert parameters.aws.writes(since) == []


# -- Rotation and retirement --


def test_a_server_can_always_sign_while_its_keys_are_rotated(files: Users) -> None:
    """The server gets its new key twelve days late. Keys change only in runs, so it signs before and after each."""
    files.run()
    server, phases, saved_on = files.sts(), list[str](), 0
    for day in range(0, 72, 4):
        server.get_caller_identity()
        result = files.succeed(key_max_age_days=30, key_delete_after_days=10)
        assert len(files.statuses()) <= 2
        phase = result["rotation"]["U"]
        phases += [phase] if [phase] != phases[-1:] else []
        saved_on = day if phase == "due" else saved_on
        if day == saved_on + 12:
            server = files.sts()
        server.get_caller_identity()
        files.aws.shift_clock(4 * DAY)
    cycle = ["current", "due", "waiting_for_use", "deactivating", "grace_period", "deleting"]
    assert phases == [*cycle, *cycle[:3]]


RETIRED: dict[str, Any] = {"state": "retired", "access": None}


def test_a_user_is_retired_once_nothing_uses_its_key(files: Users) -> None:
    files.run(names=["U", "V"])
    server, phases = files.sts(), []

    def retire(**more: Any) -> dict[str, Any]:
        """The result of a run, after check mode that predicts it, and before a run that only finds the same phase."""
        with assert_no_writes(files.aws):
            predicted = files.run(check=True, **RETIRED, **more)
        result = files.succeed(**RETIRED, **more)
        keys = ("steps", "retirement", "blockers", "diff", "changed")
        assert {key: result[key] for key in keys} == {key: predicted[key] for key in keys}
        phases.append(result["retirement"].get("U"))
        with assert_no_writes(files.aws):
            assert not files.run(**RETIRED, **more)["changed"]
        return result

    held = retire(hold={"U": "db2 is unreachable"})
    assert held["blockers"] == {"U": ["db2 is unreachable"]}
    for _ in range(2):
        server.get_caller_identity()
        retire()
        files.aws.shift_clock(5 * HOUR - 60)
    retire()
    files.aws.shift_clock(120)
    assert [*files.statuses().values()] == ["Active"]
    deactivated = retire()
    assert [step.split()[0] for step in deactivated["steps"]] == ["deactivate"]
    with pytest.raises(ClientError):
        server.get_caller_identity()
    files.aws.shift_clock(6 * DAY)
    retire()
    files.aws.shift_clock(DAY)
    deleted = retire()
    assert phases == ["waiting", *["in_use"] * 3, "deactivating", "grace_period", "deleting"]
    assert deleted["users"] == []
    assert list(snapshot(files.aws)["users"]) == ["V"]
    files.assert_one_working_key("V")
    assert not files.run(**RETIRED)["retirement"]


def test_both_keys_of_a_user_are_retired_and_keys_of_others_are_not(files: Users) -> None:
    """The saved key and the one that it replaced are managed."""
    files.run(names=["U", "V"])
    files.run(rotate_now=True)
    other = files.aws.client("iam").create_access_key(UserName="V")["AccessKey"]["AccessKeyId"]
    files.aws.shift_clock(9 * DAY)
    since, result = files.aws.mark(), files.run(names=["U", "V"], **RETIRED)
    assert [call.action for call in files.aws.writes(since)] == ["UpdateAccessKey"] * 2
    assert result["retirement"] == {"U": "deactivating", "V": "blocked"}
    assert result["blockers"] == {"V": [f"access key {other}"]}
    assert other in " ".join(result["warnings"])
    assert files.run(names=["U", "V"], **RETIRED)["retirement"] == {"U": "deleting", "V": "blocked"}
    assert list(snapshot(files.aws)["users"]) == ["V"]
    assert files.identity("V") == "V"


def test_a_user_is_retired_although_each_answer_is_lost(users: Users) -> None:
    users.run()
    users.aws.shift_clock(8 * DAY)
    users.aws.save("unused", users.home)
    for writes in (["UpdateAccessKey"], ["DeleteAccessKey", "DetachUserPolicy", "DeleteUser"]):
        since = users.aws.mark()
        users.succeed(**RETIRED)
        undisturbed = users.aws.writes(since)
        assert [call.action for call in undisturbed if call.service == "iam"] == writes
        expected = snapshot(users.aws)["users"]
        users.aws.restore("unused")
        since = users.aws.mark()
        users.succeed(*disturb(undisturbed, Kind.LOSE_ANSWER), **RETIRED)
        assert len([call for call in users.aws.calls(since) if call.fault]) == len(undisturbed)
        assert snapshot(users.aws)["users"] == expected
        users.aws.save("unused", users.home)
    assert expected == {}
    assert not users.run(**RETIRED)["changed"]


def test_retirement_requires_the_place_of_the_keys(files: Users) -> None:
    result = run_module(files.aws, MODULE, name=["U"], state="retired")
    assert result["msg"] == "state is retired but all of the following are missing: saved_key"
    assert files.aws.calls() == []

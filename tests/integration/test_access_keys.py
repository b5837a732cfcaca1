"""Access keys: none is lost, none is created twice, and each saved key works."""

from __future__ import annotations

import configparser
import json
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Behaviour, Emulator, Fault, Kind, program_environment
from emulator.snapshot import snapshot
from emulator.testing import wait_until
from harness import MODULE_SECONDS, create_user, execute_module
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import described_key

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
class Fleet:
    """Users whose access keys are saved in one of the stores."""

    aws: Emulator
    home: Path
    store: str

    @property
    def folder(self) -> Path:
        return self.home / "keys"

    def run(
        self,
        *faults: dict[str, Any],
        names: list[str] | None = None,
        check: bool = False,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """The result of the module, and its exit ``code``, which is negative when a signal ended it.

        Only a fault that kills, and variables that are no credentials, need its own process.
        """
        directory = {"key_store_directory": str(self.folder)} if self.store == "file" else {}
        saved_key = {"key_store": self.store, **directory, **more.pop("saved_key", {})}
        arguments = {
            "name": names or ["U"],
            "access": "server",
            "saved_key": saved_key,
            "wait_timeout": 5,
            **more,
        }
        arguments = {key: value for key, value in arguments.items() if value is not None}
        if env or any(each["kind"].startswith("kill") for each in faults):
            arguments["_ansible_check_mode"] = check
            return execute_module(self.aws, "cwagent_iam_user", arguments, env=env, faults=faults)
        result = run_module(self.aws, "cwagent_iam_user", *faults, check=check, **arguments)
        return {**result, "code": 0, "text": json.dumps(result)}

    def empty(self) -> None:
        """Empty the account and the folder of the files."""
        self.aws.reset()
        for path in self.folder.glob("*"):
            path.unlink()

    def calls_since(self, mark: int) -> list[tuple[int, str]]:
        """The actions of an undisturbed run with their numbers, from the first call to the store on.

        Before that call, all runs are the same, so these calls are tested with files only.
        """
        calls = self.aws.calls(mark)
        first = 0 if self.store == "file" else [call.service for call in calls].index(SERVICES[self.store])
        return [(number, call.action) for number, call in enumerate(calls[first:], first + 1)]

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

    def access_keys(self, user: str = "U") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
        return found

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
        assert [(key["AccessKeyId"], key["Status"]) for key in self.access_keys(user)] == [
            (document["aws_access_key_id"], "Active")
        ]
        assert self.identity(user) == user
        assert set(document) == {"aws_access_key_id", "aws_secret_access_key", "region"}
        if self.store == "file":
            assert [path.name for path in self.folder.iterdir() if user in path.name] == [f"{user}.credentials"]
            assert (self.folder / f"{user}.credentials").stat().st_mode & 0o777 == 0o600


@pytest.fixture(params=STORES)
def fleet(request: pytest.FixtureRequest, enforcing: Emulator, tmp_path: Path) -> Fleet:
    return Fleet(enforcing, tmp_path, request.param)


@pytest.fixture
def files(enforcing: Emulator, tmp_path: Path) -> Fleet:
    return Fleet(enforcing, tmp_path, "file")


@pytest.fixture
def parameters(enforcing: Emulator, tmp_path: Path) -> Fleet:
    return Fleet(enforcing, tmp_path, "parameter_store")


KINDS = (Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.LOSE_ANSWER, Kind.THROTTLE, Kind.DENY, Kind.SERVER_ERROR)


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_run_recovers_from_a_fault_at_any_call(fleet: Fleet, kind: Kind, subtests: pytest.Subtests) -> None:
    since = fleet.aws.mark()
    fleet.run()
    assert "CreateAccessKey" in [call.action for call in fleet.aws.calls(since)]
    for position, action in fleet.calls_since(since):
        with subtests.test(position=position, action=action):
            fleet.empty()
            broken = fleet.run({"kind": kind, "nth": position})
            assert (broken["code"] < 0) == kind.startswith("kill")
            fleet.aws.shift_clock(CLAIM_LIFETIME)
            recovered = fleet.run()
            assert not recovered.get("failed"), recovered
            fleet.assert_one_working_key()
    assert not fleet.run()["changed"]


RETIRED: dict[str, Any] = {"state": "retired", "access": None}


def test_a_user_is_retired_once_nothing_uses_its_key(fleet: Fleet) -> None:
    fleet.run(names=["U", "V"])
    server, phases = fleet.sts(), []

    def retire(**more: Any) -> dict[str, Any]:
        """The result of a run, after check mode that predicts it, and before a run that only finds the same phase."""
        since, predicted = fleet.aws.mark(), fleet.run(check=True, **RETIRED, **more)
        assert fleet.aws.writes(since) == []
        result = fleet.run(**RETIRED, **more)
        assert not result.get("failed"), result
        keys = ("steps", "retirement", "blockers", "diff", "changed")
        assert {key: result[key] for key in keys} == {key: predicted[key] for key in keys}
        phases.append(result["retirement"].get("U"))
        since = fleet.aws.mark()
        assert not fleet.run(**RETIRED, **more)["changed"]
        assert fleet.aws.writes(since) == []
        return result

    held = retire(hold={"U": "db2 is unreachable"})
    assert held["blockers"] == {"U": ["db2 is unreachable"]}
    for _ in range(2):
        server.get_caller_identity()
        retire()
        fleet.aws.shift_clock(5 * HOUR - 60)
    retire()
    fleet.aws.shift_clock(120)
    assert [key["Status"] for key in fleet.access_keys()] == ["Active"]
    deactivated = retire()
    assert [step.split()[0] for step in deactivated["steps"]] == ["deactivate"]
    with pytest.raises(ClientError):
        server.get_caller_identity()
    fleet.aws.shift_clock(6 * DAY)
    retire()
    fleet.aws.shift_clock(DAY)
    deleted = retire()
    assert phases == ["waiting", *["in_use"] * 3, "deactivating", "grace_period", "deleting"]
    assert deleted["users"] == []
    assert list(snapshot(fleet.aws)["users"]) == ["V"]
    fleet.assert_one_working_key("V")
    assert not fleet.run(**RETIRED)["retirement"]


def test_both_keys_of_a_user_are_retired_and_keys_of_others_are_not(fleet: Fleet) -> None:
    """The saved key and the one that it replaced are managed."""
    fleet.run(names=["U", "V"])
    fleet.run(rotate_now=True)
    other = fleet.aws.client("iam").create_access_key(UserName="V")["AccessKey"]["AccessKeyId"]
    fleet.aws.shift_clock(9 * DAY)
    since, result = fleet.aws.mark(), fleet.run(names=["U", "V"], **RETIRED)
    assert [call.action for call in fleet.aws.writes(since)] == ["UpdateAccessKey"] * 2
    assert result["retirement"] == {"U": "deactivating", "V": "blocked"}
    assert result["blockers"] == {"V": [f"access key {other}"]}
    assert other in result["text"]
    assert fleet.run(names=["U", "V"], **RETIRED)["retirement"] == {"U": "deleting", "V": "blocked"}
    assert list(snapshot(fleet.aws)["users"]) == ["V"]
    assert fleet.identity("V") == "V"


def test_a_user_is_retired_although_an_answer_is_lost(fleet: Fleet, subtests: pytest.Subtests) -> None:
    def prepare() -> None:
        fleet.empty()
        fleet.run()
        fleet.aws.shift_clock(8 * DAY)

    def retire(runs: int, *faults: dict[str, Any]) -> list[str]:
        """The writes of the last run. Only that one has the faults."""
        prepare()
        for _ in range(runs - 1):
            fleet.run(**RETIRED)
        since, result = fleet.aws.mark(), fleet.run(*faults, **RETIRED)
        assert not result.get("failed"), result
        return [call.action for call in fleet.aws.writes(since)]

    for runs in (1, 2):
        undisturbed = retire(runs)
        expected = snapshot(fleet.aws)["users"].keys()
        assert undisturbed[0] == ["UpdateAccessKey", "DeleteAccessKey"][runs - 1]
        for position, action in enumerate(undisturbed, 1):
            with subtests.test(runs=runs, position=position, action=action):
                nth = undisturbed[:position].count(action)
                retire(runs, {"kind": Kind.LOSE_ANSWER, "action": action, "nth": nth})
                assert snapshot(fleet.aws)["users"].keys() == expected
                fleet.run(**RETIRED)
                assert snapshot(fleet.aws)["users"] == {}
                assert not fleet.run(**RETIRED)["changed"]


def test_retirement_requires_the_place_of_the_keys(files: Fleet) -> None:
    result = run_module(files.aws, "cwagent_iam_user", name=["U"], state="retired")
    assert result["msg"] == "state is retired but all of the following are missing: saved_key"
    assert files.aws.calls() == []


LEAK: dict[str, Any] = {"rotate_now": True, "revoke_old": True}


@pytest.mark.parametrize("kind", [Kind.KILL_AFTER, Kind.DENY])
def test_a_leaked_key_is_replaced_and_revoked_after_a_fault_at_any_call(
    fleet: Fleet, kind: Kind, subtests: pytest.Subtests
) -> None:
    """The run that follows does the rest and does not begin anew; the one after it has nothing to do."""
    fleet.run()
    since, predicted = fleet.aws.mark(), fleet.run(check=True, **LEAK)
    assert fleet.aws.writes(since) == []
    since, replaced = fleet.aws.mark(), fleet.run(**LEAK)
    assert predicted["steps"] == replaced["steps"]
    assert [step.split()[0] for step in replaced["steps"]] == ["create", "deactivate"]
    for position, action in fleet.calls_since(since):
        with subtests.test(position=position, action=action):
            fleet.empty()
            fleet.run()
            leaked = fleet.document()["aws_access_key_id"]
            fleet.run({"kind": kind, "nth": position}, **LEAK)
            fleet.aws.shift_clock(CLAIM_LIFETIME)
            created = [key["AccessKeyId"] for key in fleet.access_keys() if key["AccessKeyId"] != leaked]
            saved = fleet.document()["aws_access_key_id"]
            recovered = fleet.run(**LEAK)
            assert not recovered.get("failed"), recovered
            document = fleet.document()
            assert {key["AccessKeyId"]: key["Status"] for key in fleet.access_keys()} == {
                leaked: "Inactive",
                document["aws_access_key_id"]: "Active",
            }
            assert fleet.identity() == "U"
            # A new key that was saved before the fault is the one to keep.
            assert saved not in created or document["aws_access_key_id"] == saved
            assert not fleet.run(**LEAK)["changed"]


@pytest.mark.parametrize("kind", [Kind.KILL_AFTER, Kind.LOSE_ANSWER])
def test_a_key_whose_answer_was_lost_is_deleted_by_the_next_run(fleet: Fleet, kind: Kind) -> None:
    fleet.run({"kind": kind, "action": "CreateAccessKey"})
    [lost] = fleet.access_keys()
    fleet.aws.shift_clock(CLAIM_LIFETIME)
    recovered = fleet.run()
    expected = f"delete access key {lost['AccessKeyId']} of user 'U', whose secret was never saved"
    assert recovered["steps"][0] == expected
    fleet.assert_one_working_key()


def test_a_claim_of_a_run_that_was_just_killed_is_waited_for(fleet: Fleet) -> None:
    fleet.run({"kind": Kind.KILL_AFTER, "action": "CreateAccessKey"})
    result = fleet.run(wait_timeout=1)
    if fleet.store == "file":  # the kernel ended the lock
        assert not result["failed"], result
        return
    assert (
        "Another run is creating an access key of user 'U'. Wait until it has ended, then run again." in result["msg"]
    )
    assert len(fleet.access_keys()) == 1
    fleet.aws.shift_clock(CLAIM_LIFETIME)
    assert not fleet.run().get("failed")
    fleet.assert_one_working_key()


CONTENTION = re.compile(
    r"Another run (saved|is creating|was interrupted)|took so long that another run|EntityAlreadyExists"
)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_runs_at_once_create_one_key_for_each_user(fleet: Fleet, seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    names = ["U", "V"]
    for name in chosen.sample(names, chosen.randint(0, 2)):
        fleet.aws.client("iam").create_user(UserName=name)
    if chosen.random() < 0.25:
        fleet.run(names=names[:1])
    fleet.aws.arm(Fault(kind=Kind.DELAY, action="CreateAccessKey", seconds=chosen.choice([0, 0.2, 1])))
    since = fleet.aws.mark()

    def run(_number: int) -> dict[str, Any]:
        return fleet.run(names=names, wait_timeout=120)

    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        results = list(pool.map(run, range(RUNS_AT_ONCE)))
    fleet.aws.disarm()
    unclear = [
        failure
        for result in results
        if result["failed"]
        for failure in result["failures"].values()
        if not CONTENTION.search(failure)
    ]
    assert not unclear
    if any(result["failed"] for result in results):
        fleet.run(names=names)  # users whose creation collided may still have no key
    for name in names:
        fleet.assert_one_working_key(name)
    created = [call for call in fleet.aws.calls(since) if call.action == "CreateAccessKey"]
    deleted = [call for call in fleet.aws.calls(since) if call.action == "DeleteAccessKey"]
    assert len(created) - len(deleted) <= len(names)
    assert not fleet.run(names=names)["changed"]


def test_three_runs_create_one_key(fleet: Fleet) -> None:
    predicted = fleet.run(check=True)
    results = [fleet.run() for _ in range(3)]
    assert [result["changed"] for result in results] == [True, False, False]
    assert predicted["steps"] == results[0]["steps"]
    assert [call.action for call in fleet.aws.writes()].count("CreateAccessKey") == 1
    fleet.assert_one_working_key()
    secret = fleet.document()["aws_secret_access_key"]
    assert not any(secret in result["text"] for result in [*results, predicted])
    calls = fleet.aws.calls()
    assert secret not in json.dumps([call.params for call in calls])


def test_a_deactivated_key_is_an_error_and_a_deleted_key_is_replaced(fleet: Fleet) -> None:
    iam = fleet.aws.client("iam")
    fleet.run()
    key = fleet.access_keys()[0]["AccessKeyId"]
    iam.update_access_key(UserName="U", AccessKeyId=key, Status="Inactive")
    result = fleet.run()
    assert result["failed"]
    assert f"access key {key} of user 'U'" in result["msg"]
    assert "was deactivated" in result["msg"]
    iam.delete_access_key(UserName="U", AccessKeyId=key)
    assert fleet.run()["changed"]
    if fleet.store == "file":  # IAM does not distinguish a deleted key from one of another account
        (fleet.folder / "U.credentials.earlier").unlink()
    fleet.assert_one_working_key()


def test_a_key_whose_saved_credentials_were_deleted_is_kept_beside_a_new_one(fleet: Fleet) -> None:
    fleet.run()
    before = fleet.document()["aws_access_key_id"]
    if fleet.store == "file":
        (fleet.folder / "U.credentials").unlink()
    elif fleet.store == "parameter_store":
        fleet.aws.client("ssm").delete_parameter(Name=PREFIX + "U")
    else:
        fleet.aws.client("secretsmanager").delete_secret(SecretId=PREFIX + "U", ForceDeleteWithoutRecovery=True)
    assert not fleet.run().get("failed")
    assert fleet.identity() == "U"
    assert {key["AccessKeyId"] for key in fleet.access_keys()} == {before, fleet.document()["aws_access_key_id"]}


@pytest.mark.parametrize("text", ["", "{", '{"aws_access_key_id": "AKIAEDITED"}', "[]", "secret"])
def test_edited_credentials_are_replaced(fleet: Fleet, text: str) -> None:
    fleet.run()
    if fleet.store == "file":
        (fleet.folder / "U.credentials").write_text(text)
    elif fleet.store == "parameter_store":
        fleet.aws.client("ssm").put_parameter(Name=PREFIX + "U", Value=text or "-", Type="SecureString", Overwrite=True)
    else:
        fleet.aws.client("secretsmanager").put_secret_value(SecretId=PREFIX + "U", SecretString=text or "-")
    assert not fleet.run().get("failed")
    assert fleet.identity() == "U"
    assert not fleet.run()["changed"]


def test_two_unmanaged_keys_are_an_error_unless_one_may_be_evicted(fleet: Fleet) -> None:
    iam = fleet.aws.client("iam")
    iam.create_user(UserName="U")
    first, second = (iam.create_access_key(UserName="U")["AccessKey"] for _ in range(2))
    fleet.aws.client("sts", credentials=first).get_caller_identity()
    result = fleet.run(names=["U", "V"])
    assert result["failed"]
    assert f"{first['AccessKeyId']} (active, 0 days old, last used 20" in result["msg"]
    assert f"{second['AccessKeyId']} (active, 0 days old, never used)" in result["msg"]
    assert "saved_key.evict_unmanaged_key" in result["msg"]
    assert list(result["failures"]) == ["U"]
    fleet.assert_one_working_key("V")
    assert not fleet.run(saved_key={"evict_unmanaged_key": True}).get("failed")
    kept = {key["AccessKeyId"] for key in fleet.access_keys()}
    assert kept == {first["AccessKeyId"], fleet.document()["aws_access_key_id"]}
    assert fleet.identity() == "U"


def test_no_key_is_created_when_the_store_cannot_be_written(fleet: Fleet) -> None:
    if fleet.store == "file":
        fleet.folder.mkdir(mode=0o700)
        (fleet.folder / "U.credentials").mkdir()
        result = fleet.run()
    else:
        service = SERVICES[fleet.store]
        result = fleet.run({"kind": Kind.DENY, "service": service, "writes": True, "times": 9})
        assert ("ssm:PutParameter" if service == "ssm" else "secretsmanager:") in result["msg"]
    assert result["failed"]
    assert "CreateAccessKey" not in [call.action for call in fleet.aws.calls()]


def test_a_key_that_cannot_be_saved_is_deleted_again(fleet: Fleet) -> None:
    if fleet.store == "file":
        pytest.skip("a failure between record and file is tested without AWS")
    action = {"parameter_store": "PutParameter", "secrets_manager": "UpdateSecret"}[fleet.store]
    # The first parameter is the claim; a secret is created for it.
    nth = {"parameter_store": 2, "secrets_manager": 1}[fleet.store]
    result = fleet.run({"kind": Kind.DENY, "action": action, "nth": nth})
    assert result["failed"]
    assert "was deleted." in result["msg"]
    assert fleet.access_keys() == []
    assert not fleet.run().get("failed")
    fleet.assert_one_working_key()


def test_the_saved_key_is_known_without_its_secret(fleet: Fleet) -> None:
    if fleet.store == "file":
        pytest.skip("a file has no description")
    ssm, secrets = fleet.aws.client("ssm"), fleet.aws.client("secretsmanager")
    for _ in range(2):
        fleet.run()
        [key] = fleet.access_keys()
        [found] = (
            ssm.describe_parameters()["Parameters"]
            if fleet.store == "parameter_store"
            else secrets.list_secrets()["SecretList"]
        )
        assert described_key(found["Description"]) == key["AccessKeyId"]
        fleet.aws.client("iam").delete_access_key(UserName="U", AccessKeyId=key["AccessKeyId"])


def test_a_secret_gets_the_kms_key_with_the_next_access_key(fleet: Fleet) -> None:
    if fleet.store != "secrets_manager":
        pytest.skip("a parameter gets its KMS key with every write")
    secrets, iam = fleet.aws.client("secretsmanager"), fleet.aws.client("iam")
    fleet.run()
    [key] = fleet.access_keys()
    iam.delete_access_key(UserName="U", AccessKeyId=key["AccessKeyId"])
    fleet.run(saved_key={"key_store_kms_key_id": "alias/agent"})
    assert secrets.describe_secret(SecretId="/cwagent/credentials/U")["KmsKeyId"] == "alias/agent"
    [key] = fleet.access_keys()
    iam.delete_access_key(UserName="U", AccessKeyId=key["AccessKeyId"])
    fleet.run()
    assert secrets.describe_secret(SecretId="/cwagent/credentials/U")["KmsKeyId"] == "alias/agent"
    fleet.assert_one_working_key()


def test_a_secret_that_is_being_deleted_counts_as_deleted(fleet: Fleet) -> None:
    """AWS deletes in the background, also what was saved while the key was created; and an answer can be lost."""
    if fleet.store != "secrets_manager":
        pytest.skip("parameters and files are deleted at once")
    credentials = create_user(fleet.aws, "controller", policy="AdministratorAccess")
    fleet.aws.be_unkind(Behaviour.DELETED_SECRETS, seconds=HOUR)
    assert not fleet.run(credentials=credentials).get("failed")
    lost = {"kind": Kind.LOSE_ANSWER, "action": "DeleteSecret"}
    result = fleet.run(lost, credentials=credentials, state="absent")
    assert not result.get("failed"), result["msg"]
    assert "U" not in snapshot(fleet.aws)["users"]


def test_a_new_key_waits_until_the_old_secret_is_deleted(fleet: Fleet) -> None:
    """A user that is created again a moment later gets a key as soon as AWS has deleted the secret of the old one."""
    if fleet.store != "secrets_manager":
        pytest.skip("parameters and files are deleted at once")
    credentials = create_user(fleet.aws, "controller", policy="AdministratorAccess")
    fleet.aws.be_unkind(Behaviour.DELETED_SECRETS, seconds=HOUR)
    assert fleet.run(credentials=credentials)["changed"]
    assert [fleet.run(credentials=credentials, state="absent")["changed"] for _ in range(2)] == [True, False]
    since = fleet.aws.mark()
    blocked = fleet.run(credentials=credentials, wait_timeout=1)
    assert "because it was marked for deletion" in blocked["msg"]
    assert fleet.aws.writes(since) == []
    since = fleet.aws.mark()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fleet.run, credentials=credentials, wait_timeout=MODULE_SECONDS)
        wait_until(lambda: any(call.unkind for call in fleet.aws.calls(since)))
        fleet.aws.be_unkind()  # AWS has deleted it
    assert waiting.result()["changed"], waiting.result()
    fleet.assert_one_working_key()


def test_the_saved_key_of_another_user_is_kept_in_another_file(files: Fleet) -> None:
    files.run(names=["U", "V"])
    other = (files.folder / "V.credentials").read_text()
    (files.folder / "U.credentials").write_text(other)
    assert not files.run().get("failed")
    assert files.identity() == "U"
    assert (files.folder / "U.credentials.earlier").read_text() == other
    files.assert_one_working_key("V")


def test_one_unreadable_file_does_not_affect_other_users(files: Fleet) -> None:
    files.run(names=["U", "V"])
    (files.folder / "U.credentials").unlink()
    (files.folder / "U.credentials").mkdir()
    result = files.run(names=["U", "V", "W"])
    assert list(result["failures"]) == ["U"]
    assert "Could not read" in result["msg"]
    files.assert_one_working_key("W")


def test_the_saved_key_is_deleted_with_the_user(fleet: Fleet) -> None:
    fleet.run(names=["U", "V"])
    assert fleet.run(names=["U"], state="absent", access=None)["changed"]
    assert not fleet.run(names=["U"], state="absent", access=None)["changed"]
    assert [user["UserName"] for user in fleet.aws.client("iam").list_users()["Users"]] == ["V"]
    fleet.assert_one_working_key("V")
    if fleet.store == "file":
        assert [path.name for path in fleet.folder.iterdir()] == ["V.credentials"]
    else:
        with pytest.raises(ClientError):
            fleet.document("U")


@pytest.mark.parametrize(
    ("saved_key", "words"),
    [
        (
            {"key_store": "parameter_store", "key_store_prefix": "AmazonCloudWatch-keys-"},
            "every server can read parameters",
        ),
        (
            {"key_store": "parameter_store", "key_store_prefix": "/AmazonCloudWatch-keys/"},
            "every server can read parameters",
        ),
        ({"key_store": "parameter_store", "key_store_prefix": "AmazonCloud"}, "every server can read parameters"),
        ({"key_store": "parameter_store", "key_store_prefix": "/aws/x/"}, "AWS reserves parameter names"),
        (
            {"key_store": "parameter_store", "key_store_prefix": "keys//"},
            "'keys//Watch-db1' is not a valid parameter name",
        ),
        ({"key_store": "secrets_manager", "key_store_prefix": "a b"}, "'a bWatch-db1' is not a valid secret name"),
    ],
)
def test_invalid_stores_are_refused(files: Fleet, saved_key: dict[str, Any], words: str) -> None:
    result = files.run(saved_key=saved_key, names=["Watch-db1"])
    assert words in result["msg"]
    assert files.aws.calls() == []


@pytest.mark.parametrize("variable", ["LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR"])
def test_files_in_an_execution_environment_must_be_allowed(files: Fleet, variable: str) -> None:
    result = files.run(env={variable: "1"})
    assert "'parameter_store' or 'secrets_manager'" in result["msg"]
    assert files.aws.calls() == []
    assert not files.run(env={variable: "1"}, saved_key={"key_store_allow_ephemeral": True}).get("failed")
    files.assert_one_working_key()
    files.store = "parameter_store"
    assert not files.run(names=["V"], env={variable: "1"}).get("failed")


@pytest.mark.parametrize(
    "program",
    [
        "boto3",
        pytest.param(
            "aws", marks=pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")
        ),
    ],
)
def test_a_program_can_use_the_saved_file_unchanged(files: Fleet, program: str) -> None:
    files.run()
    settings = {
        "AWS_SHARED_CREDENTIALS_FILE": str(files.folder / "U.credentials"),
        "AWS_PROFILE": SECTION,
        "AWS_ENDPOINT_URL": files.aws.endpoint,
        "HOME": str(files.home),
    }
    metric = "import boto3; boto3.client('cloudwatch').put_metric_data(Namespace='n', MetricData=[{'MetricName': 'm'}])"
    data = '[{"MetricName": "m", "Value": 1}]'
    commands = {
        "boto3": [sys.executable, "-c", metric],
        "aws": [
            os.environ.get("AWS_CLI", "aws"),
            "cloudwatch",
            "put-metric-data",
            "--namespace=n",
            "--metric-data",
            data,
        ],
    }
    since = files.aws.mark()
    subprocess.run(
        commands[program], env=program_environment(settings), check=True, capture_output=True, timeout=MODULE_SECONDS
    )
    [call] = [call for call in files.aws.calls(since) if call.action == "PutMetricData"]
    assert (call.principal.rpartition("/")[2], call.status, call.region) == ("U", 200, files.aws.region)


def test_a_killed_run_on_a_fleet_loses_no_key(files: Fleet) -> None:
    names = [f"U{number}" for number in range(200)]
    killed = files.run({"kind": Kind.KILL_AFTER, "action": "CreateAccessKey", "nth": 100}, names=names, wait=False)
    assert killed["code"] == -9
    unfinished = sum(len(files.access_keys(name)) for name in names if (files.folder / f".{name}.pending").exists())
    assert unfinished, "the run was not killed while it saved keys"
    result = files.run(names=names)
    assert not result.get("failed"), result
    assert all(path.suffix == ".credentials" for path in files.folder.iterdir())
    saved = {name: files.document(name)["aws_access_key_id"] for name in names}
    assert {name: [key["AccessKeyId"] for key in files.access_keys(name)] for name in names} == {
        name: [key] for name, key in saved.items()
    }
    assert {files.identity(name) for name in names[::20]} == set(names[::20])


UNREADABLE = {
    "InvalidKeyId": "The query key ID isn't valid",
    "KMSInvalidStateException": "arn:aws:kms:eu-central-1:123456789012:key/1 is pending deletion.",
    "AccessDeniedException": "The ciphertext refers to a customer master key that you are not allowed to access.",
}


@pytest.mark.parametrize("code", UNREADABLE)
def test_a_parameter_that_cannot_be_decrypted_fails_its_user_only(parameters: Fleet, code: str) -> None:
    """Whether AWS fails the whole call or not, is not documented. Where the call succeeds, nothing is read again."""
    names = [f"u{number}" for number in range(7)]
    parameters.run(names=names)
    since = parameters.aws.mark()
    assert not parameters.run(names=names)["changed"]
    assert [call.action for call in parameters.aws.calls(since)].count("GetParameters") == 2
    parameters.aws.arm(
        Fault(Kind.ERROR, action="GetParameters", text='u3"', times=1000, code=code, message=UNREADABLE[code])
    )
    since = parameters.aws.mark()
    result = parameters.run(names=[*names, "new"])
    parameters.aws.disarm()
    assert list(result["failures"]) == ["u3"]
    assert UNREADABLE[code].rstrip(".") in result["failures"]["u3"]
    assert ("kms:Decrypt" in result["failures"]["u3"]) == (code == "AccessDeniedException")
    parameters.assert_one_working_key("new")
    assert {call.params.get("UserName") for call in parameters.aws.writes(since)} <= {"new", None}


def test_a_denied_read_of_all_parameters_is_reported_once(parameters: Fleet) -> None:
    names = [f"u{number}" for number in range(7)]
    since = parameters.aws.mark()
    result = parameters.run({"kind": Kind.DENY, "action": "GetParameters", "times": 1000}, names=names)
    assert "lacks ssm:GetParameters" in result["msg"]
    assert [call.action for call in parameters.aws.calls(since)].count("GetParameters") <= 2
    assert parameters.aws.writes(since) == []


def test_a_server_can_always_sign_during_rotations_of_120_days(files: Fleet) -> None:
    """The server gets each new key ten days late. Keys change only in runs, so it signs before and after each."""
    files.run()
    server, phases, saved_on = files.sts(), [], 0
    for day in range(120):
        server.get_caller_identity()
        result = files.run(key_max_age_days=30, key_retire_after_days=7)
        assert not result.get("failed"), result
        assert len(files.access_keys()) <= 2
        phases += [result["rotation"]["U"]] if [result["rotation"]["U"]] != phases[-1:] else []
        saved_on = day if result["rotation"]["U"] == "due" else saved_on
        if day == saved_on + 10:
            server = files.sts()
        server.get_caller_identity()
        files.aws.shift_clock(DAY)
    assert phases[:7] == ["current", "due", "waiting_for_use", "deactivating", "grace_period", "deleting", "current"]
    assert phases.count("due") == 3

"""Access keys: none is lost, none is made twice, and what is saved is of use as it stands."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator, Kind
from harness import NOWHERE, ModuleServer

STORES = ("file", "ssm", "secretsmanager")
PREFIX = "/cwagent/credentials/"
PROFILE = "AmazonCloudWatchAgent"
DAY, HOUR = 24 * 3600, 3600


@dataclass
class Fleet:
    """Users whose keys are saved in one of the places."""

    aws: Emulator
    home: Path
    store: str
    modules: ModuleServer

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
        """The result of the module; ``code`` is the signal that ended it, negative, where there was one."""
        where = {"directory": str(self.folder)} if self.store == "file" else {}
        credentials = {"store": self.store, **where, **more.pop("credentials", {})}
        arguments = {
            "name": names or ["U"],
            "access": "server",
            "credentials": credentials,
            "wait_timeout": 5,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **more,
        }
        arguments = {key: value for key, value in arguments.items() if value is not None}
        output = self.home / "output.txt"
        return self.modules.run(self.aws, "cwagent_iam_user", arguments, output, env=env, faults=faults)

    def document(self, user: str = "U") -> dict[str, Any]:
        """What is saved for a user, whatever the place."""
        name = PREFIX + user
        if self.store == "file":
            parser = configparser.RawConfigParser()
            parser.read(self.folder / f"{user}.credentials")
            return dict(parser[PROFILE]) if parser.has_section(PROFILE) else {}
        if self.store == "ssm":
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
        """A client that signs with the saved key."""
        document = self.document(user)
        keys = {"AccessKeyId": document["aws_access_key_id"], "SecretAccessKey": document["aws_secret_access_key"]}
        return self.aws.client("sts", credentials=keys)

    def identity(self, user: str = "U") -> str:
        """Whose the saved key is, by a call that is signed with it."""
        return str(self.sts(user).get_caller_identity()["Arn"].rpartition("/")[2])

    def is_whole(self, user: str = "U") -> None:
        """One live key, saved, which works; no key that nobody has, and no record or file left over."""
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
def fleet(request: pytest.FixtureRequest, enforcing: Emulator, tmp_path: Path, modules: ModuleServer) -> Fleet:
    return Fleet(enforcing, tmp_path, request.param, modules)


@pytest.fixture
def files(enforcing: Emulator, tmp_path: Path, modules: ModuleServer) -> Fleet:
    return Fleet(enforcing, tmp_path, "file", modules)


KINDS = (Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.LOSE_ANSWER, Kind.THROTTLE, Kind.DENY, Kind.SERVER_ERROR)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_call_is_mended_by_the_next_run(fleet: Fleet, kind: Kind) -> None:
    since = fleet.aws.mark()
    fleet.run()
    undisturbed = [call.action for call in fleet.aws.calls(since)]
    assert "CreateAccessKey" in undisturbed
    for position in range(1, len(undisturbed) + 1):
        fleet.aws.reset()
        for path in fleet.folder.glob("*"):
            path.unlink()
        broken = fleet.run({"kind": kind, "nth": position})
        assert (broken["code"] < 0) == kind.startswith("kill"), undisturbed[position - 1]
        mended = fleet.run()
        assert not mended.get("failed"), (undisturbed[position - 1], mended)
        fleet.is_whole()
    assert not fleet.run()["changed"]


@pytest.mark.parametrize("kind", [Kind.KILL_AFTER, Kind.LOSE_ANSWER])
def test_a_lost_answer_leaves_no_key_beside_the_next(fleet: Fleet, kind: Kind) -> None:
    fleet.run({"kind": kind, "action": "CreateAccessKey"})
    [lost] = fleet.access_keys()
    mended = fleet.run()
    assert mended["steps"][0] == f"delete access key {lost['AccessKeyId']} of user 'U', whose secret was lost"
    fleet.is_whole()


def test_three_runs_make_one_key(fleet: Fleet) -> None:
    predicted = fleet.run(check=True)
    results = [fleet.run() for _ in range(3)]
    assert [result["changed"] for result in results] == [True, False, False]
    assert predicted["steps"] == results[0]["steps"]
    assert [call.action for call in fleet.aws.writes()].count("CreateAccessKey") == 1
    fleet.is_whole()
    secret = fleet.document()["aws_secret_access_key"]
    assert not any(secret in result["text"] for result in [*results, predicted])
    calls = fleet.aws.calls()
    assert secret not in json.dumps([call.params for call in calls])


def test_a_key_that_is_gone_or_switched_off(fleet: Fleet) -> None:
    iam = fleet.aws.client("iam")
    fleet.run()
    key = fleet.access_keys()[0]["AccessKeyId"]
    iam.update_access_key(UserName="U", AccessKeyId=key, Status="Inactive")
    refused = fleet.run()
    assert refused["failed"]
    assert f"access key {key} of user 'U'" in refused["msg"]
    assert "was deactivated" in refused["msg"]
    iam.delete_access_key(UserName="U", AccessKeyId=key)
    assert fleet.run()["changed"]
    if fleet.store == "file":  # IAM does not tell a key that was deleted from one of another account
        (fleet.folder / "U.credentials.earlier").unlink()
    fleet.is_whole()


def test_what_is_saved_was_taken_away(fleet: Fleet) -> None:
    fleet.run()
    before = fleet.document()["aws_access_key_id"]
    if fleet.store == "file":
        (fleet.folder / "U.credentials").unlink()
    elif fleet.store == "ssm":
        fleet.aws.client("ssm").delete_parameter(Name=PREFIX + "U")
    else:
        fleet.aws.client("secretsmanager").delete_secret(SecretId=PREFIX + "U", ForceDeleteWithoutRecovery=True)
    assert not fleet.run().get("failed")
    assert fleet.identity() == "U"
    assert {key["AccessKeyId"] for key in fleet.access_keys()} == {before, fleet.document()["aws_access_key_id"]}


@pytest.mark.parametrize("text", ["", "{", '{"aws_access_key_id": "AKIAEDITED"}', "[]", "secret"])
def test_what_is_saved_was_edited(fleet: Fleet, text: str) -> None:
    fleet.run()
    if fleet.store == "file":
        (fleet.folder / "U.credentials").write_text(text)
    elif fleet.store == "ssm":
        fleet.aws.client("ssm").put_parameter(Name=PREFIX + "U", Value=text or "-", Type="SecureString", Overwrite=True)
    else:
        fleet.aws.client("secretsmanager").put_secret_value(SecretId=PREFIX + "U", SecretString=text or "-")
    assert not fleet.run().get("failed")
    assert fleet.identity() == "U"
    assert not fleet.run()["changed"]


def test_two_keys_that_nobody_saved(fleet: Fleet) -> None:
    iam = fleet.aws.client("iam")
    iam.create_user(UserName="U")
    first, second = (iam.create_access_key(UserName="U")["AccessKey"] for _ in range(2))
    fleet.aws.client("sts", credentials=first).get_caller_identity()
    refused = fleet.run(names=["U", "V"])
    assert refused["failed"]
    assert f"{first['AccessKeyId']} (active, 0 days old, last used 20" in refused["msg"]
    assert f"{second['AccessKeyId']} (active, 0 days old, never used)" in refused["msg"]
    assert "credentials.make_room" in refused["msg"]
    assert list(refused["failures"]) == ["U"]
    fleet.is_whole("V")
    assert not fleet.run(credentials={"make_room": True}).get("failed")
    kept = {key["AccessKeyId"] for key in fleet.access_keys()}
    assert kept == {first["AccessKeyId"], fleet.document()["aws_access_key_id"]}
    assert fleet.identity() == "U"


def test_a_place_that_cannot_be_written_makes_no_key(fleet: Fleet) -> None:
    if fleet.store == "file":
        (fleet.folder / "U.credentials").mkdir(parents=True)
        refused = fleet.run()
    else:
        service = fleet.store
        refused = fleet.run({"kind": Kind.DENY, "service": service, "writes": True, "times": 9})
        assert ("ssm:PutParameter" if service == "ssm" else "secretsmanager:") in refused["msg"]
    assert refused["failed"]
    assert "CreateAccessKey" not in [call.action for call in fleet.aws.calls()]


def test_a_secret_that_cannot_be_saved_takes_its_key_along(fleet: Fleet) -> None:
    if fleet.store == "file":
        pytest.skip("what fails between record and file is tested without AWS")
    action = {"ssm": "PutParameter", "secretsmanager": "UpdateSecret"}[fleet.store]
    nth = {"ssm": 2, "secretsmanager": 2}[fleet.store]  # the first writes the record
    refused = fleet.run({"kind": Kind.DENY, "action": action, "nth": nth})
    assert refused["failed"]
    assert "was deleted again" in refused["msg"]
    assert fleet.access_keys() == []
    assert not fleet.run().get("failed")
    fleet.is_whole()


def test_a_secret_gets_the_kms_key_with_the_next_access_key(fleet: Fleet) -> None:
    if fleet.store != "secretsmanager":
        pytest.skip("a parameter takes its KMS key with every write")
    secrets, iam = fleet.aws.client("secretsmanager"), fleet.aws.client("iam")
    fleet.run()
    [key] = fleet.access_keys()
    iam.delete_access_key(UserName="U", AccessKeyId=key["AccessKeyId"])
    fleet.run(credentials={"kms_key_id": "alias/ours"})
    assert secrets.describe_secret(SecretId="/cwagent/credentials/U")["KmsKeyId"] == "alias/ours"
    [key] = fleet.access_keys()
    iam.delete_access_key(UserName="U", AccessKeyId=key["AccessKeyId"])
    fleet.run()
    assert secrets.describe_secret(SecretId="/cwagent/credentials/U")["KmsKeyId"] == "alias/ours"
    fleet.is_whole()


def test_a_key_of_somebody_else_is_moved_out_of_the_way(files: Fleet) -> None:
    files.run(names=["U", "V"])
    theirs = (files.folder / "V.credentials").read_text()
    (files.folder / "U.credentials").write_text(theirs)
    assert not files.run().get("failed")
    assert files.identity() == "U"
    assert (files.folder / "U.credentials.earlier").read_text() == theirs
    files.is_whole("V")


def test_one_unreadable_file_does_not_stop_the_others(files: Fleet) -> None:
    files.run(names=["U", "V"])
    (files.folder / "U.credentials").unlink()
    (files.folder / "U.credentials").mkdir()
    refused = files.run(names=["U", "V", "W"])
    assert list(refused["failures"]) == ["U"]
    assert "Could not read" in refused["msg"]
    files.is_whole("W")


def test_the_place_is_removed_with_the_user(fleet: Fleet) -> None:
    fleet.run(names=["U", "V"])
    assert fleet.run(names=["U"], state="absent", access=None)["changed"]
    assert not fleet.run(names=["U"], state="absent", access=None)["changed"]
    assert [user["UserName"] for user in fleet.aws.client("iam").list_users()["Users"]] == ["V"]
    fleet.is_whole("V")
    if fleet.store == "file":
        assert [path.name for path in fleet.folder.iterdir()] == ["V.credentials"]
    else:
        with pytest.raises(ClientError):
            fleet.document("U")


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({"store": "ssm", "prefix": "AmazonCloudWatch-keys-"}, "every server may read parameters"),
        ({"store": "ssm", "prefix": "/AmazonCloudWatch-keys/"}, "every server may read parameters"),
        ({"store": "ssm", "prefix": "AmazonCloud"}, "every server may read parameters"),
        ({"store": "ssm", "prefix": "/aws/x/"}, "AWS keeps parameter names"),
        ({"store": "ssm", "prefix": "keys//"}, "a name that AWS does not accept"),
        ({"store": "secretsmanager", "prefix": "a b"}, "a name that AWS does not accept"),
    ],
)
def test_places_that_are_refused(files: Fleet, credentials: dict[str, Any], words: str) -> None:
    refused = files.run(credentials=credentials, names=["Watch-db1"])
    assert words in refused["msg"]
    assert files.aws.calls() == []


@pytest.mark.parametrize("mark", ["LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR"])
def test_files_in_an_execution_environment(files: Fleet, mark: str) -> None:
    refused = files.run(env={mark: "1"})
    assert "'ssm' or 'secretsmanager'" in refused["msg"]
    assert files.aws.calls() == []
    assert not files.run(env={mark: "1"}, credentials={"force": True}).get("failed")
    files.is_whole()
    files.store = "ssm"
    assert not files.run(names=["V"], env={mark: "1"}).get("failed")


@pytest.mark.parametrize(
    "program",
    [
        "boto3",
        pytest.param(
            "aws", marks=pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")
        ),
    ],
)
def test_the_file_is_used_as_it_stands(files: Fleet, program: str) -> None:
    files.run()
    settings = {
        "AWS_SHARED_CREDENTIALS_FILE": str(files.folder / "U.credentials"),
        "AWS_PROFILE": PROFILE,
        "AWS_ENDPOINT_URL": files.aws.endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": NOWHERE,
        "PATH": os.environ["PATH"],
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
    subprocess.run(commands[program], env=settings, check=True, capture_output=True, timeout=60)
    [call] = [call for call in files.aws.calls(since) if call.action == "PutMetricData"]
    assert (call.principal.rpartition("/")[2], call.status, call.region) == ("U", 200, files.aws.region)


def test_what_a_fleet_loses_when_it_is_killed(files: Fleet) -> None:
    names = [f"U{number}" for number in range(200)]
    killed = files.run({"kind": Kind.KILL_AFTER, "action": "CreateAccessKey", "nth": 100}, names=names, wait=False)
    assert killed["code"] == -9
    made = sum(len(files.access_keys(name)) for name in names if (files.folder / f".{name}.pending").exists())
    assert made, "no key was under way"
    result = files.run(names=names)
    assert not result.get("failed"), result
    assert all(path.suffix == ".credentials" for path in files.folder.iterdir())
    saved = {name: files.document(name)["aws_access_key_id"] for name in names}
    assert {name: [key["AccessKeyId"] for key in files.access_keys(name)] for name in names} == {
        name: [key] for name, key in saved.items()
    }
    assert {files.identity(name) for name in names[::20]} == set(names[::20])


def test_a_rotation_over_120_days(files: Fleet) -> None:
    """The server gets each key ten days late, and works at every hour of it."""
    files.run()
    server, phases, saved_on = files.sts(), [], 0
    for hour in range(120 * 24):
        server.get_caller_identity()
        if hour % 24 == 0:
            result = files.run(max_key_age=30, retire_after=7)
            assert not result.get("failed"), result
            assert len(files.access_keys()) <= 2
            phases += [result["rotation"]["U"]] if [result["rotation"]["U"]] != phases[-1:] else []
            saved_on = hour if result["rotation"]["U"] == "due" else saved_on
        if hour == saved_on + 10 * 24:
            server = files.sts()
        files.aws.shift_clock(HOUR)
    assert phases[:7] == ["current", "due", "waiting_for_use", "replaced", "waiting_for_quiet", "retired", "current"]
    assert phases.count("due") == 3

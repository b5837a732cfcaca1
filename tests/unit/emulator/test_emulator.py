"""The call log, reset, pages, starting and stopping."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from botocore.exceptions import ClientError
from emulator import Call, Emulator, Fault, Kind, is_write, program_environment
from emulator.snapshot import snapshot

DAY = 24 * 3600
TESTS = Path(__file__).parents[2]
both = pytest.mark.parametrize("aws", ["ministack", "moto"], indirect=True)  # each is corrected in its own way


READS = ["GetParameter", "ListUsers", "SimulatePrincipalPolicy", "AssumeRole", "GetCallerIdentity"]


@pytest.mark.parametrize("action", [*READS, "CreateRole", "PutParameter", "AssociateIamInstanceProfile"])
def test_a_call_that_changes_something_is_a_write(action: str) -> None:
    assert is_write(action) is (action not in READS)


@pytest.mark.parametrize(
    ("principal", "identity"),
    [("iam::1:root", "root"), ("iam::1:user/path/u", "user"), ("sts::1:assumed-role/R/i-1", "role"), ("", "unknown")],
)
def test_identity(principal: str, identity: str) -> None:
    arn = f"arn:aws:{principal}" if principal else ""
    assert Call("iam", "GetUser", "eu-central-1", "AKIA", arn).identity == identity


def test_a_kill_needs_a_process(aws: Emulator) -> None:
    with pytest.raises(ValueError, match="id of the process"):
        aws.arm(Fault(Kind.KILL_AFTER))


@both
def test_the_log_has_caller_parameters_and_result(aws: Emulator) -> None:
    aws.client("iam").create_user(UserName="u")
    key = aws.client("iam").create_access_key(UserName="u")["AccessKey"]
    mark = aws.mark()
    aws.client("ssm", region="us-east-1").put_parameter(Name="p", Value="hidden", Type="String")
    aws.client("sts", credentials=key).get_caller_identity()
    with pytest.raises(ClientError):
        aws.client("iam").get_role(RoleName="absent")
    put, who, get = aws.calls(mark)
    found = (put.service, put.action, put.region, put.write, put.identity)
    assert found == ("ssm", "PutParameter", "us-east-1", True, "root")
    assert put.params == {"Name": "p", "Value": "(secret)", "Type": "String"}
    assert (who.action, who.identity, who.access_key) == ("GetCallerIdentity", "user", key["AccessKeyId"])
    assert (get.params, get.status, get.error) == ({"RoleName": "absent"}, 404, "NoSuchEntity")
    assert [call.action for call in aws.writes()] == ["CreateUser", "CreateAccessKey", "PutParameter"]
    assert key["SecretAccessKey"] not in str(aws.calls())


def test_a_client_reuses_its_connection(aws: Emulator) -> None:
    for client in (aws.client("iam"), aws.client("iam", "us-west-2")):
        client.list_users()
        client.list_users()
    one, again, other, other_again = (call.connection for call in aws.calls())
    assert (one, other) == (again, other_again)
    assert one != other


@both
def test_each_version_of_a_parameter_has_its_writer(account: Any) -> None:
    account.create_role("Admin", "CloudWatchAgentAdminPolicy")
    instance = account.aws.instances(1)[0]
    account.associate(instance, "Admin")
    key = account.limited_key({"Effect": "Allow", "Action": "ssm:*", "Resource": "*"})
    root, user = account.aws.client("ssm"), account.aws.client("ssm", credentials=key)
    for client in (root, user, account.instance_client(instance, "ssm")):
        client.put_parameter(Name="AmazonCloudWatch-a", Value="{}", Type="String", Overwrite=True)
    found = root.get_parameter_history(Name="AmazonCloudWatch-a")["Parameters"]
    assert [(each["Version"], each["LastModifiedUser"]) for each in found] == [
        (1, "arn:aws:iam::123456789012:root"),
        (2, f"arn:aws:iam::123456789012:user/{key['UserName']}"),
        (3, f"arn:aws:sts::123456789012:assumed-role/Admin/{instance}"),
    ]


def test_a_parameter_keeps_100_versions_unless_the_oldest_has_a_label(aws: Emulator) -> None:
    ssm = aws.client("ssm")

    def store(value: str) -> None:
        ssm.put_parameter(Name="AmazonCloudWatch-a", Value=value, Type="String", Overwrite=True)

    for number in range(1, 103):
        store(str(number))
    pages = [*ssm.get_paginator("get_parameter_history").paginate(Name="AmazonCloudWatch-a")]
    kept = [each["Version"] for page in pages for each in page["Parameters"]]
    assert (sorted(kept), len(pages)) == ([*range(3, 103)], 2)
    ssm.label_parameter_version(Name="AmazonCloudWatch-a", ParameterVersion=3, Labels=["stable"])
    with pytest.raises(ClientError, match=r"ParameterMaxVersionLimitExceeded.*Version 3, the oldest version"):
        store("103")


def test_a_label_names_one_version_and_an_invalid_one_is_no_error(account: Any) -> None:
    ssm, name = account.aws.client("ssm"), "AmazonCloudWatch-a"
    for value in "123":
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    invalid = ["1a", "awsA", "ssmA", "a b"]
    for version in (2, 3):
        answer = ssm.label_parameter_version(Name=name, ParameterVersion=version, Labels=["a.B_-", *invalid])
        assert (answer["ParameterVersion"], answer["InvalidLabels"]) == (version, invalid)
        read = ssm.get_parameter(Name=f"{name}:a.B_-")["Parameter"]
        assert (read["Value"], read["Version"]) == (str(version), version)
    [first, absent] = (ssm.get_parameters(Names=[f"{name}:{each}"]) for each in ("1", "absent"))
    assert first["Parameters"][0]["Value"] == "1"
    assert absent["InvalidParameters"] == [f"{name}:absent"]
    found = ssm.get_parameter_history(Name=name)["Parameters"]
    assert [each["Labels"] for each in found] == [[], [], ["a.B_-"]]
    with pytest.raises(ClientError, match="ParameterVersionLabelLimitExceeded"):
        ssm.label_parameter_version(Name=name, ParameterVersion=3, Labels=[f"label{number}" for number in range(10)])
    for unknown in ("7", "absent"):
        with pytest.raises(ClientError, match=r"Parameter(Version)?NotFound"):
            ssm.get_parameter(Name=f"{name}:{unknown}")


def test_many_users_are_returned_in_pages(account: Any) -> None:
    for number in range(5):
        account.iam.create_user(UserName=f"u{number}", Tags=[{"Key": "site", "Value": "a"}])
    pages = account.iam.get_paginator("get_account_authorization_details").paginate(
        Filter=["User"], PaginationConfig={"PageSize": 2}
    )
    names = [[user["UserName"] for user in page["UserDetailList"]] for page in pages]
    assert names == [["u0", "u1"], ["u2", "u3"], ["u4"]]


@both
def test_an_association_is_not_replaced_on_a_stopped_instance(account: Any) -> None:
    account.create_role("server", "CloudWatchAgentServerPolicy")
    [instance] = account.aws.instances(1, stopped=1)
    old = account.associate(instance, "server")
    with pytest.raises(ClientError, match=r"IncorrectState.*not the active association"):
        account.ec2.replace_iam_instance_profile_association(AssociationId=old, IamInstanceProfile={"Name": "server"})


def test_keys_have_a_last_use_and_a_user_has_at_most_two(account: Any) -> None:
    account.iam.create_user(UserName="u")
    used, unused = (account.iam.create_access_key(UserName="u")["AccessKey"] for _ in range(2))
    account.aws.client("sts", credentials=used).get_caller_identity()
    keys = (
        account.iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
        for key in (used, unused)
    )
    assert ["LastUsedDate" in key for key in keys] == [True, False]
    with pytest.raises(ClientError, match="LimitExceeded"):
        account.iam.create_access_key(UserName="u")


@both
def test_a_principal_has_at_most_ten_managed_policies(account: Any) -> None:
    account.iam.create_user(UserName="u")
    account.create_role("r", "CloudWatchAgentServerPolicy")
    arns = [each["Arn"] for each in account.iam.list_policies(Scope="AWS")["Policies"]]
    server = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"
    account.iam.attach_user_policy(UserName="u", PolicyArn=server)
    *nine, eleventh = [arn for arn in arns if arn != server][:10]
    principals = ((account.iam.attach_role_policy, "RoleName", "r"), (account.iam.attach_user_policy, "UserName", "u"))
    for attach, kind, name in principals:
        for arn in (*nine, server):  # the last one is attached already
            attach(**{kind: name}, PolicyArn=arn)
        with pytest.raises(ClientError, match=r"LimitExceeded.*PoliciesPer(Role|User): 10"):
            attach(**{kind: name}, PolicyArn=eleventh)


def test_the_last_use_of_an_unknown_key_is_denied(aws: Emulator) -> None:
    with pytest.raises(ClientError, match=r"AccessDenied.*access key AKIAUNKNOWN"):
        aws.client("iam").get_access_key_last_used(AccessKeyId="AKIAUNKNOWN567890123")


@both
def test_ec2_names_an_unknown_profile(account: Any) -> None:
    [instance] = account.aws.instances(1)
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*\(nope\).*Invalid IAM Instance Profile name"):
        account.associate(instance, "nope")


def test_accounts_can_be_restored(account: Any) -> None:
    aws = account.aws
    account.create_role("r", "CloudWatchAgentServerPolicy")
    [instance] = aws.instances(1)
    association = account.associate(instance, "r")
    aws.client("ssm").put_parameter(Name="p", Value="{}", Type="String")
    credentials = aws.instance_credentials(instance)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    before = snapshot(aws, aws.region, "us-west-2")
    aws.save("saved")
    for _ in range(2):
        account.iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps(policy))
        account.iam.create_user(UserName="u")
        account.ec2.disassociate_iam_instance_profile(AssociationId=association)
        aws.instances(1, region="us-west-2")
        aws.client("ssm").delete_parameter(Name="p")
        aws.client("logs").create_log_group(logGroupName="g")
        aws.restore("saved")
        assert snapshot(aws, aws.region, "us-west-2") == before
        assert aws.client("logs").describe_log_groups()["logGroups"] == []
        assert aws.client("sts", credentials=credentials).get_caller_identity()["Arn"].endswith(instance)
        assert len(aws.client("ec2", "us-west-2").describe_vpcs()["Vpcs"]) == 1


def test_a_state_has_its_time_disks_agents_and_folders(account: Any, tmp_path: Path) -> None:
    aws = account.aws
    account.create_role("r", "CloudWatchAgentServerPolicy")
    [instance] = aws.instances(1)
    account.associate(instance, "r")
    credentials = aws.instance_credentials(instance)
    aws.agents(instance, platform="Windows")
    (aws.disk(instance) / "root/kept").write_text("kept")
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "link").symlink_to("file")
    key = account.iam.create_access_key(UserName=account.iam.create_user(UserName="u")["User"]["UserName"])["AccessKey"]
    aws.client("sts", credentials=key).get_caller_identity()

    def read() -> tuple[Any, ...]:
        used = account.iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
        files = sorted(each.name for each in (*folder.iterdir(), *(aws.disk(instance) / "root").iterdir()))
        return used, aws.agents()[instance]["platform"], files, aws.instance_credentials(instance)

    before = read()
    assert before[2:] == (["kept", "link"], credentials)
    aws.save("first", folder)
    aws.shift_clock(DAY)
    aws.save("second", folder)
    account.iam.create_user(UserName="other")
    when = account.iam.get_user(UserName="other")["User"]["CreateDate"]
    aws.reset()
    for each in folder.iterdir():
        each.unlink()
    (folder / "new").write_text("")
    for name, is_later in (("first", False), ("second", True), ("first", False)):
        aws.restore(name)
        assert read() == before
        account.iam.create_user(UserName="other")
        now = account.iam.get_user(UserName="other")["User"]["CreateDate"]
        assert abs((now - when).total_seconds() + (0 if is_later else DAY)) < 60
    assert aws.calls()[0].action == "GetAccessKeyLastUsed"


@pytest.mark.parametrize("aws", ["moto"], indirect=True)
@pytest.mark.parametrize("call", [lambda aws: aws.save("saved"), lambda aws: aws.shift_clock(1)])
def test_moto_has_no_clock_and_its_accounts_are_not_saved(aws: Emulator, call: Callable[[Emulator], None]) -> None:
    with pytest.raises(URLError, match="501"):
        call(aws)


def run(*arguments: str) -> str:
    environ = program_environment({"PYTHONPATH": str(TESTS)})
    return subprocess.run(
        [sys.executable, "-m", "emulator", *arguments], env=environ, capture_output=True, text=True, check=True
    ).stdout


def test_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    run("start", "--state-file", str(file), "--instances", "2", "--stopped", "1")
    state = json.loads(file.read_text())
    aws = Emulator.attach(state["endpoint"])
    assert (aws.pid, aws.backend, aws.env()) == (state["pid"], "ministack", state["env"])
    assert [one["metadata_endpoint"] for one in state["instances"]] == [
        aws.metadata_endpoint(one["id"]) for one in state["instances"]
    ]
    assert [json.loads(line)["action"] for line in run("calls", "--state-file", str(file)).splitlines()] == [
        "RunInstances",
        "StopInstances",
    ]
    run("stop", "--state-file", str(file))
    with pytest.raises(URLError):
        aws.mark()
    run("stop", "--state-file", str(file))


def test_an_emulator_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(subprocess.CalledProcessError) as refused:
            run("start", "--state-file", str(tmp_path / "state.json"), "--port", str(other.getsockname()[1]))
    assert refused.value.stderr == (
        f"Could not start: the ministack emulator ended with 1 before it was ready. See {tmp_path / 'state.log'}.\n"
    )
    assert "Address already in use" in (tmp_path / "state.log").read_text()


def test_it_ends_when_its_starter_ends() -> None:
    code = "import signal; from emulator import Emulator; print(Emulator.start().endpoint, flush=True); signal.pause()"
    environ = program_environment({"PYTHONPATH": str(TESTS)})
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        aws = Emulator.attach(starter.stdout.readline().strip())
        with aws.ending():
            starter.send_signal(signal.SIGKILL)
    with pytest.raises(URLError):
        aws.mark()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only /proc shows what a process listens on")
def test_it_listens_on_loopback_only(aws: Emulator) -> None:
    port = f"{int(aws.endpoint.rpartition(':')[2]):04X}"
    rows = [row.split() for file in ("tcp", "tcp6") for row in Path("/proc/net", file).read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]": row[1] for row in rows if row[3] == "0A"}
    sockets = {str(link.readlink()) for link in Path(f"/proc/{aws.pid}/fd").iterdir() if link.is_symlink()}
    assert [listening[one] for one in sockets & listening.keys()] == [f"0100007F:{port}"]

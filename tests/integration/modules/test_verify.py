"""The modules of verify.yml: the facts that they read, from EC2, IAM and Systems Manager and on a server."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.machines import AGENT_CONTROL, AGENT_FOLDER
from harness import (
    HYBRID_ROLE,
    NEEDS_AWS_CLI,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    allow,
    associate,
    create_role,
    create_user,
    disassociate,
    execute_module,
    hybrid_trust,
)
from in_process import run_module
from policies import Policy, actions, example, permit
from states import States
from watched import BAD, CONFIG, HYBRID, OURS, WatchedFleet, healthy, user_of, without_servers

from ansible_collections.cwagent.iam.plugins.action import cwagent_agent_config
from ansible_collections.cwagent.iam.plugins.module_utils._agents.script import digest, script
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Server
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES

pytestmark = NEEDS_AWS_CLI

HEALTHY = {"identity": "ok", "permissions": "ok", "configuration": "ok", "endpoints": "ok", "agent": "ok", "data": "?"}
UNSEEN = {"identity": "?", "permissions": "ok", "configuration": "?", "endpoints": "?", "agent": "?", "data": "?"}
WINDOWS = "The server runs Windows, and only Linux servers are checked from the inside."
ENDPOINTS = "\n".join(f"endpoint {name} 404" for name in ("monitoring", "logs", "ssm", "ec2"))
SENDING = json.dumps(
    {
        "metrics": {
            "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
            "metrics_collected": {"mem": {"measurement": ["used_percent"]}},
        },
        "logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/a", "log_group_name": "a"}]}}},
    }
)
RUNNING = f"config {PARAMETER} 1 {digest(CONFIG)}\nagent running\n"
SAID = f"profile {SERVER_ROLE}\n{ENDPOINTS}\n{RUNNING}file {PARAMETER} {digest(CONFIG)}\nend\n"
"""The output of the script on a healthy instance."""
Servers = list[dict[str, Any]]


def identities(fleet: WatchedFleet, *hosts: str) -> Servers:
    """The servers as the option of the modules."""
    groups = {host: more for each in fleet.groups.values() for host, more in each.items()}
    return [
        {"host": host, "instance_id": fleet.instances[host]}
        if host in fleet.instances
        else {"host": host, "hybrid": True}
        if groups[host]["cwagent_onprem_identity"] == HYBRID
        else {"host": host, "user": user_of(host)}
        for host in hosts
    ]


def read(fleet: WatchedFleet, *hosts: str, **options: Any) -> Servers:
    """The servers after the checks through EC2 and IAM."""
    given = {
        "servers": identities(fleet, *hosts),
        "key_store_directory": str(fleet.controller.credentials),
        **options,
    }
    result = run_module(fleet.aws, "cwagent_server_info", **given)
    assert not result["failed"], result["msg"]
    found: Servers = result["servers"]
    return found


def check(fleet: WatchedFleet, servers: Servers, way: str, **options: Any) -> dict[str, Any]:
    result = run_module(fleet.aws, "cwagent_server_info", checked=servers, **{"from": way, **options})
    assert not result["failed"], result["msg"]
    return result


def check_inside(fleet: WatchedFleet, host: str, **options: Any) -> dict[str, Any]:
    """A server after all checks, with the facts that the script prints there."""
    servers = read(fleet, host, **options)
    text = script(Server.from_dict(servers[0]))
    environment = fleet.environment(host)
    done = subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, check=True)
    [server] = check(fleet, servers, "ansible", results={host: {"stdout": done.stdout}})["servers"]
    assert server["seen_by"] == "ansible"
    return dict(server)


def failed_checks(server: Mapping[str, Any]) -> list[str]:
    assert all(each["fix"] for each in server["failures"])
    return [each["rule"] for each in server["failures"]]


def test_a_call_is_one_of_the_two_phases_with_results_of_tasks(enforcing: Emulator) -> None:
    both: dict[str, Any] = {"servers": [{"host": "web1", "hybrid": True}], "checked": []}
    for given in ({}, both, {"servers": None}, {"checked": None}):
        assert re.search("servers.*checked", run_module(enforcing, "cwagent_server_info", **given)["msg"])
    others: list[dict[str, Any]] = [
        {"checked": [{}]},
        {"checked": [{"configs": 7}]},
        {"checked": [], "results": {"web1": None}},
    ]
    for given in others:
        message = run_module(enforcing, "cwagent_server_info", **given)["msg"]
        assert re.search("form in which|must be the result of a task", message)


def test_healthy_servers_have_no_failure_by_run_command(states: States) -> None:
    fleet = states.begin(healthy)
    since = fleet.aws.mark()
    found = check(fleet, read(fleet, "web1", "db9", "win1"), "run_command")
    web, db, windows = found["servers"]
    for server in (web, db):
        assert (server["failures"], server["notes"], server["seen_by"]) == ([], [], "run_command")
        assert server["status"] == HEALTHY
    assert (windows["failures"], windows["status"], windows["seen_by"]) == ([], UNSEEN, "")
    assert found["failed_hosts"] == []
    assert {call.action for call in fleet.aws.writes(since)} == {"SendCommand"}
    [keyed] = read(fleet, "db1")
    assert keyed["failures"] == []
    assert f"aws_access_key_id = {keyed['key_id']}\n" in fleet.saved_file("db1").read_text()


# Violations: one for each fact that is read in another way


def associate_other_profile(fleet: WatchedFleet) -> None:
    create_role(fleet.aws, "Shop", SSM_POLICY)
    fleet.iam.put_role_policy(RoleName="Shop", PolicyName="x", PolicyDocument=json.dumps(allow("s3:*")))
    associate(fleet.aws, fleet.instances["web1"], "Shop")


def bound(fleet: WatchedFleet, document: Policy) -> str:
    """Set the permissions boundary of the server role, and return the ARN of its policy."""
    made = fleet.iam.create_policy(PolicyName="Boundary", PolicyDocument=json.dumps(document))
    arn: str = made["Policy"]["Arn"]
    fleet.iam.put_role_permissions_boundary(RoleName=SERVER_ROLE, PermissionsBoundary=arn)
    return arn


def deactivate_key(fleet: WatchedFleet) -> None:
    [key] = fleet.iam.list_access_keys(UserName=user_of("db1"))["AccessKeyMetadata"]
    fleet.iam.update_access_key(UserName=user_of("db1"), AccessKeyId=key["AccessKeyId"], Status="Inactive")


def use_key_of(fleet: WatchedFleet, host: str, user: str) -> None:
    """Deliver a key that is not saved."""
    if user == ANOTHER:
        fleet.iam.create_user(UserName=user)
    key = fleet.iam.create_access_key(UserName=user)["AccessKey"]
    lines = [f"aws_access_key_id = {key['AccessKeyId']}", f"aws_secret_access_key = {key['SecretAccessKey']}"]
    section = "default" if host == "db9" else "AmazonCloudWatchAgent"
    fleet.deliver(host, "\n".join([f"[{section}]", *lines, ""]))


def remove_mark(fleet: WatchedFleet) -> None:
    fleet.aws.client("ssm").remove_tags_from_resource(
        ResourceType="ManagedInstance", ResourceId=fleet.node("db9"), TagKeys=[OURS["Key"]]
    )


def trust_another_account(fleet: WatchedFleet) -> None:
    other = hybrid_trust(fleet.aws, StringEquals={"aws:SourceAccount": "210987654321"})
    fleet.iam.update_assume_role_policy(RoleName=HYBRID_ROLE, PolicyDocument=other)


def copy_credentials(fleet: WatchedFleet) -> None:
    fleet.point_at("db9", fleet.controller.file("copy", fleet.machines["db9"].credentials.read_text()))


ANOTHER = "AnotherUser"
WITHOUT_METRICS = ("logs:*", "ssm:*", "ssmmessages:*", "ec2messages:*")
METRICS_AND_LOGS = "cloudwatch:PutMetricData, logs:PutLogEvents"
Violation = tuple[str, str, str, Callable[[WatchedFleet], Any]]
IN_ACCOUNT: Sequence[Violation] = [
    ("web1", "identity", "It has no instance profile.", lambda it: disassociate(it.aws, it.instances["web1"])),
    (
        "web1",
        "identity",
        f"Instance profile '{SERVER_ROLE}' has no role.",
        lambda it: it.iam.remove_role_from_instance_profile(InstanceProfileName=SERVER_ROLE, RoleName=SERVER_ROLE),
    ),
    ("web1", "permissions", f"Role 'Shop' lacks {METRICS_AND_LOGS}.", associate_other_profile),
    (
        "web1",
        "permissions",
        f"Permissions boundary Boundary of role '{SERVER_ROLE}' blocks cloudwatch:PutMetricData.",
        lambda it: bound(it, allow(*WITHOUT_METRICS)),
    ),
    (
        "web1",
        "configuration",
        "No configuration is stored in eu-central-1.",
        lambda it: it.aws.client("ssm").delete_parameter(Name=PARAMETER),
    ),
    ("db1", "identity", rf"Access key AKIA\w+ of user '{SERVER_USER}-db1' is inactive\.", deactivate_key),
    (
        "db9",
        "identity",
        "It is not registered with Systems Manager: no node in eu-central-1",
        lambda it: it.aws.client("ssm").deregister_managed_instance(InstanceId=it.node("db9")),
    ),
    ("db9", "identity", "This collection did not register mi-", remove_mark),
    (
        "db9",
        "identity",
        r"The SSM agent of node mi-\w+ is not online",
        lambda it: it.aws.agents(it.node("db9"), running=False),
    ),
    (
        "db9",
        "identity",
        f"Role '{HYBRID_ROLE}' does not let ssm.amazonaws.com assume it in eu-central-1.",
        trust_another_account,
    ),
]
INSIDE: Sequence[Violation] = [
    ("web1", "agent", f"The agent does not run the stored {PARAMETER}.", lambda it: it.store('{"agent":{}}')),
    ("web1", "agent", "The agent is stopped.", lambda it: it.control("web1", "-a", "stop")),
    (
        "db1",
        "identity",
        r".+/credentials has access key AKIA\w+, and AKIA\w+ is the saved one\.",
        lambda it: use_key_of(it, "db1", user_of("db1")),
    ),
    ("db9", "identity", "The agent uses the credentials in ", copy_credentials),
]
BY_CLI: Sequence[Violation] = [
    ("db9", "identity", rf"The credentials in .+ are of user/{ANOTHER}, ", lambda it: use_key_of(it, "db9", ANOTHER))
]
"""The violation that the AWS CLI on the server finds."""


def test_each_violation_alone_is_one_failure(states: States, subtests: pytest.Subtests) -> None:
    for violations in (IN_ACCOUNT, INSIDE, BY_CLI):
        for host, kind, what, plant in violations:
            with subtests.test(host=host, what=what):
                fleet = states.begin(healthy)
                if violations is INSIDE:
                    fleet.install_cli(installed=False)
                plant(fleet)
                server = read(fleet, host)[0] if violations is IN_ACCOUNT else check_inside(fleet, host)
                assert failed_checks(server) == [kind], server
                assert re.match(what, server["failures"][0]["why"])
                assert server["status"][kind] == "FAIL"


def test_programs_that_a_server_lacks_are_no_failure(states: States) -> None:
    fleet = states.begin(healthy)
    fleet.aws.agents(fleet.instances["web1"], aws_cli=False, cloudwatch_agent=False)
    server = check_inside(fleet, "web1")
    assert (server["failures"], server["status"]) == (
        [],
        {**HEALTHY, "configuration": "?", "agent": "none", "data": "none"},
    )


def test_servers_compare_a_parameter_that_only_they_decrypt(states: States) -> None:
    fleet = states.begin(healthy)
    ssm, text = fleet.aws.client("ssm"), CONFIG.replace("{}", '{"files":{"collect_list":[{"file_path":"/secret"}]}}')
    ssm.delete_parameter(Name=PARAMETER)
    ssm.put_parameter(Name=PARAMETER, Value=text, Type="SecureString")
    before = check_inside(fleet, "web1")
    assert [each["why"] for each in before["failures"]] == [f"The agent does not run the stored {PARAMETER}."]
    assert [(each["action"], each["name"]) for each in before["commands"]] == [("fetch-config", f"{PARAMETER}:1")]
    fleet.run_stored("web1")
    after = check_inside(fleet, "web1")
    assert (after["failures"], after["commands"]) == ([], [])
    assert after["status"] == {**HEALTHY, "permissions": "?"}
    assert "/secret" not in json.dumps([before, after])


def test_a_version_on_trial_counts_and_begins_again_only_if_it_failed(states: States) -> None:
    """An interrupted run left it. The agent gets its final file without a restart, unless its log has a denial."""
    fleet = states.begin(healthy)
    fleet.install_cli(installed=False)
    fleet.aws.agents(fleet.instances["web1"], aws_cli=True)
    fleet.store(BAD)
    fleet.control("web1", "-a", "fetch-config", "-c", f"ssm:{PARAMETER}:2", "-s")
    server = check_inside(fleet, "web1")
    assert (server["failures"], server["commands"], server["needs_trial"]) == ([], [], True)
    assert [(each["name"], each["to"]) for each in server["renames"]] == [(f"{PARAMETER}_2", PARAMETER)]

    for calls in (["crash"], ["PutMetricData"]):
        fleet.deny(*calls)
        fleet.control("web1", "-a", "fetch-config", "-c", f"ssm:{PARAMETER}:2", "-s")
        server = check_inside(fleet, "web1")
        assert [(each["action"], each["name"]) for each in server["commands"]] == [("fetch-config", f"{PARAMETER}:2")]
    fleet.deny()

    server = check_inside(fleet, "web1")
    control = str(fleet.root("web1") / AGENT_FOLDER / "bin" / AGENT_CONTROL)
    given = {"configs": server["runs"], "agent_ctl": control}
    started = fleet.running("web1")
    for retry in (False, True):
        done = execute_module(fleet.aws, COMMAND, {**given, "retry": retry}, env=fleet.environment("web1"))
        assert (done["changed"], fleet.running("web1") != started) == (retry, retry), done
    started = fleet.running("web1")
    given = {"server": server, "rename": True, "agent_ctl": control}
    for changed, check in ((True, True), (True, False), (False, False), (False, True)):
        done = execute_module(fleet.aws, COMMAND, {**given, "_ansible_check_mode": check})
        assert done["changed"] is changed, done
    assert (fleet.files("web1"), fleet.running("web1")) == ({f"ssm_{PARAMETER}": BAD}, started)
    (fleet.root("web1") / AGENT_FOLDER / f"etc/amazon-cloudwatch-agent.d/ssm_{PARAMETER}").write_text("{}")
    refused = execute_module(fleet.aws, COMMAND, given)
    assert "something else has changed the file" in refused["msg"]
    missing = execute_module(fleet.aws, COMMAND, {**given, "agent_ctl": "/nowhere/ctl"})
    assert "There is no CloudWatch agent: /nowhere/ctl does not exist." in missing["msg"]


def test_run_command_watches_a_version_on_trial_and_renames_its_file(states: States) -> None:
    """The second agent has a configuration of others, beside which the version replaces the earlier one."""
    fleet = states.begin(healthy)
    fleet.store(BAD)
    fleet.control("web1", "-a", "fetch-config", "-c", f"ssm:{PARAMETER}:2", "-s")
    other = fleet.root("web2") / AGENT_FOLDER / "etc/amazon-cloudwatch-agent.d/file_other"
    other.write_text("{}")
    started = fleet.running("web1")
    found = check(fleet, read(fleet, "web1", "web2"), "run_command")
    assert (found["apply_hosts"], found["first_hosts"]) == (["web1", "web2"], ["web1"])
    in_use = f"{PARAMETER} in {fleet.aws.region}: version 2 on 1 server, {{}} on 1 server."
    assert " ".join(" ".join(found["lines"]).split()).endswith(in_use.format("version 1"))
    unread = {"kind": Kind.DENY, "action": "GetParameterHistory", "times": 9}
    checked = {"checked": found["servers"], "from": "run_command"}
    lines = " ".join(" ".join(run_module(fleet.aws, "cwagent_server_info", unread, **checked)["lines"]).split())
    assert in_use.format("another text") in lines
    assert "lacks ssm:GetParameterHistory" in lines
    servers = [{**each, "watch_seconds": 1} for each in found["servers"]]
    applied = run_module(fleet.aws, COMMAND, servers=servers)
    assert (applied["steps"], applied["applied_hosts"]) == (["apply the configuration on web2"], ["web1", "web2"])
    watched = run_module(fleet.aws, COMMAND, servers=servers, watch=True)
    assert {host: each["failure"] for host, each in watched["watches"].items()} == {"web1": "", "web2": ""}
    assert fleet.files("web2") == {"file_other": "{}", f"ssm_{PARAMETER}_2": BAD}
    for check_mode in (True, False):
        renamed = run_module(fleet.aws, COMMAND, servers=servers, rename=True, check=check_mode)
        assert renamed["steps"] == ["rename the file of the configuration on web1, web2"], renamed
        assert renamed["rename_hosts"] == []
    assert fleet.files("web2") == {"file_other": "{}", f"ssm_{PARAMETER}": BAD}
    assert (fleet.files("web1"), fleet.running("web1")) == ({f"ssm_{PARAMETER}": BAD}, started)
    other.with_name(f"ssm_{PARAMETER}").write_text("{}")
    refused = run_module(fleet.aws, COMMAND, servers=servers, rename=True)
    assert "Something else has changed the file." in refused["msg"]
    assert [*refused["failed_hosts"]] == ["web2"]


def test_several_versions_of_a_configuration_are_a_failure(states: States) -> None:
    fleet = states.begin(healthy)
    fleet.install_cli(installed=False)
    fleet.aws.agents(fleet.instances["web1"], aws_cli=True)
    ssm = fleet.aws.client("ssm")
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=1, Labels=["stable"])
    fleet.control("web1", "-a", "append-config", "-c", f"ssm:{PARAMETER}:stable", "-s")
    files = f"{PARAMETER}, {PARAMETER}_stable"
    server = check_inside(fleet, "web1", config_label="stable")
    assert [each["why"] for each in server["failures"]] == [
        f"The agent merges several versions of a configuration, which are in the files {files}."
    ]
    assert [each["action"] for each in server["commands"]] == ["fetch-config"]


def test_a_label_is_moved_once_with_a_call_that_names_the_version(
    states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = states.begin(healthy)
    fleet.install_cli(installed=False)
    fleet.store(CONFIG)
    servers = [check_inside(fleet, host) for host in ("web1", "db9")]
    given: dict[str, Any] = {"servers": servers, "config_label": "stable"}
    summary = f"move label 'stable' of {PARAMETER} to version 2 in eu-central-1"
    key = create_user(fleet.aws, "controller")
    permit(fleet.aws, example("apply"))
    denied = run_module(fleet.aws, COMMAND, credentials=key, **given)
    for words in (f"Could not {summary}", "lacks ssm:LabelParameterVersion on ", "label-versions.json"):
        assert words in denied["msg"]
    for check, steps, calls in ((True, [summary], 0), (False, [summary], 1), (False, [], 0), (True, [], 0)):
        since = fleet.aws.mark()
        result = run_module(fleet.aws, COMMAND, check=check, **given)
        assert not result["failed"], result
        assert (result["steps"], len(fleet.aws.writes(since))) == (steps, calls)
    ssm = fleet.aws.client("ssm")
    history = ssm.get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [each["Labels"] for each in history] == [[], ["stable"]]

    ended = [{**each, "agent": "stopped"} for each in servers]
    assert not run_module(fleet.aws, COMMAND, servers=ended, config_label="other")["changed"]
    invalid = run_module(fleet.aws, COMMAND, servers=servers, config_label="7a")
    assert "label '7a' is not valid" in invalid["msg"]
    monkeypatch.setattr(cwagent_agent_config, "check_label", lambda _label: None)
    refused = run_module(fleet.aws, COMMAND, servers=servers, config_label="7a")
    assert refused["msg"].startswith(f"Could not move label '7a' of {PARAMETER} to version 2 in eu-central-1: AWS does")


def test_the_label_of_fitted_policies_moves_with_that_of_the_user(states: States) -> None:
    """In the same calls as the label of the user, each of which can be refused because of many labels."""
    fleet = states.begin(healthy)
    fleet.install_cli(installed=False)
    fleet.store(CONFIG)
    servers = [check_inside(fleet, host) for host in ("web1", "db9")]
    summary = f"move {{}} of {PARAMETER} to version 2 in eu-central-1"
    given: dict[str, Any] = {"servers": servers, "config_label": "next", "fitted": True}
    since = fleet.aws.mark()
    result = run_module(fleet.aws, COMMAND, servers=servers, config_label="recent")
    assert result["steps"] == [summary.format("label 'recent'")]
    both = summary.format("labels 'next' and 'cwagent-applied'")
    for check, steps in ((True, [both]), (False, [both]), (False, [])):
        assert run_module(fleet.aws, COMMAND, check=check, **given)["steps"] == steps
    assert not run_module(fleet.aws, COMMAND, servers=servers, fitted=True)["changed"]
    assert len(fleet.aws.writes(since)) == 2
    ssm = fleet.aws.client("ssm")
    history = ssm.get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [each["Labels"] for each in history] == [[], ["recent", "next", "cwagent-applied"]]
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=2, Labels=[f"l{each}" for each in range(7)])
    refused = run_module(fleet.aws, COMMAND, servers=servers, config_label="last")
    assert "Could not move label 'last' of" in refused["msg"]
    assert "more than 10 labels. Remove one: aws ssm unlabel-parameter-version" in refused["msg"]
    reserved = run_module(fleet.aws, COMMAND, servers=servers, config_label="cwagent-applied")
    assert "label 'cwagent-applied' is the one with which" in reserved["msg"]


@pytest.mark.parametrize("platform_in", ["EC2", "Systems Manager"])
def test_the_inside_of_a_windows_server_is_unknown_in_every_way(states: States, platform_in: str) -> None:
    """Beside it, a Linux server fails from which nothing is read. The caller may be allowed to call no EC2."""
    fleet = states.begin(healthy)
    fleet.aws.agents(fleet.instances["web1"], running=False)
    if platform_in == "Systems Manager":
        fleet.aws.arm(Fault(Kind.DENY, service="ec2", action="DescribeInstances", times=1000))
    servers = read(fleet, "web1", "win1")
    since = fleet.aws.mark()
    for way in ("auto", "run_command", "ansible")[: 3 if platform_in == "EC2" else 2]:
        web, windows = check(fleet, servers, way)["servers"]
        assert (failed_checks(web), failed_checks(windows)) == (["agent"], [])
        assert (windows["status"], windows["seen_by"]) == (UNSEEN, "")
        assert {each["why"] for each in windows["notes"]} == {WINDOWS}
    web, _windows = check(fleet, servers, "none")["servers"]
    assert (web["failures"], web["notes"][0]["why"]) == ([], "It was checked only through the EC2 and IAM APIs.")
    assert fleet.aws.writes(since) == []


def test_calls_grow_with_batches_and_pages_and_not_with_hosts(states: States) -> None:
    fleet = states.begin(without_servers)
    aws, hosts = fleet.aws, [f"web{number}" for number in range(60)]
    fleet.instances = dict(zip(hosts, aws.instances(len(hosts)), strict=True))
    aws.agents(answer={"code": 0, "stdout": SAID, "stderr": ""})
    for instance in fleet.instances.values():
        aws.client("ec2").associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": SERVER_ROLE})
    since = aws.mark()
    found = check(fleet, read(fleet, *hosts), "run_command")
    assert found["failed_hosts"] == []
    made = aws.calls(since)
    calls = Counter(call.action for call in made)
    assert (calls["SendCommand"], calls["DescribeInstanceInformation"]) == (2, 2)
    assert calls["GetCommandInvocation"] == 0
    # Each look at a command is one page. How many looks there are depends on how fast its hosts answer.
    looks = [call.params for call in made if call.action == "ListCommandInvocations"]
    assert len({each["CommandId"] for each in looks}) == 2
    assert not any("NextToken" in each for each in looks)
    assert sum(calls.values()) - calls["ListCommandInvocations"] < 30, calls
    assert found["lines"][41:43] == ["and 20 more", "60 of 60 servers without a failure."]


# Permissions that the configuration needs

AMP, ROLE_FIELD = "metrics.metrics_destinations.amp.workspace_id", "agent.credentials.role_arn"
NEEDY: dict[str, Any] = {
    "metrics": {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}}},
    "logs": {"logs_collected": {"files": {"collect_list": [{"retention_in_days": 30}]}}},
}


def failures(fleet: WatchedFleet, config: Mapping[str, Any], **options: Any) -> list[str]:
    """The missing permissions of a server with this configuration."""
    fleet.store(json.dumps(config))
    [server] = read(fleet, "web1", **options)
    assert server["notes"] == []
    assert {*failed_checks(server)} <= {"permissions"}
    return [each["why"] for each in server["failures"]]


def put_policy(fleet: WatchedFleet, *allowed: str) -> None:
    """Replace all policies of the server role with a custom policy."""
    for each in fleet.iam.list_attached_role_policies(RoleName=SERVER_ROLE)["AttachedPolicies"]:
        fleet.iam.detach_role_policy(RoleName=SERVER_ROLE, PolicyArn=each["PolicyArn"])
    document = json.dumps(allow("cloudwatch:*", "logs:PutLogEvents", "ssm:GetParameter", *allowed))
    fleet.iam.put_role_policy(RoleName=SERVER_ROLE, PolicyName="custom", PolicyDocument=document)


def test_the_permissions_that_a_configuration_needs_are_checked(states: States) -> None:
    """The policy of AWS allows only the ordinary ones. The boundary of the examples allows no others either."""
    fleet = states.begin(healthy)
    lacks, of = f"Role '{SERVER_ROLE}' lacks", f"of {PARAMETER} needs."
    assert failures(fleet, NEEDY) == [f"{lacks} aps:RemoteWrite, which {AMP} {of}"]
    put_policy(fleet, "aps:*", "logs:CreateLogStream", "logs:PutRetentionPolicy", "logs:DescribeLogGroups")
    assert failures(fleet, NEEDY) == []
    bound(fleet, example("boundary"))
    blocked = f"Permissions boundary Boundary of role '{SERVER_ROLE}' blocks"
    assert failures(fleet, NEEDY) == [f"{blocked} aps:RemoteWrite, which {AMP} {of}"]


def test_the_trust_of_a_role_that_the_agent_assumes_is_checked(states: States) -> None:
    fleet = states.begin(healthy)
    put_policy(fleet, "sts:AssumeRole")
    create_role(fleet.aws, "Central")
    arn = fleet.iam.get_role(RoleName="Central")["Role"]["Arn"]
    config, of = {"agent": {"credentials": {"role_arn": arn}}}, f"{ROLE_FIELD} of {PARAMETER}"
    assert failures(fleet, config) == [f"Role 'Central', which {of} names, does not trust role '{SERVER_ROLE}'."]
    statement = {"Effect": "Allow", "Principal": {"AWS": arn.rpartition(":")[0] + ":root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    fleet.iam.update_assume_role_policy(RoleName="Central", PolicyDocument=document)
    assert failures(fleet, config) == []
    absent = arn.replace("Central", "Absent")
    config = {"agent": {"credentials": {"role_arn": absent}}}
    assert failures(fleet, config) == [f"{of} names role {absent}, which does not exist."]


def test_iam_itself_answers_what_a_configuration_needs(states: States) -> None:
    fleet = states.begin(healthy)
    since = fleet.aws.mark()
    [what] = failures(fleet, {"metrics": NEEDY["metrics"]}, simulate=True)
    assert what.startswith(f"Role '{SERVER_ROLE}' lacks aps:RemoteWrite")
    asked = [call for call in fleet.aws.calls(since) if call.action == "SimulatePrincipalPolicy"]
    assert len(asked) == 2, "one for each resource: the parameter and the workspace"


# Policies

Step = tuple[str, dict[str, Any]]
"""A module and its options."""
INFO, COMMAND = "cwagent_server_info", "cwagent_agent_config"
VERIFY = actions(example("verify"))


class Duty:
    """The modules of a playbook, run by a user who has its policy, and the calls that each of them made."""

    def __init__(self, fleet: WatchedFleet, name: str) -> None:
        self.fleet, self.document = fleet, example(name)
        self.key = create_user(fleet.aws, "controller")
        self.steps: list[tuple[Step, set[str]]] = []

    def run(self, module: str, **options: Any) -> dict[str, Any]:
        """Run a module with the whole policy."""
        permit(self.fleet.aws, self.document)
        since = self.fleet.aws.mark()
        result = run_module(self.fleet.aws, module, credentials=self.key, **options)
        assert not result["failed"], result
        assert not result.get("unread"), result["unread"]
        made = self.fleet.aws.calls(since)
        assert [call.action for call in made if call.error in DENIED_CODES] == []
        self.steps.append(((module, options), {call.action for call in made}))
        return result

    def denied_without(self, left_out: str, call: str) -> set[str]:
        """The actions that the modules name, which make this call, without an action or a resource of the policy."""
        text = json.dumps(self.document).replace(f'"{left_out}"', '"arn:aws:s3:::x"' if "/" in left_out else '"s3:x"')
        permit(self.fleet.aws, json.loads(text))
        since, named = self.fleet.aws.mark(), set[str]()
        for (module, options), calls in self.steps:
            if call in calls:
                result = run_module(self.fleet.aws, module, credentials=self.key, **options)
                named |= {each["action"] for each in result.get("unread", ())}
                named |= {each for each in actions(self.document) if f"lacks {each}" in result.get("msg", "")}
        denied = {each.action for each in self.fleet.aws.calls(since) if each.error in DENIED_CODES}
        assert denied == {each.partition(":")[2] for each in named}
        return named


@pytest.mark.parametrize("name", ["verify", "apply"])
def test_each_duty_needs_its_policy_and_no_more(states: States, name: str, subtests: pytest.Subtests) -> None:
    """The output of the script is long, so that it is read by instance; the agent runs another configuration."""
    fleet = states.begin(healthy)
    if name == "verify":
        fleet.store(SENDING)
    said = SAID.replace(f"file {PARAMETER} {digest(CONFIG)}", f"file {PARAMETER} old")
    answer = {"code": 0, "stdout": f"{'other a' * 500}\n{said}", "stderr": ""}
    fleet.aws.agents(fleet.instances["web1"], fleet.node("db9"), answer=answer)
    duty, servers = Duty(fleet, name), identities(fleet, "web1", "db1", "db9")
    for store in ("parameter_store", "secrets_manager"):
        found = duty.run(INFO, servers=servers, simulate=True, key_store=store)
    checked = duty.run(INFO, checked=found["servers"], **{"from": "run_command"})
    if name == "verify":
        duty.run(INFO, checked=found["servers"], data=True, **{"from": "none"})
    if name == "apply":
        assert duty.run("cwagent_account_info", find_server_policy=True)["server_policy"] == "aws"
        assert duty.run(COMMAND, servers=checked["servers"])["changed"]
        assert {*duty.run(COMMAND, servers=checked["servers"], watch=True)["watches"]} == {"web1"}
    # Only a play waits for data: test_data.py.
    for action in actions(duty.document) - ({"cloudwatch:GetMetricData"} if name == "apply" else set()):
        with subtests.test(action=action):
            assert duty.denied_without(action, action.partition(":")[2]) == {action}
    for resource in duty.document["Statement"][-1]["Resource"]:
        with subtests.test(resource=resource):
            assert duty.denied_without(resource, "SendCommand") == {"ssm:SendCommand"}


def test_the_duty_of_verifying_reads_no_secret_and_changes_nothing_but_by_command() -> None:
    others = VERIFY - {"ssm:SendCommand"}
    assert all(action.split(":")[1].startswith(("Get", "List", "Describe", "Simulate")) for action in others)
    assert not {"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"} & others

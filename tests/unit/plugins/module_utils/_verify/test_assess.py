from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.plan import FETCH, AgentFiles, Command
from ansible_collections.cwagent.iam.plugins.module_utils._verify.assess import assess, note_unseen, skip_facts
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import (
    CHECKS,
    MESSAGE_SERVICES,
    SERVICES,
    Config,
    Facts,
    Failure,
    Note,
    Reading,
    Server,
)

REACHED = dict.fromkeys(SERVICES, 404)
CONFIG = Config("A", 2, "new", is_readable=True)
PART = Config("A-2", 1, "part", is_readable=True)
WEB = Server(
    "web1", "eu-central-1", "i-1", profile="Server", configs=(CONFIG,), endpoints=dict.fromkeys(SERVICES, "https://x")
)
DB = replace(WEB, host="db1", instance_id="", user="db", profile=None, key_id="AKIA1")
READ = {"A": Reading(2, "new")}
RUNS = AgentFiles({"A": "new"})
INSIDE = Facts(profile="Server", endpoints=REACHED, configs=READ, agent="running", files=RUNS)
MESSAGES = dict.fromkeys(MESSAGE_SERVICES, "https://x")
HYBRID = replace(
    DB,
    endpoints={**WEB.endpoints, **MESSAGES},
    host="db9",
    user="",
    key_id="",
    is_hybrid=True,
    node_id="mi-1",
    role="Hybrid",
)
ONPREM = replace(INSIDE, profile=None, key_id="AKIA1", key_file="/keys", caller="arn:aws:iam::1:user/path/db")
SESSION = replace(
    ONPREM,
    endpoints={**REACHED, "ssmmessages": 404, "ec2messages": 0},
    key_id="ASIA1",
    caller="arn:aws:sts::1:assumed-role/Hybrid/mi-1",
)
INACTIVE = Failure("identity", "Access key AKIA1 of user 'db' is inactive.", "activate it")


def found(server, facts):
    """The failed checks with their findings, and the checks with notes."""
    seen = assess(server, facts, "ansible")
    new = [each for each in seen.failures if each not in server.failures]
    assert all(each.fix for each in new)
    return [(each.check, each.what) for each in new], [each.check for each in seen.notes]


@pytest.mark.parametrize(("server", "facts"), [(WEB, INSIDE), (DB, ONPREM), (HYBRID, SESSION)])
def test_a_healthy_server_has_no_failure(server, facts):
    seen = assess(server, facts, "ansible")
    assert (seen.failures, seen.notes, seen.commands) == ((), (), ())
    assert [seen.status(check) for check in CHECKS] == ["ok"] * 5
    assert (seen.seen_by, seen.agent) == ("ansible", "running")


NOT_IN_CONFIG = replace(INSIDE, configs={"A": Reading(error="AccessDenied")})
FAILURES = {
    "no metadata service": (
        WEB,
        replace(NOT_IN_CONFIG, has_metadata=False, profile=None),
        ("identity", "The instance metadata service does not answer on it."),
    ),
    "another profile inside": (
        WEB,
        replace(NOT_IN_CONFIG, profile="Old"),
        ("identity", "EC2 has associated instance profile 'Server', and the instance itself shows 'Old'."),
    ),
    "no profile inside": (
        WEB,
        replace(NOT_IN_CONFIG, profile=None),
        ("identity", "EC2 has associated instance profile 'Server', and the instance itself shows none."),
    ),
    "no key": (
        DB,
        replace(ONPREM, key_id="", caller="", configs={"A": Reading(error="no credentials")}),
        ("identity", "/keys has no access key for the agent."),
    ),
    "the key of another user": (
        DB,
        replace(ONPREM, key_id="AKIA2", caller="arn:aws:iam::1:user/other"),
        ("identity", "Access key AKIA2 in /keys is of user 'other', not 'db'."),
    ),
    "another key of the user": (
        DB,
        replace(ONPREM, key_id="AKIA2"),
        ("identity", "/keys has access key AKIA2, and AKIA1 is the saved one."),
    ),
    "a secret that is wrong": (
        DB,
        replace(
            ONPREM,
            caller="",
            caller_error="An error occurred (SignatureDoesNotMatch)",
            configs={"A": Reading(error="x")},
        ),
        ("identity", "AWS refuses access key AKIA1 in /keys: An error occurred (SignatureDoesNotMatch)."),
    ),
    "credentials of another node": (
        HYBRID,
        replace(SESSION, caller="arn:aws:sts::1:assumed-role/Hybrid/mi-2"),
        ("identity", "The credentials in /keys are of assumed-role/Hybrid/mi-2, not of assumed-role/Hybrid/mi-1."),
    ),
    "a key on a hybrid server": (
        HYBRID,
        ONPREM,
        ("identity", "The credentials in /keys are of user/path/db, not of assumed-role/Hybrid/mi-1."),
    ),
    "another file than the SSM agent's": (
        HYBRID,
        replace(SESSION, key_id="", caller="", shared_file="/shared", configs={"A": Reading(error="x")}),
        ("identity", "The agent uses the credentials in /keys, and the SSM agent keeps its credentials in /shared."),
    ),
    "no credentials of the SSM agent": (
        HYBRID,
        replace(SESSION, key_id="", caller="", configs={"A": Reading(error="x")}),
        ("identity", "/keys has no credentials for the agent."),
    ),
    "credentials that have expired": (
        HYBRID,
        replace(SESSION, caller="", caller_error="An error occurred (ExpiredToken)", configs={"A": Reading(error="x")}),
        ("identity", "AWS refuses the credentials in /keys: An error occurred (ExpiredToken)."),
    ),
    "no way to get commands": (
        HYBRID,
        replace(SESSION, endpoints={**REACHED, "ssmmessages": 0, "ec2messages": 0}),
        ("endpoints", "It does not reach ssmmessages, ec2messages in eu-central-1."),
    ),
    "no way to two services": (
        WEB,
        replace(INSIDE, endpoints={**REACHED, "logs": 0, "monitoring": 0}),
        ("endpoints", "It does not reach monitoring, logs in eu-central-1."),
    ),
    "no way to Parameter Store": (
        WEB,
        replace(NOT_IN_CONFIG, endpoints={**REACHED, "ssm": 0}),
        ("endpoints", "It does not reach ssm in eu-central-1."),
    ),
    "a denied read": (WEB, NOT_IN_CONFIG, ("configuration", "It cannot read parameter A: AccessDenied.")),
    "another version read": (
        WEB,
        replace(INSIDE, configs={"A": Reading(1, "old")}),
        ("configuration", "It reads version 1 of parameter A, and version 2 is stored."),
    ),
    "the agent stopped": (WEB, replace(INSIDE, agent="stopped"), ("agent", "The agent is stopped.")),
    "an agent that was never configured": (
        WEB,
        replace(INSIDE, agent="stopped", files=AgentFiles()),
        ("agent", "The agent is stopped and has no configuration."),
    ),
    "another version running": (
        WEB,
        replace(INSIDE, files=AgentFiles({"A": "old"})),
        ("agent", "The agent does not run the stored A."),
    ),
    "a part that is missing": (
        replace(WEB, configs=(CONFIG, PART)),
        replace(INSIDE, configs={**READ, "A-2": Reading(1, "part")}),
        ("agent", "The agent does not run the stored A-2."),
    ),
    "a part that is left": (
        WEB,
        replace(INSIDE, files=AgentFiles({"A": "new", "A-2": "part"})),
        ("agent", "The agent still runs A-2, which is no longer stored."),
    ),
    "none of several configurations": (
        replace(WEB, configs=(CONFIG, Config("B", 1, "b", True)), runs_all=False),
        replace(INSIDE, files=AgentFiles({"C": "c"})),
        ("agent", "The agent runs no stored configuration."),
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_violation_alone_is_one_failure(name):
    server, facts, expected = FAILURES[name]
    failures, _notes = found(server, facts)
    assert failures == [expected]


LACKING = Failure("permissions", "Role 'x' lacks ssm:GetParameter.", "attach it")
CONSEQUENCES = {
    "a key that IAM has shown to be inactive": (
        replace(DB, failures=(INACTIVE,)),
        replace(ONPREM, caller="", caller_error="(InvalidClientTokenId)", configs={"A": Reading(error="x")}),
    ),
    "a hybrid server that is not registered": (
        replace(HYBRID, failures=(Failure("identity", "It is not registered.", "x"),)),
        replace(SESSION, key_id="", caller="", shared_file="/shared", configs={"A": Reading(error="x")}),
    ),
    "no saved key": (
        replace(DB, failures=(Failure("identity", "No access key of user 'db' is saved.", "x"),)),
        replace(ONPREM, key_id="", caller="", configs={"A": Reading(error="x")}),
    ),
    "a read that IAM has shown to be denied": (
        replace(WEB, failures=(LACKING,), configs=(replace(CONFIG, is_readable=False),)),
        NOT_IN_CONFIG,
    ),
    "no profile": (
        replace(WEB, profile=None, failures=(Failure("identity", "It has no instance profile.", "x"),)),
        replace(NOT_IN_CONFIG, profile=None),
    ),
    "no stored configuration": (
        replace(WEB, configs=(), failures=(Failure("configuration", "No configuration is stored.", "x"),)),
        INSIDE,
    ),
}


@pytest.mark.parametrize("name", CONSEQUENCES)
def test_consequences_of_a_failure_are_not_reported(name):
    assert found(*CONSEQUENCES[name]) == ([], [])


NOTES = {
    "a key file that may not be read": (DB, replace(ONPREM, key_id=None, caller=""), ["identity"]),
    "STS out of reach": (DB, replace(ONPREM, caller="", caller_error="Could not connect"), ["identity"]),
    "a file of the SSM agent that may not be read": (HYBRID, replace(SESSION, key_id=None, caller=""), ["identity"]),
    "STS out of reach of a hybrid server": (
        HYBRID,
        replace(SESSION, caller="", caller_error="Could not connect"),
        ["identity"],
    ),
    "a hybrid server whose node was not read": (replace(HYBRID, node_id=""), SESSION, []),
    "no curl": (WEB, replace(INSIDE, endpoints={}, has_metadata=None, profile=None), ["identity", "endpoints"]),
    "no AWS CLI": (WEB, replace(INSIDE, has_cli=False, configs={}), ["configuration"]),
    "no AWS CLI, and nothing to read": (replace(WEB, configs=()), replace(INSIDE, has_cli=False), []),
    "a stored value that was not read": (replace(WEB, configs=(replace(CONFIG, digest=""),)), INSIDE, ["agent"]),
    "no agent": (WEB, replace(INSIDE, agent="", files=AgentFiles()), []),
    "one of several configurations": (
        replace(WEB, configs=(CONFIG, Config("B", 1, "b", True)), runs_all=False),
        INSIDE,
        [],
    ),
    "an answer without one of the configurations": (WEB, replace(INSIDE, configs={}), []),
    "an agent with configurations of others only": (
        WEB,
        replace(INSIDE, agent="running", files=AgentFiles({"A": "new"}, ("file_x",))),
        [],
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_an_unknown_value_is_no_failure(name):
    server, facts, expected = NOTES[name]
    assert found(server, facts) == ([], expected)


def test_an_agent_that_is_stopped_with_configurations_of_others_only_is_one_failure():
    facts = replace(INSIDE, agent="stopped", files=AgentFiles({}, ("file_x",)))
    assert found(WEB, facts)[0] == [("agent", "The agent is stopped.")]


def test_status_of_an_agent_that_is_not_installed():
    seen = assess(WEB, replace(INSIDE, agent="", files=AgentFiles()), "run_command")
    assert (seen.agent, seen.status("agent")) == ("not installed", "none")


OLD = replace(INSIDE, files=AgentFiles({"A": "old"}))


@pytest.mark.parametrize(
    ("server", "facts", "expected"),
    [
        (WEB, OLD, (Command(FETCH, "A", restart=True),)),
        (WEB, INSIDE, ()),
        (WEB, replace(OLD, profile="Other"), ()),
        (replace(WEB, configs=(replace(CONFIG, is_readable=False),)), OLD, ()),
        (replace(WEB, configs=(replace(CONFIG, is_readable=None),)), OLD, (Command(FETCH, "A", restart=True),)),
        (WEB, replace(OLD, agent=""), ()),
        (replace(WEB, failures=(Failure("configuration", "x", "y"),)), OLD, ()),
    ],
)
def test_commands_that_make_the_agent_run_the_stored_configuration(server, facts, expected):
    assert assess(server, facts, "run_command").commands == expected


@pytest.mark.parametrize(("server", "facts", "mode"), [(WEB, INSIDE, "ec2"), (DB, ONPREM, "onPremise")])
def test_a_stopped_agent_is_started_in_the_mode_of_the_server(server, facts, mode):
    [failure] = assess(server, replace(facts, agent="stopped"), "run_command").failures
    assert failure.fix == (
        f"sudo /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a start -m {mode}, or see its log."
    )


def test_the_fix_has_the_variable_if_the_right_configuration_is_unknown():
    several = replace(WEB, configs=(CONFIG, Config("B", 1, "b", True)), runs_all=False)
    [failure] = assess(several, replace(INSIDE, files=AgentFiles({"C": "c"})), "run_command").failures
    assert failure.fix.startswith("Set cwagent_config_names for the host")
    [failure] = assess(WEB, OLD, "run_command").failures
    assert failure.fix == "Run the playbook cwagent.iam.apply."


# Without facts


def test_a_server_without_facts_fails():
    seen = note_unseen(WEB, "no route.")
    assert [(each.check, each.what) for each in seen.failures] == [
        ("agent", "Nothing was read on the server: no route.")
    ]
    assert [seen.status(check) for check in CHECKS] == ["?", "ok", "?", "?", "FAIL"]


def test_a_failure_that_can_be_the_reason_is_enough():
    failed = WEB.adding(Failure("identity", "It has no instance profile.", "x"))
    assert note_unseen(failed, "offline").failures == failed.failures


def test_an_instance_that_is_not_running_has_not_failed():
    seen = note_unseen(replace(WEB, is_running=False), "offline")
    assert seen.failures == ()
    assert {each.what for each in seen.notes} == {"The instance is not running."}


WINDOWS = "The server runs Windows, and only Linux servers are checked from the inside."
NO_PROFILE = Failure("identity", "It has no instance profile.", "x")
DENIED = Failure("permissions", "Role 'Server' lacks logs:PutLogEvents.", "x")
NOT_STORED = Failure("configuration", "No configuration is stored in eu-central-1.", "x")


@pytest.mark.parametrize("reason", ["nothing was tried", "no route", "the SSM agent of instance i-1 is not online"])
@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ((), ["?", "ok", "?", "?", "?"]),
        ((NO_PROFILE,), ["FAIL", "ok", "?", "?", "?"]),
        ((DENIED,), ["?", "FAIL", "?", "?", "?"]),
        ((NOT_STORED,), ["?", "ok", "FAIL", "?", "?"]),
        ((NO_PROFILE, DENIED, NOT_STORED), ["FAIL", "FAIL", "FAIL", "?", "?"]),
    ],
)
def test_only_the_inside_of_a_windows_server_is_unknown(failures, status, reason):
    seen = note_unseen(replace(WEB, is_windows=True, failures=failures), reason)
    assert seen.failures == failures
    assert [seen.status(check) for check in CHECKS] == status
    assert {each.what for each in seen.notes} == {WINDOWS}


def test_a_windows_server_that_is_stopped_is_not_running():
    seen = note_unseen(replace(WEB, is_windows=True, is_running=False), "offline")
    assert {each.what for each in seen.notes} == {"The instance is not running."}


def test_permissions_are_known_without_facts():
    assert Note("permissions", "x.") not in skip_facts(WEB, "x").notes
    assert Note("identity", "x.") in skip_facts(WEB, "x").notes

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import FETCH, AgentFiles, Command
from ansible_collections.cwagent.iam.plugins.module_utils._agents.fact_checks import (
    check_facts,
    note_unseen,
    skip_facts,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import (
    CHECKS,
    CONFIGURATION,
    IDENTITY,
    MESSAGE_SERVICES,
    PERMISSIONS,
    Config,
    Facts,
    Reading,
    Server,
    failure,
)

SERVICES = ("monitoring", "logs", "ssm", "ec2")
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
INACTIVE = failure(IDENTITY, "Access key AKIA1 of user 'db' is inactive.", "activate it")


def found(server, facts):
    """The failed checks with their findings, and the checks with notes."""
    seen = check_facts(server, facts, "ansible")
    new = [each for each in seen.failures if each not in server.failures]
    assert all(each.fix for each in new)
    return [(each.rule, each.why) for each in new], [each.rule for each in seen.notes]


@pytest.mark.parametrize(("server", "facts"), [(WEB, INSIDE), (DB, ONPREM), (HYBRID, SESSION)])
def test_a_healthy_server_has_no_failure(server, facts):
    seen = check_facts(server, facts, "ansible")
    assert (seen.failures, seen.notes, seen.commands) == ((), (), ())
    assert [seen.status(check) for check in CHECKS] == [*["ok"] * 5, "?"]
    assert (seen.seen_by, seen.agent) == ("ansible", "running")


NO_READ = {"A": Reading(error="x")}
NO_CALLER: Any = {"caller": "", "configs": NO_READ}


def inside(**changes):
    return replace(INSIDE, **changes)


def without_read(**changes):
    return inside(configs={"A": Reading(error="AccessDenied")}, **changes)


def reaching(facts, *lost):
    return replace(facts, endpoints={**facts.endpoints, **dict.fromkeys(lost, 0)})


def calling(name):
    """The server, which calls another endpoint too."""
    return replace(WEB, endpoints={**WEB.endpoints, name: f"https://{name}"})


# The controller never decrypts a SecureString.
UNREAD = replace(WEB, configs=(replace(CONFIG, digest=""),))
DUAL_STACK = "logs.eu-central-1.api.aws"
POSSIBLE = replace(WEB, possible_endpoints={"xray": "https://xray"})


SHOWN = "EC2 has associated instance profile 'Server', and the instance itself shows {}."
NOT_OF_NODE = "The credentials in /keys are of {}, not of assumed-role/Hybrid/mi-1."
UNREACHED = "It does not reach {} in eu-central-1."
SEVERAL = replace(WEB, configs=(CONFIG, Config("B", 1, "b", True)), runs_all=False)
FAILURES = {
    "identity": {
        "The instance metadata service does not answer on it.": (WEB, without_read(has_metadata=False, profile=None)),
        SHOWN.format("'Old'"): (WEB, without_read(profile="Old")),
        SHOWN.format("none"): (WEB, without_read(profile=None)),
        "/keys has no access key for the agent.": (DB, replace(ONPREM, key_id="", **NO_CALLER)),
        "Access key AKIA2 in /keys is of user 'other', not 'db'.": (
            DB,
            replace(ONPREM, key_id="AKIA2", caller="arn:aws:iam::1:user/other"),
        ),
        "/keys has access key AKIA2, and AKIA1 is the saved one.": (DB, replace(ONPREM, key_id="AKIA2")),
        "AWS refuses access key AKIA1 in /keys: An error occurred (SignatureDoesNotMatch).": (
            DB,
            replace(ONPREM, caller_error="An error occurred (SignatureDoesNotMatch)", **NO_CALLER),
        ),
        NOT_OF_NODE.format("assumed-role/Hybrid/mi-2"): (
            HYBRID,
            replace(SESSION, caller="arn:aws:sts::1:assumed-role/Hybrid/mi-2"),
        ),
        NOT_OF_NODE.format("user/path/db"): (HYBRID, ONPREM),
        "The agent uses the credentials in /keys, and the SSM agent keeps its credentials in /shared.": (
            HYBRID,
            replace(SESSION, key_id="", shared_file="/shared", **NO_CALLER),
        ),
        "/keys has no credentials for the agent.": (HYBRID, replace(SESSION, key_id="", **NO_CALLER)),
        "AWS refuses the credentials in /keys: An error occurred (ExpiredToken).": (
            HYBRID,
            replace(SESSION, caller_error="An error occurred (ExpiredToken)", **NO_CALLER),
        ),
    },
    "endpoints": {
        UNREACHED.format("ssmmessages, ec2messages"): (HYBRID, reaching(SESSION, "ssmmessages", "ec2messages")),
        UNREACHED.format("monitoring, logs"): (WEB, reaching(INSIDE, "logs", "monitoring")),
        UNREACHED.format("ssm"): (WEB, reaching(without_read(), "ssm")),
        f"It does not reach {DUAL_STACK}.": (calling(DUAL_STACK), reaching(INSIDE, DUAL_STACK)),
        f"It does not reach logs in eu-central-1, {DUAL_STACK}.": (
            calling(DUAL_STACK),
            reaching(INSIDE, DUAL_STACK, "logs"),
        ),
    },
    "configuration": {
        "It cannot read parameter A: AccessDenied.": (WEB, without_read()),
        "It reads version 1 of parameter A, and version 2 is stored.": (WEB, inside(configs={"A": Reading(1, "old")})),
    },
    "agent": {
        "The agent is stopped.": (WEB, inside(agent="stopped")),
        "The agent is stopped and has no configuration.": (WEB, inside(agent="stopped", files=AgentFiles())),
        "The agent does not run the stored A.": (WEB, inside(files=AgentFiles({"A": "old"}))),
        "The agent does not run the stored A-2.": (
            replace(WEB, configs=(CONFIG, PART)),
            inside(configs={**READ, "A-2": Reading(1, "part")}),
        ),
        "The agent still runs A-2, which is no longer stored.": (
            WEB,
            inside(files=AgentFiles({"A": "new", "A-2": "part"})),
        ),
        "The agent merges several versions of a configuration, which are in the files A, A_stable.": (
            replace(WEB, label="stable"),
            inside(files=AgentFiles({"A": "new", "A_stable": "old"})),
        ),
        "The agent runs no stored configuration.": (SEVERAL, inside(files=AgentFiles({"C": "c"}))),
    },
}


@pytest.mark.parametrize(
    ("check", "what", "server", "facts"),
    [(check, what, *case) for check, of_check in FAILURES.items() for what, case in of_check.items()],
)
def test_each_violation_alone_is_one_failure(check, what, server, facts):
    assert found(server, facts)[0] == [(check, what)]


def test_an_old_version_is_a_failure_where_only_the_server_reads_the_value():
    [failure] = found(UNREAD, inside(configs={"A": Reading(1, "old")}))[0]
    assert failure == ("configuration", "It reads version 1 of parameter A, and version 2 is stored.")


LACKING = failure(PERMISSIONS, "Role 'x' lacks ssm:GetParameter.", "attach it")


def failed(server, rule, what, **changes):
    return replace(server, failures=(failure(rule, what, "x"),), **changes)


CONSEQUENCES = {
    "a key that IAM has shown to be inactive": (
        replace(DB, failures=(INACTIVE,)),
        replace(ONPREM, caller_error="(InvalidClientTokenId)", **NO_CALLER),
    ),
    "a hybrid server that is not registered": (
        failed(HYBRID, IDENTITY, "It is not registered."),
        replace(SESSION, key_id="", shared_file="/shared", **NO_CALLER),
    ),
    "no saved key": (
        failed(DB, IDENTITY, "No access key of user 'db' is saved."),
        replace(ONPREM, key_id="", **NO_CALLER),
    ),
    "a read that IAM has shown to be denied": (
        replace(WEB, failures=(LACKING,), configs=(replace(CONFIG, is_readable=False),)),
        without_read(),
    ),
    "no profile": (
        failed(WEB, IDENTITY, "It has no instance profile.", profile=None),
        without_read(profile=None),
    ),
    "no stored configuration": (failed(WEB, CONFIGURATION, "No configuration is stored.", configs=()), INSIDE),
}


@pytest.mark.parametrize("name", CONSEQUENCES)
def test_consequences_of_a_failure_are_not_reported(name):
    assert found(*CONSEQUENCES[name]) == ([], [])


NOT_CONNECTED: Any = {"caller": "", "caller_error": "Could not connect"}
NOTES = {
    "a key file that may not be read": (DB, replace(ONPREM, key_id=None, caller=""), ["identity"]),
    "STS out of reach": (DB, replace(ONPREM, **NOT_CONNECTED), ["identity"]),
    "a file of the SSM agent that may not be read": (HYBRID, replace(SESSION, key_id=None, caller=""), ["identity"]),
    "STS out of reach of a hybrid server": (HYBRID, replace(SESSION, **NOT_CONNECTED), ["identity"]),
    "a hybrid server whose node was not read": (replace(HYBRID, node_id=""), SESSION, []),
    "no curl for a possible endpoint": (POSSIBLE, INSIDE, ["endpoints"]),
    "a possible endpoint out of reach": (POSSIBLE, reaching(INSIDE, "xray"), ["endpoints"]),
    "no curl": (WEB, inside(endpoints={}, has_metadata=None, profile=None), ["identity", "endpoints"]),
    "no AWS CLI": (WEB, inside(has_cli=False, configs={}), ["configuration"]),
    "no AWS CLI, and nothing to read": (replace(WEB, configs=()), inside(has_cli=False), []),
    "a stored value that only the server read": (UNREAD, INSIDE, []),
    "a stored value that nobody read": (UNREAD, inside(has_cli=False, configs={}), ["configuration", "agent"]),
    "no agent": (WEB, inside(agent="", files=AgentFiles()), []),
    "one of several configurations": (SEVERAL, INSIDE, []),
    "an answer without one of the configurations": (WEB, inside(configs={}), []),
    "an agent with configurations of others only": (WEB, inside(files=AgentFiles({"A": "new"}, ("file_x",))), []),
}


@pytest.mark.parametrize("name", NOTES)
def test_an_unknown_value_is_no_failure(name):
    server, facts, expected = NOTES[name]
    assert found(server, facts) == ([], expected)


@pytest.mark.parametrize(
    ("files", "runs_others"),
    [
        (AgentFiles({"A": "new"}), False),
        (AgentFiles({"A": "new", "A_7": "old"}), False),
        (AgentFiles({"A": "new"}, ("file_x",)), True),
        (AgentFiles({"A": "new", "B": "x"}), True),
    ],
)
def test_an_agent_can_run_configurations_of_others(files, runs_others):
    assert check_facts(WEB, inside(files=files), "ansible").runs_others == runs_others


def test_an_agent_that_is_stopped_with_configurations_of_others_only_is_one_failure():
    assert found(WEB, inside(agent="stopped", files=AgentFiles({}, ("file_x",))))[0] == [
        ("agent", "The agent is stopped.")
    ]


def test_status_of_an_agent_that_is_not_installed():
    seen = check_facts(WEB, replace(INSIDE, agent="", files=AgentFiles()), "run_command")
    assert (seen.agent, seen.status("agent")) == ("not installed", "none")


SIMILAR = replace(WEB, similar=("A_old",))


@pytest.mark.parametrize(
    ("server", "files", "failures", "commands", "renames"),
    [
        (replace(WEB, label="stable"), {"A_old": "new"}, [], [], [("A_old", "A:stable")]),
        (WEB, {"A_old": "new"}, [], [], [("A_old", "A")]),
        (WEB, {"A_old": "old"}, ["The agent does not run the stored A."], ["A:2"], [("A_2", "A")]),
        (SIMILAR, {"A": "new", "A_old": "old"}, [], [], []),
        (SIMILAR, {"A_old": "old"}, ["The agent does not run the stored A."], ["A:2"], [("A_2", "A")]),
    ],
)
def test_the_label_of_a_file_can_have_been_changed(server, files, failures, commands, renames):
    """A file that has the name of another parameter is not ours."""
    seen = check_facts(server, replace(INSIDE, files=AgentFiles(files)), "ansible")
    assert [each.why for each in seen.failures] == failures
    assert [each.name for each in seen.commands] == commands
    assert [(each.name, each.to) for each in seen.renames] == renames


OLD = replace(INSIDE, files=AgentFiles({"A": "old"}))
TRIED = replace(INSIDE, files=AgentFiles({"A_2": "new"}))


@pytest.mark.parametrize(
    ("label", "facts", "in_trial", "begins", "name"),
    [
        ("", INSIDE, False, False, None),
        ("", OLD, False, True, "A"),
        ("", TRIED, True, False, "A"),
        ("", replace(TRIED, is_refused=True), True, True, "A"),
        ("", replace(TRIED, agent="stopped"), True, True, "A"),
        ("", replace(INSIDE, is_refused=True), False, False, None),
        ("stable", INSIDE, False, False, "A:stable"),
        ("stable", TRIED, True, False, "A:stable"),
        ("stable", inside(files=AgentFiles({"A_stable": "new"})), False, False, None),
        ("stable", inside(files=AgentFiles({"A_stable": "old"})), False, True, "A:stable"),
        ("", inside(files=AgentFiles({"A_stable": "new"})), False, False, "A"),
    ],
)
def test_a_version_is_on_trial_until_its_file_has_its_final_name(label, facts, in_trial, begins, name):
    seen = check_facts(replace(WEB, label=label), facts, "ansible")
    assert (seen.in_trial, bool(seen.commands), seen.needs_trial) == (in_trial, begins, in_trial or begins)
    assert [each.to for each in seen.renames] == ([name] if name else [])
    if not begins:
        assert seen.failures == ()


@pytest.mark.parametrize(
    ("server", "facts", "expected"),
    [
        (WEB, OLD, (Command(FETCH, "A:2", restart=True),)),
        (WEB, INSIDE, ()),
        (WEB, replace(OLD, profile="Other"), ()),
        (replace(WEB, configs=(replace(CONFIG, is_readable=False),)), OLD, ()),
        (replace(WEB, configs=(replace(CONFIG, is_readable=None),)), OLD, (Command(FETCH, "A:2", restart=True),)),
        (WEB, replace(OLD, agent=""), ()),
        (replace(WEB, failures=(failure(CONFIGURATION, "x", "y"),)), OLD, ()),
    ],
)
def test_commands_that_make_the_agent_run_the_stored_configuration(server, facts, expected):
    assert check_facts(server, facts, "run_command").commands == expected


@pytest.mark.parametrize(("server", "facts", "mode"), [(WEB, INSIDE, "ec2"), (DB, ONPREM, "onPremise")])
def test_a_stopped_agent_is_started_in_the_mode_of_the_server(server, facts, mode):
    [failure] = check_facts(server, replace(facts, agent="stopped"), "run_command").failures
    assert failure.fix == (
        f"sudo /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a start -m {mode}, or see its log."
    )


def test_the_fix_has_the_variable_if_the_right_configuration_is_unknown():
    [failure] = check_facts(SEVERAL, inside(files=AgentFiles({"C": "c"})), "run_command").failures
    assert failure.fix.startswith("Set cwagent_config_names for the host")
    [failure] = check_facts(WEB, OLD, "run_command").failures
    assert failure.fix == "Run the playbook cwagent.iam.apply."


# Without facts


NOT_RUNNING = "The instance is not running."


def test_a_server_without_facts_fails_unless_another_failure_can_be_the_reason():
    seen = note_unseen(WEB, "no route.")
    assert [(each.rule, each.why) for each in seen.failures] == [("agent", "Nothing was read on the server: no route.")]
    assert [seen.status(check) for check in CHECKS] == ["?", "ok", "?", "?", "FAIL", "?"]
    lost = failed(WEB, IDENTITY, "It has no instance profile.")
    assert note_unseen(lost, "offline").failures == lost.failures


@pytest.mark.parametrize("is_windows", [False, True])
def test_an_instance_that_is_not_running_has_not_failed(is_windows):
    seen = note_unseen(replace(WEB, is_running=False, is_windows=is_windows), "offline")
    assert (seen.failures, {each.why for each in seen.notes}) == ((), {NOT_RUNNING})


WINDOWS = "The server runs Windows, and only Linux servers are checked from the inside."
NO_PROFILE = failure(IDENTITY, "It has no instance profile.", "x")
DENIED = failure(PERMISSIONS, "Role 'Server' lacks logs:PutLogEvents.", "x")
NOT_STORED = failure(CONFIGURATION, "No configuration is stored in eu-central-1.", "x")


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
    assert [seen.status(check) for check in CHECKS] == [*status, "?"]
    assert {each.why for each in seen.notes} == {WINDOWS}


def test_permissions_are_known_without_facts():
    known = ("permissions", "data")
    assert [each.rule for each in skip_facts(WEB, "x").notes] == [check for check in CHECKS if check not in known]

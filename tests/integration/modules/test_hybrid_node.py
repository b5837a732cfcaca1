"""cwagent_hybrid_node registers an on-premises host. Its activation exists only during that time."""

from __future__ import annotations

import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible import constants
from emulator import Behaviour, Kind
from emulator.testing import wait_until
from fleet import HOUR
from harness import HYBRID_ROLE, assert_no_writes, hybrid_nodes
from hybrid import NAME, Server, registered, unregistered
from in_process import on_host
from states import States

from ansible_collections.cwagent.iam.plugins.module_utils._servers import hybrid_transaction
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import DEREGISTERED, REGISTERED
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import READ as READ_HOST
from ansible_collections.cwagent.iam.plugins.module_utils._servers.registration import HOST_SPEC

STEPS = [
    f"create an activation of role '{HYBRID_ROLE}' for {NAME}",
    f"register {NAME} with Systems Manager in region eu-central-1",
    f"restart the SSM agent on {NAME}",
    f"delete the activation for {NAME}",
]
CREATE, REGISTER = "CreateActivation", "RegisterManagedInstance"
DEREGISTER, READ = "DeregisterManagedInstance", "DescribeInstanceInformation"
# Kills the module that calls the program, before the program runs or after it has ended.
KILLING_PROGRAM = """\
#!/bin/sh
case "$*" in *{words}*) if [ ! -e {flag} ]; then touch {flag}; {before}; kill -9 $PPID; exit 1; fi ;; esac
exec {program}.real "$@"
"""


@pytest.fixture
def server(states: States) -> Server:
    return states.begin(unregistered)


def before(states: States, state: str) -> Server:
    return states.begin(registered if state == DEREGISTERED else unregistered)


def test_a_host_is_registered_and_deregistered(server: Server) -> None:
    aws, tags = server.aws, {"team": "ops"}
    with assert_no_writes(aws):
        predicted = server.manage(check=True, tags=tags)
    assert server.host.registration is None
    done = server.manage(tags=tags)
    node = server.assert_finished()
    assert (done["failed"], done["steps"]) == (False, STEPS)
    assert done["node"] == {"id": node, "region": aws.region, "role": HYBRID_ROLE, "name": NAME}
    assert done == {**predicted, "node": done["node"]}
    listed = aws.client("ssm").list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node)["TagList"]
    found = {tag["Key"]: tag["Value"] for tag in listed}
    assert {"team": "ops", "cwagent:managed": "created", "cwagent:host": NAME}.items() <= found.items()
    since, again = aws.mark(), server.manage()
    assert (again["steps"], [call.action for call in aws.calls(since)]) == ([], [READ, "ListTagsForResource"])

    with assert_no_writes(aws):
        predicted = server.manage(check=True, state=DEREGISTERED)
    assert server.assert_finished() == node
    assert server.manage(state=DEREGISTERED) == predicted
    assert predicted["counts"] == {"create": 0, "update": 0, "delete": 2}
    server.assert_finished(DEREGISTERED)
    since, again = aws.mark(), server.manage(state=DEREGISTERED)
    assert (again["steps"], aws.calls(since)) == ([], [])


def test_a_missing_agent_is_an_error_with_the_command(server: Server) -> None:
    server.host.ssm_agent.unlink()
    since, message = server.aws.mark(), server.manage()["msg"]
    assert re.search(r"db1 has no SSM agent.*hybrid-multicloud-ssm-agent-install-linux\.html", message)
    assert server.aws.calls(since) == []


def test_a_node_of_others_stays_and_is_used_only_if_the_user_says_so(server: Server) -> None:
    activation = server.aws.client("ssm").create_activation(IamRole=HYBRID_ROLE, DefaultInstanceName="of others")
    node = server.host.register(activation, server.aws.region)
    server.host.restart()
    with assert_no_writes(server.aws):
        refused, left = server.manage(), server.manage(state=DEREGISTERED)
        other = server.manage(node_id="mi-0123456789abcdef0")
        predicted = server.manage(check=True, node_id=node)
    assert f"registered as node {node} in region eu-central-1, but that node has no tag cwagent:host" in refused["msg"]
    assert "its node_id (cwagent_node_id in the playbooks) is mi-0123456789abcdef0" in other["msg"]
    assert f"db1 stays registered as node {node}" in " ".join(left["warnings"])
    assert len(server.activations()) == 1

    assert predicted == server.manage(node_id=node)
    assert predicted["steps"] == [f"set tag cwagent:host of node {node} to db1"]
    with assert_no_writes(server.aws):
        assert server.manage()["node"]["id"] == node
        assert not server.manage(state=DEREGISTERED)["failed"]


@pytest.mark.parametrize("action", [CREATE, REGISTER, DEREGISTER])
def test_a_lost_answer_leaves_no_usable_activation(
    states: States, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run finishes, and deregisters a node that the host does not know."""
    monkeypatch.setattr(hybrid_transaction, "LOOKUP_SECONDS", 0)
    state = DEREGISTERED if action == DEREGISTER else REGISTERED
    server = before(states, state)
    server.manage({"kind": Kind.LOSE_ANSWER, "action": action}, state=state)
    left = server.activations()
    assert [each for each in left if each["RegistrationsCount"] < each["RegistrationLimit"]] == []
    assert not server.manage(state=state)["failed"]
    server.assert_finished(state)


@pytest.mark.parametrize(
    ("program", "words", "state", "is_run_before"),
    [
        ("amazon-ssm-agent", "-code", REGISTERED, True),
        ("systemctl", "restart", REGISTERED, False),
        ("amazon-ssm-agent", "-clear", DEREGISTERED, False),
    ],
)
def test_the_run_after_one_whose_module_was_killed_finishes(
    states: States, program: str, words: str, state: str, is_run_before: bool
) -> None:
    server = before(states, state)
    flag, path = server.host.root / "killed", server.host.root / "usr/bin" / program
    path.rename(f"{path}.real")
    first = f'{path}.real "$@"' if is_run_before else ":"
    path.write_text(KILLING_PROGRAM.format(words=words, flag=flag, program=path, before=first))
    path.chmod(0o755)
    assert server.manage(state=state)["failed"]
    assert (flag.exists(), server.activations()) == (True, [])
    recorded = {"activation_id", "run_id"} if state == REGISTERED else {"instance_id"}
    assert json.loads(server.record.read_text()).keys() == recorded
    assert stat.S_IMODE(server.record.stat().st_mode) == 0o600
    assert not server.manage(state=state)["failed"]
    server.assert_finished(state)


def test_a_host_that_is_lost_while_it_is_registered_is_finished_later(server: Server) -> None:
    lost = server.manage(is_reachable=lambda: CREATE not in [call.action for call in server.aws.calls()])
    assert "could not be reached while it was being registered" in lost["msg"]
    assert server.activations() == []
    assert not server.manage()["failed"]
    server.assert_finished()


@pytest.mark.parametrize("state", [each for each in HOST_SPEC["state"]["choices"] if each != READ_HOST])
def test_the_module_on_the_host_only_reads_in_check_mode(states: States, state: str) -> None:
    server = states.begin(registered)

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in server.host.root.rglob("*") if path.is_file()}

    ids = {
        "region": server.aws.region,
        "activation_id": "a",
        "activation_code": "S3cretCode",
        "run_id": "r",
        "instance_id": "i",
    }
    paths = {name: value for name, value in server.options.items() if name in HOST_SPEC}
    send, found = on_host(server.aws, server.host), files()
    read = send("cwagent.iam.cwagent_ssm_agent", {**paths, "state": READ_HOST}, True)
    assert send("cwagent.iam.cwagent_ssm_agent", {**paths, **ids, "state": state}, True) == read
    assert (read["changed"], read["done"], files()) == (False, [], found)


def test_check_mode_looks_for_the_role_unless_it_was_only_planned(server: Server) -> None:
    assert "Role 'Other' does not exist" in server.manage(check=True, role="Other")["msg"]
    assert not server.manage(check=True, role=f"monitoring/{HYBRID_ROLE}")["failed"]
    planned = [{"changed": True, "role": {"name": "Other"}}]
    assert not server.manage(check=True, role="Other", planned=planned)["failed"]


def test_a_node_that_comes_online_late_is_waited_for(server: Server) -> None:
    server.aws.be_unkind(Behaviour.AWAY_AGENTS, seconds=HOUR)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(server.manage)
        wait_until(lambda: READ in [call.action for call in server.aws.calls()])
        server.aws.shift_clock(4 * HOUR)
        assert not run.result()["failed"]
    server.assert_finished()


@pytest.mark.parametrize("setting", ["KEEP_REMOTE_FILES", "DEBUG"])
def test_settings_that_would_write_the_code_are_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(constants, f"DEFAULT_{setting}", True)
    with assert_no_writes(server.aws):
        message = server.manage()["msg"]
    assert re.search(rf"The activation code was not sent: .* Unset ANSIBLE_{setting}", message)


def test_after_an_activation_that_cannot_be_used_the_next_run_registers(server: Server) -> None:
    message = server.manage({"kind": Kind.ERROR, "action": REGISTER, "code": "ActivationExpired"})["msg"]
    assert "ActivationExpired" in message
    assert server.activations() == []
    assert not server.manage()["failed"]
    server.assert_finished()


@pytest.mark.parametrize("is_used", [False, True])
def test_a_node_that_somebody_else_registered_with_the_code(server: Server, is_used: bool) -> None:
    """A person with the code can register any machine, once. AWS cannot tell which machine it is."""
    other = server.aws.host(server.controller.home / "other")
    real = server.host.ssm_agent.rename(f"{server.host.ssm_agent}.real")
    server.host.ssm_agent.write_text(f'#!/bin/sh\n{other.ssm_agent} "$@"\nexec {real} "$@"\n')
    server.host.ssm_agent.chmod(0o755)
    assert "RegistrationLimitExceeded" in server.manage()["msg"]
    [node] = hybrid_nodes(server.aws)
    if is_used:
        other.restart()
    real.rename(server.host.ssm_agent)
    again = server.manage()
    own = again["node"]["id"]
    if is_used:  # by a server that may be the user's
        [warning] = again["warnings"]
        assert (
            f"node {node} was registered with the activation of db1 in an interrupted run, and it is online" in warning
        )
        assert {*hybrid_nodes(server.aws)} == {node, own}
    else:
        assert (again["warnings"], hybrid_nodes(server.aws)) == ([], [own])


def test_a_server_whose_hardware_has_changed_is_reported(states: States) -> None:
    """Its SSM agent gets no new credentials until the server is registered again."""
    server = states.begin(registered)
    node = server.assert_finished()
    server.aws.agents(node, new_fingerprint=True)
    server.aws.shift_clock(HOUR)
    with assert_no_writes(server.aws):
        [warning] = server.manage()["warnings"]
    assert f"node {node} of db1 is not online (ConnectionLost)" in warning
    assert not server.manage(state=DEREGISTERED)["failed"]
    assert not server.manage()["failed"]
    server.assert_finished()

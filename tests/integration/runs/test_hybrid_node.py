"""Runs of cwagent_hybrid_node: where its code goes, and how it is interrupted or killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from emulator import Fault, Kind
from harness import PLAY_SECONDS
from hybrid import NAME, Server, unregistered
from states import States

# Looks for the activation code in the arguments and environments of all other processes.
WATCHING_PROGRAM = """\
#!{python}
import json, os, pathlib, sys
seen = []
if "-code" in sys.argv:
    code = sys.argv[sys.argv.index("-code") + 1].encode()
    others = [path for path in pathlib.Path("/proc").glob("[0-9]*") if path.name != str(os.getpid())]
    for path in (process / name for process in others for name in ("cmdline", "environ")):
        try:
            seen += [str(path)] if code in path.read_bytes() else []
        except OSError:  # the process has ended
            pass
    pathlib.Path({evidence!r}).write_text(json.dumps([code.decode(), seen]))
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


@pytest.fixture
def server(states: States) -> Server:
    return states.begin(unregistered)


def run_of(server: Server) -> tuple[Path, Path]:
    """An inventory, and a playbook whose only task registers the host."""
    options = {"region": server.aws.region, **server.options}
    task = {"cwagent.iam.cwagent_hybrid_node": options, "environment": server.host.environment}
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    return server.controller.inventory({"onprem": {NAME: {}}}), server.controller.file("hybrid.yml", [play])


@pytest.mark.main_job
def test_the_code_is_nowhere(server: Server, tmp_path: Path) -> None:
    """Not in the output, in any file of the controller or the host, in Ansible's log, or in another process."""
    home, program, evidence = server.controller.home, server.host.ssm_agent, tmp_path / "evidence"
    places = {"evidence": str(evidence), "program": str(program.rename(f"{program}.real"))}
    program.write_text(WATCHING_PROGRAM.format(python=sys.executable, **places))
    program.chmod(0o755)
    env = {"ANSIBLE_LOG_PATH": str(home / "ansible.log"), "ANSIBLE_PIPELINING": "False"}
    play = server.controller.play(*run_of(server), "-vvvv", "--diff", env=env).assert_succeeded()
    code, processes = json.loads(evidence.read_text())
    assert (processes, len(code), code in play.output, (home / "ansible.log").exists()) == ([], 20, False, True)
    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if code.encode() in path.read_bytes()] == []
    server.assert_finished()


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (Kind.TERMINATE, "CreateActivation"),
        (Kind.INTERRUPT_TWICE, "RegisterManagedInstance"),
        (Kind.HANG_UP, "DeleteActivation"),
    ],
)
def test_a_run_that_is_interrupted_leaves_no_activation(server: Server, kind: Kind, action: str) -> None:
    run = server.controller.start(*run_of(server))
    server.aws.arm(Fault(kind, action=action, process=run.pid))
    assert run.wait(PLAY_SECONDS) != 0
    assert server.activations() == []
    server.aws.disarm()
    assert not server.manage()["failed"]
    server.assert_finished()


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (Kind.KILL_AFTER, "CreateActivation"),
        (Kind.KILL_AFTER, "RegisterManagedInstance"),
        (Kind.KILL_BEFORE, "DeleteActivation"),
    ],
)
def test_the_run_after_one_that_was_killed_finishes(server: Server, kind: Kind, action: str) -> None:
    """It deletes an activation that was used, and warns of one that was not."""
    server.controller.kill(Fault(kind, action=action), *run_of(server))
    [left] = server.activations()
    done = server.manage()
    assert not done["failed"]
    usable = [] if left["RegistrationsCount"] else [left["ActivationId"]]
    for each in usable:
        assert f"activation {each}" in done["warnings"][0]
        server.aws.client("ssm").delete_activation(ActivationId=each)
    server.assert_finished()
    assert server.manage()["steps"] == []

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from disturbances import Killed

from ansible_collections.cwagent.iam.plugins.module_utils._ground import files
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import count_kinds
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_file import CredentialsFileResource
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._servers.restart import find_agent, restart_after_failure

TEXT = "[P]\naws_access_key_id = A\n"
OTHER_TEXT = "[P]\naws_access_key_id = B\n"


@dataclass
class Host:
    """A host with an agent that reads its files when it starts."""

    root: Path
    is_running: bool = True
    status: str = '{{\n  "status": "{state}",\n  "cwoc_status": "running"\n}}'
    failing: str | None = None
    read: str | None = None
    calls: list[str] = field(default_factory=list)
    end_at: int | None = None

    def __post_init__(self):
        self.control.touch(0o755)
        self.desired = Desired(str(self.root / "key"), str(self.root / "config.toml"), "P", TEXT)

    @property
    def control(self):
        return self.root / "ctl"

    @property
    def due(self):
        return self.root / "files.restart"

    def event(self, name):
        """Note what is about to happen, and end the run there if a test wants that."""
        if self.end_at == len(self.calls):
            raise Killed
        self.calls.append(name)

    def run_command(self, arguments):
        action = arguments[arguments.index("-a") + 1]
        if action != "status":
            assert arguments[-2:] == ["-m", "onPremise"]
            self.event(action)
        if action == self.failing:
            return 1, "some\noutput", "an error"
        self.is_running = {"start": True, "stop": False}.get(action, self.is_running)
        key = Path(self.desired.credentials)
        self.read = (key.read_text() if key.exists() else "") if action == "start" else self.read
        return 0, self.status.format(state="running" if self.is_running else "stopped"), ""

    def manage(self, check_mode=False, **changes):
        desired = replace(self.desired, **changes)
        agent = find_agent(str(self.control), str(self.root / "files"), self.run_command)
        return converge(CredentialsFileResource(desired, agent), check_mode, None)


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = Host(tmp_path)
    write = files.write_file

    def write_file(path, file, before=None):
        found.event(f"write {path.name}")
        return write(path, file, before)

    monkeypatch.setattr(files, "write_file", write_file)
    return found


def test_a_running_agent_is_restarted_after_the_last_change_and_only_then(host):
    predicted = host.manage(check_mode=True)
    assert (host.calls, host.due.exists()) == ([], False)
    done = host.manage()
    assert (done["steps"], done["counts"]) == (predicted["steps"], predicted["counts"])
    assert done["steps"][-1] == "restart the agent"
    assert host.calls == ["write key", "write config.toml", "stop", "start"]
    assert (host.manage()["changed"], host.due.exists()) == (False, False)
    assert host.manage(text=None)["steps"][-1] == "restart the agent"
    assert (host.manage(text=None)["changed"], host.read) == (False, "")


def test_an_agent_that_does_not_run_is_not_started(host):
    host.is_running = False
    assert "restart the agent" not in host.manage()["steps"]
    assert host.calls == ["write key", "write config.toml"]
    assert not host.due.exists()


def test_a_host_without_an_agent_has_nothing_to_restart(host):
    host.control.unlink()
    assert "restart the agent" not in host.manage()["steps"]
    assert find_agent(None, "/file", host.run_command) is None


@pytest.mark.parametrize("end_at", range(4))
def test_after_a_kill_at_any_moment_the_next_run_restarts_the_agent_with_the_files(host, end_at):
    host.manage()
    host.calls.clear()
    host.end_at = end_at
    changes = {"text": OTHER_TEXT, "profile": "P", "config": str(host.root / "other.toml")}
    with pytest.raises(Killed):
        host.manage(**changes)
    host.end_at = None
    assert host.manage(check_mode=True, **changes)["steps"] == host.manage(**changes)["steps"]
    assert (host.read, host.is_running, host.due.exists()) == (OTHER_TEXT, True, False)
    assert not host.manage(**changes)["changed"]


@pytest.mark.parametrize("action", ["stop", "start"])
def test_a_restart_that_failed_is_made_by_the_next_run(host, action):
    host.failing = action
    with pytest.raises(CwagentError, match=r"^Could not restart the agent: .*/ctl failed with status 1: some output"):
        host.manage()
    host.failing = None
    assert host.manage()["steps"] == ["restart the agent"]
    assert (host.read, host.due.exists()) == (TEXT, False)


@pytest.mark.parametrize("place", ["link", "folder", "pipe"])
def test_something_else_in_the_place_of_the_mark_is_refused_before_the_first_change(host, place):
    target = host.root / "target"
    make = {"link": lambda: host.due.symlink_to(target), "folder": host.due.mkdir, "pipe": lambda: os.mkfifo(host.due)}
    make[place]()
    assert "restart the agent" in host.manage(check_mode=True)["steps"]
    with pytest.raises(CwagentError, match=r"Could not write .*/files\.restart, which marks that a restart"):
        host.manage()
    assert (host.calls, target.exists()) == ([], False)


def test_an_agent_that_cannot_be_looked_for_is_an_error(host):
    with pytest.raises(CwagentError, match=r"Could not look for the agent: .*File name too long"):
        find_agent(str(host.control), str(host.root / ("x" * 250)), host.run_command)


@pytest.mark.parametrize("change", [lambda path: path.chmod(0o644), lambda path: (path.unlink(), path.mkdir())])
def test_a_control_program_that_is_none_is_an_error(host, change):
    change(host.control)
    with pytest.raises(CwagentError, match=r"/ctl is not a program\. Check agent_ctl"):
        host.manage()


@pytest.mark.parametrize("is_due", [True, False])
def test_a_restart_that_is_due_is_made_although_the_task_fails(host, is_due):
    """A run before it, or this one before its failure, has noted that."""
    if is_due:
        host.due.touch()
    agent = find_agent(str(host.control), str(host.root / "files"), host.run_command)
    error = CwagentError("No.", done=["write"], not_done=["set", "restart the agent"], counts=count_kinds([]))
    restart_after_failure(agent, error, check_mode=False)
    assert host.calls == (["stop", "start"] if is_due else [])
    assert error.details["done"] == ["write", *(["restart the agent"] if is_due else [])]
    assert error.details["not_done"] == ["set", *([] if is_due else ["restart the agent"])]
    assert error.details["counts"]["update"] == is_due
    restart_after_failure(None, error, check_mode=False)
    before_a_plan = CwagentError("No.")
    host.due.touch()
    restart_after_failure(agent, before_a_plan, check_mode=False)
    assert before_a_plan.to_result()["changed"]


def test_a_restart_that_is_due_is_not_made_in_check_mode(host):
    host.due.touch()
    agent = find_agent(str(host.control), str(host.root / "files"), host.run_command)
    error = CwagentError("No.")
    restart_after_failure(agent, error, check_mode=True)
    assert (host.calls, host.due.exists(), error.details) == ([], True, {})


@pytest.mark.parametrize("not_done", [["restart the agent"], ["set"]])
def test_a_restart_that_fails_again_is_left_to_the_next_run(host, not_done):
    host.due.touch()
    agent = find_agent(str(host.control), str(host.root / "files"), host.run_command)
    host.failing = "stop"
    error = CwagentError("No.", not_done=not_done)
    restart_after_failure(agent, error, check_mode=False)
    assert (host.calls, host.due.exists()) == (["stop"] if not_done == ["set"] else [], True)
    assert error.details == {"not_done": not_done}


def test_a_key_is_removed_where_nothing_can_mark_a_restart(host):
    host.manage(config=None)
    host.calls.clear()
    agent = find_agent(str(host.control), str(host.root / "missing" / "files"), host.run_command)
    steps = converge(CredentialsFileResource(replace(host.desired, config=None, text=None), agent), False, None)[
        "steps"
    ]
    assert steps == [f"delete {host.root / 'key'}", "restart the agent"]


def test_a_status_that_cannot_be_read_is_an_error_before_the_first_change(host):
    host.failing = "status"
    with pytest.raises(CwagentError, match=r"^Could not read the status of the agent: .*/ctl failed with status 1: "):
        host.manage()
    assert host.calls == []

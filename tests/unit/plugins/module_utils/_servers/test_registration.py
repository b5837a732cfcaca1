"""The part on the host, with programs that are scripts."""

from __future__ import annotations

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import ContentionError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._servers import registration as host_agent
from ansible_collections.cwagent.iam.plugins.module_utils._servers.registration import (
    HOST_SPEC,
    SsmAgent,
    describe_installation,
)

CODE = "s3cret-activation-code"
REGISTERS = """\
#!/bin/sh
echo "$@" >> {folder}/calls
printf '{{"ManagedInstanceID":"mi-1","Region":"eu-1"}}' > {folder}/ssm/registration
"""
CLEARS = '#!/bin/sh\necho "$@" >> {folder}/calls\n/bin/rm {folder}/ssm/registration\n'
CALLED = '#!/bin/sh\necho "$@" >> {folder}/calls\n'
FAILS = '#!/bin/sh\necho "no: $*"; exit 3\n'
REGISTRATION = {"state": "registered", "region": "eu-1", "activation_id": "a-1", "run_id": "r", "activation_code": CODE}


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.program("amazon-ssm-agent", REGISTERS)
        self.program("systemctl", CALLED)

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text.format(folder=self.folder))
        path.chmod(0o755)

    @property
    def record(self) -> Path:
        return self.folder / "ssm" / "cwagent-unfinished.json"

    @property
    def registration(self) -> Path:
        return self.folder / "ssm" / "registration"

    def run(self, **options: Any) -> dict[str, Any]:
        paths = {
            "ssm_agent": str(self.folder / "bin" / "amazon-ssm-agent"),
            "ssm_agent_config": str(self.folder / "config"),
            "registration": str(self.registration),
        }
        defaults = {name: each.get("default") for name, each in HOST_SPEC.items()}
        return SsmAgent({**defaults, **paths, **options}).run()

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")  # the programs of this machine are never called
    return Host(tmp_path)


FOUND = {"instance_id": "mi-1", "region": "eu-1"}


def test_a_host_is_registered(host: Host) -> None:
    found = host.run(**REGISTRATION)
    assert (found["changed"], found["done"], found["registration"]) == (
        True,
        ["host:register", "host:restart"],
        FOUND,
    )
    assert found["unfinished"] == {"instance_id": "", "activation_id": "a-1", "run_id": "r"}
    assert CODE not in json.dumps(found) + host.record.read_text()
    assert stat.S_IMODE(host.record.stat().st_mode) == 0o600
    assert host.calls() == [f"-register -code {CODE} -id a-1 -region eu-1", "restart amazon-ssm-agent"]
    assert host.run(state="finished")["unfinished"] is None
    assert {each.name for each in host.registration.parent.iterdir()} == {"cwagent-registered", "registration"}


def test_an_interrupted_registration_is_confirmed(host: Host) -> None:
    """The SSM agent asks, because it has a registration without a file."""
    host.registration.parent.mkdir()
    host.record.write_text("{}")
    host.record.with_suffix(".new").write_text("unfinished, too")
    host.run(**REGISTRATION)
    assert host.calls()[0].endswith("-region eu-1 -y")


@pytest.mark.parametrize(("recorded", "known"), [("r-0", ""), ("r-0", "r-1"), ("", "r-1")])
def test_a_host_with_the_record_of_an_unknown_run_is_not_registered(host: Host, recorded: str, known: str) -> None:
    host.registration.parent.mkdir()
    if recorded:
        host.record.write_text(json.dumps({"activation_id": "a-0", "run_id": recorded}))
    before = host.run()
    with pytest.raises(ContentionError, match=r"^Another run registers this host.*, run again\.$") as caught:
        host.run(**REGISTRATION, known_run_id=known)
    assert caught.value.details["done"] == []
    assert host.run() == before
    assert not (host.folder / "calls").exists()


def test_a_host_that_another_run_has_registered_is_not_registered_again(host: Host) -> None:
    host.run(**REGISTRATION)
    host.run(state="finished")
    with pytest.raises(ContentionError):
        host.run(**{**REGISTRATION, "run_id": "r-2"})
    assert len(host.calls()) == 2
    assert not host.record.exists()


def test_the_record_of_a_run_that_the_controller_knows_is_replaced(host: Host) -> None:
    host.program("amazon-ssm-agent", FAILS)
    with pytest.raises(CwagentError):
        host.run(**REGISTRATION)
    host.program("amazon-ssm-agent", REGISTERS)
    found = host.run(**{**REGISTRATION, "run_id": "r-2", "known_run_id": "r"})
    assert (found["unfinished"]["run_id"], found["registration"]) == ("r-2", FOUND)
    assert host.calls()[0].endswith("-y")


def test_a_run_waits_until_another_one_has_registered_the_host(host: Host) -> None:
    host.program(
        "amazon-ssm-agent", "#!/bin/sh\nwhile [ ! -e {folder}/go ]; do /bin/sleep 0.01; done\n" + REGISTERS[10:]
    )
    with ThreadPoolExecutor() as pool:
        first = pool.submit(host.run, **REGISTRATION)
        while not host.record.exists():
            time.sleep(0.01)  # the program does not tell
        others = [pool.submit(host.run), pool.submit(host.run, **{**REGISTRATION, "run_id": "r-2"})]
        ended = wait(others, timeout=0.3).done
        (host.folder / "go").touch()
        assert not ended
        assert first.result()["registration"] == others[0].result()["registration"] == FOUND
        with pytest.raises(ContentionError):
            others[1].result()


@pytest.mark.parametrize("program", ["amazon-ssm-agent", "systemctl"])
def test_a_program_that_fails_is_reported_without_the_code(host: Host, program: str) -> None:
    host.program(program, FAILS)
    with pytest.raises(CwagentError, match="failed with status 3: no:") as caught:
        host.run(**REGISTRATION)
    assert CODE not in str(caught.value)
    assert caught.value.details["done"] == ([] if program == "amazon-ssm-agent" else ["host:register"])
    assert host.record.exists()


def test_a_program_that_cannot_be_started_is_an_error(host: Host) -> None:
    (host.folder / "bin" / "systemctl").unlink()
    with pytest.raises(CwagentError, match="Could not restart the SSM agent: systemctl: No such file") as caught:
        host.run(**REGISTRATION)
    assert caught.value.details["done"] == ["host:register"]


def test_a_program_that_does_not_end_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_agent, "TIMEOUT_SECONDS", 0.2)
    host.program("amazon-ssm-agent", "#!/bin/sh\nexec /bin/sleep 60\n")
    with pytest.raises(CwagentError, match=r"did not end within 0\.2 seconds") as caught:
        host.run(**REGISTRATION)
    assert CODE not in f"{caught.value} {caught.value.__context__}"


def test_a_registration_in_another_file_is_an_error(host: Host) -> None:
    host.program("amazon-ssm-agent", CALLED)
    with pytest.raises(CwagentError, match="Set registration to the path of that file"):
        host.run(**REGISTRATION)


def test_a_missing_agent_is_an_error(host: Host) -> None:
    (host.folder / "bin" / "amazon-ssm-agent").unlink()
    assert "hybrid-multicloud" in host.run()["installation"]
    with pytest.raises(CwagentError, match="has no SSM agent"):
        host.run(**REGISTRATION)


def test_the_service_of_a_snap_has_another_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_agent, "PROGRAMS", ("/missing", "/snap/x"))
    monkeypatch.setattr(host_agent.os, "access", lambda path, _mode: path.startswith("/snap/"))
    host.run(state="restarted", ssm_agent="")
    assert host.calls() == ["restart snap.amazon-ssm-agent.amazon-ssm-agent.service"]


@pytest.mark.parametrize("leaves_file", [False, True])
def test_a_registration_is_cleared(host: Host, leaves_file: bool) -> None:
    host.run(**REGISTRATION)
    host.run(state="finished")
    begun = host.run(state="deregistering", instance_id="mi-1")
    assert begun["unfinished"] == {"instance_id": "mi-1", "activation_id": "", "run_id": ""}
    assert begun["registration"] == FOUND
    host.program("amazon-ssm-agent", CALLED if leaves_file else CLEARS)
    found = host.run(state="deregistered")
    assert (found["done"], found["registration"], found["unfinished"]) == (["host:clear"], None, None)
    assert host.calls()[-2:] == ["-register -clear", "stop amazon-ssm-agent"]


def test_a_registration_without_an_agent_is_cleared(host: Host) -> None:
    host.run(**REGISTRATION)
    (host.folder / "bin" / "amazon-ssm-agent").unlink()
    assert host.run(state="deregistered")["registration"] is None


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_file_that_is_not_an_object_is_an_error(host: Host, text: str) -> None:
    host.registration.parent.mkdir()
    host.registration.write_text(text)
    with pytest.raises(CwagentError, match=r"registration does not contain an object in JSON"):
        host.run()


@pytest.mark.parametrize("text", ["", "{}", '{"ManagedInstanceID": ""}'])
def test_a_file_without_a_node_is_no_registration(host: Host, text: str) -> None:
    host.registration.parent.mkdir()
    host.registration.write_text(text)
    assert host.run()["registration"] is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(13, "Permission denied", "/x"),
            r"^/x: Permission denied\. The task needs the permissions of root",
        ),
        (OSError("broken"), r"^broken\.$"),
    ],
)
def test_an_error_of_the_file_system_is_reported(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(CwagentError, match=words):
        host.run()


@pytest.mark.parametrize(
    ("config", "is_problem"),
    [
        (b"{}", False),
        (b'{"Identity": {"ConsumptionOrder": ["OnPrem", "EC2"]}}', False),
        (b'{"Identity": {"ConsumptionOrder": ["EC2"]}}', True),
        # The SSM agent ignores a file that it cannot read.
        (b'{"Identity": {"ConsumptionOrder": "EC2"}}', False),
        (b"\xff", False),
    ],
)
def test_a_configuration_that_ignores_registrations_is_a_problem(host: Host, config: bytes, is_problem: bool) -> None:
    (host.folder / "config").write_bytes(config)
    problem = host.run()["problem"]
    assert "Add OnPrem" in problem if is_problem else problem == ""


@pytest.mark.parametrize(
    ("distributions", "machine", "words"),
    [
        ({"ubuntu", "debian"}, "x86_64", "sudo snap install amazon-ssm-agent --classic"),
        ({"debian"}, "x86_64", "/debian_amd64/amazon-ssm-agent.deb && sudo dpkg -i"),
        ({"raspbian"}, "armv7l", "/debian_arm/"),
        ({"rocky", "rhel", "fedora"}, "aarch64", "sudo rpm --install https://s3.amazonaws.com/"),
        ({"debian"}, "riscv64", "^See https://docs.aws.amazon.com/"),
        ({"arch"}, "x86_64", "^See https://docs.aws.amazon.com/"),
    ],
)
def test_the_installation_differs_by_distribution(distributions: set[str], machine: str, words: str) -> None:
    found = describe_installation(distributions, machine)
    assert found.startswith(words[1:]) if words.startswith("^") else words in found
    assert "hybrid-multicloud-ssm-agent-install-linux.html" in found


@pytest.mark.parametrize(("name", "like"), [("rocky", "rhel centos fedora"), ("amzn", "")])
def test_the_distribution_is_read(host: Host, monkeypatch: pytest.MonkeyPatch, name: str, like: str) -> None:
    monkeypatch.setattr(host_agent.distro, "id", lambda: name)
    monkeypatch.setattr(host_agent.distro, "like", lambda: like)
    monkeypatch.setattr(host_agent.platform, "machine", lambda: "x86_64")
    assert "sudo rpm --install" in host.run(ssm_agent="/missing")["installation"]

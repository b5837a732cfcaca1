from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import AgentFiles
from ansible_collections.cwagent.iam.plugins.module_utils._agents.script import digest, parse, script
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Config, Facts, Reading, Server
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError

ENDPOINTS = {"logs": "https://logs.eu-central-1.amazonaws.com"}
WEB = Server("web1", "eu-central-1", "i-1", configs=(Config("A", 1), Config("A-2", 4)), endpoints=ENDPOINTS)
DB = Server("db1", "eu-central-1", user="db", configs=(Config("A", 1),), endpoints=ENDPOINTS)


HYBRID = Server("db9", "eu-central-1", is_hybrid=True, node_id="mi-1", configs=(Config("A", 1),), endpoints=ENDPOINTS)


@pytest.mark.parametrize("server", [WEB, DB, HYBRID, Server("none", "eu-central-1", "i-2")])
def test_the_script_is_valid_and_complete(server):
    """Systems Manager would replace text in double braces, and a marker that was left would not be a value."""
    text = script(server)
    subprocess.run(["/bin/sh", "-n", "-c", text], check=True)
    assert "{{" not in text
    assert "@identity@" not in text
    assert not any(f"@{name}@" in text for name in ("probes", "names", "region", "agent"))


SHOW = """#!/bin/sh
case $* in
  *snap*) echo MainPID=0 ;;
  *MainPID*) echo "MainPID=@process@" ;;
  *EnvironmentFiles*) printf %s "@files@" ;;
  *Environment*) echo 'Environment=@variables@' ;;
esac
"""


@dataclass
class Hybrid:
    """A hybrid server, whose programs are in a folder, and on which Run Command has no home directory."""

    root: Path

    def install(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def set_service(self, process: int = 0, variables: str = "", files: str = "") -> None:
        text = SHOW.replace("@process@", str(process)).replace("@variables@", variables).replace("@files@", files)
        self.install("systemctl", text)

    def read(self) -> Facts:
        """The facts of the script, from a server with this home directory of root."""
        self.install("getent", f"#!/bin/sh\necho root:x:0:0:root:{self.root}/root:/bin/sh\n")
        self.install("aws", "#!/bin/sh\necho arn:aws:sts::1:assumed-role/R/mi-1\n")
        self.install("amazon-cloudwatch-agent-ctl", "#!/bin/sh\n")
        self.write("root/.aws/credentials", "[default]\naws_access_key_id = ASIA1\n")
        text = script(replace(HYBRID, configs=(), endpoints={}))
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
        done = subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, check=True)
        return parse(done.stdout)


@pytest.fixture
def hybrid(tmp_path: Path) -> Hybrid:
    """A hybrid server, whose agent uses the file that the SSM agent keeps in the home directory of root."""
    found = Hybrid(tmp_path)
    found.set_service()
    file = f"{tmp_path}/root/.aws/credentials"
    settings = f'[credentials]\nshared_credential_profile = "default"\nshared_credential_file = "{file}"\n'
    found.write("etc/common-config.toml", settings)
    return found


def test_run_command_has_no_home_and_the_credentials_are_in_the_one_of_root(hybrid):
    file = f"{hybrid.root}/root/.aws/credentials"
    expected = Facts(key_id="ASIA1", key_file=file, caller="arn:aws:sts::1:assumed-role/R/mi-1", agent="unknown")
    found = hybrid.read()
    assert found.hostname
    assert abs(found.clock - time.time()) < 60
    assert replace(found, hostname="", clock=0) == expected
    hybrid.write("etc/common-config.toml", '[credentials]\nshared_credential_profile = "default"\n')
    assert replace(hybrid.read(), hostname="", clock=0) == expected


OTHER_FILE, OTHER_HOME = "AWS_SHARED_CREDENTIALS_FILE={root}/other", "HOME={root}/home"
SERVICES = {
    "variable of the service": (OTHER_FILE, "", "other"),
    "home of the service": (OTHER_HOME, "", "home/.aws/credentials"),
    "both": (f"{OTHER_HOME} {OTHER_FILE}", "", "other"),
    "file of the service": ("", f"# none\n{OTHER_FILE}\n", "other"),
    "file of the service with quotes": ("", 'AWS_SHARED_CREDENTIALS_FILE="{root}/other"\n', "other"),
    "file and variable": (OTHER_HOME, f"{OTHER_FILE}\n", "other"),
    "file with the home": ("HOME=/elsewhere", f"{OTHER_HOME}\n", "home/.aws/credentials"),
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_file_of_the_ssm_agent_is_the_one_of_its_service(hybrid, name):
    variables, text, expected = SERVICES[name]
    file = hybrid.write("variables", text.replace("{root}", str(hybrid.root)))
    files = f"EnvironmentFiles={file} (ignore_errors=yes)"
    hybrid.set_service(0, variables.replace("{root}", str(hybrid.root)), files)
    assert hybrid.read().shared_file == f"{hybrid.root}/{expected}"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_SHARED_CREDENTIALS_FILE": "/a b"}, "/a b"),
        ({"HOME": "/home/ssm"}, "/home/ssm/.aws/credentials"),
        ({"LANG": "C"}, ""),
    ],
)
def test_the_file_of_the_ssm_agent_is_the_one_of_its_process(hybrid, variables, expected):
    """Its service can have other variables, which apply only after a restart."""
    with subprocess.Popen(["/bin/sleep", "60"], env=variables) as process:
        hybrid.set_service(process.pid, "HOME=/elsewhere")
        try:
            assert hybrid.read().shared_file == expected
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("server", "has_metadata", "has_key"), [(WEB, True, False), (DB, False, True)], ids=["instance", "on premises"]
)
def test_the_script_reads_the_profile_of_an_instance_and_the_key_of_another_server(server, has_metadata, has_key):
    text = script(server)
    assert ("meta-data/iam/info" in text, "get-caller-identity" in text) == (has_metadata, has_key)


def test_the_script_is_the_same_for_servers_that_use_the_same():
    assert script(WEB) == script(Server("web2", "eu-central-1", "i-2", configs=WEB.configs, endpoints=ENDPOINTS))


def test_the_script_has_the_address_of_each_service_unless_the_server_says_another():
    expected = "${AWS_ENDPOINT_URL_CLOUDWATCH_LOGS:-${AWS_ENDPOINT_URL:-https://logs.eu-central-1.amazonaws.com}}"
    assert f'probe logs "{expected}"' in script(WEB)
    host = "logs.eu-central-1.api.aws"
    possible = {"xray": "https://xray.eu-central-1.amazonaws.com", host: f"https://{host}"}
    text = script(replace(WEB, possible_endpoints=possible))
    assert 'probe xray "${AWS_ENDPOINT_URL_XRAY:-${AWS_ENDPOINT_URL:-https://xray.eu-central-1.amazonaws.com}}"' in text
    assert f'probe {host} "${{AWS_ENDPOINT_URL:-https://{host}}}"' in text
    assert f'probe logs "{expected}"' in text


FULL = """
clock 1764750000
host web-1.example.com
profile Server
endpoint monitoring 403
endpoint logs 000
endpoint ssm -
config A 3 abc
config B 0 An error occurred (AccessDeniedException): no
config C 0
agent running
start 1764740000
file A abc
other file_my app.json
end
"""


def test_server_an_instance():
    assert parse(FULL) == Facts(
        profile="Server",
        endpoints={"monitoring": 403, "logs": 0},
        configs={
            "A": Reading(3, "abc"),
            "B": Reading(error="An error occurred (AccessDeniedException): no"),
            "C": Reading(0, "", "no reason was given"),
        },
        agent="running",
        files=AgentFiles({"A": "abc"}, ("file_my app.json",)),
        hostname="web-1.example.com",
        clock=1764750000,
        start=1764740000,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("end", Facts()),
        ("metadata no\nprofile -\nend", Facts(has_metadata=False)),
        ("metadata unknown\nprofile -\nend", Facts(has_metadata=None)),
        ("cli no\nend\n", Facts(has_cli=False)),
        # The name of a file can have a line break in it.
        ("agent stopped\nother a\nagent running\nend", Facts(agent="stopped", files=AgentFiles(others=("a",)))),
        ("key - /root/.aws/credentials\nend", Facts(key_file="/root/.aws/credentials")),
        ("key ? /a b/c\nend", Facts(key_id=None, key_file="/a b/c")),
        ("key AKIA1 /c\ncaller arn:x\nend", Facts(key_id="AKIA1", key_file="/c", caller="arn:x")),
        ("key AKIA1 /c\nshared /a b\nend", Facts(key_id="AKIA1", key_file="/c", shared_file="/a b")),
        ("key AKIA1 /c\nerror not now\nend", Facts(key_id="AKIA1", key_file="/c", caller_error="not now")),
    ],
)
def test_facts(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "profile Server\nendpoint logs 4",
        "profile a b\nend",
        "file A\nend",
        "config A x y\nend",
        "config A 3\nend",
        "config A 3 abc def\nend",
        "clock 12345678901\nend",
        "clock soon\nend",
        "agent running\nstart -1\nend",
        f"host {'a' * 256}\nend",
        "host a b\nend",
        "host \x1b[2J\nend",
    ],
)
def test_an_answer_that_was_cut_or_is_not_readable_is_refused(text):
    with pytest.raises(CwagentError, match="its answer is not"):
        parse(text)


def test_the_digest_ignores_line_ends_at_the_end_as_a_shell_does():
    made = subprocess.run(
        ["/bin/sh", "-c", 'printf %s "$1" | sha256sum | cut -c1-64', "-", "{ü}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert digest("{ü}\n\n") == digest("{ü}") == made.stdout.strip()

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.plan import AgentFiles
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Config, Facts, Reading, Server
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import digest, parse, script

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
    assert not any(f"@{name}@" in text for name in ("probes", "names", "region", "folder"))


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


FULL = """
profile Server
endpoint monitoring 403
endpoint logs 000
endpoint ssm -
config A 3 abc
config B 0 An error occurred (AccessDeniedException): no
config C 0
agent running
file A abc
other file_my app.json
end
"""


def test_facts_of_an_instance():
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

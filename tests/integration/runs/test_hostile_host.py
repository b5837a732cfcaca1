"""Servers whose every module answers what the test chooses, beside the same playbooks for honest servers.

A server can do to itself what it likes. These tests look at everything else: the other servers, the account, and the
controller with its output.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator.snapshot import snapshot
from fleet import DAY, HYBRID, KEY, Fleet
from harness import CHECKOUT, SERVER_USER, Play, hybrid_nodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from states import States

# Ansible starts it instead of Python. It runs the module and changes the answer.
LIAR = """\
#!{python} -I
import json, os, re, subprocess, sys
honest = [{honest!r}, *sys.argv[1:]]
payload = b"" if len(sys.argv) > 1 else sys.stdin.buffer.read()
name = re.search(rb"modules\\.(cwagent_\\w+)", payload)
if not name:
    sys.exit(subprocess.run(honest, input=payload).returncode)
done = subprocess.run(honest, input=payload, capture_output=True)
result = json.loads(done.stdout.splitlines()[-1])
lies = json.load(open({lies!r}))
print(json.dumps({{**result, **lies["every module"], **lies.get(name[1].decode(), {{}})}}))
"""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TERMINAL = "\x1b[2J\x1b]0;title\x07\u202e"
HONEST, PAIR = ("db1", "db3"), ("db2", "db4")
"""A hybrid server and a server with a key of each kind."""
HOSTILE = (*PAIR, *(f"db{number}" for number in range(5, 10)))
WITH_KEYS = ("db3", "db4", "db8", "db9")


@dataclass
class Site:
    """The servers of both kinds, after site.yml."""

    fleet: Fleet

    def lie(self, *hosts: str, **answers: dict[str, Any]) -> None:
        """Let servers answer so. :param answers: by module, what replaces parts of its result."""
        for host in hosts:
            root = self.fleet.machines[host].root
            lies = root / "lies.json"
            lies.write_text(json.dumps({"every module": self.common, **answers}))
            python = root / "python"
            if not (honest := root / "honest").exists():
                python.rename(honest)
                python.write_text(LIAR.format(python=sys.executable, honest=str(honest), lies=str(lies)))
                python.chmod(0o755)

    def claim_the_other_node(self, *hosts: str) -> None:
        """Let servers claim to be the node of an honest one."""
        self.lie(*hosts, cwagent_ssm_agent={"registration": self.other_node, "marked": True})

    @property
    def other_node(self) -> dict[str, str]:
        return {"instance_id": self.node("db1"), "region": self.fleet.aws.region}

    @property
    def common(self) -> dict[str, Any]:
        """Everything that Ansible does for any module that asks for it, with values of the honest servers."""
        victim, instance = f"{SERVER_USER}-db3", self.fleet.instances["admin1"]
        facts = {
            "cwagent_user_name": victim,
            "cwagent_onprem_identity": HYBRID,
            "onprem_credentials_user_name": victim,
            "hybrid_registration_instance_name": "db1",
            "instance_id": instance,
            "__cwagent": {},
            "__cwagent_run": {},
            "__hybrid_registration_node": {"node": {"id": self.node("db1")}},
            "ansible_host": "192.0.2.1",
        }
        return {
            "ansible_facts": facts,
            "ansible_facts_cacheable": True,
            "add_host": {"host_name": "planted", "groups": ["cwagent_ec2_admin"], "host_vars": {}},
            "add_group": "cwagent_ec2_admin",
            "ansible_stats": {
                "data": {"cloudwatch_agent": {"failed_servers": 0}},
                "aggregate": False,
                "per_host": False,
            },
            "warnings": [f"{TERMINAL}warning"],
            "deprecations": [{"msg": f"{TERMINAL}deprecation", "version": "9"}],
            "invocation": {"module_args": TERMINAL},
            "msg": f"{TERMINAL}message",
        }

    def node(self, host: str) -> str:
        registration = self.fleet.machines[host].registration
        assert registration
        return registration["ManagedInstanceID"]

    def secrets(self) -> list[str]:
        """The secret keys of the honest servers."""
        text = (self.fleet.controller.credentials / f"{SERVER_USER}-db3.credentials").read_text()
        return re.findall(r"aws_secret_access_key = (\S+)", text)

    def of_honest(self) -> dict[str, Any]:
        """The parts of the account that concern the honest servers."""
        account = snapshot(self.fleet.aws)
        nodes = [each for each in hybrid_nodes(self.fleet.aws) if each == self.node("db1")]
        users = {name: each for name, each in account["users"].items() if name.endswith(("db1", "db3"))}
        return {"nodes": nodes, "users": users, "roles": account["roles"], "associations": account["associations"]}

    def files(self) -> dict[str, str]:
        """The files of the controller outside the key store, and the files of the honest servers."""
        home, machines = self.fleet.controller.home, self.fleet.machines
        hostile = [machines[host].root for host in HOSTILE]
        outside = [*hostile, self.fleet.controller.credentials, home / ".ansible", home / "recorded.jsonl"]
        found = (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
        return {
            str(path): path.read_text(errors="replace")
            for path in found
            if not any(path.is_relative_to(each) for each in outside)
        }

    def run(self, playbook: str, *arguments: str, **variables: Any) -> Play:
        """Run a playbook, and assert what holds of every run. Its reports are no files."""
        since = self.fleet.aws.mark()
        play = self.fleet.play(playbook, *arguments, **variables)
        found = [line for line in play.output.splitlines() if CONTROL.search(line)]
        assert found == []
        assert "planted" not in play.output
        delivered = "".join(
            path.read_text(errors="replace")
            for host in HOSTILE
            for path in self.fleet.machines[host].root.rglob("*")
            if path.is_file() and not path.is_symlink()
        )
        assert [each for each in self.secrets() if each in delivered] == []
        assert [call.action for call in self.fleet.aws.writes(since) if self.node("db1") in str(call.params)] == []
        return play


def site_of_both(states: States) -> Site:
    fleet = Fleet(states.controller)
    fleet.add_instance("admin1", group="ec2_admin")
    for host in sorted((*HONEST, *HOSTILE)):
        fleet.add_machine(host, cwagent_onprem_identity=KEY if host in WITH_KEYS else HYBRID)
    fleet.play("site").assert_succeeded()
    return Site(fleet)


@pytest.fixture
def site(states: States) -> Site:
    return states.begin(site_of_both)


@pytest.fixture
def pair(site: Site) -> Site:
    """The same without the other hostile servers in the inventory."""
    site.fleet.remove(*HOSTILE[len(PAIR) :])
    return site


def test_lies_change_nothing_but_the_liar(site: Site) -> None:
    """``test_host_result.py`` has values of other types. All servers add the keys on which Ansible acts.

    A server with a key reports its registration too, which it is to leave.
    """
    unfinished = {"registration": None, "marked": False, "unfinished": {**site.other_node, "run_id": "r"}}
    texts: dict[str, Any] = {
        "cwagent_ssm_agent": {"registration": {"instance_id": f"mi-{TERMINAL}", "region": "eu-central-1'; --"}},
        "cwagent_credentials_file": {"steps": [TERMINAL], "counts": {TERMINAL: 1}},
        "cwagent_shared_credentials": {"caller": TERMINAL, "path": TERMINAL, "profile": TERMINAL},
    }
    account, files = site.of_honest(), site.files()
    site.claim_the_other_node("db2", "db8")
    site.lie("db4", "db5", **texts)
    site.lie("db6", "db9", cwagent_ssm_agent=unfinished)
    site.lie("db7")
    play = site.run("site")
    assert (site.of_honest(), site.files()) == (account, files)
    assert {each.host for each in play.results} >= {*HOSTILE}


def test_a_rotation_delivers_each_key_only_to_its_server(pair: Site) -> None:
    pair.claim_the_other_node(*PAIR)
    pair.fleet.aws.shift_clock(100 * DAY)
    earlier = pair.secrets()
    pair.run("rotate_keys")
    [secret] = pair.secrets()
    key_file = pair.fleet.groups["onprem_servers"]["db3"]["onprem_credentials_file"]
    assert (secret in Path(key_file).read_text(), [secret] == earlier) == (True, False)


def test_what_verify_collects_is_about_the_server_alone(pair: Site) -> None:
    facts = f"profile -\nkey AKIAOTHER {TERMINAL}\ncaller {TERMINAL}\nagent running\nother {TERMINAL}\nend\n"
    pair.lie(*PAIR, cwagent_agent_config={"stdout": facts, "rc": 0})
    play = pair.run("verify").assert_failed()
    assert CONTROL.findall("".join(play.problems)) == []
    table = [line.split() for line in play.problems if line.startswith("db")]
    honest = ["ok", "ok", "FAIL", "ok", "FAIL", "?"]  # no configuration is stored, and no agent runs
    assert {host for host, *row in table if row == honest} == {*HONEST}


def test_servers_that_leave_take_no_other_with_them(pair: Site) -> None:
    account = pair.of_honest()
    pair.claim_the_other_node(*PAIR)
    leaving = pair.node("db2")
    # AWS goes on showing the node of the liar, for which the run would look a minute.
    removal = {"cwagent_remove_servers": [*PAIR], "cwagent_confirm": "remove_servers", "cwagent_wait_timeout": 2}
    play = pair.run("remove_servers", **removal)
    assert play.code != 0
    assert leaving in play.words
    assert pair.of_honest() == account


# Reads outputs as Ansible does, and prints the result of an action that runs a module, with everything that was shown.
READER = """\
import contextlib, io, json, sys
from types import SimpleNamespace
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.host_result import (
    HostAnswer,
    InvalidInput,
    expect_result,
)

class Action(HostAnswer):
    def run(self, tmp=None, task_vars=None):
        raise NotImplementedError

action = Action.__new__(Action)
action._used_interpreter, action._task = "/bin/python", SimpleNamespace(action="x", resolved_action="x")
modern = "profile" in HostAnswer.__mro__[1]._parse_returned_data.__code__.co_varnames
for line in sys.stdin:
    module, stdout, stderr = json.loads(line)
    printed, error, result = io.StringIO(), None, {}
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            output = {"rc": 0, "stdout": stdout, "stderr": stderr}
            if modern:
                read = action._parse_returned_data(output, "legacy")
                read.remove_internal_keys()
                read = read.as_result_dict(for_round_trip=True)
            else:
                read = action._parse_returned_data(output)
            result = expect_result(module, read)
        except InvalidInput as failure:
            error = str(failure)
    print(json.dumps([result, printed.getvalue(), error], default=repr), flush=True)
"""
Reader = Callable[[str, str, str], tuple[dict[str, Any], str, str | None]]


@pytest.fixture(scope="module", params=["newest", "oldest"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Ansible's own parser of both cores, with what is ours before and after it."""
    python = sys.executable if request.param == "newest" else f"{os.environ['OLDEST']}/bin/python"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"}
    with subprocess.Popen(
        [python, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin
        assert process.stdout
        into, out = process.stdin, process.stdout

        def read(*output: str) -> tuple[dict[str, Any], str, str | None]:
            print(json.dumps(output), file=into, flush=True)
            result, printed, error = json.loads(out.readline())
            return result, printed, error

        yield read
        into.close()


TYPES = ["ErrorSummary", "WarningSummary", "DeprecationSummary", "Event", "EventChain", "TrustedAsTemplate", "other"]
TEXTS = st.sampled_from([TERMINAL, "\ud800", "{{ 1 }}", "{", "}", "\x85", "\u2028{", "é", "x" * 9000]) | st.text(
    max_size=4
)
HOSTILE_KEYS = st.sampled_from(["__ansible_type", "__ansible_unsafe", "__ansible_vault", "event", "msg", TERMINAL])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXTS | st.sampled_from(TYPES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE_KEYS | TEXTS, inner, max_size=3),
    max_leaves=6,
)
ACTED_ON = ["ansible_facts", "ansible_facts_cacheable", "add_host", "add_group", "ansible_stats", "_ansible_notify"]
RETURNED = [
    "msg",
    "warnings",
    "deprecations",
    "exception",
    "failed",
    "changed",
    "rc",
    "diff",
    "steps",
    "stdout",
    "results",
]
OBJECTS = st.dictionaries(
    st.sampled_from([*ACTED_ON, *RETURNED, "_ansible_parsed", "__ansible_type", "unreachable", "stat", "content"]),
    VALUES | st.sampled_from([["x" * 9000] * 9, json.loads("[" * 90 + "]" * 90)]),
    max_size=4,
)
UNPRINTABLE = ["\x1b", "\x00", "\u202e", "\x85", "\u2028", "\ufeff", "\u00a0", "\x0b", "\x1c", "\r", "\u200b", "\udcff"]


@st.composite
def outputs(draw: st.DrawFn) -> str:
    """An object in JSON, or nearly, among other lines."""
    text = json.dumps(draw(OBJECTS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    deep = '{"msg":' * 30_000
    text = draw(st.sampled_from([text, text, text, text, f"{text}\n{text}", deep, deep + "1" + "}" * 30_000]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.sampled_from([0, 1, len(text) // 2, len(text) - 1, len(text)]) | st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(UNPRINTABLE)) + text[at:]
    lines = st.sampled_from(["", f"{TERMINAL}motd\n", "[1]\n", "{\n", "}\n", "{}\n"])
    return draw(lines) + text + "\n" + draw(lines)


def texts_in(value: Any) -> Iterator[str]:
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(each)
    if isinstance(value, dict):
        yield from value
    if isinstance(value, str):
        yield value


@settings(max_examples=400, deadline=None, suppress_health_check=[*HealthCheck])
@given(output=outputs(), errors=TEXTS, module=st.sampled_from(["ping", "stat", "slurp", "cwagent_agent_config"]))
def test_ansible_finds_nothing_in_an_output_to_act_on_or_to_show(
    reader: Reader, output: str, errors: str, module: str
) -> None:
    result, printed, error = reader(module, output, errors)
    found = [*texts_in(result), printed, error or ""]
    assert [each for each in found if CONTROL.search(each)] == []
    assert {*result} & {*ACTED_ON, "results", "unreachable", "deprecations"} == set()
    assert [each for each in found if each.startswith(("__ansible", "_ansible"))] == []
    assert len(json.dumps([result, printed, error])) < 300_000
    assert error is None or result == {}


HONEST_RESULTS = [
    {"changed": True, "steps": ["write the file"], "counts": {"create": 1}, "diff": {"before": "a\n", "after": "é\n"}},
    {"failed": True, "msg": "It failed.", "rc": 3, "done": [], "not_done": ["x"]},
    {"changed": False, "stdout": "lines 1 0\n\tend\n", "stderr": "", "rc": 0, "warnings": ["Careful."]},
]


@pytest.mark.parametrize("sent", HONEST_RESULTS)
def test_the_result_of_an_honest_server_is_kept(reader: Reader, sent: dict[str, Any]) -> None:
    result, printed, error = reader("cwagent_agent_config", f"motd\n{json.dumps(sent)}\n", "")
    result.pop("exception", None)  # Ansible makes it of the message
    added = {"changed": False, "failed": False}  # by a newer Ansible
    assert ({**added, **result}, printed, error) == ({**added, **sent}, "", None)


def test_one_unprintable_character_hides_no_object(reader: Reader) -> None:
    """Whatever it is, and wherever it stands."""
    text = json.dumps(
        {"ansible_facts": {"x": 1}, "add_host": {"host_name": "x"}, "warnings": ["planted"], "changed": True}
    )
    for character in [*map(chr, range(32)), *UNPRINTABLE, "\x7f"]:
        for output in (f"{character}{text}", f"{text[0]}{character}{text[1:]}", f"{text}{character}"):
            result, printed, error = reader("ping", output, "")
            assert error is None
            assert {*result} & {*ACTED_ON} == set()
            assert "planted" not in printed
            assert not CONTROL.search("".join([*texts_in(result), printed]))

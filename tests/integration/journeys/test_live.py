"""The acceptance run for a real account, in an emulated account that is as unkind as AWS.

One run does the steps that hold something meanwhile, as they are. The other steps are done with playbooks that do
nothing, whose lack each step has to notice. ``make live`` does all of them.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import live.__main__
import pytest
from emulator import AS_AWS, Emulator, Fault, Kind, program_environment
from emulator.snapshot import snapshot
from forks import on_path
from harness import CHECKOUT, create_role, create_user, trust
from live import acceptance as live_acceptance
from live import analyzer, fitted, measurements, playbooks
from live.__main__ import connection
from live.acceptance import Acceptance
from live.account import DUTIES, LiveAccount
from live.names import ADMIN_USER, HYBRID_ROLE, PARAMETER, SERVER_ROLE, SERVER_USER
from live.playbooks import Playbooks, Run
from live.report import Report

TIMEOUTS = {"cwagent_wait_timeout": 30}


@pytest.fixture
def caller(enforcing: Emulator) -> dict[str, str]:
    return create_user(enforcing, "caller", policy="AdministratorAccess")


@pytest.fixture
def environment(enforcing: Emulator, caller: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of ``python -m live`` for this process, whose runs of playbooks are forks."""
    monkeypatch.setattr(playbooks, "PROGRAMS", on_path.folder())
    variables = program_environment(enforcing.env(), caller)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(CHECKOUT)


@dataclass(frozen=True)
class Here:
    """Runs ``python -m live`` in this process, with some of its steps, and fast measurements."""

    monkeypatch: pytest.MonkeyPatch
    report: Path

    def run(self, *options: str, steps: Callable[[Acceptance], None], answer: str = "") -> str:
        """:returns: the code or the message with which it ends."""
        arguments = ["live", "--report", str(self.report), "--timeouts", json.dumps(TIMEOUTS), *options]
        self.monkeypatch.setattr(sys, "argv", arguments)
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        self.monkeypatch.setattr(Acceptance, "run", steps)
        watch = measurements.WATCH_METADATA.replace("+ 90", "+ 10")
        self.monkeypatch.setattr(measurements, "WATCH_METADATA", watch)
        self.monkeypatch.setattr(measurements, "REPEAT_SECONDS", 2)
        with pytest.raises(SystemExit) as ended:
            live.__main__.main()
        return str(ended.value.code)


@pytest.fixture
def here(environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    return Here(monkeypatch, tmp_path / "live.md")


def site_restored_and_teardown(acceptance: Acceptance) -> None:
    for title, step in (
        ("prepare", acceptance.prepare),
        ("ValidatePolicy", acceptance.validate_examples),
        ("policy", acceptance.prove_policy),
        ("site", lambda: acceptance.site(10)),
        ("store_config, killed, and restore", acceptance.kill_and_restore),
        ("teardown", acceptance.teardown),
    ):
        acceptance._do(title, step)


def test_an_acceptance_run_passes_and_leaves_nothing(
    enforcing: Emulator, caller: dict[str, str], here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    instances = enforcing.instances(2)
    before = snapshot(enforcing)
    enforcing.be_unkind(*AS_AWS, seed=1)
    code = here.run("--yes", "--instances", *instances, steps=site_restored_and_teardown)
    report, output = here.report.read_text(), capfd.readouterr()
    assert code == "0", report
    assert "not measured" not in report
    assert report.count("| ok |") == 7
    times = dict(re.findall(r"\| (How long until .*\?) \| (.*) \|", report))
    assert len(times) == 7
    assert [each for each in times.values() if not re.fullmatch(r"\d+\.\d s", each)] == []
    validated = [call.params for call in enforcing.calls() if call.action == "ValidatePolicy"]
    assert {each["policyType"] for each in validated} == {"IDENTITY_POLICY"}
    documents = [each["policyDocument"] for each in validated]
    examples = [*(CHECKOUT / "examples" / "policies").glob("*.json")]
    assert len(documents) == len({*documents}) == len(examples) + 1  # and the fitted policy
    assert [each for each in documents if re.search("(NAME|ROLE|ID)-OF-", each)] == []
    assert caller["AWS_SECRET_ACCESS_KEY"] not in report + output.out + output.err
    assert snapshot(enforcing) == before
    assert enforcing.client("secretsmanager").list_secrets()["SecretList"] == []


def only_site(acceptance: Acceptance) -> None:
    acceptance._do("site", lambda: acceptance.site(10))


def test_everything_is_removed_after_a_failure(
    enforcing: Emulator, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = enforcing.instances(2)
    create_role(enforcing, "App")
    before = snapshot(enforcing)
    monkeypatch.setattr(live_acceptance, "CONSISTENT_SECONDS", 0)
    monkeypatch.setattr(live_acceptance, "ONLINE_SECONDS", 0)
    monkeypatch.setattr(measurements.Measurements, "run", lambda _self, _say: [])
    enforcing.arm(Fault(Kind.DENY, action="CreateAccessKey", times=1000))
    since = enforcing.mark()
    code = here.run("--yes", "--instances", *instances, steps=only_site)
    assert code == "1"
    report = here.report.read_text()
    assert "**failed**" in report
    assert [report.count(f"| {result} |") for result in ("ok", "failed")] == [1, 1]
    assert "lacks iam:CreateAccessKey" in " ".join(report.split())
    assert {"CreateRole", "CreateUser", "AssociateIamInstanceProfile"} <= {
        each.action for each in enforcing.writes(since)
    }
    assert snapshot(enforcing) == before


def test_an_account_with_such_objects_is_refused(enforcing: Emulator, here: Here, tmp_path: Path) -> None:
    create_role(enforcing, SERVER_ROLE)
    iam, ssm, secrets = (enforcing.client(each) for each in ("iam", "ssm", "secretsmanager"))
    iam.create_role(RoleName=HYBRID_ROLE, AssumeRolePolicyDocument=trust("ssm.amazonaws.com"))
    activation = ssm.create_activation(IamRole=HYBRID_ROLE, RegistrationLimit=2)
    enforcing.host(tmp_path / "db1").register(activation, enforcing.region)
    ssm.put_parameter(Name=PARAMETER, Value="{}", Type="String")
    create_user(enforcing, SERVER_USER, policy="ReadOnlyAccess")
    secrets.create_secret(Name=f"AmazonCloudWatch-live/credentials/{SERVER_USER}", SecretString="-")
    since = enforcing.mark()
    refused = here.run("--yes", steps=only_site)
    assert f"has role {SERVER_ROLE}, role {HYBRID_ROLE}, instance profile" in refused
    assert enforcing.writes(since) == []
    assert here.run("--remove", steps=only_site) == "0"
    after = snapshot(enforcing)
    assert (after["roles"], after["instance_profiles"], after["users"].keys()) == ({}, {}, {"caller"})
    assert [after[kind][enforcing.region] for kind in ("parameters", "activations", "nodes")] == [{}, [], []]
    assert secrets.list_secrets()["SecretList"] == []


@pytest.mark.parametrize("answer", ["", "no\n", "000000000001\n"])
def test_without_consent_nothing_is_done(
    answer: str, enforcing: Emulator, here: Here, capfd: pytest.CaptureFixture[str]
) -> None:
    since = enforcing.mark()
    assert here.run(answer=answer, steps=only_site) == "Nothing was done."
    assert "cost about 0.03 USD" in capfd.readouterr().out
    assert enforcing.writes(since) == []


@dataclass
class Idle(Playbooks):
    """Playbooks that do nothing. :param asked: the playbooks and modules, with their duties."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    changed: int = 0

    def run(self, playbook: str, duty: str, *options: str, **variables: Any) -> Run:
        assert (CHECKOUT / "playbooks" / f"{playbook}.yml").exists()
        return self._note(playbook, duty)

    def module(self, module: str, duty: str, **arguments: Any) -> Run:
        assert (CHECKOUT / "plugins/modules" / f"{module}.py").exists()
        return self._note(module, duty)

    def kill_when(self, condition: Callable[[], bool], playbook: str, duty: str) -> bool:
        self._note(playbook, duty)
        return condition()

    def _note(self, what: str, duty: str) -> Run:
        assert not duty or duty in DUTIES
        self.asked.append((what, duty))
        return Run(what, 0, f"localhost : ok=1    changed={self.changed}    unreachable=0", 0)


NOT_SAVED = [f"the access key of {user} is not saved" for user in (SERVER_USER, ADMIN_USER)]
OPEN = "whether the window is closed: False instead of True"
NOT_STORED = "the configuration: None instead of "
PROBLEMS: dict[str, list[str]] = {
    "policy, for a role that has nothing else": ["policy.yml wrote no policy"],
    "site, from an empty account": [NOT_STORED, *NOT_SAVED, OPEN],
    "site, again": ["1 tasks changed something"],
    "store_config, with a changed configuration": [NOT_STORED, *NOT_SAVED, OPEN],
    "store_config, killed while the admin window is open, and restore": [
        "it ended before the admin profile was seen",
        OPEN,
    ],
    "site, after that": [NOT_STORED, *NOT_SAVED, OPEN],
    "cwagent_instance_profile, on a stopped instance that has another profile": [
        f"the profile of the stopped server: AmazonCloudWatch-live-BaseRole instead of {SERVER_ROLE}"
    ],
    "site, with a hybrid server": [
        "the status of the hybrid server: [] instead of ['Online']",
        "1 tasks changed something again",
    ],
    "remove_servers, for both servers": ["the profile of the server: AmazonCloudWatch-live-BaseRole instead of None"],
    "site, after teardown": [NOT_STORED, *NOT_SAVED, OPEN],
}
"""By step, what it finds in an account in which its playbooks have done nothing."""


def test_each_step_notices_what_its_playbooks_did_not_do(
    enforcing: Emulator, environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(live_acceptance, "CONSISTENT_SECONDS", 0)
    account = LiveAccount(boto3.Session())
    playbooks = Idle(account, tmp_path, hybrid_host={"ansible_host": "db1"}, changed=1)
    acceptance = Acceptance(account, playbooks, lambda _line: None)
    assert acceptance.make(enforcing.instances(2))
    acceptance.run()
    steps = {step.title: step.problems for step in acceptance.steps}
    assert {title: len(found) for title, found in steps.items() if found} == {
        title: len(words) for title, words in PROBLEMS.items()
    }
    for title, words in PROBLEMS.items():
        assert [each for each, found in zip(words, steps[title], strict=True) if not found.startswith(each)] == []
    assert {duty for _what, duty in playbooks.asked} == {*DUTIES, ""}
    assert not Report(datetime.now(UTC), "eu-central-1", "aws", acceptance.steps, [], []).passed
    assert account.remove() == []


@pytest.mark.parametrize(
    ("actions", "problem"),
    [("s3:*", "{0.action} is denied for {0.allowed}"), ("*", "{0.action} is allowed for {0.denied}")],
)
def test_a_policy_that_allows_too_little_or_too_much_is_noticed(
    enforcing: Emulator, environment: None, monkeypatch: pytest.MonkeyPatch, actions: str, problem: str
) -> None:
    monkeypatch.setattr(fitted, "NEW_SECONDS", 0)
    account, before = LiveAccount(boto3.Session()), snapshot(enforcing)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    found = [each for each in fitted.prove(account, [document]) if each]
    assert found == [problem.format(each) for each in fitted.calls()]
    assert account.remove() == []
    assert snapshot(enforcing) == before


STATEMENT = {"Effect": "Allow", "Action": ["iam:PassRole"], "Resource": ["arn:aws:iam::*:role/App"]}


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({}, []),
        ({"Action": ["iam:PassRole", "iam:PassRole"]}, []),
        ({"Resource": ["*"]}, ["x: SECURITY_WARNING PASS_ROLE_WITH_STAR_IN_RESOURCE: "]),
        ({"Action": []}, ["x: ERROR MISSING_ACTION: "]),
        (
            {"Action": ["iam:PassRole", "iam:PassRole"], "Resource": ["*"]},
            ["x: SECURITY_WARNING PASS_ROLE_WITH_STAR_IN_RESOURCE: "],
        ),
    ],
    ids=["valid", "suggestion", "security warning", "error", "second page"],
)
def test_findings_about_access_fail_and_findings_about_style_do_not(
    enforcing: Emulator, environment: None, changed: dict[str, Any], problems: list[str]
) -> None:
    document = {"Statement": [{**STATEMENT, **changed}]}  # without Version, which is a finding of type WARNING
    found = list(analyzer.problems(LiveAccount(boto3.Session()), {"x": json.dumps(document)}))
    assert [each for each, begin in zip(found, problems, strict=True) if not each.startswith(begin)] == []


def test_a_caller_who_may_not_validate_policies_learns_what_is_missing(
    enforcing: Emulator, environment: None, tmp_path: Path
) -> None:
    account = LiveAccount(boto3.Session(), instances=enforcing.instances(2))
    enforcing.arm(Fault(Kind.DENY, action="ValidatePolicy"))
    acceptance = Acceptance(account, Playbooks(account, tmp_path), lambda _line: None)
    acceptance._do("ValidatePolicy", acceptance.validate_examples)
    [problem] = acceptance.steps[0].problems
    assert "not authorized to perform: access-analyzer:ValidatePolicy" in problem


@pytest.mark.parametrize(
    ("host", "variables"),
    [
        ("admin@db1.example.com", {"ansible_host": "db1.example.com", "ansible_user": "admin"}),
        ("db1.example.com", {"ansible_host": "db1.example.com"}),
        ("", {}),
    ],
)
def test_an_on_premises_server_is_named_as_for_ssh(host: str, variables: dict[str, str]) -> None:
    assert connection(host) == variables


def test_steps_without_an_on_premises_server_are_reported_as_skipped(tmp_path: Path) -> None:
    account: Any = None  # it is not asked
    lines: list[str] = []
    acceptance = Acceptance(account, Playbooks(account, tmp_path), lines.append)
    acceptance.run_hybrid_steps()
    report = Report(datetime.now(UTC), "eu-central-1", "aws", acceptance.steps, [], [])
    assert report.passed
    reason = "skipped: no on-premises server was named"
    assert f"| site, with a hybrid server | 0 | {reason} |" in report.markdown()
    assert lines == [f"{step.title} … {reason}" for step in acceptance.steps]

"""The steps of an acceptance run, and the answers that AWS must give after each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import analyzer, fitted
from .account import ONLINE_SECONDS, POLICIES, LiveAccount, poll
from .names import (
    ADMIN_ROLE,
    ADMIN_USER,
    BASE_ROLE,
    FITTED_PARAMETER,
    HYBRID_SERVER,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
)
from .playbooks import Playbooks, Run
from .report import Step

RESTORE_TAG = "cwagent:earlier-profile"
NO_HOST = "no on-premises server was named"
CONSISTENT_SECONDS = 60
"""Seconds for AWS's answers to agree with each other after a change."""


@dataclass
class Acceptance:
    """Does one step after the other. A step that fails does not keep the next from being tried.

    :param say: prints a line.
    """

    account: LiveAccount
    playbooks: Playbooks
    say: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    def make(self, instance_ids: Sequence[str]) -> bool:
        """Make everything that the steps need. :returns: whether that succeeded. Without it, no step is of use."""

        def step() -> Iterator[str]:
            self.account.make(instance_ids)
            yield ""

        self._do("Make the roles of the playbooks, and two instances", step)
        return not self.steps[-1].problems

    def run(self) -> None:
        """Do all steps."""
        for title, step in (
            ("Give the admin instance a profile of an application", self.prepare),
            ("validate_config", self.validate),
            ("ValidatePolicy, for the example policies", self.validate_examples),
            ("policy, for a role that has nothing else", self.prove_policy),
            ("site, from an empty account", lambda: self.site(10)),
            ("site, again", self.site_again),
            ("store_config, with a changed configuration", lambda: self.store(20)),
            ("store_config, killed while the admin window is open, and restore", self.kill_and_restore),
            ("site, after that", lambda: self.site(30)),
            ("cwagent_instance_profile, on a stopped instance that has another profile", self.swap_on_stopped_instance),
            ("rotate_keys, with keys that are new", self.rotate),
            ("audit", self.audit),
            ("verify", self.verify),
        ):
            self._do(title, step)
        self.run_hybrid_steps()
        for title, step in (
            ("remove_servers, for both servers", self.remove_servers),
            ("teardown", self.teardown),
            ("site, after teardown", lambda: self.site(40)),
            ("teardown, again", self.teardown),
        ):
            self._do(title, step)

    def run_hybrid_steps(self) -> None:
        """Do the steps with an on-premises server, which the inventory has meanwhile, or leave them out."""
        steps: Mapping[str, Callable[[], Iterator[str]]] = {
            "site, with a hybrid server": self.register,
            "apply and verify, for the hybrid server": self.apply_and_verify,
            "remove_servers, for the hybrid server": self.deregister,
        }
        if not self.playbooks.hybrid_host:
            for title in steps:
                self.say(f"{title} … skipped: {NO_HOST}")
                self.steps.append(Step(title, 0, skipped=NO_HOST))
            return
        self.playbooks.has_hybrid_server = True
        for title, step in steps.items():
            self._do(title, step)
        self.playbooks.has_hybrid_server = False

    def _do(self, title: str, step: Callable[[], Iterator[str]]) -> None:
        self.say(f"{title} …")
        began = time.monotonic()
        problems = []
        try:
            problems += [problem for problem in step() if problem]
        except Exception as error:  # noqa: BLE001  whatever it is belongs in the report, and everything is removed
            problems.append(f"{type(error).__name__}: {error}")
        self.steps.append(Step(title, time.monotonic() - began, tuple(problems)))
        for problem in problems:
            self.say(f"  {problem}")

    # -- Steps: each yields problems, and empty texts --

    def prepare(self) -> Iterator[str]:
        for instance in self.account.instances:
            self.account.associate(instance, BASE_ROLE)
        for instance in self.account.instances:
            yield from self._reached(instance)

    def validate(self) -> Iterator[str]:
        self.playbooks.configure(10)
        yield self.playbooks.run("validate_config", "").problem

    def validate_examples(self) -> Iterator[str]:
        names = sorted(path.stem for path in POLICIES.glob("*.json"))
        yield from analyzer.problems(self.account, {name: self.account.example_policy(name) for name in names})

    def prove_policy(self) -> Iterator[str]:
        run, documents = self.playbooks.compile(FITTED_PARAMETER, fitted.CONFIG)
        yield run.problem
        policies = {f"fitted policy {number}": json.dumps(each) for number, each in enumerate(documents, 1)}
        yield from analyzer.problems(self.account, policies)
        yield from fitted.prove(self.account, documents) if documents else ["policy.yml wrote no policy"]

    def site(self, interval: int) -> Iterator[str]:
        config = self.playbooks.configure(interval)
        yield from self._reached(self.account.admin)
        yield from self._succeeded(self.playbooks.run("site", "provision"), config)

    def site_again(self) -> Iterator[str]:
        run = self.playbooks.run("site", "provision")
        yield run.problem
        yield f"{run.changed} tasks changed something\n{run.output[-3000:]}" if run.changed else ""

    def store(self, interval: int) -> Iterator[str]:
        config = self.playbooks.configure(interval)
        yield from self._reached(self.account.admin)
        yield from self._succeeded(self.playbooks.run("store_config", "store"), config)

    def kill_and_restore(self) -> Iterator[str]:
        self.playbooks.configure(25)
        yield from self._reached(self.account.admin)
        killed = self.playbooks.kill_when(
            lambda: self.account.profile(self.account.admin) == ADMIN_ROLE, "store_config", "store"
        )
        yield "" if killed else "it ended before the admin profile was seen"
        yield self.playbooks.run("restore", "store").problem
        yield from self._closed()

    def swap_on_stopped_instance(self) -> Iterator[str]:
        web = self.account.web
        self.account.ec2.stop_instances(InstanceIds=[web])
        self.account.ec2.get_waiter("instance_stopped").wait(InstanceIds=[web])
        self.account.associate(web, BASE_ROLE)
        arguments = {"name": SERVER_ROLE, "instance_ids": [web], "on_other_profile": "replace"}
        yield self.playbooks.module("cwagent_instance_profile", "provision", **arguments).problem
        yield from self._eventually("the profile of the stopped server", lambda: self.account.profile(web), SERVER_ROLE)
        self.account.ec2.start_instances(InstanceIds=[web])
        self.account.ec2.get_waiter("instance_running").wait(InstanceIds=[web])

    def rotate(self) -> Iterator[str]:
        before = self.account.keys(SERVER_USER)
        yield self.playbooks.run("rotate_keys", "rotate").problem
        yield from self._eventually("the keys of the server user", lambda: self.account.keys(SERVER_USER), before)

    def audit(self) -> Iterator[str]:
        yield self.playbooks.run("audit", "audit", cwagent_audit_fail_at="error").problem

    def verify(self) -> Iterator[str]:
        yield from self._reached(self.account.web)
        yield self.playbooks.run("verify", "verify", "--limit", "localhost,web,admin").problem

    def register(self) -> Iterator[str]:
        yield self.playbooks.run("site", "hybrid").problem
        for what, read, wanted in (
            ("the status of the hybrid server", lambda: [*self.account.nodes().values()], ["Online"]),
            ("the activations", self.account.activations, []),
        ):
            yield from self._eventually(what, read, wanted)
        again = self.playbooks.run("site", "hybrid")
        yield again.problem
        yield f"{again.changed} tasks changed something again\n{again.output[-3000:]}" if again.changed else ""

    def apply_and_verify(self) -> Iterator[str]:
        """Run the agent with the credentials of the registration. Run Command reaches the server."""
        limit, source = ["--limit", f"localhost,{HYBRID_SERVER}"], {"cwagent_verify_from": "run_command"}
        for playbook in ("apply", "verify"):
            yield self.playbooks.run(playbook, playbook, *limit, **source).problem

    def deregister(self) -> Iterator[str]:
        variables = {"cwagent_remove_servers": [HYBRID_SERVER], "cwagent_confirm": "remove_servers"}
        yield self.playbooks.run("remove_servers", "remove", **variables).problem
        yield from self._eventually("the hybrid servers", self.account.nodes, {})

    def remove_servers(self) -> Iterator[str]:
        variables = {"cwagent_remove_servers": ["web", "db"], "cwagent_confirm": "remove_servers"}
        yield self.playbooks.run("remove_servers", "remove", **variables).problem
        for what, read, wanted in (
            ("the profile of the server", lambda: self.account.profile(self.account.web), None),
            ("the keys of the server user", lambda: self.account.keys(SERVER_USER), {}),
            ("whether its key is saved", lambda: self.playbooks.has_saved_key(SERVER_USER), False),
        ):
            yield from self._eventually(what, read, wanted)

    def teardown(self) -> Iterator[str]:
        yield self.playbooks.run("teardown", "teardown", cwagent_confirm="teardown").problem
        for what, read, wanted in (
            ("the profile of the admin instance", lambda: self.account.profile(self.account.admin), BASE_ROLE),
            ("the keys of the server user", lambda: self.account.keys(SERVER_USER), {}),
            ("the parameters", self.account.parameters, []),
            ("the window", self.account.window, []),
        ):
            yield from self._eventually(what, read, wanted)

    # -- Expected answers of AWS --

    def _succeeded(self, run: Run, config: Any) -> Iterator[str]:
        yield run.problem
        yield from self._eventually("the configuration", lambda: self.account.configuration(PARAMETER), config)
        for user in (SERVER_USER, ADMIN_USER):
            yield "" if self.playbooks.has_saved_key(user) else f"the access key of {user} is not saved"
        yield from self._closed()

    def _closed(self) -> Iterator[str]:
        """Problems with conditions that must hold between runs, whatever the run before did."""
        account = self.account
        for what, read, wanted in (
            ("the profile of the admin instance", lambda: account.profile(account.admin), BASE_ROLE),
            ("the restore tag", lambda: account.tags(account.admin).get(RESTORE_TAG), None),
            ("whether the window is closed", self._is_closed, True),
            ("the active keys of the admin user", self._active_admin_keys, []),
        ):
            yield from self._eventually(what, read, wanted)

    def _reached(self, instance: str) -> Iterator[str]:
        """Wait until Systems Manager reaches an instance. After a change of its profile, AWS may take minutes."""
        is_online = poll(lambda: self.account.is_online(instance), bool, ONLINE_SECONDS, pause=5)
        yield "" if is_online else f"Systems Manager does not reach {instance}"

    def _is_closed(self) -> bool:
        statements = self.account.window()
        return any(
            each["Effect"] == "Deny" and "ssm:PutParameter" in each["Action"] and "Condition" not in each
            for each in statements
        )

    def _active_admin_keys(self) -> list[str]:
        return [key for key, status in self.account.keys(ADMIN_USER).items() if status == "Active"]

    def _eventually(self, what: str, read: Callable[[], Any], wanted: Any) -> Iterator[str]:
        found = poll(read, lambda found: found == wanted, CONSISTENT_SECONDS)
        yield "" if found == wanted else f"{what}: {found} instead of {wanted}"

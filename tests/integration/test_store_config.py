"""store_config: an instance comes out as it went in, whatever it was, whatever failed, and whoever else stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    WINDOW_POLICY,
    Play,
    Workplace,
    carried,
    eventually,
    make_role,
    nothing_written,
    parameters,
    put_on,
    run_module,
)

APP = "shop-app"
NOTE = "cwagent:earlier-profile"
REPLACE = "ReplaceIamInstanceProfileAssociation"
CLOSED = {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
POLICY = {"Version": "2012-10-17", "Statement": [CLOSED]}
QUICK = {"store_config_identity_timeout": 8, "store_config_wait_timeout": 8, "store_config_permission_timeout": 4}
ARRIVED_SECONDS = 120
FOREVER = 1000
"""So often that a fault goes on until it is disarmed."""


@dataclass(frozen=True)
class Store:
    """One administrator with an instance and a configuration of its own."""

    at: Workplace
    instance: str
    interval: int

    @property
    def config(self) -> dict[str, Any]:
        return {"agent": {"metrics_collection_interval": self.interval}}

    def play(self, *arguments: str, host: dict[str, Any] | None = None, **more: Any) -> Play:
        file = self.at.file("agent.json", self.config)
        settings = {**QUICK, "cwagent_config_file": str(file), **more}
        return self.at.play(self.inventory(host), "store_config", *arguments, **settings)

    def restore(self) -> Play:
        return self.at.play(self.inventory(), "restore")

    def inventory(self, host: dict[str, Any] | None = None) -> Path:
        return self.at.inventory({"ec2_admin": {"admin1": self.at.on_instance(self.instance, **(host or {}))}})


@dataclass(frozen=True)
class Account:
    """An account with both roles, the window closed."""

    aws: Emulator
    folder: Path

    def store(self, number: int, profile: str | None = SERVER_ROLE, stopped: bool = False) -> Store:
        """An administrator on a new instance."""
        [instance] = self.aws.instances(1, stopped=int(stopped))
        if profile:
            put_on(self.aws, instance, profile)
        home = self.folder / str(number)
        home.mkdir()
        return Store(Workplace(self.aws, home), instance, number * 10)

    def writes(self, action: str) -> list[Any]:
        return [call for call in self.aws.calls() if call.action == action]

    def made(self, action: str, times: int = 1) -> None:
        """Wait until a call was made so many times."""
        eventually(lambda: len(self.writes(action)) >= times, ARRIVED_SECONDS)

    def shut(self) -> None:
        """That the window is closed."""
        found = self.aws.client("iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
        assert found["PolicyDocument"] == POLICY

    def safe(self) -> None:
        """That nobody is the administrator, or was together with another, and the window is closed."""
        assert ADMIN_ROLE not in carried(self.aws).values()
        self.shut()
        assert max([list(call.profiles.values()).count(ADMIN_ROLE) for call in self.aws.calls()]) <= 1

    def clean(self) -> None:
        """That it is safe, and no instance has a note."""
        self.safe()
        assert self.aws.client("ec2").describe_tags()["Tags"] == []

    @contextmanager
    def held(self, action: str, kind: Kind, code: str = "") -> Iterator[None]:
        """Keep runs where they make a call, by an answer that they take for one that passes by itself."""
        self.aws.arm(Fault(kind, action=action, times=FOREVER, code=code, message="not yet"))
        try:
            yield
        finally:
            self.aws.disarm()


@pytest.fixture
def given(enforcing: Emulator, tmp_path: Path) -> Account:
    for role, policy in ((SERVER_ROLE, SERVER_POLICY), (ADMIN_ROLE, ADMIN_POLICY), (APP, SERVER_POLICY)):
        make_role(enforcing, role, policy)
    iam = enforcing.client("iam")
    iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(POLICY))
    return Account(enforcing, tmp_path)


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Runs what goes on beside the test."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def says_why(message: str, other: str) -> bool:
    """Whether a message names the other instance, or the window that is open for it."""
    return f"at a time, and instance {other} " in message or f"window of role '{ADMIN_ROLE}' is open until" in message


def one_at_most_stored(given: Account, *stores: tuple[Store, Play]) -> list[Store]:
    """Who stored; the others say why they did not."""
    given.clean()
    stored = [store for store, play in stores if play.code == 0]
    assert len(stored) <= 1
    accepted = [call.principal.rpartition("/")[2] for call in given.writes("PutParameter") if call.status == 200]
    assert accepted == [store.instance for store in stored]
    assert parameters(given.aws) == ({PARAMETER: stored[0].config} if stored else {})
    for store, play in stores:
        assert carried(given.aws)[store.instance] == SERVER_ROLE
        if store not in stored:
            others = [other.instance for other, _ in stores if other != store]
            assert says_why(play.failed().message, others[0])
    return stored


def test_two_that_start_together(given: Account, beside: ThreadPoolExecutor) -> None:
    """Both look before either has written its note."""
    first, second = given.store(1), given.store(2)
    with given.held("CreateTags", Kind.THROTTLE):
        running = [beside.submit(store.play) for store in (first, second)]
        eventually(
            lambda: len({call.params["ResourceId.1"] for call in given.writes("CreateTags")}) == 2, ARRIVED_SECONDS
        )
    one_at_most_stored(given, *((store, run.result()) for store, run in zip((first, second), running, strict=True)))


def test_one_that_begins_while_another_is_about_to_swap(given: Account, beside: ThreadPoolExecutor) -> None:
    first, second = given.store(1), given.store(2)
    with given.held(REPLACE, Kind.ERROR, "InvalidParameterValue"):
        running = beside.submit(first.play, store_config_wait_timeout=60)
        given.made(REPLACE)
        refused = second.play()
        assert not running.done()
    assert refused.writes == [REPLACE] * len(refused.writes), "only the other one writes meanwhile"
    assert one_at_most_stored(given, (first, running.result()), (second, refused)) == [first]


def test_one_that_begins_while_another_stores(given: Account, beside: ThreadPoolExecutor) -> None:
    first, second = given.store(1), given.store(2)
    with given.held("PutParameter", Kind.DENY):
        running = beside.submit(first.play, store_config_permission_timeout=60)
        given.made("PutParameter")
        refused = second.play()
        assert not running.done()
    assert refused.writes == ["PutParameter"] * len(refused.writes), "only the other one writes meanwhile"
    assert one_at_most_stored(given, (first, running.result()), (second, refused)) == [first]


def test_one_that_finds_another_when_it_sees_itself_as_administrator(
    given: Account, beside: ThreadPoolExecutor
) -> None:
    """Somebody has put the profile on by hand meanwhile."""
    first, second = given.store(1), given.store(2)
    given.aws.metadata_lag(60)
    running = beside.submit(first.play, store_config_identity_timeout=60)
    given.made("GetRolePolicy", 2)  # the second is the last that lending looks at
    put_on(given.aws, second.instance, ADMIN_ROLE)
    given.aws.metadata_lag(0)
    refused = running.result().failed()
    assert f"instance {second.instance} carries instance profile '{ADMIN_ROLE}'" in refused.message
    assert given.writes("PutParameter") == []
    assert carried(given.aws) == {first.instance: SERVER_ROLE, second.instance: ADMIN_ROLE}
    given.shut()


def test_the_window_is_closed_although_the_instance_cannot_be_looked_up(given: Account) -> None:
    """To lend, it was not; only giving it back needs to know whether it runs."""
    store = given.store(1)
    given.aws.arm(Fault(Kind.DENY, action="DescribeInstances", nth=2, times=FOREVER))
    failed = store.play().failed()
    given.aws.disarm()
    assert "lacks ec2:DescribeInstances" in failed.message
    given.shut()
    store.restore().succeeded()
    given.clean()


def test_one_that_finds_another_while_it_waits_to_swap(given: Account, beside: ThreadPoolExecutor) -> None:
    """As when both looked before either wrote; the note of the other arrives late."""
    first, second = given.store(1), given.store(2)
    with given.held(REPLACE, Kind.ERROR, "InvalidParameterValue"):
        running = beside.submit(first.play, store_config_wait_timeout=60)
        given.made(REPLACE)
        late = [{"Key": NOTE, "Value": SERVER_ROLE}]
        given.aws.client("ec2").create_tags(Resources=[second.instance], Tags=late)
    refused = running.result().failed()
    assert f"instance {second.instance} is about to carry" in refused.message
    assert given.writes("PutParameter") == []
    given.safe()
    second.restore().succeeded()
    given.clean()


def test_an_instance_without_a_profile_has_none_again(given: Account) -> None:
    store = given.store(1, None)
    store.play().succeeded()
    assert parameters(given.aws) == {PARAMETER: store.config}
    assert carried(given.aws) == {store.instance: None}
    given.clean()


def test_an_instance_with_an_applications_profile_has_it_again(given: Account) -> None:
    """Check mode foretells every task, and writes nothing; nor does a second run."""
    store = given.store(1, APP)
    with nothing_written(given.aws):
        foretold = store.play("--check", "--diff").succeeded()
    done = store.play().succeeded()
    assert foretold.story == done.story
    *lent, back, closed, forgotten = done.writes
    assert lent == ["CreateTags", "PutRolePolicy", REPLACE, "PutParameter"]
    assert {back, closed} == {REPLACE, "PutRolePolicy"}, "side by side"
    assert forgotten == "DeleteTags"
    assert parameters(given.aws) == {PARAMETER: store.config}
    assert carried(given.aws) == {store.instance: APP}
    given.clean()
    with nothing_written(given.aws):
        assert store.play().succeeded().changes == []


def test_an_instance_that_an_interrupted_run_left_as_administrator_becomes_a_server(given: Account) -> None:
    store = given.store(1, ADMIN_ROLE)
    store.play().succeeded()
    assert parameters(given.aws) == {PARAMETER: store.config}
    assert carried(given.aws) == {store.instance: SERVER_ROLE}
    given.clean()


NO_ANSWER = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}
"""A host that cannot be reached."""


def test_a_stopped_instance_is_refused_before_any_change(given: Account) -> None:
    store = given.store(1, APP, stopped=True)
    with nothing_written(given.aws):
        refused = store.play(host=NO_ANSWER).failed()
    assert [failure.outcome for failure in refused.failures] == ["unreachable"]
    assert carried(given.aws) == {store.instance: APP}
    given.clean()


@pytest.mark.parametrize("action", [REPLACE, "PutParameter"])
def test_an_instance_that_is_terminated_meanwhile(given: Account, beside: ThreadPoolExecutor, action: str) -> None:
    """At the swap, or while it stores; from then on nothing answers there."""
    store = given.store(1)
    up = store.at.file("up", "local")
    only_while_up = f"{{{{ 'local' if '{up}' is file else 'ssh' }}}}"
    code = "InvalidParameterValue" if action == REPLACE else ""
    with given.held(action, Kind.ERROR if code else Kind.DENY, code):
        running = beside.submit(
            store.play,
            host={**NO_ANSWER, "ansible_connection": only_while_up},
            store_config_wait_timeout=60,
            store_config_permission_timeout=60,
        )
        given.made(action)
        given.aws.client("ec2").terminate_instances(InstanceIds=[store.instance])
        up.unlink()
    failed = running.result().failed()
    assert store.instance in failed.message
    assert ("does not exist" if action == REPLACE else "could not be reached") in failed.message
    given.clean()


@dataclass(frozen=True)
class OnPremises:
    """The on-premises administrator on a host, with its saved key."""

    given: Account
    at: Workplace

    def play(self, way: str = "onprem", *arguments: str, **more: Any) -> Play:
        inventory = self.at.inventory({"onprem_admin": {"ops1": {}}})
        file = self.at.file("agent.json", {"agent": {}})
        settings = {
            "cwagent_store_config_from": way,
            "cwagent_config_file": str(file),
            "store_config_credentials_file": str(self.at.credentials / f"{ADMIN_USER}.credentials"),
        }
        return self.at.play(inventory, "store_config", *arguments, **{**QUICK, **settings, **more})

    def shut(self) -> None:
        """That the window is closed and the key is of no use."""
        iam = self.given.aws.client("iam")
        [key] = iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
        assert key["Status"] == "Inactive"
        assert iam.get_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)["PolicyDocument"] == POLICY
        self.given.clean()


@pytest.fixture
def on_premises(given: Account) -> OnPremises:
    at = Workplace(given.aws, given.folder)
    key = {"directory": str(at.credentials)}
    made = run_module(
        given.aws, "cwagent_iam_user", name=[ADMIN_USER], access="admin", admin_window=True, credentials=key
    )
    assert not made["failed"], made
    assert not run_module(given.aws, "cwagent_admin_window", user=ADMIN_USER, state="closed")["failed"]
    return OnPremises(given, at)


def test_the_on_premises_administrator_stores_with_its_own_key(given: Account, on_premises: OnPremises) -> None:
    on_premises.shut()
    done = on_premises.play().succeeded()
    [stored] = [call for call in done.calls if call.action == "PutParameter"]
    assert (stored.status, stored.principal.rpartition(":")[2]) == (200, f"user/{ADMIN_USER}")
    assert parameters(given.aws) == {PARAMETER: {"agent": {}}}
    assert not [call for call in done.calls if call.service == "ec2" and call.write]
    on_premises.shut()


def test_the_window_of_another_run_on_premises_is_left_open(given: Account, on_premises: OnPremises) -> None:
    assert not run_module(given.aws, "cwagent_admin_window", user=ADMIN_USER, state="open")["failed"]
    with nothing_written(given.aws):
        refused = on_premises.play().failed()
    assert f"the admin window of user '{ADMIN_USER}' is open until" in refused.message


def test_the_on_premises_administrator_is_shut_out_after_a_failure(given: Account, on_premises: OnPremises) -> None:
    with given.held("PutParameter", Kind.DENY):
        failed = on_premises.play(store_config_permission_timeout=1).failed()
    assert f"user/{ADMIN_USER} lacks ssm:PutParameter" in failed.message
    assert parameters(given.aws) == {}
    on_premises.shut()


def test_a_host_without_the_key_is_refused_before_the_window_is_opened(given: Account, on_premises: OnPremises) -> None:
    for way in ("--check", "--diff"):
        refused = on_premises.play("onprem", way, store_config_credentials_file="~/nothing").failed()
        assert f"ops1 has no ~/nothing with the access key of {ADMIN_USER}" in refused.message
        assert refused.writes == []
    on_premises.shut()


def test_the_controller_stores_without_a_window_or_a_swap(given: Account, on_premises: OnPremises) -> None:
    done = on_premises.play("controller").succeeded()
    [stored] = [call for call in done.calls if call.write]
    assert (stored.action, stored.identity) == ("PutParameter", "root")
    on_premises.shut()


def test_an_instance_that_does_not_see_itself_as_administrator_in_time(given: Account) -> None:
    """Nothing is stored; the note stays until the instance is seen to have its earlier identity."""
    store = given.store(1, APP)
    given.aws.metadata_lag(60)
    failed = store.play(store_config_identity_timeout=1).failed()
    expected = f"Waited 1 seconds for this instance to see instance profile '{ADMIN_ROLE}'; its metadata service still"
    assert expected in failed.message
    assert given.writes("PutParameter") == []
    assert carried(given.aws) == {store.instance: APP}
    given.safe()


def test_an_instance_that_goes_on_seeing_itself_as_administrator(given: Account, beside: ThreadPoolExecutor) -> None:
    """Its window is closed, so it can do nothing with what it sees; the next run removes the note."""
    store = given.store(1, APP)
    with given.held("PutParameter", Kind.DENY):
        running = beside.submit(store.play, store_config_permission_timeout=60, store_config_identity_timeout=2)
        given.made("PutParameter")
        given.aws.metadata_lag(60)
    failed = running.result().failed()
    assert f"Waited 2 seconds for this instance to see instance profile '{APP}'" in failed.message
    assert carried(given.aws) == {store.instance: APP}
    assert parameters(given.aws) == {PARAMETER: store.config}
    given.safe()
    given.aws.metadata_lag(0)
    store.restore().succeeded()
    given.clean()


def test_a_right_that_does_not_arrive(given: Account) -> None:
    """It says what was refused, and the instance comes out as it went in."""
    store = given.store(1, APP)
    with given.held("PutParameter", Kind.DENY):
        failed = store.play(store_config_permission_timeout=1).failed()
    assert f"assumed-role/{ADMIN_ROLE}/{store.instance} lacks ssm:PutParameter" in failed.message
    assert carried(given.aws) == {store.instance: APP}
    given.clean()

"""verify.yml and apply.yml, run by a user who has only the policy of each."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from typing import Any

import pytest
from emulator.machines import AGENT_CONTROL, AGENT_FOLDER
from harness import (
    HYBRID_ROLE,
    NEEDS_AWS_CLI,
    PARAMETER,
    POLICY_ARN,
    SERVER_POLICY,
    SERVER_ROLE,
    UNREACHABLE,
    Play,
    create_user,
)
from in_process import run_module
from policies import example, permit
from printed import assert_brief
from states import States
from watched import BAD, CONFIG, NEW_CONFIG, WatchedFleet, healthy, user_of, without_servers

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES

pytestmark = NEEDS_AWS_CLI

CLOSED = "http://127.0.0.1:9"
"""Nothing listens there."""
SECRET = "s3cr'et"
APPLY, READ = "AmazonCloudWatch-ManageAgent", "AWS-RunShellScript"
LOST = {
    **UNREACHABLE,
    "ansible_connection": "{{ 'ssh' if hostvars.localhost.__verify_checked is defined else 'local' }}",
}
"""A server whose facts were collected, and that cannot be reached when the configuration is to be applied."""
FULL = 'case "$*" in *fetch-config*) echo "No space left." >&2; exit 1;; esac'


@dataclass
class Site:
    """A fleet and a user who runs the playbooks."""

    fleet: WatchedFleet
    key: dict[str, str]

    def run(self, playbook: str, *arguments: str, **variables: Any) -> Play:
        """Run a playbook with its policy. Nothing that the user does is denied."""
        fleet = self.fleet
        fitted = ["label-versions", "fitted-policies"] if "cwagent_server_policy" in variables else []
        names = [playbook, *(fitted or (["label-versions"] if "cwagent_config_label" in variables else []))]
        permit(fleet.aws, *map(example, names))
        own: dict[str, dict[str, Any]] = {
            "apply": {"cwagent_apply_watch_seconds": 1},
            "verify": {"cwagent_report_files": str(fleet.report)},
        }
        play = fleet.play(playbook, *arguments, env=self.key, **{**own.get(playbook, {}), **variables})
        of_user = [call for call in play.calls if call.principal.endswith(":user/controller")]
        assert [call.action for call in of_user if call.error in DENIED_CODES] == []
        return play

    def documents(self) -> list[str]:
        return [each["document"] for each in self.fleet.aws.commands()]

    def running(self) -> dict[str, tuple[str, str]]:
        hosts = (*self.fleet.instances, *self.fleet.machines)
        return {host: self.fleet.running(host) for host in hosts if host != "win1"}


def site(states: States) -> Site:
    fleet = states.begin(healthy)
    return Site(fleet, create_user(fleet.aws, "controller"))


def several(states: States) -> Site:
    """Four instances and two on-premises servers."""
    fleet = states.begin(without_servers)
    for host in ("web1", "web2", "web3", "web4"):
        fleet.add_server(host)
    for host in ("db1", "db2"):
        fleet.add_keyed(host)
    fleet.run_stored("web1", "web2", "web3", "web4", "db1", "db2")
    return Site(fleet, create_user(fleet.aws, "controller"))


def test_facts_are_collected_in_the_way_that_is_chosen(states: States) -> None:
    found = states.begin(site)
    fleet = found.fleet
    play = found.run("verify").assert_succeeded()
    assert play.problems[:7] == [
        "server                 identity  IAM  config  network  agent  data",
        "db1                    ok        ok   ok      ok       ok     ?",
        "db9                    ok        ok   ok      ok       ok     ?",
        "web1                   ok        ok   ok      ok       ok     ?",
        "web2                   ok        ok   ok      ok       ok     ?",
        "win1                   ?         ok   ?       ?        ?      ?",
        "5 of 5 servers without a failure.",
    ]
    assert_brief(play, "verify")
    assert play.problems.count(play.problems[0]) == 1  # it is printed once for all accounts
    servers = fleet.servers()
    assert {host: each["seen_by"] for host, each in servers.items()} == {
        "db1": "ansible",
        "db9": "ansible",
        "web1": "ansible",
        "web2": "run_command",
        "win1": "",
    }
    assert [each["failures"] for each in servers.values()] == [[]] * len(servers)
    assert stat.S_IMODE(fleet.report.stat().st_mode) == 0o600
    notes = " ".join(" ".join(play.problems[7:]).split())
    assert "- win1: The server runs Windows, and only Linux servers are " in notes
    assert "- db1, db9, web1 and 2 more: It is not known whether its data arrives: its configurations send " in notes
    assert (play.writes, play.changed_tasks) == (["SendCommand"], ["cwagent.iam.verify : Write the findings as JSON"])
    assert [each.host for each in play.results if each.outcome == "unreachable"] == ["web2"]

    fleet.install_cli(installed=False)
    limit = ("--limit", "localhost,web1,db9,win1")
    play = found.run("verify", *limit, cwagent_verify_from="run_command").assert_succeeded()
    seen = {host: each["seen_by"] for host, each in fleet.servers().items()}
    assert seen == {"db9": "run_command", "web1": "run_command", "win1": ""}
    assert play.writes == ["SendCommand"] * 2

    # Nothing connects to a server, not even to one that Systems Manager does not know.
    fleet.groups["onprem_servers"]["db1"] |= UNREACHABLE
    skipped = "Skipped, because nothing was read on them: db1. Change cwagent_verify_from "
    for playbook, shown in (("verify", "- db1: Run Command does not reach a server with an"), ("apply", skipped)):
        play = found.run(playbook, "--limit", "localhost,web1,db1", cwagent_verify_from="run_command")
        play.assert_succeeded()
        assert "UNREACHABLE" not in play.output
        assert [each.host for each in play.results if each.outcome in ("unreachable", "failed")] == []
        assert shown in " ".join(play.output.split())
    elsewhere: dict[str, Any] = {"cwagent_key_store": "parameter_store"}
    play = found.run("verify", cwagent_verify_from="ansible", **elsewhere).assert_failed()
    unseen, unsaved = "Nothing was read on the server: Ansible: ", f"No access key of user '{user_of('db1')}' is saved."
    what = {host: each["failures"][0]["why"] for host, each in fleet.servers().items() if each["failures"]}
    assert ({*what}, what["db1"], play.writes) == ({"db1", "web2"}, unsaved, [])
    assert what["web2"].startswith(unseen)
    assert play.message.endswith(f"Servers that fail: 2 of 5. db1: {unsaved} There is 1 more problem.")


def test_violations_fail_the_run_and_check_mode_writes_no_report(states: States) -> None:
    found = states.begin(site)
    fleet = found.fleet
    variables = fleet.groups["ec2_servers"]["web1"]["cwagent_environment"]
    variables |= {"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": CLOSED, "MY_NOTE": SECRET}
    [key] = fleet.iam.list_access_keys(UserName=user_of("db1"))["AccessKeyMetadata"]
    fleet.iam.update_access_key(UserName=user_of("db1"), AccessKeyId=key["AccessKeyId"], Status="Inactive")
    fleet.install_cli(installed=False)
    play = found.run("verify", "--check", "-vvvv", "--diff", cwagent_hybrid_role_name="Other").assert_failed()
    assert set(play.writes) == {"SendCommand"}
    assert not fleet.report.exists()
    inactive = f"db1: Access key {key['AccessKeyId']} of user '{user_of('db1')}' is inactive."
    assert play.message.endswith(f"Servers that fail: 3 of 5. {inactive} There are 2 more problems.")
    node = f"db9: Node {fleet.node('db9')} has role '{HYBRID_ROLE}', not the hybrid role 'Other'."
    reported = " ".join(line.strip() for line in play.problems)
    assert [
        why for why in (inactive, node, "web1: It does not reach logs in eu-central-1.") if why not in reported
    ] == []
    play.assert_narrow()
    secret = fleet.saved_file("db1").read_text().partition("aws_secret_access_key = ")[2].partition("\n")[0]
    for each in (SECRET[:4], secret):
        assert each not in play.output
        assert each not in str([one.result for one in play.results])


def test_apply_restarts_the_agents_that_run_something_else(states: States) -> None:
    """Ansible reaches web1 and db1. Run Command reaches web2 and db9. web3 runs the new configuration already."""
    found = states.begin(site)
    fleet = found.fleet
    fleet.store(NEW_CONFIG)
    fleet.add_server("web3")
    fleet.run_stored("web3")
    fleet.set("db9", **UNREACHABLE)
    for host in ("web1", "db1"):
        [variables] = [each[host] for each in fleet.groups.values() if host in each]
        variables["cwagent_environment"] = {**variables["cwagent_environment"], "MY_NOTE": SECRET}
    before = found.running()

    fleet.install_cli(installed=False)
    checked = found.run("apply", "--check", "-vvvv", "--diff").assert_succeeded()
    assert found.running() == before
    assert APPLY not in found.documents()

    fleet.install_cli()
    play = found.run("apply", "-vvvv", "--diff").assert_succeeded()
    assert play.changed_tasks.count("cwagent.iam.verify : Apply the configuration") == 4
    after = found.running()
    assert {config for config, _started in after.values()} == {NEW_CONFIG}
    assert [host for host, each in after.items() if each == before[host]] == ["web3"]
    applied = [each for each in fleet.aws.commands() if each["document"] == APPLY]
    assert sorted(each["parameters"]["mode"] for each in applied) == [["ec2"], ["onPremise"]]
    assert fleet.instances["win1"] not in json.dumps(fleet.aws.commands())
    done, predicted = (sorted(each for each in one.outcomes if " Watch " not in each[1]) for one in (play, checked))
    assert done == predicted
    [seen] = re.findall(r"Watched for at least .+ in the log: ([\w, ]+)\.", " ".join(play.report))
    assert sorted(seen.split(", ")) == ["db1", "db9", "web1", "web2"], play.report
    assert "Watched" not in " ".join(checked.report)
    assert play.report[:5] == [line.replace("would be ", "") for line in checked.report[:5]]
    assert play.report[0] == "4 updated:"
    skipped = "Skipped, because they run Windows: win1. Run the document AmazonCloudWatch-ManageAgent of Systems "
    assert f"{skipped}Manager for them, or fetch the configuration on each server in PowerShell." in " ".join(
        play.report
    )

    fleet.install_cli(installed=False)
    again = found.run("apply", "-vvvv").assert_succeeded()
    assert again.report[0] == "Nothing to do."
    assert again.report[1].startswith("Skipped, because they run Windows: win1.")
    assert (again.changed_tasks, found.running()) == ([], after)
    assert found.documents().count(APPLY) == len(applied)
    for each in (checked, play, again):
        assert SECRET[:4] not in each.output
        assert SECRET[:4] not in str([one.result for one in each.results])


def test_servers_that_fail_are_reported_beside_those_that_have_it(states: States) -> None:
    """In each batch, one of two may fail: db1 may not read, web1 is full, web3 was not read, and web4 is lost."""
    found = states.begin(several)
    fleet = found.fleet
    fleet.iam.detach_user_policy(UserName=user_of("db1"), PolicyArn=POLICY_ARN + SERVER_POLICY)
    for host in ("web1", "web2", "web3"):
        fleet.set(host, **UNREACHABLE)
    fleet.set("web4", **LOST)
    fleet.aws.agents(fleet.instances["web3"], running=False)
    control = fleet.root("web1") / AGENT_FOLDER / "bin" / AGENT_CONTROL
    control.rename(f"{control}.before")
    control.write_text(f'#!/bin/sh\n{FULL}\nexec "{control}.before" "$@"\n')
    control.chmod(0o755)
    fleet.store(NEW_CONFIG)
    play = found.run("apply", cwagent_batch_size="2", cwagent_max_fail_percentage=50).assert_failed()
    assert play.report[:3] == [
        "2 updated:",
        f"- fetch configuration {PARAMETER}:2 and restart the agent on db2",
        "- apply the configuration on web2",
    ]
    reported = " ".join(play.report)
    assert f"The configuration was not applied on db1: User '{user_of('db1')}' lacks " in reported
    assert "was not applied on web1: " in reported
    assert "No space left." in reported
    assert "The configuration was not applied on web3: Nothing was read on the server: " in reported
    assert "was not applied on web4: web4 could not be reached." in reported
    assert "Skipped" not in reported
    changed = {host for host, (config, _started) in found.running().items() if config == NEW_CONFIG}
    assert changed == {"db2", "web2"}


DENIAL = "E! cloudwatch: code: AccessDenied, message: not authorized to perform: cloudwatch:PutMetricData"
SERVERS = [f"web{number}" for number in range(10)]


def ten(states: States) -> Site:
    """Ten instances, and AWS denies their agents the metrics, for a reason that IAM does not show."""
    fleet = states.begin(without_servers)
    for host in SERVERS:
        fleet.add_server(host)
    fleet.run_stored(*SERVERS)
    fleet.install_cli(installed=False)
    fleet.aws.agents(fleet.instances["web0"], aws_cli=True)  # no other one fetches a configuration
    fleet.deny("PutMetricData")
    return Site(fleet, create_user(fleet.aws, "controller"))


def assert_one_had_it(found: Site, play: Play) -> None:
    """Assert that the version reached one server, and that the run prints the reason and the way back."""
    assert [host for host, (config, _started) in found.running().items() if config == BAD] == ["web0"]
    reported = " ".join(play.report)
    assert "The agent failed with the configuration on web0: Its log has: 20" in reported
    for each in (DENIAL, "Skipped, because more servers", "-e cwagent_config_version=AmazonCloudWatch-linux=previous"):
        assert each in reported
    assert ", ".join(SERVERS[1:]) in reported


def assert_label(found: Site, version: int | None, label: str = "stable") -> None:
    """Assert which version has the label."""
    history = found.fleet.aws.client("ssm").get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [each["Version"] for each in history if label in each["Labels"]] == ([version] if version else [])


def assert_all_run(found: Site, config: str) -> None:
    assert [found.fleet.files(host) for host in found.fleet.instances] == [{f"ssm_{PARAMETER}_stable": config}] * len(
        SERVERS
    )


def test_a_bad_version_reaches_one_of_ten_servers(states: States) -> None:
    """With Run Command and with Ansible; storing the earlier version and applying it brings it back on all.

    The label never names the bad version while AWS denies it, and no file of another server has its number.
    """
    found = states.begin(ten)
    label: dict[str, Any] = {"cwagent_config_label": "stable"}
    fleet, by_command = found.fleet, {"cwagent_verify_from": "run_command", **label}
    fleet.store(BAD)
    play = found.run("apply", **by_command).assert_failed()
    assert_one_had_it(found, play)
    assert "Label 'stable' was not moved, because a server has not proved the version." in " ".join(play.report)
    assert found.documents().count(APPLY) == 1
    assert [*fleet.files("web0"), *fleet.files("web1")] == [f"ssm_{PARAMETER}_2", f"ssm_{PARAMETER}"]
    assert_label(found, None)

    fleet.store(CONFIG)
    before = found.running()
    play = found.run("apply", **label).assert_succeeded()
    assert [host for host, each in found.running().items() if each != before[host]] == ["web0"]
    assert f"- move label 'stable' of {PARAMETER} to version 3 in eu-central-1" in play.report
    assert_all_run(found, CONFIG)
    assert_label(found, 3)

    fleet.store(BAD)
    assert_one_had_it(found, found.run("apply", **label).assert_failed())
    assert_label(found, 3)

    fleet.deny()
    fleet.install_cli()
    sent = len(fleet.aws.commands())
    play = found.run("apply", **by_command).assert_succeeded()
    assert_brief(play, "apply, ten servers")
    assert_all_run(found, BAD)
    assert_label(found, 4)
    batches = [len(each["invocations"]) for each in fleet.aws.commands()[sent:] if each["document"] == APPLY]
    assert batches == [1, 2, 7]  # the server that failed with it begins again


def collecting(group: str) -> str:
    entry = {"file_path": "/var/log/app.log", "log_group_name": group}
    return json.dumps({"logs": {"logs_collected": {"files": {"collect_list": [entry]}}}})


def log_groups(found: Site) -> set[str]:
    """The log groups that the fitted policy of servers allows."""
    iam = found.fleet.iam
    [policy] = [each for each in iam.list_policies(Scope="Local")["Policies"] if "FittedServer" in each["PolicyName"]]
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    statements = version["Document"]["Statement"]
    return {arn.split(":")[6] for each in statements if each["Sid"] == "SendingLogEvents" for arn in each["Resource"]}


@pytest.mark.parametrize("policy", ["fitted", ""], ids=["the user decides", "the account decides"])
def test_the_fitted_policy_is_narrowed_when_every_server_runs_the_stored_version(states: States, policy: str) -> None:
    """Not while an instance is stopped, which can start with an earlier version."""
    fleet = states.begin(without_servers)
    ec2, regions = fleet.aws.client("ec2"), [fleet.aws.region]
    for host in ("web1", "web2"):
        fleet.add_server(host)
    fleet.store(collecting("old"))
    fleet.run_stored("web1", "web2")
    fleet.store(collecting("new"))
    made = run_module(fleet.aws, "cwagent_fitted_policy", read_regions=regions)
    assert not made["failed"], made["msg"]
    found = Site(fleet, create_user(fleet.aws, "controller"))
    variables: dict[str, Any] = {"cwagent_server_policy": policy, "cwagent_audit_regions": regions}
    if not policy:
        fleet.iam.attach_role_policy(RoleName=SERVER_ROLE, PolicyArn=made["server_policies"][0])

    ec2.stop_instances(InstanceIds=[fleet.instances["web2"]])
    play = found.run("apply", **variables).assert_succeeded()
    words = "The fitted policy was not narrowed, because web2 can run an earlier version. Run this playbook again, "
    assert words in " ".join(play.report)
    assert log_groups(found) == {"old", "new"}
    assert_label(found, None, "cwagent-applied")

    ec2.start_instances(InstanceIds=[fleet.instances["web2"]])
    checked = found.run("apply", "--check", **variables).assert_succeeded()
    assert log_groups(found) == {"old", "new"}
    play = found.run("apply", **variables).assert_succeeded()
    predicted = [line.replace("would be ", "") for line in checked.report]
    assert play.report[: len(predicted)] == predicted
    assert f"- move label 'cwagent-applied' of {PARAMETER} to version 3 in eu-central-1" in play.report
    assert "- narrow policy 'CloudWatchAgentFittedServerPolicy' to the new version" in play.report
    assert log_groups(found) == {"new"}
    assert_label(found, 3, "cwagent-applied")

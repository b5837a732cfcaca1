"""Shows the collection at work in an emulated AWS account that enforces IAM policies.

    make demo

Everything it prints is read from the emulator. It fails when the result differs from what the README promises.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from account import ADMIN, APPLICATION, CONTROLLER, DUTIES, HERE, ROOT, SERVER, Account
from botocore.exceptions import ClientError
from emulator import Call, Emulator, program_environment
from emulator.environment import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIG = "examples/agent-config/linux.json"
PARAMETER = "AmazonCloudWatch-linux"
SERVER_POLICY, ADMIN_POLICY = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy"
USERS = {"db-1": "CloudWatchAgentServerUser-db-1", "ops-1": "CloudWatchAgentServerUser-ops-1"}
ADMIN_USER = "CloudWatchAgentAdminUser"
PROMISED_POLICIES = {
    APPLICATION: [],
    SERVER: [SERVER_POLICY],
    ADMIN: [ADMIN_POLICY],
    **{user: [SERVER_POLICY] for user in USERS.values()},
    ADMIN_USER: [ADMIN_POLICY],
    CONTROLLER: sorted(f"cwagent-{duty}" for duty in DUTIES),
}
PROMISED_KEYS = {**{user: ["Active"] for user in USERS.values()}, ADMIN_USER: ["Inactive"], CONTROLLER: ["Active"]}
PROMISED_PROFILES = {"admin-1": SERVER, "shop-1": APPLICATION, "batch-1": SERVER}
ATTACH = ("cwagent_on_other_profile=attach", f"cwagent_attach_to_roles={APPLICATION}")
SSM_POLICY = "AmazonSSMManagedInstanceCore"
RUNNING = ("admin-1", "shop-1")
STORE_BY_RUN_COMMAND = "cwagent_store_config_from=run_command"
HOUR = 3600
NAMESPACE, METRICS, LOG_GROUP = "CWAgent", ("disk_inodes_free", "mem_available"), "linux/amazon-cloudwatch-agent"
READS = {"DescribeLogStreams", "GetMetricData", "ListMetrics"}
FAILED = 2
"""The code with which a playbook ends if a server fails."""

NEXT = """\
  Follow the quick start in README.md, which previews every change in check mode first."""
WIDTH = 100
COLOR = re.compile(r"\x1b\[[\d;]*m")

Row = tuple[str, ...]
Rows = list[Row]


class PromiseBrokenError(Exception):
    """The state of the emulator differs from what the README promises."""


def check(condition: bool, message: str) -> None:
    if not condition:
        raise PromiseBrokenError(message)


def check_equal(label: str, found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    differing = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    messages = [f"{name} has {label} {found.get(name)}, expected {expected.get(name)}" for name in differing]
    check(not differing, "; ".join(messages))


def show(text: str) -> None:
    """Print lines that fit into a terminal."""
    print(text, flush=True)
    wide = [line for line in COLOR.sub("", text).splitlines() if len(line) > WIDTH]
    check(not wide, f"these lines are longer than {WIDTH} columns: {wide}")


def show_heading(text: str) -> None:
    show(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def show_table(header: Row, rows: Iterable[Row]) -> None:
    """Print a table with aligned columns. A cell can have several lines."""
    cells = [[cell.splitlines() for cell in row] for row in (header, *rows)]
    widths = [max(len(line) for cell in column for line in cell) for column in zip(*cells, strict=True)]
    for row in cells:
        for line in zip_longest(*row, fillvalue=""):
            show("  " + "  ".join(map(str.ljust, line, widths)).rstrip())


def show_command(command: Iterable[str]) -> None:
    """Print a command, with each option on a separate line."""
    show("  $ " + " ".join(command).replace(" -", " \\\n      -"))


def site_command(account: Account, *variables: str, config: str = CONFIG) -> list[str]:
    variables = (f"cwagent_config_file={config}", f"cwagent_key_store_directory={account.credentials}", *variables)
    options = [argument for variable in variables for argument in ("-e", variable)]
    return ["ansible-playbook", "cwagent.iam.site", "-i", str(account.hosts), *options]


def run_playbook(account: Account, command: list[str], code: int = 0) -> str:
    """Run a playbook as a user would, and print its output.

    :param code: the exit code that it must have.
    :returns: its last line.
    """
    program, *arguments = command
    environ = {
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
        "ANSIBLE_STDOUT_CALLBACK": "changes",
        "ANSIBLE_DISPLAY_OK_HOSTS": "false",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_FORCE_COLOR": str(sys.stdout.isatty()),
    }
    line = ""
    with subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=ROOT,
        env=program_environment({**account.aws.env(), **account.key}, environ),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as playbook:
        try:
            for line in filter(str.strip, playbook.stdout or ()):
                show(line.rstrip())
        except BaseException:
            playbook.terminate()
            raise
    check(playbook.returncode == code, f"{arguments[0]} ended with {playbook.returncode}")
    return line


def try_to_write(account: Account, when: str) -> Rows:
    """Try to write the parameter from each running instance. :raises PromiseBrokenError: a write was accepted."""
    refused: Rows = []
    for host in RUNNING:
        profile = account.profiles()[host]
        try:
            account.client_on_instance(host).put_parameter(Name=PARAMETER, Value="{}", Type="String", Overwrite=True)
        except ClientError as error:
            answer = refusal(error) if profile else "refused (no credentials)"
            refused.append((host, when, answer, profile or "none"))
        else:
            raise PromiseBrokenError(f"{host} could write {PARAMETER} {when} the run, with profile {profile or 'none'}")
    return refused


def refusal(error: ClientError) -> str:
    return f"refused ({error.response['Error']['Code']})"


def show_principals(account: Account) -> None:
    found = account.principals()
    show_table(
        ("kind", "name", "policies", "access key"),
        (
            (
                each.kind,
                name,
                "\n".join([*each.managed, *(f"{inline} (inline)" for inline in each.inline)]),
                "\n".join(each.keys) or "none",
            )
            for name, each in sorted(found.items(), key=lambda item: (item[1].kind, item[0]))
        ),
    )
    managed = {name: each.managed for name, each in found.items()}
    keys = {name: each.keys for name, each in found.items() if each.kind == "user"}
    check_equal("policies", managed, PROMISED_POLICIES)
    check_equal("access keys", keys, PROMISED_KEYS)
    check(found[APPLICATION].inline == ["orders"], f"the application's role {APPLICATION} was changed")


def show_instances(account: Account) -> None:
    profiles, states = account.profiles(), account.states()
    show_table(
        ("host", "instance", "state", "instance profile"),
        ((host, name, states[host], profiles[host] or "none") for host, name in account.ids.items()),
    )


def show_writers(account: Account, before: Rows, calls: list[Call]) -> None:
    """Print which writes were refused, and the one call in the log that stored the configuration."""
    accepted = [call for call in calls if call.action == "PutParameter" and call.status == 200]
    check(len(accepted) == 1, f"PutParameter was accepted {len(accepted)} times")
    [put] = accepted
    swaps = [call for call in calls if call.params.get("IamInstanceProfile.Name") and call.status == 200]
    associated = [call.seq for call in swaps if call.params["IamInstanceProfile.Name"] == ADMIN]
    restored = [call.seq for call in swaps if call.seq > put.seq]
    once = len(associated) == 1 and len(restored) == 1 and associated[0] < put.seq
    check(once, "the admin profile was not associated once and replaced again")
    during = ("admin-1", "during", "accepted", ADMIN)
    show_table(("host", "when", "write", "instance profile"), [*before, during, *try_to_write(account, "after")])
    by = put.principal.rpartition(":")[2]
    show(f"  Of all AWS calls, number {put.seq} is {put.action} by")
    show(f"  {by}, status {put.status}.")
    show(f"  Number {associated[0]} associated the admin profile; number {restored[0]} restored the server profile.")
    expected = f"assumed-role/{ADMIN}/{account.ids['admin-1']}"
    check(by == expected, f"{expected} was expected to store the configuration")


def show_readers(account: Account) -> None:
    expected = json.loads((ROOT / CONFIG).read_text())
    profiles, states = account.profiles(), account.states()
    readers = {host: (profiles[host], account.client_on_instance(host)) for host in RUNNING}
    readers |= {host: (f"{user}.credentials", account.as_user(user)) for host, user in USERS.items()}
    answers = {host: (read(client, expected), source) for host, (source, client) in readers.items()}
    answers["batch-1"] = (f"can, but is {states['batch-1']}", profiles["batch-1"])
    refused = [host for host, (answer, _) in answers.items() if answer.startswith("refused")]
    header = ("host", "read", "instance profile or saved key")
    show_table(header, ((host, *answer) for host, answer in answers.items()))
    check(refused == ["shop-1"], f"{refused} were refused; expected only shop-1")
    show("  shop-1 keeps its application's profile, as the warning said.")
    show("  Attach the agent's policy to its role:")
    command = site_command(account, *ATTACH)
    show_command(command)
    run_playbook(account, command)
    answer = read(account.client_on_instance("shop-1"), expected)
    show_table(header, [("shop-1", answer, APPLICATION)])
    show("  The other policies of its role are unchanged.")
    check(not answer.startswith("refused"), "shop-1 cannot read the configuration with the agent's policy")
    kept = account.aws.client("iam").list_role_policies(RoleName=APPLICATION)["PolicyNames"]
    check(kept == ["orders"], f"{APPLICATION} has the inline policies {kept}, expected only orders")


def read(client: Any, expected: dict[str, Any]) -> str:
    try:
        found = client.get_parameter(Name=PARAMETER)["Parameter"]
    except ClientError as error:
        return refusal(error)
    check(json.loads(found["Value"]) == expected, f"{PARAMETER} differs from {CONFIG}")
    return f"version {found['Version']}, {len(found['Value'])} bytes"


def show_second_run(account: Account) -> None:
    start = account.aws.mark()
    summary = run_playbook(account, site_command(account))
    calls, writes = account.aws.calls(start), account.aws.writes(start)
    show(f"  {len(calls)} calls to AWS, {len(writes)} of them writes")
    check("changed: 0," in summary, "the second run changed something")
    check(bool(calls) and not writes, f"the second run made write calls: {[call.action for call in writes]}")


def show_run_command(account: Account) -> None:
    """Store a changed configuration without a connection to the instance."""
    changed = json.loads((ROOT / CONFIG).read_text())
    changed["agent"]["metrics_collection_interval"] = 30
    config = account.folder / "linux.json"
    (ROOT / config).write_text(json.dumps(changed))
    command = site_command(account, f"cwagent_ssm_policy={SSM_POLICY}", STORE_BY_RUN_COMMAND, config=str(config))
    show_command(command)
    start = account.aws.mark()
    run_playbook(account, command)
    calls = account.aws.calls(start)
    [put] = [call for call in calls if call.action == "PutParameter" and call.status == 200]
    sent = [call for call in calls if call.action == "SendCommand" and call.status == 200]
    by = put.principal.rpartition(":")[2]
    show(f"  {len(sent)} commands were sent to admin-1: one checked it, one stored as")
    show(f"  {by}.")
    check(by == f"assumed-role/{ADMIN}/{account.ids['admin-1']}", f"{by} stored the configuration")
    stored = account.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
    check(json.loads(stored) == changed, f"{PARAMETER} is not the changed configuration")
    check(account.profiles() == PROMISED_PROFILES, f"the instance profiles are {account.profiles()}")


def show_verification(account: Account) -> None:
    """Show whether every server has what the agent needs. It fails, and the demo with it, if one does not."""
    # The on-premises hosts are this machine, which runs no agent.
    limit = ["--limit", ",".join(["localhost", *account.ids])]
    options = ["-i", str(account.hosts), *limit]
    command = ["ansible-playbook", "cwagent.iam.verify", *options]
    show_command(command)
    start = account.aws.mark()
    run_playbook(account, command)
    # Run Command counts as a write because of its name, but the script that it runs only reads.
    writes = [call.action for call in account.aws.writes(start) if call.action != "SendCommand"]
    check(not writes, f"the verification made write calls: {writes}")


def show_data(account: Account) -> None:
    """Show a server whose data arrives in CloudWatch and one whose data does not. Nothing runs on the servers."""
    account.aws.shift_clock(HOUR)
    dimensions = {"InstanceId": account.ids["admin-1"]}
    account.aws.place(
        [{"namespace": NAMESPACE, "name": each, "dimensions": dimensions, "ages": [120]} for each in METRICS],
        [{"group": LOG_GROUP, "name": account.ids["admin-1"], "last": 120}],
    )
    limit = ["--limit", "localhost,admin-1,shop-1"]
    options = ["-i", str(account.hosts), *limit, "-e", "cwagent_verify_from=none"]
    command = ["ansible-playbook", "cwagent.iam.verify", *options]
    show_command(command)
    start = account.aws.mark()
    run_playbook(account, command, code=FAILED)
    calls = sorted(call.action for call in account.aws.calls(start) if call.action in READS)
    show(f"  {len(calls)} calls asked CloudWatch: {', '.join(calls)}.")
    check({*calls} == READS, f"the verification asked CloudWatch only with {calls}")


def show_audit(account: Account) -> None:
    """Show what the audit finds. It fails, and the demo with it, if a finding is severe."""
    report = account.folder / "audit.html"
    variables = (f"cwagent_report_files={report}", *ATTACH)
    options = ["-i", str(account.hosts), *(argument for variable in variables for argument in ("-e", variable))]
    command = ["ansible-playbook", "cwagent.iam.audit", *options]
    show_command(command)
    start = account.aws.mark()
    run_playbook(account, command)
    writes = account.aws.writes(start)
    check(not writes, f"the audit made write calls: {[call.action for call in writes]}")
    show(f"  The report is {report}. Open it in a browser.")


def run_demo(account: Account) -> None:
    account.prepare()
    show_heading(f"An AWS account, emulated at {account.aws.endpoint}, that enforces IAM policies. Its instances:")
    show_instances(account)
    before = try_to_write(account, "before")
    show_heading("The first run")
    show_command(site_command(account))
    start = account.aws.mark()
    run_playbook(account, site_command(account))
    calls = account.aws.calls(start)
    show_heading("The principals and their policies")
    show_principals(account)
    show_heading("The instance profile of each instance")
    show_instances(account)
    check_equal("instance profile", account.profiles(), PROMISED_PROFILES)
    show_heading(f"Who could write {PARAMETER} with the instance's own credentials")
    show_writers(account, before, calls)
    show_heading(f"Who can read {PARAMETER}")
    show_readers(account)
    show_heading("The second run, with the same command")
    show_second_run(account)
    show_heading("A changed configuration, stored by Run Command: nothing connects to the instance")
    show_run_command(account)
    show_heading("Whether every server has what the agent needs")
    show_verification(account)
    show_heading("Whether data arrives in CloudWatch, an hour later: admin-1 sends, and shop-1 does not")
    show_data(account)
    show_heading("The audit, which shows who can write now and reports risks")
    show_audit(account)
    show_heading("Next steps for your own account")
    show(NEXT)


def main() -> int:
    aws_cli = os.environ.get("AWS_CLI", "")
    variables = clean_environment()
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with Emulator.start("ministack", aws_cli=aws_cli) as aws:
            run_demo(Account(aws))
    except PromiseBrokenError as error:
        print(f"\nPromise broken: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Shows the collection at work in an emulated AWS account that enforces IAM policies.

    make demo

What it tells is read from the emulator. It ends with an error when something is not as the README promises.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from account import ADMIN, APPLICATION, HERE, ROOT, SERVER, Account
from botocore.exceptions import ClientError
from emulator import Call, Emulator

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
}
PROMISED_KEYS = {**{user: ["Active"] for user in USERS.values()}, ADMIN_USER: ["Inactive"]}
PROMISED_PROFILES = {"admin-1": SERVER, "shop-1": APPLICATION, "batch-1": SERVER}
GIVE = "ansible-playbook examples/demo/application.yml -i localhost,"
RUNNING = ("admin-1", "shop-1")
# A developer's own account, Ansible settings and proxy have no part in this.
FOREIGN = ("AWS_", "ANSIBLE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

NEXT = f"""\
  1. Install what the controller needs, and the instance that stores: pip install ansible boto3.
     Give the controller AWS credentials and a region, such as by AWS_PROFILE and AWS_REGION.
  2. Put your hosts into a copy of examples/inventory/hosts.yml, or tag your instances for aws_ec2.yml beside it.
  3. See what would change:
     ansible-playbook playbooks/site.yml -i my-hosts.yml -e cwagent_config_file={CONFIG} \\
       --check --diff
  4. The same without --check --diff does it. README.md says the rest."""

Rows = list[tuple[str, ...]]


class NotAsPromised(Exception):
    """What the emulator shows is not what the README says."""


def promise(kept: bool, otherwise: str) -> None:
    if not kept:
        raise NotAsPromised(otherwise)


def promise_same(what: str, found: Mapping[str, object], promised: Mapping[str, object]) -> None:
    wrong = [name for name in {**promised, **found} if found.get(name) != promised.get(name)]
    words = [f"{name} has {what} {found.get(name)}, where {promised.get(name)} was promised" for name in wrong]
    promise(not wrong, "; ".join(words))


def heading(words: str) -> None:
    print(f"\n\033[1m{words}\033[0m" if sys.stdout.isatty() else f"\n{words}", flush=True)


def rows(table: Iterable[tuple[str, ...]]) -> None:
    """Print a table, its columns side by side."""
    lines = list(table)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(map(str.ljust, line, widths)).rstrip(), flush=True)


def site_command(account: Account) -> list[str]:
    hosts, credentials = account.folder / "hosts.yml", account.credentials
    variables = ["-e", f"cwagent_config_file={CONFIG}", "-e", f"cwagent_credentials_dir={credentials}"]
    return ["ansible-playbook", "playbooks/site.yml", "-i", str(hosts), *variables]


def run_playbook(account: Account, command: list[str]) -> str:
    """Run a playbook as a user would, and show what it says. :returns: its last line."""
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
        env={**os.environ, **account.aws.env(), **environ},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as playbook:
        try:
            for line in filter(str.strip, playbook.stdout or ()):
                print(line, end="", flush=True)
        except BaseException:
            playbook.terminate()
            raise
    promise(playbook.returncode == 0, f"{arguments[0]} ended with {playbook.returncode}")
    return line


def try_to_write(account: Account, when: str) -> Rows:
    """Let each running instance write the parameter; all are to be refused."""
    refused: Rows = []
    for host in RUNNING:
        carries = account.profiles()[host] or "no instance profile"
        try:
            account.as_instance(host).put_parameter(Name=PARAMETER, Value="{}", Type="String", Overwrite=True)
        except ClientError as error:
            refused.append((host, when, f"refused ({error.response['Error']['Code']})", f"while it carried {carries}"))
        else:
            raise NotAsPromised(f"{host} was allowed to write {PARAMETER} {when} while it carried {carries}")
    return refused


def show_principals(account: Account) -> None:
    found = account.principals()
    rows(
        (
            each.kind,
            name,
            ", ".join([*each.managed, *(f"{inline} (inline)" for inline in each.inline)]),
            ", ".join(f"access key: {status}" for status in each.keys),
        )
        for name, each in sorted(found.items(), key=lambda item: (item[1].kind, item[0]))
    )
    managed = {name: each.managed for name, each in found.items()}
    keys = {name: each.keys for name, each in found.items() if each.kind == "user"}
    promise_same("policies", managed, PROMISED_POLICIES)
    promise_same("access keys", keys, PROMISED_KEYS)
    promise(found[APPLICATION].inline == ["orders"], f"the application's role {APPLICATION} was changed")


def show_profiles(account: Account) -> None:
    profiles, states = account.profiles(), account.states()
    rows((host, name, states[host], profiles[host] or "none") for host, name in account.ids.items())
    promise_same("instance profile", profiles, PROMISED_PROFILES)


def show_writers(account: Account, before: Rows, calls: list[Call]) -> None:
    """Who was refused, and the one call that stored the configuration, from the call log."""
    accepted = [call for call in calls if call.action == "PutParameter" and call.status == 200]
    promise(len(accepted) == 1, f"PutParameter was accepted {len(accepted)} times")
    [put] = accepted
    swaps = [call for call in calls if call.params.get("IamInstanceProfile.Name") and call.status == 200]
    on = [call.seq for call in swaps if call.params["IamInstanceProfile.Name"] == ADMIN]
    off = [call.seq for call in swaps if call.seq > put.seq]
    promise(len(on) == 1 and len(off) == 1 and on[0] < put.seq, "the admin profile was not put on once and off again")
    during = ("admin-1", "during", "accepted", f"while it carried {ADMIN}")
    rows([*before, during, *try_to_write(account, "after")])
    by = put.principal.rpartition(":")[2]
    print(f"  Call {put.seq} in the log is {put.action} by {by}, status {put.status}.")
    print(f"  Call {on[0]} had put the admin profile on; call {off[0]} took it off again.")
    expected = f"assumed-role/{ADMIN}/{account.ids['admin-1']}"
    promise(by == expected, f"{expected} was expected to store the configuration")


def show_readers(account: Account) -> None:
    want = json.loads((ROOT / CONFIG).read_text())
    profiles, states = account.profiles(), account.states()
    readers = {host: (profiles[host], account.as_instance(host)) for host in RUNNING}
    readers |= {host: (f"{user}.credentials", account.as_user(user)) for host, user in USERS.items()}
    answers = {host: (read(client, want), f"with {what}") for host, (what, client) in readers.items()}
    answers["batch-1"] = (f"is {states['batch-1']}", f"can when it runs: carries {profiles['batch-1']}")
    refused = [host for host, (answer, _) in answers.items() if answer.startswith("refused")]
    rows((host, *answer) for host, answer in answers.items())
    promise(refused == ["shop-1"], f"refused were {refused}; only shop-1 was expected")
    print(
        f"  shop-1 keeps its application's profile, as the warning said. Its role gets the agent's policy:\n  $ {GIVE}"
    )
    run_playbook(account, GIVE.split())
    answer = read(account.as_instance("shop-1"), want)
    rows([("shop-1", answer, f"with {APPLICATION}, which keeps all it had")])
    promise(not answer.startswith("refused"), "shop-1 cannot read the configuration with the agent's policy")
    kept = account.aws.client("iam").list_role_policies(RoleName=APPLICATION)["PolicyNames"]
    promise(kept == ["orders"], f"{APPLICATION} has the inline policies {kept} now")


def read(client: Any, want: dict[str, Any]) -> str:
    try:
        found = client.get_parameter(Name=PARAMETER)["Parameter"]
    except ClientError as error:
        return f"refused ({error.response['Error']['Code']})"
    promise(json.loads(found["Value"]) == want, f"{PARAMETER} is not what {CONFIG} says")
    return f"reads version {found['Version']}, {len(found['Value'])} bytes"


def show_second_run(account: Account) -> None:
    start = account.aws.mark()
    summary = run_playbook(account, site_command(account))
    calls, writes = account.aws.calls(start), account.aws.writes(start)
    print(f"  {len(calls)} calls to AWS, {len(writes)} of them writing")
    promise("changed: 0," in summary, "the second run changed something")
    promise(bool(calls) and not writes, f"the second run made writing calls: {[call.action for call in writes]}")


def tell(account: Account) -> None:
    account.prepare()
    heading(f"An AWS account, emulated at {account.aws.endpoint}. It enforces IAM policies. Its instances:")
    rows(
        (host, account.ids[host], state, account.profiles()[host] or "none") for host, state in account.states().items()
    )
    before = try_to_write(account, "before")
    heading("The first run")
    print("  $ " + " ".join(site_command(account)).replace(" -", " \\\n      -"), flush=True)
    start = account.aws.mark()
    run_playbook(account, site_command(account))
    calls = account.aws.calls(start)
    heading("The principals and their policies")
    show_principals(account)
    heading("The instance profile of each instance")
    show_profiles(account)
    heading(f"Who could write {PARAMETER} with the instance's own credentials")
    show_writers(account, before, calls)
    heading(f"Who can read {PARAMETER}")
    show_readers(account)
    heading("The second run, with the same command")
    show_second_run(account)
    heading("For your own account")
    print(NEXT)


def main() -> int:
    for name in [name for name in os.environ if name.upper().startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with TemporaryDirectory(prefix="cwagent-demo-") as folder, Emulator.start("ministack") as aws:
            tell(Account(aws, Path(folder)))
    except NotAsPromised as wrong:
        print(f"\nNot as promised: {wrong}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

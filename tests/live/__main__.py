"""``python -m live``: an acceptance run in the AWS account of the caller. ``make live`` calls it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from .acceptance import Acceptance
from .account import INSTANCE_TYPE, AlreadyThereError, LiveAccount
from .measurements import Measurements
from .names import PREFIX
from .playbooks import Playbooks
from .report import Report

HOST_QUESTION = (
    "Enter an on-premises Linux server to register, such as admin@db1.example.com, or nothing to skip that: "
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="live", description=__doc__)
    parser.add_argument("--instances", nargs=2, default=[], metavar="ID", help="use these instead of launching two")
    parser.add_argument("--onprem-host", default="", metavar="USER@HOST", help="the on-premises server to register")
    parser.add_argument("--onprem-variables", type=json.loads, default={}, help="variables of that server, as JSON")
    parser.add_argument("--report", type=Path, default=Path("build/live.md"), help="where the report is written")
    parser.add_argument("--yes", action="store_true", help="begin without a question")
    parser.add_argument("--remove", action="store_true", help="only remove what an interrupted run has left")
    parser.add_argument("--timeouts", type=json.loads, default={}, help="variables of the playbooks, as JSON")
    args = parser.parse_args()
    try:
        account = LiveAccount(boto3.Session())
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"The caller's account is not known: {error}. Configure credentials and a region as for the AWS CLI.")
    if args.remove:
        sys.exit("\n".join(remove(account)) or 0)
    say(explain(account, launches=not args.instances))
    if not args.yes and ask(f"Enter the account's ID to begin ({account.id}): ") != account.id:
        sys.exit("Nothing was done.")
    given = args.onprem_host or ("" if args.yes or args.onprem_variables else ask(HOST_QUESTION))
    hybrid_host = {**connection(given), **args.onprem_variables}
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        acceptance = Acceptance(account, Playbooks(account, Path(folder), args.timeouts, hybrid_host), say)
        measurements = Measurements(account)
        try:
            account.check_empty()
        except AlreadyThereError as error:
            sys.exit(f"Nothing was done. {error}")
        answers = []
        try:
            if acceptance.make(args.instances):
                acceptance.run()
                answers = measurements.run(say)
        finally:
            say("Removing everything …")
            left = remove(account)
            report = Report(began, account.region, account.partition, acceptance.steps, answers, left)
            args.report.parent.mkdir(parents=True, exist_ok=True)
            args.report.write_text(report.markdown())
    print(f"{'Passed' if report.passed else 'Failed'}. The report is in {args.report}.")
    sys.exit(0 if report.passed else 1)


def say(line: str) -> None:
    """Print a line at once, also into a file."""
    print(line, flush=True)


def remove(account: LiveAccount) -> list[str]:
    """Remove everything. :returns: the remaining things, and why they remain."""
    try:
        return account.remove()
    except (BotoCoreError, ClientError) as error:
        return [f"{error}. Remove the rest with: make live REMOVE=1"]


def connection(host: str) -> dict[str, str]:
    """The variables with which Ansible connects to a server. :param host: as for SSH, or empty for none."""
    user, _at, name = host.rpartition("@")
    return {**({"ansible_host": name} if name else {}), **({"ansible_user": user} if user else {})}


def ask(question: str) -> str:
    """Return the answer to a question; empty where nobody answers."""
    try:
        return input(question).strip()
    except EOFError:
        return ""


def explain(account: LiveAccount, *, launches: bool) -> str:
    """Explain what a run does and costs."""
    instances = f"launches two {INSTANCE_TYPE} instances" if launches else "uses the two instances that you name"
    return (
        f"This run works in account {account.id}, region {account.region}. It {instances}, creates roles, users, "
        f"access keys, parameters and secrets whose names begin with {PREFIX}, and removes all of them at the end. If "
        "you name an on-premises server that has the SSM agent and is not registered, it registers that server with "
        "Systems Manager, and deregisters it, which stops its SSM agent. The run takes one to two hours. Two instances "
        "cost about 0.03 USD an hour, and two secrets and three metrics less than 0.01 USD. Everything else is "
        "free of charge. CloudWatch deletes no metric, so these remain, in the namespace " + PREFIX + "."
    )


if __name__ == "__main__":
    main()

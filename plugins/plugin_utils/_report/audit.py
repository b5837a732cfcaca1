# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of an audit of one or more accounts, merged, and in lines for a person. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...module_utils._ground.findings import SEVERITIES
from ...module_utils._ground.text import count_noun, join_first, to_printable, to_summary, wrap
from .results import failure_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Finding = Mapping[str, Any]


# Keys that Ansible adds to the result of a task.
TASK_KEYS = {
    "changed",
    "failed",
    "failed_when_result",
    "invocation",
    "warnings",
    "deprecations",
    "skipped",
    "skip_reason",
}


def merge_accounts(
    results: Iterable[Mapping[str, Any]], labels: Iterable[str], *, fail_at: str = "none"
) -> dict[str, Any]:
    """Return the merged result of an audit.

    :param results: the results of cwagent_access_info, one for each account, including accounts that were not read.
    :param labels: the names of the accounts, in the same order.
    :param fail_at: the lowest severity that makes a run fail. With ``none``, findings never make it fail.
    """
    accounts: list[dict[str, Any]] = []
    for label, result in zip(labels, results):
        if "principals" in result:
            accounts.append({key: value for key, value in result.items() if key not in TASK_KEYS})
        else:
            accounts.append({"account": {"label": label}, "error": failure_reason(result)})
    findings = [finding for account in accounts for finding in account.get("findings", ())]
    return {
        "generated": max((each["account"]["read_at"] for each in accounts if "error" not in each), default=""),
        "accounts": accounts,
        "findings": findings,
        "counts": {each: sum(found["severity"] == each for found in findings) for each in SEVERITIES},
        "failure": _failure(accounts, findings, fail_at),
    }


def _failure(accounts: Iterable[Mapping[str, Any]], findings: Iterable[Finding], fail_at: str) -> str:
    """Why a run fails: why accounts were not read, and the first finding with the number of the others, or nothing.

    Without a finding, none is counted, because accounts that were not read can have some.
    """
    failing = [] if fail_at == "none" else SEVERITIES[SEVERITIES.index(fail_at) :]
    names = _account_names(accounts)
    severe = [_title(each, names) for each in _listed(findings) if each["severity"] in failing]
    unread = [
        f"Account {each['account']['label']} was not read: {each['error']}" for each in accounts if "error" in each
    ]
    sentences = [f"Accounts that were not read: {len(unread)}.", *(to_summary([each]) for each in unread)]
    found = [f"Findings of severity {fail_at} or above: {len(severe)}.", to_summary(severe)] if severe else []
    return " ".join([*(sentences if unread else ()), *found])


def _listed(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that summaries list, the most severe first."""
    return sorted(filter(is_listed, findings), key=lambda finding: -SEVERITIES.index(finding["severity"]))


def is_listed(finding: Finding) -> bool:
    """Whether summaries list a finding. Any other finding is only in reports, and never makes a run fail."""
    return bool(finding.get("listed", True))


def _title(finding: Finding, names: Mapping[str, str]) -> str:
    """The severity, rule, object, place and reason of a finding. :param names: by ID, the names of accounts."""
    place = describe_place({**finding, "account": names.get(finding["account"], finding["account"])})
    return f"{finding['severity']}, {finding['rule']}: {place}: {finding['why']}"


# The labels of the account of the controller's own credentials, which has no name in the inventory.
OWN_LABELS = ("controller", "localhost")


def _account_name(account: Mapping[str, Any]) -> str:
    """The name of an account that was read: in the inventory, or else in IAM."""
    found = account["account"]
    name: str = (found.get("alias") or found["id"]) if found["label"] in OWN_LABELS else found["label"]
    return name


def _account_names(accounts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By ID, the names of the accounts that were read."""
    return {each["account"]["id"]: _account_name(each) for each in accounts if "error" not in each}


SHOWN_WRITERS = 5
SHOWN_ACTIONS = 5
SHOWN_VERSIONS = 20
SHOWN_CHANGES = 10


def summarize(document: Mapping[str, Any], *, has_access: bool = True, limit: int = 20) -> list[str]:
    """Return the summary of an audit, in lines that fit a terminal of 80 columns.

    :param document: the accounts, the findings and their counts.
    :param has_access: whether it was read who can write, and not only the versions of configurations.
    :param limit: how many findings are listed, the most severe first.
    """
    read = [account for account in document["accounts"] if "error" not in account]
    lines = [f"{count_noun(len(read), 'account')} read at {document['generated']}." if read else "No account was read."]
    lines += [
        f"! account {account['account']['label']} was not read. The run fails with the reason."
        for account in document["accounts"]
        if "error" in account
    ]
    lines += [line for each in read for line in ([_writers(each)] if has_access else _versions(each))]
    denied = [each["action"] for account in read for each in account["unread"]]
    if denied:
        actions = join_first(sorted(set(denied)), SHOWN_ACTIONS)
        lines.append(f"! {count_noun(len(denied), 'read')} denied: {actions}. Dependent results are unknown.")
    lines += _worst_findings(document, limit) if read else []
    return [part for line in lines for part in wrap(line)]


def _writers(account: Mapping[str, Any]) -> str:
    """The principals that can write in an account now. Administrators and grantors have their own sentences."""
    principals = [each for each in account["principals"] if not each["is_administrator"]]
    by_deadline: dict[str, list[str]] = {}
    for each in filter(writes_now, principals):
        by_deadline.setdefault(_deadline(each), []).append(f"{each['kind']} {each['name']}")
    unknown = sum(each["writes"] == "unknown" for each in principals)
    none = "no known server" if unknown or account["unread"] else "no server"
    unsure = f" For {count_noun(unknown, 'principal')} it is unknown." if unknown else ""
    name = _account_name(account)
    label = f"{name} ({account['account']['id']})" if name == account["account"]["label"] else name
    writers = [
        f"{join_first(names, SHOWN_WRITERS)} can write the configuration {f'until {deadline}' if deadline else 'now'}"
        for deadline, names in sorted(by_deadline.items())
    ]
    verdict = "; ".join(writers) or f"{none} can write the configuration now"
    return f"Account {label}: {verdict}.{_administrators(account)}{unsure}{_grantors(account)}"


def _administrators(account: Mapping[str, Any]) -> str:
    """A sentence about the principals that can write because they administer the account; empty if there are none."""
    found = [each for each in account["principals"] if each["is_administrator"] and writes_now(each)]
    names = join_first([f"{each['kind']} {each['name']}" for each in found], SHOWN_WRITERS)
    reason = "it administers" if len(found) == 1 else "they administer"
    return f" {names[0].upper()}{names[1:]} can write because {reason} the account." if found else ""


def _grantors(account: Mapping[str, Any]) -> str:
    """Sentences about the principals that can let a server write; empty if there are none."""
    by_answer: dict[str, list[str]] = {"yes": [], "unknown": []}
    for each in account["grantors"]:
        by_answer[each["can_grant"]].append(f"{each['kind']} {each['name']}")
    sure, unsure = (join_first(names, SHOWN_WRITERS) for names in by_answer.values())
    can = "can change policies so that a server can write"
    return (f" {sure[0].upper()}{sure[1:]} {can}." if sure else "") + (
        f" It is unknown whether {unsure} {can}." if unsure else ""
    )


def _versions(account: Mapping[str, Any]) -> Iterator[str]:
    """The versions of the configurations of an account, the newest first, with what each of them changed."""
    for history in account["history"]:
        versions = history["versions"]
        place = f"{history['name']} in {history['region']} of account {_account_name(account)}"
        count = f"{place}: {count_noun(len(versions), 'version')}."
        yield count if versions else f"{place} does not exist. Check the name."
        for each in versions[:SHOWN_VERSIONS]:
            size = "encrypted" if each["size"] is None else f"{each['size']} bytes"
            labels = f", {' '.join(['labels', *each['labels']])}" if each["labels"] else ""
            who = each["written_by"] + ("" if each["is_own"] else " (not of this inventory)")
            parts = "".join(f", with {part['name']}:{part['version']}" for part in each["stored_with"])
            yield f"- {each['version']}, {each['modified']}, {who}, {size}, {each['tier']}{labels}{parts}"
            changes = each["changes"] or []
            yield from (f"  {change}" for change in changes[:SHOWN_CHANGES])
            if len(changes) > SHOWN_CHANGES:
                yield f"  and {len(changes) - SHOWN_CHANGES} more"
        if len(versions) > SHOWN_VERSIONS:
            yield f"  {len(versions) - SHOWN_VERSIONS} earlier versions are in the report (cwagent_report_files)."


def _deadline(principal: Mapping[str, Any]) -> str:
    """The time until which a principal can write; empty if that is not limited, or not known."""
    return (principal.get("window") or {}).get("deadline") or "" if principal["writes"] == "window" else ""


def writes_now(principal: Mapping[str, Any]) -> bool:
    """Whether a principal can write: always, or because its window is open."""
    window = principal.get("window") or {}
    return bool(
        principal["writes"] == "yes"
        or (principal["writes"] == "window" and window.get("state") not in ("closed", "expired"))
    )


def _worst_findings(document: Mapping[str, Any], limit: int) -> list[str]:
    counts = {severity: document["counts"].get(severity, 0) for severity in reversed(SEVERITIES)}
    total = sum(counts.values())
    if not total:
        is_complete = all("error" not in each and not each["unread"] for each in document["accounts"])
        return ["No findings." if is_complete else "No findings in the parts that were read."]
    found = ", ".join(count_noun(count, severity) for severity, count in counts.items() if count)
    worded = _listed(document["findings"])
    lines, names = [f"{count_noun(total, 'finding')}: {found}."], _account_names(document["accounts"])
    for finding in worded[:limit]:
        lines += [f"- {_title(finding, names)}", f"  Fix: {finding['fix']}"]
    if len(worded) > limit:
        lines.append(f"{len(worded) - limit} more are in the report.")
    unlisted = len(document["findings"]) - len(worded)
    if unlisted:
        lines.append(f"Only in the report (cwagent_report_files): {count_noun(unlisted, 'notice')}.")
    return lines


def describe_place(finding: Finding) -> str:
    """The object of a finding, and its place."""
    place = [str(finding[key]) for key in ("account", "region", "file") if finding.get(key)]
    return to_printable(f"{finding['object']} ({', '.join(place)})" if place else finding["object"])

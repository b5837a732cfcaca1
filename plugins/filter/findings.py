# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings in the formats that pipelines read. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import ERROR, NOTICE, SEVERITIES, WARNING
from ansible_collections.cwagent.iam.plugins.module_utils._ground.text import to_printable
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.audit import describe_place, is_listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Finding = Mapping[str, Any]

# The levels of SARIF. Its level "none" is for results that are not problems.
LEVELS = {NOTICE: "note", WARNING: "warning", ERROR: "error"}

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HOMEPAGE = "https://github.com/cwagent/iam"


def sarif(findings: Iterable[Finding], *, errors: Iterable[str] = (), file: str = "") -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log.

    :param errors: sentences about everything that could not be checked.
    :param file: the file for findings that have none.
    """
    listed = list(findings)
    rules = sorted({finding["rule"] for finding in listed})
    failed = [{"level": "error", "message": {"text": error}} for error in errors]
    run = {
        "tool": {
            "driver": {
                "name": "cwagent.iam",
                "informationUri": HOMEPAGE,
                "rules": [{"id": rule, "defaultConfiguration": {"level": _rule_level(rule, listed)}} for rule in rules],
            }
        },
        "invocations": [{"executionSuccessful": not failed, "toolExecutionNotifications": failed}],
        "results": [_sarif_result(finding, rules, file) for finding in listed],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule_level(rule: str, findings: Iterable[Finding]) -> str:
    """The level of the most severe finding of a rule."""
    ranks = [SEVERITIES.index(finding["severity"]) for finding in findings if finding["rule"] == rule]
    return LEVELS[SEVERITIES[max(ranks)]]


def _sarif_result(finding: Finding, rules: Sequence[str], default_file: str) -> dict[str, Any]:
    place = [str(finding[key]) for key in ("account", "region") if finding.get(key)]
    identity = "\n".join([finding["rule"], *place, str(finding.get("file") or ""), finding["object"]])
    location: dict[str, Any] = {
        "logicalLocations": [
            {"name": finding["object"], "fullyQualifiedName": "/".join([*place, finding["object"]]), "kind": "resource"}
        ]
    }
    file = str(finding.get("file") or default_file)
    if file:
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(file)}}
        if finding.get("line"):
            column = {"startColumn": int(finding["column"])} if finding.get("column") else {}
            location["physicalLocation"]["region"] = {"startLine": int(finding["line"]), **column}
    return {
        "ruleId": finding["rule"],
        "ruleIndex": rules.index(finding["rule"]),
        "level": LEVELS[finding["severity"]],
        "message": {"text": _message_and_fix(finding, "\n")},
        "locations": [location],
        # With this, a service recognizes a finding of an earlier run.
        "partialFingerprints": {"finding/v1": hashlib.sha256(identity.encode(errors="replace")).hexdigest()},
        "properties": {"severity": finding["severity"]},
    }


def _uri(path: str) -> str:
    """A path as a URI, which is relative if the path is."""
    quoted = quote(path, errors="replace")
    return f"file://{quoted}" if path.startswith("/") else quoted


def _message_and_fix(finding: Finding, separator: str) -> str:
    """The problem of the object, and the fix."""
    text = f"{finding['object']}: {finding['why']}"
    return f"{text.rstrip('.')}.{separator}Fix: {finding['fix']}" if finding.get("fix") else text


def junit(
    findings: Iterable[Finding], *, errors: Iterable[str] = (), name: str = "cwagent.iam", fail_at: str = NOTICE
) -> str:
    """The findings as JUnit XML, with a failed test for each, or one passed test if there is nothing to report.

    :param errors: sentences about everything that could not be checked.
    :param name: the name of the test suite.
    :param fail_at: a finding below this severity, or one that summaries leave out, is a passed test with its text.
    """
    suite = ET.Element("testsuite", name=to_printable(name))
    for finding in findings:
        case = _case(suite, finding["rule"], describe_place(finding))
        if finding.get("file"):
            case.set("file", to_printable(finding["file"]))
        if finding.get("line"):
            case.set("line", str(int(finding["line"])))
        text = to_printable(_message_and_fix(finding, " "))
        if is_listed(finding) and SEVERITIES.index(finding["severity"]) >= SEVERITIES.index(fail_at):
            message = to_printable(finding["why"])
            ET.SubElement(case, "failure", type=finding["severity"], message=message).text = text
        else:
            ET.SubElement(case, "system-out").text = f"{finding['severity']}: {text}"
    for error in errors:
        text = to_printable(error)
        ET.SubElement(_case(suite, "not_checked", text), "error", message=text).text = text
    if not len(suite):
        _case(suite, "all", "nothing to report")
    counts = {"tests": len(suite), "failures": len(suite.findall("*/failure")), "errors": len(suite.findall("*/error"))}
    for key, count in counts.items():
        suite.set(key, str(count))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, rule: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=to_printable(f"cwagent.iam.{rule}"), name=name)


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"junit": junit, "sarif": sarif}

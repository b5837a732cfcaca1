# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an audit's report, in the formats that people and pipelines read."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader

from ...filter.findings import junit, sarif

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template


TEMPLATES = Path(__file__).parents[3] / "roles" / "audit" / "templates"
# JSON in a script element must not contain these characters.
# https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "&<>"}
# The keys of an account whose values are elsewhere in the document.
NOT_ON_PAGE = ("findings", "counts")


def report_content(document: Mapping[str, Any], kind: str) -> str:
    """Return the content of a report.

    :param document: the merged results of the accounts.
    :param kind: one of the formats of an audit, see ``_report/files.py``.
    """
    findings, errors = document["findings"], [each["error"] for each in document["accounts"] if "error" in each]
    if kind == "html":
        return _page(document)
    if kind == "junit":
        return junit(findings, errors=errors, name="audit")
    return json.dumps(sarif(findings, errors=errors) if kind == "sarif" else document, indent=4, sort_keys=True)


def _page(document: Mapping[str, Any]) -> str:
    """Return the report for people. Everything that was read from AWS is data in it, which a browser does not run."""
    accounts = [{key: value for key, value in each.items() if key not in NOT_ON_PAGE} for each in document["accounts"]]
    data = json.dumps({**document, "accounts": accounts}, separators=(",", ":")).translate(ESCAPED)
    # A name in AWS cannot contain the nonce, because it is computed from the data.
    return f"{_template().render(data=data, nonce=hashlib.sha256(data.encode()).hexdigest())}\n"


@cache
def _template() -> Template:
    # The data is not markup, and was escaped for its place.
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, trim_blocks=True, autoescape=False)  # noqa: S701
    return environment.get_template("report.html.j2")

"""The files of an audit's report. ``tests/report`` opens the page in a browser."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.findings import junit, sarif
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.audit_files import TEMPLATES, report_content

FINDING = {"rule": "r", "severity": "error", "object": "o", "account": "1", "why": "It is so.", "fix": "run x"}
DOCUMENT: dict[str, Any] = {
    "generated": "2026-11-25T09:30:00Z",
    "failure": "",
    "accounts": [
        {"account": {"label": "shop", "id": "1"}, "principals": [], "findings": [FINDING], "counts": {"error": 1}},
        {"account": {"label": "blog"}, "error": "denied"},
    ],
    "findings": [FINDING],
    "counts": {"notice": 0, "warning": 0, "error": 1},
}
DATA = re.compile('<script type="application/json" id="data">(.*)</script>')


def data_of(page: str) -> str:
    [found] = DATA.findall(page)
    return str(found)


def test_each_format_has_the_findings_and_the_errors_of_unread_accounts() -> None:
    assert json.loads(report_content(DOCUMENT, "json")) == DOCUMENT
    assert json.loads(report_content(DOCUMENT, "sarif")) == sarif([FINDING], errors=["denied"])
    assert report_content(DOCUMENT, "junit") == junit([FINDING], errors=["denied"], name="audit")


def test_json_has_one_order_of_keys_so_that_two_reports_can_be_compared() -> None:
    lines = report_content(DOCUMENT, "json").splitlines()
    assert [line.split('"')[1] for line in lines if line.startswith('    "')] == sorted(DOCUMENT)


def test_the_page_contains_the_data_once() -> None:
    shown = json.loads(data_of(report_content(DOCUMENT, "html")))
    shop = {"account": {"label": "shop", "id": "1"}, "principals": []}
    assert shown == {**DOCUMENT, "accounts": [shop, DOCUMENT["accounts"][1]]}


@given(st.text())
def test_names_in_aws_are_data_that_ends_no_element_and_is_no_template(name: str) -> None:
    text = f"{name}</script><!-- {{{{ 1 + 1 }}}} {{% if x %}} & "
    document = {**DOCUMENT, "accounts": [{"account": {"label": text}, "error": text}]}
    data = data_of(report_content(document, "html"))
    assert json.loads(data)["accounts"] == document["accounts"]
    assert not set("<>&") & set(data)


def test_scripts_and_styles_have_a_nonce_that_the_data_determines() -> None:
    nonces = set()
    for generated in ("2026-11-25", "2026-11-26"):
        page = report_content({**DOCUMENT, "generated": generated}, "html")
        found = set(re.findall("nonce[-=][\"']?([^\"'>]+)", page.split("{", 1)[0])) | set(
            re.findall('nonce="(.+?)"', page)
        )
        assert found == {hashlib.sha256(data_of(page).encode()).hexdigest()}
        nonces |= found
    assert len(nonces) == 2


@pytest.mark.parametrize("name", ["report.css", "report.js"])
def test_the_page_includes_text_unchanged(name: str) -> None:
    assert TEMPLATES.joinpath(name).read_text().rstrip() in report_content(DOCUMENT, "html")

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import (
    parse_sections,
    read_section,
    remove_section,
    replace_section,
)

VALUES = {"aws_access_key_id": "A", "aws_secret_access_key": "s%(x)s"}
OURS = "[P]\naws_access_key_id = A\naws_secret_access_key = s%(x)s\n"
BEFORE = "# mine\n[Other]\nAWS_Access_Key_ID=B ; note\n; kept\ns3 =\n\tmax_queue_size = 9\n\n"
AFTER = "\n# about the next one\n[Last]\nRegion: x\n"


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("", OURS),
        (OURS, OURS),
        (f"{BEFORE}[P]\nregion = x\n{AFTER}", f"{BEFORE}{OURS}{AFTER}"),
        (f"{BEFORE}[P]\n{AFTER}", f"{BEFORE}{OURS}{AFTER}"),
        (f"[P]\n{AFTER}", f"{OURS}{AFTER}"),
        (BEFORE, f"{BEFORE}\n{OURS}"),
        ("[Other]\nx = 1", f"[Other]\nx = 1\n\n{OURS}"),
        ("[DEFAULT]\naws_access_key_id = D\n", f"[DEFAULT]\naws_access_key_id = D\n\n{OURS}"),
        ("[Other]\r\nX=1\r\n[P]\r\n", "[Other]\r\nX=1\r\n" + OURS.replace("\n", "\r\n")),
        ("no header\n", None),
        (BEFORE + BEFORE, None),
        ("[P] ; ours\nregion = x\n", None),
    ],
)
def test_only_the_own_section_is_changed(text, edited):
    assert replace_section(text, "P", VALUES) == edited


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("", ""),
        (OURS, ""),
        (BEFORE, BEFORE),
        (f"{BEFORE}{OURS}{AFTER}", f"{BEFORE}{AFTER}"),
        (f"{BEFORE}\n{OURS}", BEFORE),
        (f"[Other]\nx = 1\n{OURS}", "[Other]\nx = 1\n"),
        ("no header\n", None),
        ("[P] ; ours\nregion = x\n", None),
    ],
)
def test_only_the_own_section_is_removed(text, edited):
    assert remove_section(text, "P") == edited


def test_a_default_section_gives_no_values_to_others():
    text = "[DEFAULT]\naws_access_key_id = D\n[P]\nregion = x\n"
    assert read_section(text, "P") == {"region": "x"}
    assert read_section(text, "Q") is None
    assert read_section("no header", "P") is None


LINES = st.sampled_from(
    [
        "[Q]",
        "[P]",
        "[R] # x",
        " [S]",
        "[",
        "[]",
        "a = 1",
        "B: 2",
        "c",
        "\tcontinued",
        "# comment",
        ";",
        "",
        " ",
        "[DEFAULT]",
    ]
)


@given(st.lists(LINES, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_other_sections_stay_whatever_the_text_is(lines, newline, ends):
    text = newline.join(lines) + newline * ends
    edited = replace_section(text, "P", VALUES)
    if edited is None:
        return
    assert read_section(edited, "P") == VALUES
    before, after = parse_sections(text) or {}, parse_sections(edited) or {}
    assert {**before, "P": {}} == {**after, "P": {}}
    assert replace_section(edited, "P", VALUES) == edited
    parser = configparser.RawConfigParser()
    parser.read_string(edited)

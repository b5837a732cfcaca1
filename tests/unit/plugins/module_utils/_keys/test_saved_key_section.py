from __future__ import annotations

import configparser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    Refused,
    parse_sections,
    read_section,
    read_sections,
    refuse_file,
    remove_section,
    replace_section,
    split_lines,
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
        ("[Other]\nx = 1\x0c[P]\n", f"[Other]\nx = 1\x0c[P]\n\n{OURS}"),
    ],
)
def test_only_the_own_section_is_changed(text, edited):
    assert replace_section(text, "P", VALUES) == edited


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no header\n", 1),
        ("[Other]\nno\nnor this\n", 2),
        ("# c\n[Other]\nx = 1\nSe/CrEt\n", 4),
        (BEFORE + BEFORE, 9),
        ("[P]\nx = 1\nx = 2\n", 3),
        ("# c\n[P] ; ours\nregion = x\n", 2),
        ("[Other]\n\n\n\n\n  [P]\nregion = x\n\n[Q]\n", 6),
        ("# c\n[P]\n [Other]\nx = 1\n", 2),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused_with_its_line(text, line):
    for edit in (lambda: replace_section(text, "P", VALUES), lambda: remove_section(text, "P")):
        with pytest.raises(Refused, match=f"Line {line}: It cannot be kept as it is") as error:
            edit()
        assert (error.value.line, error.value.__cause__, error.value.__context__) == (line, None, None)


def test_the_error_names_the_file_the_profile_and_the_line():
    with (
        pytest.raises(CwagentError, match=r"/f has content .* \(line 2\), so profile P in it .* Wait\. Nothing was ch"),
        refuse_file("/f", "P", "Wait."),
    ):
        parse_sections("[P]\nSe/CrEt\n")


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("", ""),
        (OURS, ""),
        (BEFORE, BEFORE),
        (f"{BEFORE}{OURS}{AFTER}", f"{BEFORE}{AFTER}"),
        (f"{BEFORE}\n{OURS}", BEFORE),
        (f"[Other]\nx = 1\n{OURS}", "[Other]\nx = 1\n"),
    ],
)
def test_only_the_own_section_is_removed(text, edited):
    assert remove_section(text, "P") == edited


def test_a_default_section_gives_no_values_to_others():
    text = "[DEFAULT]\naws_access_key_id = D\n[P]\nregion = x\n"
    assert read_section(text, "P") == {"region": "x"}
    assert read_section(text, "Q") is None
    assert read_section("no header", "P") is None
    text = f"[]]\nregion = x\n{OURS}"
    assert read_section(text, "P") == VALUES


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
    try:
        edited = replace_section(text, "P", VALUES)
    except Refused:
        return
    assert read_section(edited, "P") == VALUES
    before, after = parse_sections(text), parse_sections(edited)
    assert {**before, "P": {}} == {**after, "P": {}}
    assert replace_section(edited, "P", VALUES) == edited
    parser = configparser.RawConfigParser()
    parser.read_string(edited)


NAMES, WORDS = st.from_regex(r"[A-Za-z][\w-]{0,6}", fullmatch=True), st.from_regex(r"[\w./+=%$-]{1,9}", fullmatch=True)
FILES = st.dictionaries(NAMES, st.dictionaries(NAMES.map(str.lower), WORDS, max_size=3), max_size=4)


@settings(max_examples=40)
@given(FILES, NAMES)
def test_plain_files_are_read_and_written_as_python_does(sections, name):
    text = "\n".join(f"[{each}]\n" + "".join(f"{k} = {v}\n" for k, v in o.items()) for each, o in sections.items())
    assert read_sections(text) == sections
    for edited, wanted in (
        (replace_section(text, name, VALUES), {**sections, name: VALUES}),
        (remove_section(text, name), {each: options for each, options in sections.items() if each != name}),
    ):
        parser = configparser.RawConfigParser(default_section="\n")
        parser.read_string(edited)
        assert {each: dict(parser[each]) for each in parser.sections()} == wanted


BYTES = st.lists(st.one_of(st.binary(max_size=8), LINES.map(str.encode)), max_size=8).map(b"\n".join)


@given(BYTES)
def test_any_bytes_are_refused_or_all_others_are_kept(content):
    text = content.decode(errors="surrogateescape")
    try:
        edited = replace_section(text, "P", VALUES)
        without = remove_section(edited, "P")
    except Refused as error:
        line, edited = error.line, None
    if edited is None:
        assert 1 <= line <= len(split_lines(text))
        return
    lines = split_lines(text)
    start = next((number for number, line in enumerate(lines) if line.strip() == "[P]"), len(lines))
    stop = next((number for number in range(start + 1, len(lines)) if lines[number].startswith("[")), len(lines))
    assert edited.startswith("".join(lines[:start]))
    assert edited.endswith("".join(lines[stop:]))
    assert "P" not in parse_sections(without)

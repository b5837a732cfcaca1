from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import Refused, parse_sections, split_lines
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials_plan import (
    COMMENT,
    Profile,
    read_profile,
    remove_region,
    set_region,
)

KEYS = "aws_access_key_id = A\naws_secret_access_key = S\naws_session_token = T\n"
SHARED = f"[default]\n{KEYS}"
OTHER = "# caf\udce9\n[other]\nAWS_Access_Key_Id=B ; c\nregion = us-west-2\n"
OURS = f"{COMMENT}\nregion = eu-west-1\n"


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (SHARED, f"[default]\n{OURS}{KEYS}"),
        (f"{OTHER}\n{SHARED}", f"{OTHER}\n[default]\n{OURS}{KEYS}"),
        (f"[default]\n# theirs\n{KEYS}", f"[default]\n{OURS}# theirs\n{KEYS}"),
        (SHARED.replace("\n", "\r\n"), f"[default]\n{OURS}{KEYS}".replace("\n", "\r\n")),
        (
            "[default]\n  key = 1\n  other = 2\n",
            f"[default]\n  {COMMENT}\n  region = eu-west-1\n  key = 1\n  other = 2\n",
        ),
        (
            "[o]\nx = 1\n\n[default]\n  a = 1\n",
            f"[o]\nx = 1\n\n[default]\n  {COMMENT}\n  region = eu-west-1\n  a = 1\n",
        ),
        # Theirs, with the desired value
        (f"{SHARED}region = eu-west-1\n", ...),
        (f"{SHARED}REGION: eu-west-1\n", ...),
        # Ours, with the desired value or another, also as the SSM agent writes it
        (f"[default]\n{OURS}{KEYS}", ...),
        (f"[default]\n{COMMENT}\nregion = us-east-1\n{KEYS}", f"[default]\n{OURS}{KEYS}"),
        (f"{SHARED}{COMMENT}\nregion            = eu-west-1\n", ...),
        (f"{SHARED}{COMMENT}\nregion=us-east-1\r\n", f"{SHARED}{COMMENT}\nregion=eu-west-1\r\n"),
        (f"{SHARED}{COMMENT}\n# theirs\nregion = us-east-1\n", f"{SHARED}{COMMENT}\n# theirs\nregion = eu-west-1\n"),
        # No such section yet
        ("", f"[default]\n{OURS}"),
        (OTHER, f"{OTHER}\n[default]\n{OURS}"),
        ("[other]\nx = 1", f"[other]\nx = 1\n\n[default]\n{OURS}"),
        ("[default]", f"[default]\n{OURS}"),
        ("[other]\r\nx = 1\n", "[other]\r\nx = 1\n" + f"\n[default]\n{OURS}".replace("\n", "\r\n")),
    ],
)
def test_the_region_is_set(text, new):
    expected = text if new is ... else new
    assert set_region(text, "default", "eu-west-1") == expected
    assert set_region(expected, "default", "eu-west-1") == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("other", 1),
        ("[default", 1),
        ("[default]\nx = 1\nx = 2\n", 3),
        ("[default]\n[default]\n", 2),
        ("# c\n[default] # c\nx = 1\n", 2),
        (f"[default]\nnested =\n  {COMMENT}\n  region = us-east-1\n", 1),
        (f"[default]\n{COMMENT}\nregion =\n  us-east-1\n", 1),
        # The region of others is never replaced.
        (f"{SHARED}region = us-east-1\n", 1),
    ],
)
def test_a_text_in_which_the_region_cannot_be_set_is_refused(text, line):
    with pytest.raises(Refused) as error:
        set_region(text, "default", "eu-west-1")
    assert error.value.line == line


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (f"[default]\n{OURS}{KEYS}", SHARED),
        (f"[default]\r\n{OURS}{KEYS}", f"[default]\r\n{KEYS}"),
        (f"{SHARED}{COMMENT}\n# theirs\nregion            = us-east-1\n", f"{SHARED}# theirs\n"),
        (f"{SHARED}{COMMENT}\n; theirs\nregion=x", f"{SHARED}; theirs\n"),
        (f"[other]\n{OURS}{SHARED}", ...),
        (f"{SHARED}region = eu-west-1\n", ...),
        (f"{SHARED}{COMMENT}\nx = 1\nregion = eu-west-1\n", ...),
        (SHARED, ...),
        (OTHER, ...),
        ("other", ...),
        ("", ...),
    ],
)
def test_exactly_our_line_is_removed(text, new):
    expected = text if new is ... else new
    assert remove_region(text, "default") == expected
    assert remove_region(expected, "default") == expected


def test_a_text_from_which_our_line_cannot_be_removed_is_refused():
    with pytest.raises(Refused):
        remove_region(f"[default]\nnested =\n  {COMMENT}\n  region = us-east-1\n", "default")


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("", Profile()),
        ("other", Profile()),
        (OTHER, Profile()),
        (SHARED, Profile(has_credentials=True)),
        (f"[default]\n{OURS}{KEYS}", Profile("eu-west-1", True, True)),
        (f"{SHARED}region = eu-west-1\n", Profile("eu-west-1", False, True)),
        (SHARED.replace("T", ""), Profile(has_access_key=True)),
        (SHARED.replace("aws_session_token = T\n", ""), Profile(has_access_key=True)),
    ],
)
def test_a_profile_is_read(text, profile):
    assert read_profile(text, "default") == profile


def rewritten(text):
    """The text as the SSM agent writes it, with the library gopkg.in/ini.v1."""
    lines = []
    for name, options in parse_sections(text).items():
        comments = [line for line in text.splitlines() if line == COMMENT] if "region" in options else []
        width = max(map(len, options), default=0)
        lines += [f"[{name}]"]
        for option, value in options.items():
            lines += comments if option == "region" and name == "default" else []
            lines += [f"{option.ljust(width)} = {value}"]
        lines += [""]
    return "\n".join([*lines, ""])


def test_the_line_stays_ours_when_the_ssm_agent_has_rewritten_the_file():
    text = rewritten(f"[default]\n{OURS}{KEYS}\n[other]\nx = 1\n")
    assert f"{COMMENT}\nregion                = eu-west-1\n" in text
    assert set_region(text, "default", "eu-west-1") == text
    changed = set_region(text, "default", "us-east-1")
    assert changed == text.replace("eu-west-1", "us-east-1")
    assert remove_region(text, "default") == text.replace(f"{COMMENT}\nregion                = eu-west-1\n", "")


LINES = st.sampled_from(
    [
        "",
        "# comment",
        "; comment",
        COMMENT,
        "[default]",
        "[other]",
        "  [indented]",
        "aws_access_key_id = A",
        "aws_session_token=T ; x",
        "region = eu-west-1",
        "REGION : us-east-1",
        "region=",
        "  nested = 1",
        "s3 =",
        "flag",
    ]
)
TEXTS = st.tuples(st.lists(LINES, max_size=9), st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
    lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] and parts[0] else "")
)
REGIONS = st.sampled_from(["eu-west-1", "us-east-1", "us-gov-west-1"])


def set_or_none(text, region):
    try:
        return set_region(text, "default", region)
    except Refused:
        return None


@given(TEXTS, REGIONS)
def test_only_the_region_changes_and_a_second_change_does_nothing(text, region):
    after = set_or_none(text, region)
    if after is None:
        return
    before = parse_sections(text)
    assert parse_sections(after) == {**before, "default": {**before.get("default", {}), "region": region}}
    assert set_region(after, "default", region) == after
    removed = [line for line in text.splitlines(keepends=True) if line not in after.splitlines(keepends=True)]
    assert [line for line in removed if not re.match(r"\s*region", line, re.IGNORECASE)][1:] == []


@given(TEXTS, REGIONS)
def test_a_line_that_was_set_can_be_removed_without_a_trace(text, region):
    """Unless the text had that line, or did not even have the header's line end."""
    before = read_profile(text, "default")
    after = set_or_none(text, region)
    if after is None or before.region is not None or "[default]" not in text.splitlines()[:-1]:
        return
    assert remove_region(after, "default") == text


@given(st.lists(st.one_of(st.binary(max_size=8), LINES.map(str.encode)), max_size=8).map(b"\n".join), REGIONS)
def test_any_bytes_are_refused_or_all_others_are_kept(content, region):
    text = content.decode(errors="surrogateescape")
    after = set_or_none(text, region)
    if after is not None:
        remaining = iter(split_lines(after))
        changed = [line for line in split_lines(text) if line not in remaining]
        assert [line for line in changed[:-1] if not re.match(r"\s*region", line, re.IGNORECASE)] == []
        assert read_profile(after, "default").region == region
    assert COMMENT in text or remove_region(text, "default") == text

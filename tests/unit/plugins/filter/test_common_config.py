from __future__ import annotations

import tomllib

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.common_config import FilterModule

common_config = FilterModule().filters()["common_config"]
SECTION_WITH_KEY = """\
[credentials]
    shared_credential_profile = "P"
    shared_credential_file = "/f"
"""
SHIPPED = """\
# Common settings

## Credentials, by default those of the instance
# [credentials]
#    shared_credential_profile = "{profile_name}"
#    shared_credential_file = "{file_name}"

# [proxy]
#    http_proxy = "{http_url}"
"""
PROXY = '[proxy]\n    http_proxy = "http://p"  # kept\n'
FILE = '    shared_credential_file = "/f"\n'


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", SECTION_WITH_KEY),
        (SECTION_WITH_KEY, SECTION_WITH_KEY),
        (SHIPPED, f"{SHIPPED}\n{SECTION_WITH_KEY}"),
        (PROXY, f"{PROXY}\n{SECTION_WITH_KEY}"),
        ("[ssl]", f"[ssl]\n\n{SECTION_WITH_KEY}"),
        ("[ssl]\nx = 1", f"[ssl]\nx = 1\n\n{SECTION_WITH_KEY}"),
        (f"[credentials]\n\n{PROXY}", f"{SECTION_WITH_KEY}\n{PROXY}"),
        ('[ "credentials" ] # x\n', SECTION_WITH_KEY.replace("[credentials]", '[ "credentials" ] # x')),
        (SECTION_WITH_KEY.replace("/f", "/other"), SECTION_WITH_KEY),
        (
            "[credentials]\nshared_credential_file='/o' # o\n",
            '[credentials]\n    shared_credential_profile = "P"\nshared_credential_file="/f" # o\n',
        ),
        (
            f'[credentials]\nother = 1\n"shared_credential_profile" = "x\\"y"\n{PROXY}',
            f'[credentials]\n{FILE}other = 1\n"shared_credential_profile" = "P"\n{PROXY}',
        ),
        (
            '[credentials]\nx = "[credentials]"\n[credentials.more]\ny = 1\n',
            f'{SECTION_WITH_KEY}x = "[credentials]"\n[credentials.more]\ny = 1\n',
        ),
        (
            f"[credentials]\nlist = [\n  [1], [2],\n]\n{FILE}",
            f'[credentials]\n    shared_credential_profile = "P"\nlist = [\n  [1], [2],\n]\n{FILE}',
        ),
        ('x = """\n[credentials]\n"""\n', f'x = """\n[credentials]\n"""\n\n{SECTION_WITH_KEY}'),
        (PROXY.replace("\n", "\r\n"), f"{PROXY}\n{SECTION_WITH_KEY}".replace("\n", "\r\n")),
        # Another notation, which is fine while nothing has to be changed.
        ('credentials = {shared_credential_profile = "P", shared_credential_file = "/f"}', ...),
        ('credentials.shared_credential_profile = "P"\ncredentials.shared_credential_file = "/f"', ...),
    ],
)
def test_present_sets_both_settings(text, new):
    expected = text if new is ... else new
    assert common_config(text, "P", "/f") == expected
    assert common_config(expected, "P", "/f") == expected


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", ""),
        (SECTION_WITH_KEY, ""),
        (f"{SHIPPED}\n{SECTION_WITH_KEY}", SHIPPED),
        (f"{SECTION_WITH_KEY}\n{PROXY}", PROXY),
        (f"{SECTION_WITH_KEY}other = 1\n", "[credentials]\nother = 1\n"),
        (f"{SECTION_WITH_KEY}# a comment\n{PROXY}", f"[credentials]\n# a comment\n{PROXY}"),
        (SECTION_WITH_KEY.replace('"P"', '"Q"'), ""),
        (SECTION_WITH_KEY.replace("/f", "/other"), SECTION_WITH_KEY.replace("/f", "/other")),
        (SHIPPED, SHIPPED),
    ],
)
def test_absent_removes_both_settings(text, new):
    after = common_config(text, "P", "/f", state="absent")
    assert after.lstrip("\n") == new
    assert common_config(after, "P", "/f", state="absent") == after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[proxy", "is not valid TOML"),
        ("[credentials]\n[credentials]\n", "is not valid TOML"),
        ("credentials = 1\n", "is not a section"),
        ('credentials = {shared_credential_file = "/o"}\n', "cannot be changed in place"),
        ('credentials.shared_credential_file = "/o"\n', "cannot be changed in place"),
        ('[credentials]\nshared_credential_file = """\n/o"""\n', "cannot be changed in place"),
        ('[credentials]\nx = """\nshared_credential_file = "/o"\n"""\n', "cannot be changed in place"),
    ],
)
def test_a_text_that_cannot_be_changed_is_an_error(text, message):
    with pytest.raises(AnsibleFilterError, match=message):
        common_config(text, "P", "/f")


def test_settings_that_cannot_be_removed_in_place_are_an_error():
    with pytest.raises(AnsibleFilterError, match="cannot be changed in place"):
        common_config('credentials = {shared_credential_file = "/f"}\n', "P", "/f", state="absent")


VALUES = st.text(st.characters(exclude_categories=["Cs"]))
LINES = st.sampled_from(
    [
        "",
        "# [credentials]",
        '#   shared_credential_file = "x"',
        "[credentials]",
        "  [ credentials ]  # comment",
        "[credentials.more]",
        "[proxy]",
        "[[other]]",
        'shared_credential_file = "/before"',
        " 'shared_credential_profile'='q' # comment",
        "number = 1",
        'http_proxy = "http://[::1]:3128"',
        "list = [",
        "  [1], [2],",
        "]",
    ]
)


def is_valid(text):
    try:
        return isinstance(tomllib.loads(text).get("credentials", {}), dict)
    except tomllib.TOMLDecodeError:
        return False


PARTS = st.tuples(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
TEXTS = PARTS.map(lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else "")).filter(is_valid)


@given(TEXTS, VALUES, VALUES)
def test_the_rest_of_the_text_is_kept_and_a_second_change_does_nothing(text, profile, file):
    before = tomllib.loads(text)
    after = common_config(text, profile, file)
    credentials = {"shared_credential_profile": profile, "shared_credential_file": file}
    assert tomllib.loads(after) == {**before, "credentials": {**before.get("credentials", {}), **credentials}}
    assert common_config(after, profile, file) == after
    kept = [line for line in text.splitlines() if "shared" not in line or line.startswith("#")]
    remaining = iter(after.splitlines())
    assert [line for line in kept if line not in remaining] == []  # an iterator: the order is kept, too


@given(TEXTS, VALUES, VALUES)
def test_settings_that_were_set_can_be_removed(text, profile, file):
    without = common_config(common_config(text, profile, file), profile, file, state="absent")
    before = tomllib.loads(text)
    others = {key: value for key, value in before.get("credentials", {}).items() if not key.startswith("shared_")}
    found = tomllib.loads(without)
    assert found.pop("credentials", {}) == others
    assert found == {key: value for key, value in before.items() if key != "credentials"}

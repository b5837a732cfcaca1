from __future__ import annotations

import tomllib

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.common_config import FilterModule

common_config = FilterModule().filters()["common_config"]
OURS = """\
[credentials]
    shared_credential_profile = "P"
    shared_credential_file = "/f"
"""
SHIPPED = """\
# What both use

## Credentials, by default those of the instance
# [credentials]
#    shared_credential_profile = "{profile_name}"
#    shared_credential_file = "{file_name}"

# [proxy]
#    http_proxy = "{http_url}"
"""
PROXY = '[proxy]\n    http_proxy = "http://p"  # ours\n'
FILE = '    shared_credential_file = "/f"\n'


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", OURS),
        (OURS, OURS),
        (SHIPPED, f"{SHIPPED}\n{OURS}"),
        (PROXY, f"{PROXY}\n{OURS}"),
        ("[ssl]", f"[ssl]\n\n{OURS}"),
        (f"[credentials]\n\n{PROXY}", f"{OURS}\n{PROXY}"),
        ('[ "credentials" ] # x\n', OURS.replace("[credentials]", '[ "credentials" ] # x')),
        (OURS.replace("/f", "/other"), OURS),
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
            f'{OURS}x = "[credentials]"\n[credentials.more]\ny = 1\n',
        ),
        (
            f"[credentials]\nlist = [\n  [1], [2],\n]\n{FILE}",
            f'[credentials]\n    shared_credential_profile = "P"\nlist = [\n  [1], [2],\n]\n{FILE}',
        ),
        ('x = """\n[credentials]\n"""\n', f'x = """\n[credentials]\n"""\n\n{OURS}'),
        (PROXY.replace("\n", "\r\n"), f"{PROXY}\n{OURS}".replace("\n", "\r\n")),
        # Said in another way, which is well as long as nothing is to be changed.
        ('credentials = {shared_credential_profile = "P", shared_credential_file = "/f"}', ...),
        ('credentials.shared_credential_profile = "P"\ncredentials.shared_credential_file = "/f"', ...),
    ],
)
def test_present(text, new):
    expected = text if new is ... else new
    assert common_config(text, "P", "/f") == expected
    assert common_config(expected, "P", "/f") == expected


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", ""),
        (OURS, ""),
        (f"{SHIPPED}\n{OURS}", SHIPPED),
        (f"{OURS}\n{PROXY}", PROXY),
        (f"{OURS}other = 1\n", "[credentials]\nother = 1\n"),
        (f"{OURS}# a note\n{PROXY}", f"[credentials]\n# a note\n{PROXY}"),
        (OURS.replace('"P"', '"Q"'), ""),
        (OURS.replace("/f", "/other"), OURS.replace("/f", "/other")),
        (SHIPPED, SHIPPED),
    ],
)
def test_absent(text, new):
    after = common_config(text, "P", "/f", state="absent")
    assert after.lstrip("\n") == new
    assert common_config(after, "P", "/f", state="absent") == after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[proxy", "is no TOML"),
        ("[credentials]\n[credentials]\n", "is no TOML"),
        ("credentials = 1\n", "is no section"),
        ('credentials = {shared_credential_file = "/o"}\n', "cannot be changed in place"),
        ('credentials.shared_credential_file = "/o"\n', "cannot be changed in place"),
        ('[credentials]\nshared_credential_file = """\n/o"""\n', "cannot be changed in place"),
        ('[credentials]\nx = """\nshared_credential_file = "/o"\n"""\n', "cannot be changed in place"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(AnsibleFilterError, match=words):
        common_config(text, "P", "/f")


def test_what_is_refused_when_it_is_to_be_taken_out():
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


def valid(text):
    try:
        return isinstance(tomllib.loads(text).get("credentials", {}), dict)
    except tomllib.TOMLDecodeError:
        return False


TEXTS = st.tuples(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
TEXTS = TEXTS.map(lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else "")).filter(valid)


@given(TEXTS, VALUES, VALUES)
def test_all_else_stays_and_nothing_is_done_twice(text, profile, file):
    before = tomllib.loads(text)
    after = common_config(text, profile, file)
    credentials = {"shared_credential_profile": profile, "shared_credential_file": file}
    assert tomllib.loads(after) == {**before, "credentials": {**before.get("credentials", {}), **credentials}}
    assert common_config(after, profile, file) == after
    kept = [line for line in text.splitlines() if "shared" not in line or line.startswith("#")]
    left = iter(after.splitlines())
    assert [line for line in kept if line not in left] == []  # each one comes after the one before


@given(TEXTS, VALUES, VALUES)
def test_what_was_set_can_be_taken_out(text, profile, file):
    without = common_config(common_config(text, profile, file), profile, file, state="absent")
    before = tomllib.loads(text)
    others = {key: value for key, value in before.get("credentials", {}).items() if not key.startswith("shared_")}
    found = tomllib.loads(without)
    assert found.pop("credentials", {}) == others
    assert found == {key: value for key, value in before.items() if key != "credentials"}

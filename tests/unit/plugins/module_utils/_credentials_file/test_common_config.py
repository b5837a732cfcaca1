from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.common_config import (
    read_settings,
    read_text,
    remove_credentials,
    set_credentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

SECTION_WITH_KEY = """\
[credentials]
    shared_credential_profile = "P"
    shared_credential_file = "/f"
"""
SHIPPED = """\
# Common settings

## Credentials of the agent
# [credentials]
#    shared_credential_profile = "{profile_name}"
#    shared_credential_file = "{file_name}"

# [proxy]
#    http_proxy = "{http_url}"
"""
PROXY = '[proxy]\n    http_proxy = "http://p"  # kept\n'
FILE = '    shared_credential_file = "/f"\n'
INVALID = [
    "x",
    "x =",
    "= 1",
    "x = 1 2",
    "x = yes",
    "x = [1",
    "x = [1}",
    "x = ]",
    'x = {a = "b"',
    "credentials = {a}",
    "credentials = {a = 1 b = 2}",
    'x = "a',
    "x = 'a\n'",
    'x = """a""',
    '"\\q" = 1',
    '"\\ud800" = 1',
    '"\\Uffffffff" = 1',
    '"\\U00110000" = 1',
    "[x] y",
    "[[x]",
    "[]",
    "x = 1\nx = 2\n",
    "[x.y]\n[x.'y']\n",
]
VALID = [
    '"\\U0010ffff" = 1',
    "x = true # y",
    "x = 1979-05-27 07:32:00.5+01:00",
    "x = [1, # ]\n 2]",
    "x = {a = [{b = ']'}], c = \"}\"}",
    'x = """"a"""""',
    "x = ''''a'''''",
    'x = """\\""""',
    'x = ""',
    "x = -inf",
    "x = 0x1F",
    '"\\U0001F600 \\t\\"" = 1',
    "a.'b.c'.d = 1",
    "[[x]]\ny = 1\n[[x]]\ny = 2\n",
    "[a . b]\r\n\tc = 1\r\n",
]


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
        (
            '[credentials]\nshared_credential_file = """\n/o"""\n',
            '[credentials]\n    shared_credential_profile = "P"\nshared_credential_file = "/f"\n',
        ),
        (
            '[credentials]\nx = """\nshared_credential_file = "/o"\n"""\n',
            f'{SECTION_WITH_KEY}x = """\nshared_credential_file = "/o"\n"""\n',
        ),
        ("[credentials]", SECTION_WITH_KEY),
        (
            f"[credentials]\nshared_credential_profile = 1\n{FILE}",
            f'[credentials]\nshared_credential_profile = "P"\n{FILE}',
        ),
        (PROXY.replace("\n", "\r\n"), f"{PROXY}\n{SECTION_WITH_KEY}".replace("\n", "\r\n")),
        # Another notation, which is fine while nothing has to be changed.
        ('credentials = {shared_credential_profile = "P", shared_credential_file = "/f"}', ...),
        ('credentials.shared_credential_profile = "P"\ncredentials.shared_credential_file = "/f"', ...),
    ],
)
def test_present_sets_both_settings(text, new):
    expected = text if new is ... else new
    assert set_credentials(text, "P", "/f") == expected
    assert set_credentials(expected, "P", "/f") == expected


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
    after = remove_credentials(text, "/f")
    assert after.lstrip("\n") == new
    assert remove_credentials(after, "/f") == after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[proxy", "is not valid TOML"),
        ("[credentials]\n[credentials]\n", "is not valid TOML"),
        ("credentials = 1\n", "is not a section"),
        ('credentials = {shared_credential_file = "/o"}\n', "cannot be changed in place"),
        ('credentials.shared_credential_file = "/o"\n', "cannot be changed in place"),
        ("credentials = []\n", "is not a section"),
        ("[[credentials]]\n", "is not a section"),
        ("[credentials.shared_credential_file]\n", "cannot be changed in place"),
        ("[credentials.shared_credential_file.x]\n", "cannot be changed in place"),
        ("[credentials]\nshared_credential_file.x = 1\n", "cannot be changed in place"),
        *((text, "is not valid TOML") for text in INVALID),
    ],
)
def test_a_text_that_cannot_be_changed_is_an_error(text, message):
    with pytest.raises(CwagentError, match=message):
        set_credentials(text, "P", "/f")


@pytest.mark.parametrize("text", INVALID)
def test_invalid_cases_are_not_toml(text):
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)


@pytest.mark.parametrize("text", VALID)
def test_every_notation_is_kept(text):
    new = set_credentials(text, "P", "/f")
    assert tomllib.loads(new) == {**tomllib.loads(text), "credentials": tomllib.loads(SECTION_WITH_KEY)["credentials"]}
    assert new.startswith(text)


def test_settings_are_read_in_every_notation():
    assert read_settings("credentials = { a = 1, shared_credential_file = '/f' }") == {"shared_credential_file": "/f"}
    assert read_settings('credentials."shared_credential_profile" = "\\u0050"') == {"shared_credential_profile": "P"}
    assert read_settings('[credentials]\nshared_credential_file = """/f"""') == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ('[agent]\n  debug = false\n  run_as_user = "cwagent"\n[[inputs.cpu]]\n', "cwagent"),
        ("agent.run_as_user = 'cwagent'", "cwagent"),
        ("[agent]\nrun_as_user = 1\n", None),
        ('[other]\nrun_as_user = "cwagent"\n', None),
    ],
)
def test_a_setting_of_any_file_is_read(text, value):
    assert read_text(text, "agent", "run_as_user") == value


def test_no_error_quotes_the_text():
    with pytest.raises(CwagentError) as error:
        set_credentials('[proxy]\nhttp_proxy = "http://user:Se/CrEt', "P", "/f")
    assert "CrEt" not in f"{error.value} {error.value.__cause__!r}"


@pytest.mark.parametrize(
    "text",
    [
        'credentials = {shared_credential_file = "/f"}\n',
        "credentials = { other = [1, \"}\"], shared_credential_file = '/f' }\n",
        'credentials.shared_credential_file = "/f"\n',
        f"[credentials]\n{FILE}[credentials.shared_credential_profile]\nx = 1\n",
        f"[credentials]\n{FILE}shared_credential_profile.x = 1\n",
    ],
)
def test_settings_that_cannot_be_removed_in_place_are_an_error(text):
    with pytest.raises(CwagentError, match="cannot be changed in place"):
        remove_credentials(text, "/f")


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
    after = set_credentials(text, profile, file)
    credentials = {"shared_credential_profile": profile, "shared_credential_file": file}
    assert tomllib.loads(after) == {**before, "credentials": {**before.get("credentials", {}), **credentials}}
    assert set_credentials(after, profile, file) == after
    kept = [line for line in text.splitlines() if "shared" not in line or line.startswith("#")]
    remaining = iter(after.splitlines())
    assert [line for line in kept if line not in remaining] == []  # an iterator: the order is kept, too


@given(TEXTS, VALUES, VALUES)
def test_settings_that_were_set_can_be_removed(text, profile, file):
    without = remove_credentials(set_credentials(text, profile, file), file)
    before = tomllib.loads(text)
    others = {key: value for key, value in before.get("credentials", {}).items() if not key.startswith("shared_")}
    found = tomllib.loads(without)
    assert found.pop("credentials", {}) == others
    assert found == {key: value for key, value in before.items() if key != "credentials"}

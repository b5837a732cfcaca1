from __future__ import annotations

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import Refused, split_lines
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_plan import (
    read_settings,
    read_text,
    remove_credentials,
    set_credentials,
)

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
TRANSLATED = """\
[agent]
  logtarget = "lumberjack"
  quiet = false
  run_as_user = "u"

[inputs]

  [[inputs.disk]]
    fieldpass = ["used", "free"]
    [inputs.disk.tags]
      "aws:StorageResolution" = "true"

  [[inputs.disk]]
    [inputs.disk.tags]
      d1 = "f\\\\d{2}"
"""
FILE = '    shared_credential_file = "/f"\n'
NOT_ENDED, NOT_IN_PLACE = (
    "must end on its line",
    "Write shared_credential_profile and .* on its own line, in one section",
)
# With what was read as text before, or what is not valid.
REFUSED = [
    ("x = [1", 1, NOT_ENDED),
    ("x = 1\nx = [1, # ]\n 2]\n", 2, NOT_ENDED),
    ("x = {a = 'b'", 1, NOT_ENDED),
    ("x = ]", 1, NOT_ENDED),
    ("x = ][", 1, NOT_ENDED),
    ('\n\nx = "Se/CrEt', 3, NOT_ENDED),
    ("x = 'a\n'", 1, NOT_ENDED),
    ('x = """a""', 1, NOT_ENDED),
    ('x = """a"""', 1, NOT_ENDED),
    ("[proxy]\r\nx = '''\r\n[credentials]\r\n'''\r\n", 2, NOT_ENDED),
    ('[credentials]\nshared_credential_file = """\n/o"""\n', 2, NOT_ENDED),
    ("[proxy", 1, NOT_ENDED),
    ("[[x]", 1, NOT_ENDED),
    ("[credentials]\nx = 1\n[credentials]\n", 3, NOT_IN_PLACE),
    ("[credentials]\nx = 1\n'x' = 2\n", 3, NOT_IN_PLACE),
    ("[credentials]\nx\n", 2, NOT_IN_PLACE),
    ("[credentials]\n[pro xy]\n", 2, NOT_IN_PLACE),
    ("\ufeff[credentials]\n", 1, NOT_IN_PLACE),
    ("# c\ncredentials = 1\n", 2, NOT_IN_PLACE),
    ("credentials = []\n", 1, NOT_IN_PLACE),
    ('credentials = {shared_credential_file = "/f"}\n', 1, NOT_IN_PLACE),
    ("credentials = { other = [1, \"}\"], shared_credential_file = '/f' }\n", 1, NOT_IN_PLACE),
    ('credentials.shared_credential_file = "/f"\n', 1, NOT_IN_PLACE),
    ('credentials.shared_credential_profile = "P"\ncredentials.shared_credential_file = "/f"', 1, NOT_IN_PLACE),
    ("[[credentials]]\n", 1, NOT_IN_PLACE),
    ("[credentials.shared_credential_file]\n", 1, NOT_IN_PLACE),
    ("[credentials.shared_credential_file.x]\n", 1, NOT_IN_PLACE),
    ("[credentials]\nshared_credential_file.x = 1\n", 2, NOT_IN_PLACE),
    (f"[credentials]\n{FILE}[credentials.shared_credential_profile]\nx = 1\n", 3, NOT_IN_PLACE),
    (f"[credentials]\n{FILE}shared_credential_profile.x = 1\n", 3, NOT_IN_PLACE),
    ('"\\U00000063redentials" = 1', 1, NOT_IN_PLACE),
    ('"\\q" = 1', 1, NOT_IN_PLACE),
]
VALID = [
    '"\\u00e9" = 1',
    "x = true # y",
    "x = 1979-05-27 07:32:00.5+01:00",
    "x = [[1], [2]] # ]",
    "x = {a = [{b = ']'}], c = \"}\"}",
    'x = \'#\' # """',
    'x = ""',
    'x = "\\" # \\\\"',
    "x = -inf",
    "x = 0x1F",
    '"\\t\\"" = 1',
    "a.'b.c'.d = 1",
    "[[x]]\ny = 1\n[x.z]\n[[x]]\ny = 2\n[x.z]\n",
    "[a . b]\r\n\tc = 1\r\n",
]
NOT_UNDERSTOOD = [
    "x",
    "x =",
    "= 1",
    "x = yes",
    "x = 1 2",
    "x = [1}",
    "[x] y",
    "[]",
    "[a b]",
    "x = 1\nx = 2",
    "\ufeff",
    "\0\r",
]


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", SECTION_WITH_KEY),
        (SHIPPED, f"{SHIPPED}\n{SECTION_WITH_KEY}"),
        (PROXY, f"{PROXY}\n{SECTION_WITH_KEY}"),
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
            f"[credentials]\nlist = [[1], [2]]\n{FILE}",
            f'[credentials]\n    shared_credential_profile = "P"\nlist = [[1], [2]]\n{FILE}',
        ),
        (
            f"[credentials]\nshared_credential_profile = 1\n{FILE}",
            f'[credentials]\nshared_credential_profile = "P"\n{FILE}',
        ),
        (PROXY.replace("\n", "\r\n"), f"{PROXY}\n{SECTION_WITH_KEY}".replace("\n", "\r\n")),
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


@pytest.mark.parametrize(("text", "line", "message"), REFUSED)
def test_a_text_that_cannot_be_changed_is_refused_with_its_line(text, line, message):
    with pytest.raises(Refused, match=f"^Line {line}: .*{message}") as error:
        set_credentials(text, "P", "/f")
    assert "CrEt" not in str(error.value)
    assert read_settings(text) == {}


@pytest.mark.parametrize(("text", "line", "message"), REFUSED)
def test_settings_are_only_removed_where_every_line_is_read(text, line, message):
    assert remove_credentials(text, "/other") == text
    with pytest.raises(Refused, match=f"^Line {line}: .*{message}"):
        remove_credentials(f"{text}\n# /f\n", "/f")


@pytest.mark.parametrize("text", NOT_UNDERSTOOD)
def test_a_line_that_is_not_understood_is_kept(text):
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    new = set_credentials(text, "P", "/f")
    assert new == f"{text}\n\n{SECTION_WITH_KEY}"
    assert remove_credentials(new, "/f") in (text, f"{text}\n")


@pytest.mark.parametrize("text", VALID)
def test_every_notation_is_kept(text):
    new = set_credentials(text, "P", "/f")
    assert tomllib.loads(new) == {**tomllib.loads(text), "credentials": tomllib.loads(SECTION_WITH_KEY)["credentials"]}
    assert new.startswith(text)


def test_settings_are_read_in_every_notation():
    text = "[ 'credentials' ]\n\"shared_credential_profile\" = \"\\u0050\" # c\nshared_credential_file = '/f'\n"
    assert read_settings(text) == {"shared_credential_profile": "P", "shared_credential_file": "/f"}
    assert read_settings("[credentials]\nshared_credential_file = 1") == {}
    assert read_settings('[credentials]\nshared_credential_file = "\\U00000066"') == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ('[agent]\n  debug = false\n  run_as_user = "cwagent"\n[[inputs.cpu]]\n', "cwagent"),
        ("agent.run_as_user = 'cwagent'", "cwagent"),
        ("[agent]\nrun_as_user = 1\n", None),
        ('[other]\nrun_as_user = "cwagent"\n', None),
        # As the agent writes it
        (TRANSLATED, "u"),
    ],
)
def test_a_setting_of_any_file_is_read(text, value):
    assert read_text(text, "agent", "run_as_user") == value


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
        "list = [[1], [2]] # ]",
        '"#" = \'#\' # """',
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


BYTES = st.lists(st.one_of(st.binary(max_size=8), LINES.map(str.encode)), max_size=8).map(b"\n".join)


@example(b'[credentials]\nshared_credential_file = "/before"\n[credentials.more]\n\x00')
@given(BYTES)
def test_any_bytes_are_refused_or_all_others_are_kept(content):
    text = content.decode(errors="surrogateescape")
    try:
        edited = set_credentials(text, "P", "/f")
    except Refused as error:
        line, edited = error.line, None
    if edited is None:
        assert 1 <= line <= len(split_lines(text))
        return
    assert read_settings(edited) == {"shared_credential_profile": "P", "shared_credential_file": "/f"}
    others = [line for line in split_lines(text)[:-1] if "shared_credential" not in line]  # the last one can get an end
    remaining = iter(split_lines(edited))
    assert [line for line in others if line not in remaining] == []
    assert edited.startswith(text.partition("shared_credential")[0].partition("[")[0])
    assert remove_credentials(edited, "/f") is not None


@given(TEXTS)
def test_plain_files_are_read_as_python_does(text):
    found = tomllib.loads(text).get("credentials", {})
    shown = {key: value for key, value in found.items() if key.startswith("shared_") and isinstance(value, str)}
    assert read_settings(text) == shown

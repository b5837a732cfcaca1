from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.files import File
from ansible_collections.cwagent.iam.plugins.module_utils._servers import shared_credentials_plan as sharing_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials_plan import (
    COMMENT,
    Desired,
    State,
)

FILE, CONFIG = "/root/.aws/credentials", "/etc/config.toml"
KEYS = "aws_access_key_id = A\naws_secret_access_key = Se/CrEt\naws_session_token = T\n"
SHARED = File(f"[default]\n{KEYS}", 0o600, 0, 0)
WITH_REGION = File(f"[default]\n{COMMENT}\nregion = eu-west-1\n{KEYS}", 0o600, 0, 0)
SETTINGS = f'[credentials]\n    shared_credential_profile = "default"\n    shared_credential_file = "{FILE}"\n'
KEY_SETTINGS = '[credentials]\nshared_credential_profile = "K"\nshared_credential_file = "/key"\n'
PROXY = '[proxy]\nhttp_proxy = "http://user:Se/CrEt@proxy"\n'
PRESENT = Desired("eu-west-1", FILE, CONFIG, "default", True)
ABSENT = replace(PRESENT, is_present=False)
RENEWED = State(SHARED, File(PROXY, 0o640, 5, 6))
DONE = State(WITH_REGION, File(SETTINGS, 0o644, 5, 6))
SET_REGION = f"set region eu-west-1 in profile default of {FILE}"
REMOVE_REGION = f"remove the region from profile default of {FILE}"
SET, REMOVE = f"set the credentials file in {CONFIG}", f"remove the credentials file from {CONFIG}"


def plan(current, desired):
    made = sharing_plan.plan(current, desired)
    assert not sharing_plan.plan(made.planned, desired).has_changes
    return made


def credentials(text):
    return replace(DONE, credentials=replace(SHARED, text=text))


INVALID = File("[proxy\n", 0o644, 0, 0)
INLINE = File(f'credentials = {{shared_credential_file = "{FILE}"}}\n', 0o644, 0, 0)
OTHER_REGION = credentials(WITH_REGION.text.replace("eu-west-1", "us-east-1"))


@pytest.mark.parametrize(
    ("current", "desired", "steps", "kinds"),
    [
        (RENEWED, PRESENT, [SET_REGION, SET], ["update", "update"]),
        (State(SHARED, None), PRESENT, [SET_REGION, SET], ["update", "create"]),
        (State(None, None), PRESENT, [SET_REGION, SET], ["update", "create"]),
        (State(SHARED, File(KEY_SETTINGS, 0o644, 0, 0)), PRESENT, [SET_REGION, SET], ["update", "update"]),
        (DONE, PRESENT, [], []),
        (credentials(f"[default]\n{KEYS}region = eu-west-1\n"), PRESENT, [], []),
        (OTHER_REGION, PRESENT, [SET_REGION], ["update"]),
        (
            replace(RENEWED, missing_folders=("/a", "/a/b")),
            PRESENT,
            ["create folder /a", "create folder /a/b", SET_REGION, SET],
            ["create", "create", "update", "update"],
        ),
        (replace(DONE, unfinished=("/x.new",)), PRESENT, ["delete unfinished file /x.new"], ["delete"]),
        (RENEWED, ABSENT, [], []),
        (State(None, None, missing_folders=("/a",)), ABSENT, [], []),
        (DONE, ABSENT, [REMOVE, REMOVE_REGION], ["update", "update"]),
        (replace(DONE, credentials=None), ABSENT, [REMOVE], ["update"]),
        (replace(DONE, config=None), ABSENT, [REMOVE_REGION], ["update"]),
        (replace(DONE, config=File(KEY_SETTINGS, 0o644, 0, 0)), ABSENT, [REMOVE_REGION], ["update"]),
        (credentials(f"[default]\n{KEYS}region = eu-west-1\n"), ABSENT, [REMOVE], ["update"]),
        (OTHER_REGION, ABSENT, [REMOVE, REMOVE_REGION], ["update", "update"]),
        # Nothing of ours is in a file that is not valid.
        (credentials("other"), ABSENT, [REMOVE], ["update"]),
        (replace(DONE, config=INVALID), ABSENT, [REMOVE_REGION], ["update"]),
        (replace(DONE, config=replace(INVALID, text="credentials = 1\n")), ABSENT, [REMOVE_REGION], ["update"]),
        (State(replace(SHARED, text="other"), INVALID), ABSENT, [], []),
        (replace(DONE, unfinished=("/x.new",)), ABSENT, ["delete unfinished file /x.new", REMOVE, REMOVE_REGION], ...),
    ],
)  # fmt: skip
def test_plan(current, desired, steps, kinds):
    made = plan(current, desired)
    assert made.summaries == steps
    if kinds is not ...:
        assert [step.kind.value for step in made.all_steps] == kinds


def test_another_profile_is_used():
    made = plan(RENEWED, replace(PRESENT, profile="agent"))
    assert made.summaries == [SET_REGION.replace("default", "agent"), SET]
    assert made.planned.credentials.text == f"{SHARED.text}\n[agent]\n{COMMENT}\nregion = eu-west-1\n"
    assert 'shared_credential_profile = "agent"' in made.planned.config.text


def test_files_keep_their_owners_and_modes():
    made = plan(State(replace(SHARED, mode=0o640, uid=7, gid=8), File(PROXY, 0o600, 9, 10)), PRESENT)
    assert made.planned.credentials == replace(WITH_REGION, mode=0o640, uid=7, gid=8)
    config = made.planned.config
    assert (config.mode, config.uid, config.gid, config.text) == (0o600, 9, 10, f"{PROXY}\n{SETTINGS}")
    new = plan(State(None, None), PRESENT).planned
    assert (new.credentials.mode, new.config.mode) == (0o600, 0o644)


@pytest.mark.parametrize(
    ("current", "desired", "message"),
    [
        (
            credentials(f"[default]\n{KEYS}region = us-east-1\n"),
            PRESENT,
            f"Profile default of {FILE} has the region us-east-1, which this collection did not set.*ShareProfile",
        ),
        (
            credentials("[default]\naws_access_key_id = A\naws_secret_access_key = Se/CrEt\n"),
            PRESENT,
            f"Profile default of {FILE} has the access key of a user, which the SSM agent would replace.*ShareProfile",
        ),
        (credentials("other"), PRESENT, f"{FILE} has content that does not belong in a credentials file.*Nothing"),
        (credentials("[default] # c\nx = 1\n"), PRESENT, f"{FILE} has content that does not belong.*or that"),
        (replace(DONE, config=File("[proxy\n", 0o644, 0, 0)), PRESENT, f"{CONFIG} cannot be changed: Line 1: Every"),
        (replace(DONE, config=INLINE), ABSENT, f"{CONFIG} cannot be changed: Line 1: Write .* on its own line"),
    ],
)
def test_files_that_cannot_be_changed_are_an_error_before_the_first_step(current, desired, message):
    with pytest.raises(CwagentError, match=message) as error:
        sharing_plan.plan(current, desired)
    assert "rEt" not in str(error.value)
    assert str(error.value).endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("current", "is_shared"),
    [
        (DONE, True),
        (RENEWED, True),
        (State(None, None), False),
        (credentials(""), False),
        (credentials("other"), False),
        (credentials(f"[other]\n{KEYS}"), False),
        (credentials("[default]\naws_access_key_id = A\naws_secret_access_key = B\n"), False),
    ],
)
def test_credentials_of_a_session_are_noticed(current, is_shared):
    assert sharing_plan.has_credentials(current, PRESENT) == is_shared


@pytest.mark.parametrize(
    ("config", "is_other"),
    [
        (None, False),
        (File(PROXY, 0o644, 0, 0), False),
        (INVALID, False),
        (DONE.config, False),
        (File(KEY_SETTINGS, 0o644, 0, 0), True),
        (File(SETTINGS.replace('"default"', '"other"'), 0o644, 0, 0), True),
        (File(SETTINGS.replace(FILE, "/other"), 0o644, 0, 0), True),
        (File('[credentials]\nshared_credential_profile = "default"\n', 0o644, 0, 0), True),
    ],
)
def test_other_credentials_of_the_agent_are_noticed(config, is_other):
    assert sharing_plan.has_other_credentials(State(SHARED, config), PRESENT) == is_other


@pytest.mark.parametrize(
    ("text", "is_other"),
    [
        ("[AmazonCloudWatchAgent]\naws_access_key_id = A\naws_secret_access_key = B\n", True),
        (f"[AmazonCloudWatchAgent]\n{KEYS}", False),
        ("[AmazonCloudWatchAgent]\n", False),
        ("other", False),
    ],
)
def test_an_access_key_in_the_default_profile_of_the_agent_is_noticed(text, is_other):
    assert sharing_plan.has_other_credentials(State(replace(SHARED, text=text), None), PRESENT) == is_other
    assert not sharing_plan.has_other_credentials(State(None, None), PRESENT)


SESSION = "arn:aws:sts::123456789012:assumed-role/Agent/mi-0123456789abcdef0"


@pytest.mark.parametrize(
    ("caller", "error", "role", "objection"),
    [
        (SESSION, None, "Agent", None),
        (SESSION, None, None, None),
        (SESSION, None, "Agen", f"STS returned {SESSION}, which is not a session of role 'Agen'."),
        (SESSION.replace("mi-", "i-"), None, "Agent", "is not a session of role 'Agent'."),
        ("arn:aws:iam::123456789012:user/mi-1", None, "Agent", "is not a session of role 'Agent'."),
        (None, "STS refused the credentials (ExpiredToken).", "Agent", "STS refused the credentials (ExpiredToken)."),
        (None, "STS did not answer: timeout.", None, "STS did not answer: timeout."),
    ],
)
def test_credentials_that_do_not_work_are_no_replacement(caller, error, role, objection):
    found = sharing_plan.find_objection(caller, error, replace(PRESENT, role=role))
    assert str(found).endswith(str(objection))


def test_the_diff_and_the_plan_have_nothing_of_the_content():
    made = plan(RENEWED, PRESENT)
    before, after = (sharing_plan.to_diff(state, PRESENT) for state in (made.current, made.planned))
    assert before == {
        "credentials_file": {"path": FILE, "profile": "default", "region": None},
        "common_config": {},
    }
    assert after == {
        "credentials_file": {"path": FILE, "profile": "default", "region": "eu-west-1"},
        "common_config": {"shared_credential_profile": "default", "shared_credential_file": FILE},
    }
    assert "rEt" not in repr(made)
    assert sharing_plan.to_diff(State(None, None), PRESENT) == before


SECTIONS = ["", f"[default]\n{KEYS}", f"\n[other]\n# theirs\n{KEYS}region = us-east-1\n"]
FILES = st.permutations(SECTIONS).map("".join)
CONFIGS = st.permutations(["# [credentials]\n", PROXY, "\n[ssl]\nx = 1\n"]).map("".join)


@given(FILES, CONFIGS, st.booleans())
def test_absent_undoes_exactly_what_present_did(text, config, has_windows_line_ends):
    if has_windows_line_ends:
        text, config = (each.replace("\n", "\r\n") for each in (text, config))
    before = State(replace(SHARED, text=text), File(config, 0o600, 3, 4))
    made = plan(before, PRESENT)
    assert made.has_changes
    assert plan(made.planned, ABSENT).planned == before

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.files import File
from ansible_collections.cwagent.iam.plugins.module_utils._servers import credentials_plan as files_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_plan import Desired, State

KEY, CONFIG, PROXY = "/etc/key", "/etc/config.toml", '[proxy]\nhttp_proxy = "http://user:Se/CrEt@proxy"\n'
SETTINGS = f'[credentials]\n    shared_credential_profile = "P"\n    shared_credential_file = "{KEY}"\n'
NOTHING = State(None, None)
TEXT = "[P]\naws_access_key_id = A\n"
OTHERS = "# theirs\n[default]\nAWS_Access_Key_Id=B ; c\n"
PRESENT = Desired(KEY, CONFIG, "P", TEXT, 0, 0)
ABSENT = replace(PRESENT, text=None, uid=None, gid=None)
DONE = State(File(TEXT, 0o600, 0, 0), File(SETTINGS, 0o644, 5, 6))
WRITE_KEY, SET = f"write the access key to {KEY}", f"set the credentials file in {CONFIG}"
REMOVE_KEY = f"remove the access key from {KEY}"
REMOVE, DELETE = f"remove the credentials file from {CONFIG}", f"delete {KEY}"


def plan(current, desired):
    made = files_plan.plan(current, desired)
    # After its steps there is nothing left to do, but folders are only known as missing.
    assert not files_plan.plan(made.planned, desired).has_changes
    return made


def key(**changes):
    assert DONE.credentials
    return replace(DONE, credentials=replace(DONE.credentials, **changes))


@pytest.mark.parametrize(
    ("current", "desired", "steps", "kinds"),
    [
        (NOTHING, PRESENT, [WRITE_KEY, SET], ["create", "create"]),
        (DONE, PRESENT, [], []),
        (key(text="[P]\naws_access_key_id = C\n"), PRESENT, [WRITE_KEY], ["update"]),
        (key(mode=0o644), PRESENT, [WRITE_KEY], ["update"]),
        (key(uid=1), PRESENT, [WRITE_KEY], ["update"]),
        (key(gid=1), PRESENT, [WRITE_KEY], ["update"]),
        (key(uid=1, gid=2), replace(PRESENT, uid=None, gid=None), [], []),
        (replace(DONE, config=None), PRESENT, [SET], ["create"]),
        (replace(DONE, config=None), replace(PRESENT, config=None), [], []),
        (replace(DONE, config=File("", 0o600, 1, 1)), PRESENT, [SET], ["update"]),
        (
            replace(NOTHING, missing_folders=("/a", "/a/b")),
            PRESENT,
            ["create folder /a", "create folder /a/b", WRITE_KEY, SET],
            ["create"] * 4,
        ),
        (replace(NOTHING, missing_folders=("/a",)), ABSENT, [], []),
        (NOTHING, ABSENT, [], []),
        (DONE, ABSENT, [REMOVE, DELETE], ["update", "delete"]),
        (replace(DONE, config=None), ABSENT, [DELETE], ["delete"]),
        (DONE, replace(ABSENT, config=None), [DELETE], ["delete"]),
        (replace(DONE, credentials=None), ABSENT, [REMOVE], ["update"]),
        (State(None, None, unfinished=True), ABSENT, [DELETE], ["delete"]),
        (key(text=OTHERS), PRESENT, [WRITE_KEY], ["update"]),
        (key(text=f"{TEXT}\n{OTHERS}"), PRESENT, [], []),
        (key(text=f"{OTHERS}\n{TEXT}"), replace(ABSENT, config=None), [REMOVE_KEY], ["update"]),
        (key(text=OTHERS), replace(ABSENT, config=None), [], []),
        (key(text=f"{TEXT}aws_session_token = T\n"), replace(ABSENT, config=None), [], []),
        (replace(key(text=OTHERS), unfinished=True), replace(ABSENT, config=None), [REMOVE_KEY], ["update"]),
        (key(text=""), replace(ABSENT, config=None), [], []),
    ],
)
def test_plan(current, desired, steps, kinds):
    made = plan(replace(current), desired)
    assert made.summaries == steps
    assert [step.kind.value for step in made.all_steps] == kinds


@pytest.mark.parametrize("unfinished", [False, True])
def test_files_that_are_as_desired_stay_as_they_are(unfinished):
    current = replace(DONE, unfinished=unfinished)
    assert plan(current, PRESENT).planned == current


def test_a_file_that_is_written_is_no_longer_unfinished():
    assert plan(replace(key(mode=0o644), unfinished=True), PRESENT).planned == DONE


def test_other_profiles_stay_as_they_are():
    """Byte for byte, when the key is written, and when it is removed."""
    before = key(text=OTHERS)
    [written] = [step.context(before.credentials) for step in plan(before, PRESENT).all_steps]
    assert written.text == f"{OTHERS}\n{TEXT}"
    removed = plan(replace(DONE, credentials=replace(written, mode=0o640)), replace(ABSENT, config=None))
    assert removed.planned.credentials == File(OTHERS, 0o640, 0, 0)


@pytest.mark.parametrize("desired", [PRESENT, ABSENT], ids=["present", "absent"])
def test_a_file_that_is_no_credentials_file_is_an_error_before_the_first_step(desired):
    with pytest.raises(CwagentError, match=f"{KEY} has content that does not belong in a credentials file.*Nothing"):
        plan(key(text="other"), desired)


def test_a_key_that_check_mode_has_not_created_is_a_change():
    assert files_plan.plan(DONE, replace(PRESENT, text="")).summaries == [WRITE_KEY]


def test_written_files_keep_other_owners_and_the_mode_of_the_configuration():
    before = {KEY: File("", 0o644, 7, 8), CONFIG: File(PROXY, 0o640, 9, 10)}
    steps = plan(State(before[KEY], before[CONFIG]), replace(PRESENT, gid=None)).all_steps
    written = {path: step.context(before[path]) for step in steps for path in step.arguments.values()}
    assert written[KEY] == File(TEXT, 0o600, 0, 8)
    assert (written[CONFIG].mode, written[CONFIG].uid, written[CONFIG].gid) == (0o640, 9, 10)
    assert written[CONFIG].text.startswith(PROXY)
    assert written[CONFIG].text.endswith(SETTINGS)


def test_a_new_file_has_the_owner_of_the_process_unless_one_is_given():
    [written, config] = [step.context(None) for step in plan(NOTHING, replace(PRESENT, uid=None, gid=None)).all_steps]
    assert (written.mode, written.uid, written.gid) == (0o600, None, None)
    assert (config.mode, config.uid, config.gid) == (0o644, None, None)


def test_a_configuration_that_cannot_be_changed_is_an_error_before_the_first_step():
    with pytest.raises(CwagentError, match=f"{CONFIG} cannot be changed: Line 1: Every value.*Nothing was changed"):
        plan(replace(NOTHING, config=File("[proxy\n", 0o644, 0, 0)), PRESENT)


def test_the_diff_and_the_state_have_nothing_of_the_content():
    current = State(File("[P]\nkey = Se/CrEt\n", 0o644, 1, 2), File(PROXY, 0o644, 0, 0))
    made = plan(current, replace(PRESENT, text="[P]\nkey = New/SeCrEt\n"))
    before, after = (
        files_plan.to_diff(state, replace(PRESENT, text="[P]\nkey = New/SeCrEt\n")) for state in (current, made.planned)
    )
    assert before == {
        "credentials_file": {"path": KEY, "access_key": "not the saved one", "mode": "0644", "owner": 1, "group": 2},
        "common_config": {},
    }
    assert after == {
        "credentials_file": {"path": KEY, "access_key": "the saved one", "mode": "0600", "owner": 0, "group": 0},
        "common_config": {"shared_credential_profile": "P", "shared_credential_file": KEY},
    }
    assert "rEt" not in repr((made, PRESENT))
    assert files_plan.to_diff(NOTHING, ABSENT) == {"credentials_file": None, "common_config": {}}
    assert files_plan.to_diff(NOTHING, replace(ABSENT, config=None)) == {"credentials_file": None}

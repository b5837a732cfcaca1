from __future__ import annotations

import configparser
import os
import re
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import botocore.session
import pytest
from botocore.credentials import SharedCredentialProvider
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._keys.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import CreationRecord, SavedCredentials

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SECRET = "wJalr%(x)s/K7MD+bPx%RfiCY=;#EXAMPLE"


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "keys", "AmazonCloudWatchAgent", "eu-central-1")


@pytest.fixture
def path(store):
    """The credentials file of a user with a saved key."""
    store.save("U", "AKIAONE", SECRET)
    return store.path("U")


def read(store: FileStore, user: str) -> SavedCredentials:
    return store.read([user])[user]


def file_names(store: FileStore) -> list[str]:
    return sorted(each.name for each in store.directory.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_without_a_folder_nothing_is_saved(store):
    assert read(store, "U") == SavedCredentials(str(store.path("U")))
    store.delete("U")
    assert not store.directory.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_can_read_the_files(store, umask):
    previous = os.umask(umask)
    try:
        store.prepare("U", ["AKIAOLD"], NOW)
        assert [mode(store.directory), mode(store.directory / ".U.pending")] == [0o700, 0o600]
        store.save("U", "AKIAONE", SECRET)
    finally:
        os.umask(previous)
    assert [mode(store.directory), mode(store.path("U"))] == [0o700, 0o600]
    assert file_names(store) == ["U.credentials"]


def test_a_saved_key_is_read_and_replaced_atomically(store, path):
    assert read(store, "U") == SavedCredentials(str(path), key_id="AKIAONE")
    assert read(store, "V") == SavedCredentials(str(store.path("V")))
    with path.open() as reader:
        store.save("U", "AKIATWO", "other")
        assert SECRET in reader.read()
    assert read(store, "U").key_id == "AKIATWO"
    assert SECRET not in path.read_text()


@pytest.mark.parametrize("profile", ["AmazonCloudWatchAgent", "default", "my agent"])
def test_botocore_reads_the_file(tmp_path, profile):
    store = FileStore(tmp_path, profile, "cn-north-1")
    store.save("U", "AKIAONE", SECRET)
    found = SharedCredentialProvider(str(store.path("U")), profile).load()
    assert (found.access_key, found.secret_key, found.token) == ("AKIAONE", SECRET, None)
    session = botocore.session.Session(profile=profile)
    session.set_config_variable("credentials_file", str(store.path("U")))
    session.set_config_variable("config_file", str(tmp_path / "none"))
    assert session.get_config_variable("region") == "cn-north-1"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_a_secret_with_special_characters_is_saved_unchanged(secret):
    with tempfile.TemporaryDirectory() as folder:
        store = FileStore(Path(folder), "p", None)
        store.save("U", "AKIAONE", secret)
        store.path("U").chmod(0o644)
        store.rewrite("U")
        assert SharedCredentialProvider(str(store.path("U")), "p").load().secret_key == secret


def test_without_a_region_no_region_is_written(store, path):
    regionless = replace(store, region=None)
    assert read(regionless, "U").up_to_date
    regionless.save("U", "AKIAONE", SECRET)
    assert "region" not in path.read_text()


@pytest.mark.parametrize("difference", ["file mode", "region", "no region"])
def test_a_file_that_differs_from_the_declared_form_is_written_again(store, path, difference):
    if difference == "file mode":
        path.chmod(0o640)
    elif difference == "region":
        replace(store, region="us-east-1").save("U", "AKIAONE", SECRET)
    else:
        replace(store, region=None).save("U", "AKIAONE", SECRET)
    assert read(store, "U") == SavedCredentials(str(path), key_id="AKIAONE", up_to_date=False)
    store.rewrite("U")
    assert read(store, "U") == SavedCredentials(str(path), key_id="AKIAONE")
    assert SharedCredentialProvider(str(path), store.profile).load().secret_key == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"aws_secret_access_key = {SECRET}\n",
    ],
)
def test_an_incomplete_file_has_no_key(store, path, text):
    path.write_text(text)
    assert read(store, "U") == SavedCredentials(str(path))
    store.save("U", "AKIANEW", "new")
    assert read(store, "U").key_id == "AKIANEW"


def test_a_truncated_file_has_no_key_or_the_key(store, path):
    text = path.read_text()
    for length in range(len(text)):
        path.write_text(text[:length])
        assert read(store, "U").key_id in (None, "AKIAONE")


OTHER_SECTION = "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = y%(z)s\ns3 =\n\tmax_queue_size = 9\n\n"


def test_other_sections_are_kept(store, path):
    path.write_text(OTHER_SECTION + path.read_text())
    store.save("U", "AKIATWO", "two")
    replace(store, region="us-east-1").rewrite("U")
    parser = configparser.RawConfigParser()
    parser.read(path)
    assert parser["other"]["s3"] == "\nmax_queue_size = 9"
    assert SharedCredentialProvider(str(path), "other").load().secret_key == "y%(z)s"
    assert SharedCredentialProvider(str(path), store.profile).load().secret_key == "two"
    assert parser[store.profile]["region"] == "us-east-1"
    assert file_names(store) == ["U.credentials"]


@pytest.mark.parametrize("text", [f"{SECRET}\n", OTHER_SECTION + OTHER_SECTION])
def test_a_file_that_cannot_be_parsed_is_renamed(store, path, text):
    path.write_text(text)
    store.save("U", "AKIANEW", "new")
    assert file_names(store) == ["U.credentials", "U.credentials.earlier"]
    assert (store.directory / "U.credentials.earlier").read_text() == text
    assert read(store, "U") == SavedCredentials(str(path), key_id="AKIANEW")


def test_a_key_that_somebody_may_need_is_renamed(store, path):
    before = path.read_text()
    store.save("U", "AKIANEW", "new", keep_previous=True)
    assert file_names(store) == ["U.credentials", "U.credentials.earlier"]
    assert (store.directory / "U.credentials.earlier").read_text() == before
    assert "AKIAONE" not in path.read_text()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_an_unfinished_file_of_an_interrupted_run_is_replaced(store, path, umask):
    unfinished = store.directory / ".U.credentials.new"
    unfinished.write_text("half a secr")
    unfinished.chmod(0o644)
    previous = os.umask(umask)
    try:
        store.save("U", "AKIANEW", "new")
    finally:
        os.umask(previous)
    assert (file_names(store), mode(path)) == (["U.credentials"], 0o600)
    unfinished.write_text("half a secr")
    store.delete("U")
    assert file_names(store) == []
    unfinished.symlink_to(store.directory / "elsewhere")
    store.save("U", "AKIANEW", "new")
    assert file_names(store) == ["U.credentials"], "a link is not followed"


def test_a_renamed_file_is_never_overwritten(store, path):
    for text in ("first\n", "second\n"):
        path.write_text(text)
        store.save("U", "AKIANEW", "new")
    assert file_names(store) == ["U.credentials", "U.credentials.2.earlier", "U.credentials.earlier"]
    assert (store.directory / "U.credentials.2.earlier").read_text() == "second\n"


@pytest.mark.parametrize("condition", ["a folder in its place", "not UTF-8"])
def test_an_unreadable_file_is_an_error_that_names_it(store, path, condition):
    path.unlink()
    if condition == "not UTF-8":
        path.write_bytes(b"[AmazonCloudWatchAgent]\nx = \xff\n")
    else:
        path.mkdir()
    problem = read(store, "U").problem
    assert re.search(r"Could not read .*U\.credentials: .*move it away", problem or "")
    assert read(store, "V") == SavedCredentials(str(store.path("V")))


OTHERS = "[person]\naws_access_key_id = AKIAPERSON\naws_secret_access_key = theirs\n"


def test_sections_of_others_are_kept_when_the_key_is_deleted(store, path):
    own = path.read_text()
    path.write_text(f"{own}\n{OTHERS}")
    store.delete("U")
    assert path.read_text().strip() == OTHERS.strip()
    assert mode(path) == 0o600
    store.delete("U")
    assert path.read_text().strip() == OTHERS.strip()


def test_a_file_that_cannot_be_read_as_one_is_kept_aside_when_it_is_deleted(store, path):
    path.write_text("no credentials file\n")
    store.delete("U")
    assert file_names(store) == ["U.credentials.earlier"]


def run_python(code: str, store: FileStore) -> subprocess.CompletedProcess[str]:
    """Run a program that gets the folder as its argument."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(store.directory)]
    return subprocess.run(command, env=environ, text=True, capture_output=True, check=False)


def test_the_record_of_existing_keys_is_read_and_deleted(store, path):
    store.prepare("U", ["AKIATWO", "AKIAONE"], NOW)
    assert read(store, "U") == SavedCredentials(
        str(path), key_id="AKIAONE", record=CreationRecord(frozenset({"AKIAONE", "AKIATWO"}), NOW)
    )
    assert read(store, "V").record is None
    store.prepare("U", [], NOW)
    assert read(store, "U").record == CreationRecord(frozenset(), NOW)
    store.rewrite("U")
    assert read(store, "U").record is None


def test_deletion_removes_all_files_of_the_user_and_no_others(store, path):
    store.save("V", "AKIATWO", "other")
    store.prepare("U", [], NOW)
    for unfinished in (".U.credentials.new", ".U.pending.new"):
        (store.directory / unfinished).write_text("of an interrupted run")
    store.delete("U")
    assert file_names(store) == ["V.credentials"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"access_key_ids": null, "at": "2026-01-01T00:00:00+00:00"}',
        '{"access_key_ids": []}',
        '{"access_key_ids": [], "at": "2026-01-01T00:00:00+00:00"}',
    ],
)
def test_an_unreadable_record_is_an_error_with_a_remedy(store, path, text):
    (store.directory / ".U.pending").write_text(text)
    remedy = r"Compare the access keys of user 'U' with .*, then delete .*\.U\.pending"
    assert re.search(remedy, read(store, "U").problem or "")


def test_a_failed_write_leaves_nothing_behind(store, path):
    path.unlink()
    path.mkdir()
    with pytest.raises(CwagentError, match=r"Could not read .*U\.credentials: ") as failure:
        store.save("U", "AKIATWO", SECRET)
    assert SECRET not in str(failure.value)
    assert file_names(store) == ["U.credentials"]


@pytest.mark.parametrize("below", ["", "inner"])
def test_a_file_instead_of_the_folder_is_refused_and_not_overwritten(tmp_path, below):
    (tmp_path / "keys").write_text("mine")
    store = FileStore(tmp_path / "keys" / below, "p", None)
    with pytest.raises(InvalidInput, match=r"keys is not a folder"):
        store.check(["U"])
    with pytest.raises(CwagentError, match="Could not write"):
        store.prepare("U", [], NOW)
    assert (tmp_path / "keys").read_text() == "mine"


@pytest.mark.parametrize("below", ["", "a/b"])
def test_the_check_creates_nothing(store, below):
    """A new folder in a readable one is accepted."""
    (store.directory.parent / "notes.txt").write_text("x")
    store.directory.parent.chmod(0o755)
    replace(store, directory=store.directory / below).check(["U"])
    assert not store.directory.exists()


@pytest.mark.parametrize("files", [[], ["notes.txt"], ["V.credentials", ".V.pending"]])
@pytest.mark.parametrize(
    ("folder_mode", "is_refused"),
    [(0o755, True), (0o750, True), (0o701, True), (0o1777, True), (0o2770, True), (0o700, False), (0o2700, False)],
)
def test_a_folder_that_others_can_use_is_refused_and_keeps_its_mode(store, folder_mode, files, is_refused):
    store.directory.mkdir()
    for name in files:
        (store.directory / name).write_text("x")
    store.directory.chmod(folder_mode)
    if is_refused:
        remedy = rf"can read or change it \(mode {folder_mode:04o}\).* run: chmod 700 {store.directory}\."
        with pytest.raises(InvalidInput, match=remedy):
            store.check(["U"])
    else:
        store.check(["U"])
        store.save("U", "AKIAONE", SECRET)
        (store.directory / "U.credentials").unlink()
    assert (mode(store.directory), file_names(store)) == (folder_mode, sorted(files))


def test_a_dangling_link_instead_of_the_folder_is_refused(store):
    store.directory.symlink_to(store.directory.parent / "missing")
    with pytest.raises(InvalidInput, match=r"keys is not a folder"):
        store.check(["U"])


def test_a_link_to_a_folder_is_followed(store):
    (store.directory.parent / "volume").mkdir(mode=0o700)
    store.directory.symlink_to("volume")
    store.check(["U"])
    store.save("U", "AKIAONE", SECRET)
    assert store.directory.is_symlink()
    assert (store.directory.parent / "volume" / "U.credentials").is_file()


@pytest.mark.parametrize("name", ["U.credentials", ".U.pending"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "link to a device"])
def test_an_irregular_file_is_a_problem_and_is_kept(store, path, name, kind):
    place = store.directory / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    else:
        target = {"link": store.directory.parent / "file", "link to a device": Path("/dev/null")}.get(kind, "missing")
        (store.directory.parent / "file").write_text("")
        place.symlink_to(target)
    assert re.search("is (a symbolic link|not a regular file). Replace it", read(store, "U").problem or "")
    with pytest.raises(CwagentError, match="Replace it by a file"):
        store.confirm("U", "run", None)
    assert place.is_symlink() or place.is_fifo()


@pytest.mark.parametrize("missing_permission", [os.R_OK, os.W_OK, os.X_OK])
def test_a_folder_without_a_needed_permission_is_refused(store, monkeypatch, missing_permission):
    monkeypatch.setattr(os, "access", lambda _path, needed: not needed & missing_permission)
    with pytest.raises(InvalidInput, match="cannot be read and written by this user"):
        store.check(["U"])


WRITER = """
import resource, sys
from pathlib import Path
from ansible_collections.cwagent.iam.plugins.module_utils._keys.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
try:
    FileStore(Path(sys.argv[1]), "AmazonCloudWatchAgent", None).save("U", "AKIATWO", "s" * 40)
except CwagentError as error:
    sys.stdout.write(str(error))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes to make a write fail")
def test_a_write_that_fails_half_way_keeps_the_previous_file(store, path):
    before = path.read_bytes()
    assert run_python(WRITER, store).stdout == f"Could not write {path}: File too large."
    assert path.read_bytes() == before
    assert file_names(store) == ["U.credentials"]


def test_the_replaced_key_is_saved_with_the_key_and_stays_when_it_is_written_again(store, path):
    store.save("U", "AKIATWO", "two", "AKIAONE")
    assert read(store, "U") == SavedCredentials(str(path), key_id="AKIATWO", replaced_key_id="AKIAONE")
    replace(store, region="us-east-1").rewrite("U")
    assert read(store, "U").replaced_key_id == "AKIAONE"
    assert SharedCredentialProvider(str(path), store.profile).load().secret_key == "two"


def test_a_claim_locks_the_place_and_leaves_only_the_record(store):
    with store.claim("U", None, ["AKIAOLD"], NOW, Deadline(0)) as run:
        assert read(store, "U").claimed
        assert not read(store, "V").claimed
        message = "Another run is creating an access key of user 'U'. Wait until it has ended"
        with pytest.raises(ContentionError, match=message), store.claim("U", None, [], NOW, Deadline(0)):
            pass
        with store.claim("V", None, [], NOW, Deadline(0)):
            pass
    record = CreationRecord(frozenset({"AKIAOLD"}), NOW, run)
    assert read(store, "U") == SavedCredentials(str(store.path("U")), record=record)
    assert file_names(store) == [".U.pending", ".V.pending"]
    with pytest.raises(ContentionError, match="was interrupted"), store.claim("U", None, [], NOW, Deadline(0)):
        pass
    with store.claim("U", record, [], NOW, Deadline(0)) as second:
        store.confirm("U", second, None)
        with pytest.raises(ContentionError, match="Another run saved an access key"):
            store.confirm("U", second, "AKIAOTHER")
        store.release("U", second)
    assert file_names(store) == [".V.pending"]


def test_a_lock_that_was_deleted_while_it_was_waited_for_is_taken_again(store):
    with store.claim("U", None, [], NOW, Deadline(0)) as run:
        store.release("U", run)
        lock = store.directory / ".U.lock"
        waiting = Deadline(60, sleep=lambda _seconds: (lock.unlink(), None)[1])
        with store.claim("U", None, [], NOW, waiting):
            assert read(store, "U").claimed


def test_a_lock_that_a_killed_run_has_left_goes_when_the_key_is_written_again(store, path):
    assert read(store, "U").up_to_date
    (store.directory / ".U.lock").touch(mode=0o600)
    left = read(store, "U")
    assert (left.key_id, left.up_to_date, left.claimed) == ("AKIAONE", False, False)
    with store.claim("U", None, ["AKIAONE"], NOW, Deadline(0)) as run:
        assert read(store, "U").claimed
        store.rewrite("U")
        store.release("U", run)
    assert read(store, "U").up_to_date
    assert file_names(store) == ["U.credentials"]


def test_a_link_instead_of_a_lock_is_not_followed(store, path):
    target = store.directory.parent / "elsewhere"
    (store.directory / ".U.lock").symlink_to(target)
    claim = store.claim("U", None, ["AKIAONE"], NOW, Deadline(0))
    with pytest.raises(CwagentError, match=r"Could not write .*lock"), claim:
        pass
    assert not target.exists()
    target.touch()
    assert read(store, "U").up_to_date

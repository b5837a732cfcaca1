from __future__ import annotations

import os

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._playbook_inputs import _find_file, _is_version


def test_a_file_is_found_in_the_first_folder_that_has_it(tmp_path):
    folders = [tmp_path / name for name in ("none", "inventory", "playbook")]
    for folder in folders[1:]:
        folder.mkdir()
        (folder / "a.json").touch()
    assert _find_file("a.json", folders) == str(folders[1] / "a.json")
    with pytest.raises(InvalidInput, match=r"^there is no file b\.json in .*/none, .*/inventory, "):
        _find_file("b.json", folders)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, None])
def test_only_regular_files_are_read(tmp_path, make):
    """Reading the last two would not end."""
    path = tmp_path / "x" if make else "/dev/zero"
    if make:
        make(path)
    with pytest.raises(InvalidInput, match=rf"^{path} is not a regular file\.$"):
        _find_file(str(path), [tmp_path])


@pytest.mark.parametrize(
    ("value", "is_version"),
    [("previous", True), (41, True), ("A=41", True), *((each, False) for each in (None, "", " ", "nope", ["41"]))],
)
def test_files_are_read_unless_a_version_is_stored_again(value, is_version):
    """Beside a version that is not valid, the files are read, so that one run shows all problems."""
    assert _is_version(value) == is_version

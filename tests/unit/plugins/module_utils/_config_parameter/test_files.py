from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import MAX_SIZE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.files import read_file
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput


@pytest.mark.parametrize("size", [0, 1, MAX_SIZE])
def test_a_file_is_read_in_full(tmp_path, size):
    path = tmp_path / "linux.json"
    path.write_bytes(b" " * size)
    assert read_file(str(path)) == b" " * size


def _too_large(path):
    path.write_bytes(b" " * (MAX_SIZE + 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory."),
        (os.mkdir, "cannot be read: Is a directory."),
        (os.mkfifo, "cannot be read: it is not a regular file."),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is not a regular file."),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links."),
        (_too_large, f"cannot be read: it is larger than {MAX_SIZE} bytes."),
    ],
)
def test_an_endless_or_irregular_file_is_an_error_at_once(tmp_path, make, message):
    path = tmp_path / "linux.json"
    make(path)
    descriptors = Path("/proc/self/fd")
    open_files = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    with pytest.raises(InvalidInput) as caught:
        read_file(str(path))
    assert str(caught.value) == f"{path} {message}"
    assert not open_files or len(list(descriptors.iterdir())) == open_files


def test_no_more_of_a_file_is_read_than_it_can_have(tmp_path):
    path = tmp_path / "linux.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # it has no content, so it takes no space
    with pytest.raises(InvalidInput, match="larger than"):
        read_file(str(path))

"""Files in folders that other users can change: they can neither be read nor written through links of these users."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground import files
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.files import File, open_place, read_file, write_file

OTHER = 12345
SECRET = "of root"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """A file of root, and the folder of another user."""
    root, home = tmp_path / "root", tmp_path / "home"
    for folder in (root, home):
        folder.mkdir()
    (root / "credentials").write_text(SECRET)
    os.chown(home, OTHER, OTHER)
    return SimpleNamespace(root=root, home=home, path=home / ".aws" / "credentials", folder=home / ".aws")


def link_folder(host: Any) -> None:
    host.folder.symlink_to(host.root)
    os.lchown(host.folder, OTHER, OTHER)


def link_file(host: Any) -> None:
    host.folder.mkdir()
    host.path.symlink_to(host.root / "credentials")
    os.lchown(host.path, OTHER, OTHER)


def link_of_root(host: Any) -> None:
    """A link that root made, in a folder of the other user, who can replace it."""
    host.folder.symlink_to(host.root)


def hard_link(host: Any) -> None:
    host.folder.mkdir()
    os.chown(host.folder, OTHER, OTHER)
    host.path.hardlink_to(host.root / "credentials")


def write(path: Path) -> None:
    write_file(path, File("new", 0o600, OTHER, OTHER))


@as_root
@pytest.mark.parametrize("attack", [link_folder, link_file, link_of_root, hard_link])
@pytest.mark.parametrize("use", [read_file, write, files.delete_file, files.create_empty_file])
def test_a_file_of_root_stays_its_own(host: Any, attack: Any, use: Any) -> None:
    attack(host)
    try:
        found = use(host.path)
    except (CwagentError, OSError):
        found = None
    assert found is None
    victim = host.root / "credentials"
    assert (victim.read_text(), victim.stat().st_uid) == (SECRET, 0)
    assert [path.name for path in host.root.iterdir()] == ["credentials"]


@as_root
@pytest.mark.parametrize("attack", [link_folder, link_file, link_of_root])
def test_a_link_that_others_can_change_is_named(host: Any, attack: Any) -> None:
    attack(host)
    with pytest.raises(CwagentError, match=r"home/\.aws.* is a symbolic link that others than root can change"):
        read_file(host.path)


@as_root
def test_a_hard_link_in_a_folder_of_others_is_named(host: Any) -> None:
    hard_link(host)
    with pytest.raises(CwagentError, match="has another name somewhere"):
        read_file(host.path)


@as_root
def test_a_folder_that_is_exchanged_all_the_time_gives_nothing_away(host: Any) -> None:
    """The owner exchanges the folder for a link as fast as possible, while root writes the file."""
    host.folder.mkdir()
    os.chown(host.folder, OTHER, OTHER)
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            kept = host.folder.rename(host.home / "kept")
            link_folder(host)
            host.folder.unlink()
            kept.rename(host.folder)

    attacker = threading.Thread(target=exchange)
    attacker.start()
    for _ in range(300):
        try:
            write(host.path)
        except (CwagentError, OSError):
            continue
    ended.set()
    attacker.join()
    assert (host.root / "credentials").read_text() == SECRET
    assert [path.name for path in host.root.iterdir()] == ["credentials"]


def test_links_that_nobody_else_can_change_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("a")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative" / ".." / "a" / "b")
    file = tmp_path / "absolute" / "link"
    file.symlink_to("../file")
    write_file(file, File("text", 0o640, None, None))
    assert (tmp_path / "a" / "file").read_text() == "text"
    found = read_file(file)
    assert found
    assert (found.text, found.mode) == ("text", 0o640)
    with open_place(file, follows=True) as place:
        assert (place.path.name, place.path.resolve()) == ("file", tmp_path / "a" / "file")


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), open_place(tmp_path / "a" / "file"):
        pass


def test_the_root_folder_is_no_file() -> None:
    with pytest.raises(CwagentError, match="is not a regular file"):
        read_file(Path("/"))


@as_root
@pytest.mark.parametrize(
    ("mode", "group", "is_followed"),
    [(0o755, OTHER, True), (0o775, 0, True), (0o775, OTHER, False), (0o757, 0, False), (0o1777, OTHER, True)],
)
def test_who_can_write_to_the_folder_of_a_link(tmp_path: Path, mode: int, group: int, is_followed: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "target").write_text("text")
    (folder / "link").symlink_to(tmp_path / "target")
    os.chown(folder, 0, group)
    folder.chmod(mode)
    try:
        assert read_file(folder / "link") is not None
        followed = True
    except CwagentError:
        followed = False
    assert followed == is_followed


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path)
    before = len([*Path("/proc/self/fd").iterdir()])
    for path in (tmp_path / "a" / "file", tmp_path / "missing" / "file", tmp_path / "a" / "a" / "b" / "c"):
        read_file(path)
        files.find_unfinished(path)
    write_file(tmp_path / "file", File("", 0o600, None, None))
    read_file(tmp_path / "file")
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_only_a_regular_file_counts(tmp_path: Path) -> None:
    files.create_empty_file(tmp_path / "file")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to("file")
    names = ("file", "link", "missing", "missing/file", ".")
    assert [name for name in names if files.is_file(tmp_path / name)] == ["file"]
    files.delete_file(tmp_path / "missing" / "file")
    files.delete_file(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

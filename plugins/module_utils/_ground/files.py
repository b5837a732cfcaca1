# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads, writes and deletes files whose folders other users may be able to change.

The functions open every folder of a path from its parent folder, so other users cannot exchange a folder meanwhile.
They follow a link only if root and this user alone can change the link. Otherwise, the owner of a folder could choose
the file that root reads, writes or gives to another user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CwagentError, InvalidInput, root_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


ROOT = 0
# As many as Linux follows. https://man7.org/linux/man-pages/man7/path_resolution.7.html
MAX_LINKS = 40
# The SSM agent writes its file every half hour, so already the second attempt meets it only by accident.
_ATTEMPTS = 5
_PRIVATE_MODE = 0o600
_GROUP_CAN_WRITE, _OTHERS_CAN_WRITE = 0o020, 0o002
# It can be opened without the permission to read it. Only Linux has it.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class File:
    """A file with its content. :param uid, gid: its owner and group; in a plan, ``None`` means the process's own."""

    text: str = field(repr=False)
    mode: int
    uid: int | None
    gid: int | None


@dataclass(frozen=True)
class Place:
    """The place of a file. :param folder: the descriptor of its folder. :param path: for messages."""

    folder: int
    name: str
    path: Path

    def open(self, flags: int, mode: int = _PRIVATE_MODE) -> int:
        """Open the file, which is not a link. A pipe is opened without waiting for its other end."""
        return os.open(self.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=self.folder)

    def stat(self) -> os.stat_result | None:
        """Return the status of the file; ``None`` if there is none."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def delete(self) -> None:
        """Delete the file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.folder)

    @property
    def unfinished(self) -> Place:
        """The place where the file is written before it is renamed."""
        name = f".{self.name.lstrip('.')}.new"
        return Place(self.folder, name, self.path.with_name(name))


@contextlib.contextmanager
def open_place(path: Path, *, follows: bool = False) -> Iterator[Place]:
    """Open the folder of a file. Links on the path are followed.

    :param path: an absolute path. :param follows: whether a link to the file itself is followed, too.
    :raises OSError: a folder cannot be opened. :raises CwagentError: other users can change a link.
    """
    folder, here, names = os.open("/", _FOLDER), Path("/"), deque(path.parts[1:] or (".",))
    links = 0
    try:
        while True:
            name = names.popleft()
            target = _read_link(folder, name) if names or follows else None
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                if not _is_private(folder, name):
                    raise CwagentError(
                        f"{here / name} is a symbolic link that others than root can change, so it is not followed. "
                        f"Set the path of the file itself instead of {path}. Nothing was changed there."
                    )
                names.extendleft(reversed(target.parts))
                if target.is_absolute():
                    names.popleft()
                    folder, here = _enter(folder, "/"), Path("/")
            elif names:
                folder, here = _enter(folder, name), here / name
            else:
                break
        yield Place(folder, name, here / name)
    finally:
        os.close(folder)


def _read_link(folder: int, name: str) -> Path | None:
    """Return the target of a link; ``None`` if it is none."""
    try:
        return Path(os.readlink(name, dir_fd=folder))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _is_private(folder: int, name: str) -> bool:
    """Whether only root and this user can change what a name in a folder means."""
    around, link = os.fstat(folder), os.stat(name, dir_fd=folder, follow_symlinks=False)
    own = {ROOT, os.geteuid()}
    by_group = around.st_mode & _GROUP_CAN_WRITE and around.st_gid != ROOT
    is_shared = by_group or around.st_mode & _OTHERS_CAN_WRITE
    # In a folder with this bit, such as /tmp, only the owner of a link can change it.
    return {around.st_uid, link.st_uid} <= own and (not is_shared or bool(around.st_mode & stat.S_ISVTX))


def _enter(folder: int, name: str) -> int:
    """Open a folder in another one, and close that."""
    inner = os.open(name, _FOLDER, dir_fd=folder)
    os.close(folder)
    return inner


def check_paths(params: Mapping[str, Any], *names: str) -> None:
    """Check the options that are paths. :raises InvalidInput: one is not absolute."""
    for name in names:
        path = params[name]
        if path is not None and (not Path(path).is_absolute() or "\0" in path):
            raise InvalidInput(f"{name} must be an absolute path on the host, not '{path}'.")


def missing_folders(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the folders to create for files, outermost first."""
    missing = [folder for path in paths for folder in reversed(path.resolve().parents) if not folder.exists()]
    return tuple(str(folder) for folder in dict.fromkeys(missing))


def create_folder(path: Path, mode: int) -> None:
    """Create a folder in an existing one. :raises OSError: it cannot be created."""
    with open_place(path) as place:
        os.mkdir(place.name, mode, dir_fd=place.folder)


def is_file(path: Path) -> bool:
    """Whether there is a file, and not something else. :raises OSError: the folder cannot be opened."""
    try:
        with open_place(path) as place:
            found = place.stat()
    except FileNotFoundError:
        return False
    return bool(found and stat.S_ISREG(found.st_mode))


def find_unfinished(path: Path) -> Path | None:
    """Return the unfinished file that a run left beside a file when it was killed; ``None`` if there is none."""
    try:
        with open_place(path, follows=True) as place:
            return place.unfinished.path if place.unfinished.stat() else None
    except OSError:  # reading the file itself reports it
        return None


def read_file(path: Path, errors: str = "strict") -> File | None:
    """Read a file; ``None`` if it does not exist.

    :param errors: how to decode bytes that are not UTF-8: ``surrogateescape`` keeps them.
    :raises CwagentError: it cannot be read, or is not a regular file, or others chose which file it is.
    """
    try:
        with open_place(path, follows=True) as place:
            return _read(place, errors)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CwagentError(f"Could not read {path}: {error.strerror}.{root_advice(error)}") from error
    except UnicodeDecodeError as error:
        raise CwagentError(f"{path} is not UTF-8 text. Move it away, and run again. Nothing was changed.") from error


def _read(place: Place, errors: str) -> File:
    descriptor = place.open(os.O_RDONLY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would never end
            raise CwagentError(f"{place.path} is not a regular file. Set another path. Nothing was changed.")
        if found.st_nlink > 1 and not _is_private(place.folder, place.name):
            raise CwagentError(
                f"{place.path} has another name somewhere (a hard link), and others than root can change its folder. "
                "Replace it by a copy of itself. Nothing was changed."
            )
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            text = opened.read().decode(errors=errors)
    finally:
        os.close(descriptor)
    return File(text, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def write_file(path: Path, file: File, before: File | None = None) -> bool:
    """Write a file atomically. Nobody else can read the file before it has its mode.

    A run that is killed can leave an unfinished file beside it, which the next run replaces, or deletes with the file.

    :param before: the file that was read, if another program writes it, too.
    :returns: ``False`` if the file is no longer the one that was read. Then it is not written.
    :raises OSError: it cannot be written. :raises CwagentError: as ``open_place``.
    """
    with open_place(path, follows=True) as place:
        new = place.unfinished
        new.delete()
        try:
            with os.fdopen(new.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as opened:
                os.fchown(opened.fileno(), -1 if file.uid is None else file.uid, -1 if file.gid is None else file.gid)
                if before:
                    _copy_attributes(place, opened.fileno())
                os.fchmod(opened.fileno(), file.mode)
                opened.write(file.text.encode(errors="surrogateescape"))
                opened.flush()
                os.fsync(opened.fileno())
            if before and (not place.stat() or _read(place, "surrogateescape") != before):
                new.delete()
                return False
            os.rename(new.name, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        except OSError:
            with contextlib.suppress(OSError):
                new.delete()
            raise
        folder = os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=place.folder)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return True


def edit_file(path: Path, change: Callable[[File | None], File | None]) -> bool:
    """Change a file as it is now, because other programs write it, too.

    :param change: returns the file to write for the current one, which is ``None`` if it does not exist. It is called
        again when another program has written the file in between. Without a result, nothing is written.
    :returns: whether the file is as desired. :raises OSError, CwagentError: as ``write_file`` and ``read_file``.
    """
    for _attempt in range(_ATTEMPTS):
        before = read_file(path, "surrogateescape")
        after = change(before)
        if after is None:
            break
        if after == before or write_file(path, after, before):
            return True
    return False


def _copy_attributes(place: Place, new: int) -> None:
    """Copy what a file has besides its mode, such as an access control list, as far as the file system allows that."""
    with contextlib.suppress(OSError):
        old = place.open(os.O_RDONLY)
        try:
            for name in os.listxattr(old):
                with contextlib.suppress(OSError):
                    os.setxattr(new, name, os.getxattr(old, name))
        finally:
            os.close(old)


def delete_file(path: Path) -> None:
    """Delete a file and its unfinished one, if they exist. :raises OSError: that is not possible."""
    try:
        with open_place(path) as place:
            place.unfinished.delete()
            place.delete()
    except FileNotFoundError:
        return


def create_empty_file(path: Path) -> None:
    """Create an empty private file, if there is none. :raises OSError: it cannot be created."""
    with open_place(path) as place:
        os.close(place.open(os.O_CREAT | os.O_WRONLY))

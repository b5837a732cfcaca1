# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes a file on the host that this runs on, atomically."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._agent_files.plan import File
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput, root_advice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER_MODE = 0o755
_PRIVATE_MODE = 0o600


def check_paths(params: Mapping[str, Any], *names: str) -> None:
    """Check the options that are paths. :raises InvalidInput: one is not absolute."""
    for name in names:
        path = params[name]
        if path is not None and (not Path(path).is_absolute() or "\0" in path):
            raise InvalidInput(f"{name} must be an absolute path on the host, not '{path}'.")


def resolve_target(path: str) -> Path:
    """Return the file of a path, which can be a link to the file."""
    return Path(path).resolve()


def missing_folders(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the folders to create for files, outermost first."""
    missing = [folder for path in paths for folder in reversed(path.parents) if not folder.exists()]
    return tuple(str(folder) for folder in dict.fromkeys(missing))


def read_file(path: Path, errors: str = "strict") -> File | None:
    """Read a file; ``None`` if it does not exist.

    :param errors: how to decode bytes that are not UTF-8: ``surrogateescape`` keeps them.
    :raises CwagentError: it cannot be read, or is not a regular file.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would never end
            raise CwagentError(f"{path} is not a regular file. Set another path. Nothing was changed.")
        text = path.read_bytes().decode(errors=errors)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CwagentError(f"Could not read {path}: {error.strerror}.{root_advice(error)}") from error
    except UnicodeDecodeError as error:
        raise CwagentError(f"{path} is not UTF-8 text. Move it away, and run again. Nothing was changed.") from error
    return File(text, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def write_file(path: Path, file: File, before: File | None = None) -> bool:
    """Write a file atomically. Nobody else can read the file before it has its mode.

    A run that is killed can leave an unfinished file beside it, which the next run replaces, or deletes with the file.

    :param before: the file that was read, if another program writes it, too.
    :returns: ``False`` if the file is no longer the one that was read. Then it is not written.
    """
    new = unfinished_path(path)
    new.unlink(missing_ok=True)
    try:
        # With O_EXCL a link that somebody else puts there is not followed.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE), "wb") as opened:
            os.fchown(opened.fileno(), -1 if file.uid is None else file.uid, -1 if file.gid is None else file.gid)
            if before:
                _copy_attributes(path, opened.fileno())
            os.fchmod(opened.fileno(), file.mode)
            opened.write(file.text.encode(errors="surrogateescape"))
            opened.flush()
            os.fsync(opened.fileno())
        if before and read_file(path, "surrogateescape") != before:
            new.unlink()
            return False
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _copy_attributes(path: Path, new: int) -> None:
    """Copy what a file has besides its mode, such as an access control list, as far as the file system allows that."""
    with contextlib.suppress(OSError):
        for name in os.listxattr(path):
            with contextlib.suppress(OSError):
                os.setxattr(new, name, os.getxattr(path, name))


def unfinished_path(path: Path) -> Path:
    """Return the path where a file is written before it is renamed."""
    return path.with_name(f".{path.name.lstrip('.')}.new")

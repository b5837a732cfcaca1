# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes the files of the agent on the host that this runs on."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._agent_files import plan as files_plan
from ansible_collections.cwagent.iam.plugins.module_utils._agent_files.plan import Desired, File, State
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, root_advice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

FOLDER_MODE = 0o755


class FilesResource(Resource[State]):
    """The credentials file of the agent, and its common configuration."""

    def __init__(self, desired: Desired) -> None:
        self._desired = desired

    def read(self) -> State:
        """Read the files.

        :raises CwagentError: one of them cannot be read, or is not a regular file.
        """
        desired = self._desired
        credentials = Path(desired.credentials)
        if credentials.is_symlink():
            raise CwagentError(
                f"{credentials} is a symbolic link, so anyone who can change it would get the access key. Set the path "
                "of the file itself, or delete the link. Nothing was changed."
            )
        config = _target(desired.config) if desired.config else None
        return State(
            _read(credentials, "surrogateescape"),  # other profiles stay byte for byte
            _read(config) if config else None,
            _unfinished_path(credentials).exists(),
            _missing_folders([credentials, *([config] if config else [])]),
        )

    def plan(self, current: State, /) -> Plan[State]:
        """Plan the steps from the current files to the desired ones."""
        return files_plan.plan(current, self._desired)

    def to_diff(self, state: State, /) -> dict[str, Any]:
        """Render a state for the diff."""
        return files_plan.to_diff(state, self._desired)

    def to_result(self, plan: Plan[State], final: State, /) -> dict[str, Any]:
        """Return nothing, because the steps contain everything."""
        del plan, final
        return {}

    def execute(self, step: Step) -> None:
        """Take one step of the plan.

        :raises CwagentError: the file cannot be written or deleted.
        """
        path = Path(step.arguments["path"])
        try:
            if step.action == files_plan.CREATE_FOLDER:
                path.mkdir(FOLDER_MODE)
            elif step.action == files_plan.DELETE:
                _unfinished_path(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            else:
                _write(_target(str(path)), step.context)
        except OSError as error:
            raise CwagentError(f"Could not {step.summary}: {error.strerror}.{root_advice(error)}") from error


def _target(path: str) -> Path:
    """Return the file of a path, which can be a link to the file."""
    return Path(path).resolve()


def _missing_folders(paths: Iterable[Path]) -> tuple[str, ...]:
    missing = [folder for path in paths for folder in reversed(path.parents) if not folder.exists()]
    return tuple(str(folder) for folder in dict.fromkeys(missing))


def _read(path: Path, errors: str = "strict") -> File | None:
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


def _write(path: Path, file: File) -> None:
    """Write a file atomically. Nobody else can read the file before it has its mode.

    A run that is killed can leave an unfinished file beside it, which the next run replaces, or deletes with the file.
    """
    new = _unfinished_path(path)
    new.unlink(missing_ok=True)
    try:
        # With O_EXCL a link that somebody else puts there is not followed.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, files_plan.CREDENTIALS_MODE), "wb") as opened:
            os.fchown(opened.fileno(), -1 if file.uid is None else file.uid, -1 if file.gid is None else file.gid)
            os.fchmod(opened.fileno(), file.mode)
            opened.write(file.text.encode(errors="surrogateescape"))
            opened.flush()
            os.fsync(opened.fileno())
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


def _unfinished_path(path: Path) -> Path:
    """Return the path where a file is written before it is renamed."""
    return path.with_name(f".{path.name.lstrip('.')}.new")

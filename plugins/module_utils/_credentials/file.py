# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves access keys on the controller: one AWS shared-credentials file for each user."""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import SavedCredentials
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import format as key_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.format import SavedKey
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.store import Store, parse_record, record_to_dict
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import Pending

FOLDER_MODE = 0o700
FILE_MODE = 0o600


@dataclass(frozen=True)
class FileStore(Store):
    """A folder with one shared-credentials file for each user, and records next to them.

    :param directory: where the files are.
    :param profile: the section in them.
    :param region: written next to the key, for the AWS CLI and SDKs.
    """

    directory: Path
    profile: str
    region: str | None

    def path(self, user: str) -> Path:
        """Return the path of a user's credentials file."""
        return self.directory / f"{user}.credentials"

    def _record_path(self, user: str) -> Path:
        return self.directory / f".{user}.pending"

    def check(self, users: Iterable[str]) -> None:
        """Refuse a folder that cannot be used, without creating it."""
        del users
        try:
            nearest = next(folder for folder in [self.directory, *self.directory.parents] if folder.exists())
        except OSError as error:
            raise InvalidInput(f"credentials directory {self.directory}: {error.strerror}.") from error
        if not nearest.is_dir():
            raise InvalidInput(f"credentials directory {self.directory}: {nearest} is not a folder.")
        if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
            raise InvalidInput(
                f"credentials directory {self.directory}: {nearest} cannot be read and written by this user."
            )
        if nearest == self.directory and self._is_shared():
            raise InvalidInput(
                f"credentials directory {self.directory}: others can read it and it holds other files. Use a separate "
                "folder for the keys."
            )

    def _is_shared(self) -> bool:
        """Whether the folder has other files and a wider mode; in a folder of its own, this store sets the mode."""
        managed = (".credentials", ".pending", ".earlier", ".new")
        has_others = any(not path.name.endswith(managed) for path in self.directory.iterdir())
        return has_others and self.directory.stat().st_mode & 0o777 != FOLDER_MODE

    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """Read what is saved for users."""
        return {user: self._read(user) for user in users}

    def _read(self, user: str) -> SavedCredentials:
        where = str(self.path(user))
        try:
            key, pending = self._read_key(user), self._read_record(user)
        except CwagentError as error:
            return SavedCredentials(where, problem=str(error))
        if key is None:
            return SavedCredentials(where, pending=pending)
        up_to_date = self._has_declared_modes(user) and self.region in (None, key.region)
        return SavedCredentials(where, key.key_id, up_to_date, pending, replaced_key_id=key.replaced_key_id)

    def prepare(self, user: str, existing: Iterable[str], now: datetime) -> None:
        """Write the record next to the file, which proves that the folder can be written."""
        self._write(self._record_path(user), json.dumps(record_to_dict(existing, now)))

    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        """Save a key in place of the previous content; other profiles in the file are kept."""
        parser = self._read_file(user)
        if parser is None or keep_previous:
            self._move_aside(user)
            parser = configparser.RawConfigParser()
        parser[self.profile] = key_format.to_values(SavedKey(key_id, secret, self.region, replaced_key_id))
        text = io.StringIO()
        parser.write(text)
        self._write(self.path(user), text.getvalue().rstrip() + "\n")
        _delete_file(self._record_path(user))  # every key that exists now is either saved or in use elsewhere

    def _move_aside(self, user: str) -> None:
        """Rename a file that may hold the only copy of a secret; the module cannot know."""
        path = self.path(user)
        names = (f"{path.name}.{number}.earlier" if number > 1 else f"{path.name}.earlier" for number in count(1))
        aside = next(self.directory / name for name in names if not (self.directory / name).exists())
        try:
            path.replace(aside)
        except OSError as error:
            raise CwagentError(f"Could not move {path} to {aside}: {error.strerror}.") from error

    def rewrite(self, user: str) -> None:
        """Write the saved key again, with the declared mode and region."""
        key = self._read_key(user)
        if key:
            self.save(user, key.key_id, key.secret, key.replaced_key_id)

    def delete(self, user: str) -> None:
        """Delete the file, the record, and the unfinished files of interrupted runs."""
        for path in (self.path(user), self._record_path(user)):
            _delete_file(path)
            _delete_file(_unfinished_path(path))

    def _read_key(self, user: str) -> SavedKey | None:
        parser = self._read_file(user)
        if parser is None or not parser.has_section(self.profile):
            return None
        return key_format.parse(parser[self.profile])

    def _read_file(self, user: str) -> configparser.RawConfigParser | None:
        """Return the whole file; it is empty where there is none, and ``None`` where it is not a credentials file."""
        path = self.path(user)
        parser = configparser.RawConfigParser()
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise CwagentError(f"Could not read {path}: it is not a regular file. Make it readable, or move it away.")
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return parser
        except (OSError, UnicodeDecodeError) as error:
            raise CwagentError(f"Could not read {path}: {error}. Make it readable, or move it away.") from error
        except configparser.Error:
            return None  # the error quotes the line, which can be the secret
        return parser

    def _read_record(self, user: str) -> Pending | None:
        path = self._record_path(user)
        try:
            return parse_record(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CwagentError(
                f"Could not read {path}, which lists the keys that existed before an interrupted run: {error}. Compare "
                f"the access keys of user '{user}' with {self.path(user)}, delete those that are not in use, then "
                f"delete {path}."
            ) from error

    def _has_declared_modes(self, user: str) -> bool:
        return (self.path(user).stat().st_mode & 0o777, self.directory.stat().st_mode & 0o777) == (
            FILE_MODE,
            FOLDER_MODE,
        )

    def _write(self, path: Path, text: str) -> None:
        """Write a file atomically, and never readable by others.

        An interrupted run can leave the unfinished file behind; the next run replaces it.
        """
        new = _unfinished_path(path)
        try:
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            path.parent.chmod(FOLDER_MODE)
            new.unlink(missing_ok=True)
            with os.fdopen(
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8"
            ) as file:
                os.fchmod(file.fileno(), FILE_MODE)  # independent of the umask
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise CwagentError(f"Could not write {path}: {error.strerror}.") from error


def _unfinished_path(path: Path) -> Path:
    """Return the path where a file is written before it is renamed."""
    return path.with_name(f".{path.name.lstrip('.')}.new")


def _delete_file(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CwagentError(f"Could not delete {path}: {error.strerror}.") from error

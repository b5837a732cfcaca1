# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves access keys on the controller: one AWS shared-credentials file for each user."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shlex
import stat
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._ground import files
from .._ground.errors import ContentionError, CwagentError, InvalidInput
from . import saved_key as key_format
from .key_rotation import SavedCredentials
from .saved_key import Refused, SavedKey, parse_sections, remove_section, replace_section
from .store import CLAIM_POLL_SECONDS, Store, claimed_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from .._ground.wait import Deadline
    from .key_rotation import CreationRecord


SUFFIX = ".credentials"
# The default section of the files, which is the profile of the agent.
PROFILE = "AmazonCloudWatchAgent"
# AWS tools do not read a section DEFAULT. Python's parser takes the defaults of all other sections from it.
_PROFILES = r"(?!DEFAULT$)[\w.@-]+"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
OTHERS = 0o077


@dataclass(frozen=True)
class FileStore(Store):
    """A folder with one shared-credentials file for each user, and records next to them.

    :param directory: where the files are.
    :param profile: the section in them.
    :param region: written next to the key, for the AWS CLI and SDKs.
    """

    directory: Path
    profile: str = PROFILE
    region: str | None = None

    NAME = "file"
    WORDS = "a file C(<user name>.credentials) on the controller"
    OPTION = "key_store_directory"
    ON_CONTROLLER = True

    @classmethod
    def open(cls, options: Mapping[str, Any], aws: Any = None, region: str | None = None) -> FileStore:
        """Return the folder in the options."""
        del aws
        directory = options[cls.OPTION]
        # An option that is null counts as given.
        if not directory or "\0" in directory:
            raise InvalidInput("saved_key.key_store_directory must be a folder when saved_key.key_store is file.")
        return cls(Path(directory).absolute(), options.get("credentials_profile", PROFILE), region)

    def path(self, user: str) -> Path:
        """Return the path of a user's credentials file."""
        return self.directory / f"{user}{SUFFIX}"

    def _record_path(self, user: str) -> Path:
        return self.directory / f".{user}.pending"

    def _lock_path(self, user: str) -> Path:
        return self.directory / f".{user}.lock"

    def check(self, users: Iterable[str]) -> None:
        """Refuse a profile and a folder that cannot be used, without creating the folder."""
        del users
        if not re.fullmatch(_PROFILES, self.profile, re.ASCII):
            raise InvalidInput(f"saved_key.credentials_profile: '{self.profile}' is not a valid profile name.")
        try:
            nearest = next(folder for folder in [self.directory, *self.directory.parents] if os.path.lexists(folder))
            is_folder = nearest.is_dir()
        except OSError as error:
            raise InvalidInput(f"key store directory {self.directory}: {error.strerror}.") from error
        if not is_folder:
            raise InvalidInput(f"key store directory {self.directory}: {nearest} is not a folder.")
        if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
            raise InvalidInput(
                f"key store directory {self.directory}: {nearest} cannot be read and written by this user."
            )
        mode = nearest.stat().st_mode & 0o7777
        if nearest == self.directory and mode & OTHERS:
            raise InvalidInput(
                f"key store directory {self.directory}: other users can read or change it (mode {mode:04o}). If only "
                f"you use it, run: chmod 700 {shlex.quote(str(self.directory))}. Otherwise choose another folder; a "
                "folder that does not exist is created with mode 0700."
            )

    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """Read the saved credentials of users."""
        return {user: self._read(user) for user in users}

    def _read(self, user: str) -> SavedCredentials:
        where = str(self.path(user))
        # Check the lock first. A run that ends in between has then left the key that it saved, and no record.
        locked = self._is_locked(user)
        claimed = bool(locked)
        try:
            key, record = self.read_key(user), self._read_record(user)
        except CwagentError as error:
            return SavedCredentials(where, problem=str(error))
        if key is None:
            return SavedCredentials(where, record=record, claimed=claimed)
        # Writing the key again deletes the lock that a killed run has left.
        up_to_date = self._has_declared_mode(user) and self.region in (None, key.region) and locked is not False
        return SavedCredentials(
            where, key.key_id, up_to_date, record, replaced_key_id=key.replaced_key_id, claimed=claimed
        )

    @contextlib.contextmanager
    def claim(
        self, user: str, planned: CreationRecord | None, existing: Iterable[str], now: datetime, deadline: Deadline
    ) -> Iterator[str]:
        """Lock the place, and write the record next to the file, which proves that the folder can be written."""
        run = secrets.token_hex(8)
        with self._lock(user, deadline):
            self._check_planned(user, self._read_record(user), planned)
            self.prepare(user, existing, now, run)
            yield run

    def prepare(self, user: str, existing: Iterable[str], now: datetime, run: str = "") -> None:
        """Write the record next to the file."""
        self._write(self._record_path(user), self._to_record(existing, now, run))

    def _holds_claim(self, saved: SavedCredentials, run: str) -> bool:
        del saved, run
        return True  # while this run has the lock, no other one writes

    def release(self, user: str, run: str) -> None:
        """Delete the record; the lock ends with the claim."""
        del run
        _delete_file(self._record_path(user))

    @contextlib.contextmanager
    def _lock(self, user: str, deadline: Deadline) -> Iterator[None]:
        """Hold a lock that the kernel ends with the process. The file has no content and is deleted afterwards."""
        path = self._lock_path(user)
        while True:
            descriptor = self._open_lock(path)
            if descriptor is not None:
                break
            if not deadline.pause(CLAIM_POLL_SECONDS):
                raise ContentionError(claimed_message(user))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)

    def _open_lock(self, path: Path) -> int | None:
        """Return the descriptor of a locked file; ``None`` if another run holds it or has just deleted it."""
        self._create_folder()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, FILE_MODE)
        except OSError as error:
            raise CwagentError(f"Could not write {path}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            os.close(descriptor)
            raise CwagentError(f"Could not lock {path}: {error.strerror}.") from error
        os.close(descriptor)
        return None

    def _is_locked(self, user: str) -> bool | None:
        """Whether a run holds the lock; ``None`` if there is no lock. A killed run leaves a lock that nobody holds."""
        try:
            descriptor = os.open(self._lock_path(user), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # claiming the place reports the problem of the folder
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False if os.fstat(descriptor).st_nlink else None  # the run that held it can have just deleted it
        except OSError:
            return True
        finally:
            os.close(descriptor)

    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        """Save a key instead of the previous one. Everything else in the file stays as it is."""
        text = self._read_text(user)
        values = key_format.to_values(SavedKey(key_id, secret, self.region, replaced_key_id))
        try:
            edited = replace_section(text, self.profile, values)
        except Refused:
            edited, keep_previous = replace_section("", self.profile, values), True
        if keep_previous:
            self._copy_aside(user, text)
        self._write(self.path(user), edited)
        _delete_file(self._record_path(user))  # every key that exists now is either saved or in use elsewhere

    def _copy_aside(self, user: str, text: str) -> None:
        """Keep the text of a file that may hold the only copy of a secret; the module cannot know."""
        path = self.path(user)
        names = (f"{path.name}.{number}.earlier" if number > 1 else f"{path.name}.earlier" for number in count(1))
        self._write(next(self.directory / name for name in names if not os.path.lexists(self.directory / name)), text)

    def rewrite(self, user: str) -> None:
        """Write the saved key again, with the declared mode and region."""
        key = self.read_key(user)
        if key:
            self.save(user, key.key_id, key.secret, key.replaced_key_id)

    def delete(self, user: str) -> None:
        """Delete the key, the record, and the unfinished files of interrupted runs. Other sections stay in the file."""
        text = self._read_text(user)
        try:
            others = remove_section(text, self.profile)
        except Refused:
            self._copy_aside(user, text)
            others = ""
        paths = [self.path(user), self._record_path(user), self._lock_path(user)]
        if parse_sections(others):
            self._write(paths.pop(0), others)
        for path in paths:
            _delete_file(path)

    def read_key(self, user: str) -> SavedKey | None:
        """Return the saved key of a user; ``None`` if there is no complete one."""
        return key_format.from_file(self._read_text(user), self.profile)

    def describe(self, user: str) -> str:
        """Return the section of a user's file in words."""
        return f"profile {self.profile} of {self.path(user)}"

    def list_users(self) -> frozenset[str]:
        """Return the users that have a file; none if the folder cannot be read."""
        try:
            return frozenset(path.name[: -len(SUFFIX)] for path in self.directory.glob(f"*{SUFFIX}"))
        except OSError:
            return frozenset()

    def _read_text(self, user: str) -> str:
        """Return the text of the file; it is empty if there is no file."""
        path = self.path(user)
        try:
            _check_regular(path)
            return path.read_bytes().decode("utf-8")  # not read_text, which changes the ends of lines
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise CwagentError(f"Could not read {path}: {error}. Make it readable, or move it away.") from error

    def _read_record(self, user: str) -> CreationRecord | None:
        path = self._record_path(user)
        try:
            _check_regular(path)
            return self._parse_record(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CwagentError(
                f"Could not read {path}, which lists the keys that existed before an interrupted run: {error}. Compare "
                f"the access keys of user '{user}' with {self.path(user)}, delete those that are not in use, then "
                f"delete {path}."
            ) from error

    def _has_declared_mode(self, user: str) -> bool:
        return self.path(user).stat().st_mode & 0o777 == FILE_MODE

    def _create_folder(self) -> None:
        try:
            self.directory.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise CwagentError(f"Could not write {self.directory}: {error.strerror}.") from error

    def _write(self, path: Path, text: str) -> None:
        """Write a file atomically, and never readable by others.

        An interrupted run can leave the unfinished file behind; the next run replaces it.
        """
        self._create_folder()
        try:
            files.write_file(_of_controller(path), files.File(text, FILE_MODE, None, None))
        except OSError as error:
            raise CwagentError(f"Could not write {path}: {error.strerror}.") from error


def _check_regular(path: Path) -> None:
    """Check that a file can be read and replaced. Reading a pipe would never end, and a link would be replaced.

    :raises FileNotFoundError: it does not exist.
    :raises CwagentError: it is something else.
    """
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
        raise CwagentError(f"Could not read {path}: it is {kind}. Replace it by a file, or move it away.")


def _delete_file(path: Path) -> None:
    """Delete a file, and the unfinished file of an interrupted run."""
    try:
        files.delete_file(_of_controller(path))
    except OSError as error:
        raise CwagentError(f"Could not delete {path}: {error.strerror}.") from error


def _of_controller(path: Path) -> Path:
    """Return the path without links to folders. On the controller, the user who runs it chooses these links."""
    return path.parent.resolve() / path.name

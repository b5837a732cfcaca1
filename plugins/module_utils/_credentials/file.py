# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where access keys are saved: files, parameters or secrets; so that no secret is lost and none is left lying about."""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import Pending, SavedCredentials
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import format as key_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.format import KEY_ID, REGION, SECRET
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER_MODE = 0o700
FILE_MODE = 0o600


RECORD = "keys_before"


class Store(ABC):
    """A place with one access key for each user.

    Before a key is made, the ids of the keys that exist are written down there. A key that came after them and is not
    saved was made by a run that died before it could save the secret.
    """

    @abstractmethod
    def check(self, users: Iterable[str]) -> None:
        """Refuse a place that cannot serve, before anything is written.

        :raises InvalidInput: it says why.
        """

    @abstractmethod
    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """What is saved for users; a place that cannot be read is the problem of its user alone."""

    @abstractmethod
    def prepare(self, user: str, existing: Iterable[str], time: datetime) -> None:
        """Write down which keys exist; this also proves that a key can be saved there.

        :raises CwagentError: it cannot.
        """

    @abstractmethod
    def save(self, user: str, key_id: str, secret: str, keep_earlier: bool = False) -> None:
        """Save a key in place of what was there, and forget the record.

        :param keep_earlier: whether what was there may still be of use.
        :raises CwagentError: it could not be saved.
        """

    @abstractmethod
    def rewrite(self, user: str) -> None:
        """Save the key that is there anew, as this place wants it."""

    @abstractmethod
    def remove(self, user: str) -> None:
        """Remove what is saved for a user.

        :raises CwagentError: it could not be removed.
        """


def record(existing: Iterable[str], time: datetime) -> dict[str, Any]:
    """The record of the keys that exist, as it is written down."""
    return {"access_key_ids": sorted(existing), "at": time.isoformat()}


def pending(written: Mapping[str, Any]) -> Pending:
    """The record that was written down. :raises KeyError, TypeError, ValueError: it is none."""
    return Pending(frozenset(written["access_key_ids"]), datetime.fromisoformat(written["at"]))


@dataclass(frozen=True)
class FileStore(Store):
    """A folder with one shared-credentials file for each user, and records beside them.

    :param directory: where the files are.
    :param profile: the section in them.
    :param region: written beside the key, for the AWS CLI and SDKs.
    """

    directory: Path
    profile: str
    region: str | None

    def path(self, user: str) -> Path:
        """The credentials file of a user."""
        return self.directory / f"{user}.credentials"

    def _pending(self, user: str) -> Path:
        return self.directory / f".{user}.pending"

    def check(self, users: Iterable[str]) -> None:
        """Refuse a folder that cannot be written, without making it."""
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
                f"credentials directory {self.directory}: others can read it and it holds other files; choose a folder "
                "of its own for the keys."
            )

    def _is_shared(self) -> bool:
        """Whether the folder serves something else too; one that does not gets its mode from this store."""
        managed = (".credentials", ".pending", ".earlier", ".new")
        others = any(not path.name.endswith(managed) for path in self.directory.iterdir())
        return others and self.directory.stat().st_mode & 0o777 != FOLDER_MODE

    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """What is saved for users."""
        return {user: self._read(user) for user in users}

    def _read(self, user: str) -> SavedCredentials:
        where = str(self.path(user))
        try:
            section, written = self._parsed(user), self._read_pending(user)
        except CwagentError as error:
            return SavedCredentials(where, problem=str(error))
        if section is None:
            return SavedCredentials(where, pending=written)
        up_to_date = self._mode_fits(user) and self.region in (None, section.get(REGION))
        return SavedCredentials(where, section[KEY_ID], up_to_date, written)

    def prepare(self, user: str, existing: Iterable[str], time: datetime) -> None:
        """Write the record beside the file, which proves that the folder can be written."""
        self._write(self._pending(user), json.dumps(record(existing, time)))

    def save(self, user: str, key_id: str, secret: str, keep_earlier: bool = False) -> None:
        """Save a key in place of what was there."""
        wanted = {KEY_ID: key_id, SECRET: secret}
        if self.region:
            wanted[REGION] = self.region
        parser = self._parser(user)
        if parser is None or keep_earlier:
            self._set_aside(user)
            parser = configparser.RawConfigParser()
        parser[self.profile] = wanted
        text = io.StringIO()
        parser.write(text)
        self._write(self.path(user), text.getvalue().rstrip() + "\n")
        _unlink(self._pending(user))  # all keys that exist now are accounted for

    def _set_aside(self, user: str) -> None:
        """Move a file out of the way that may hold the only copy of something: of what, the module cannot tell."""
        path = self.path(user)
        names = (f"{path.name}.{number}.earlier" if number > 1 else f"{path.name}.earlier" for number in count(1))
        aside = next(self.directory / name for name in names if not (self.directory / name).exists())
        try:
            path.replace(aside)
        except OSError as error:
            raise CwagentError(f"Could not move {path} to {aside}: {error.strerror}.") from error

    def rewrite(self, user: str) -> None:
        """Save the key that is there anew, with the mode and region that are wanted."""
        section = self._parsed(user)
        if section:
            self.save(user, section[KEY_ID], section[SECRET])

    def remove(self, user: str) -> None:
        """Remove the file and the record, and what killed runs left of them."""
        for path in (self.path(user), self._pending(user)):
            _unlink(path)
            _unlink(_unfinished(path))

    def _parsed(self, user: str) -> configparser.SectionProxy | None:
        parser = self._parser(user)
        if parser is None or not parser.has_section(self.profile):
            return None
        section = parser[self.profile]
        return section if key_format.read(section) else None

    def _parser(self, user: str) -> configparser.RawConfigParser | None:
        """The whole file, empty where there is none; ``None`` where it is no credentials file."""
        path = self.path(user)
        parser = configparser.RawConfigParser()
        if path.exists() and not path.is_file():  # to read a pipe would take forever
            raise CwagentError(f"Could not read {path}: it is no file. Make it readable, or move it away.")
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return parser
        except (OSError, UnicodeDecodeError) as error:
            raise CwagentError(f"Could not read {path}: {error}. Make it readable, or move it away.") from error
        except configparser.Error:
            return None  # the error quotes the line it stumbled over, which can be the secret
        return parser

    def _read_pending(self, user: str) -> Pending | None:
        path = self._pending(user)
        try:
            return pending(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CwagentError(
                f"Could not read {path}, which says what keys existed before an interrupted run: {error}. Compare the "
                f"access keys of user '{user}' with {self.path(user)}, delete those in no use, then remove {path}."
            ) from error

    def _mode_fits(self, user: str) -> bool:
        return (self.path(user).stat().st_mode & 0o777, self.directory.stat().st_mode & 0o777) == (
            FILE_MODE,
            FOLDER_MODE,
        )

    def _write(self, path: Path, text: str) -> None:
        """Write a file that is either whole or not there, and never readable by others.

        What a killed run leaves of the new file has a name of its own, and the next one writes over it.
        """
        new = _unfinished(path)
        try:
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            path.parent.chmod(FOLDER_MODE)
            new.unlink(missing_ok=True)
            with os.fdopen(
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8"
            ) as file:
                os.fchmod(file.fileno(), FILE_MODE)  # whatever the umask
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


def _unfinished(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f".{path.name.lstrip('.')}.new")


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CwagentError(f"Could not remove {path}: {error.strerror}.") from error

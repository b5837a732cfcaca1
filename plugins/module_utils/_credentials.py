# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Saved access keys: AWS shared-credentials files, written so that no secret is lost and none is left lying about."""

from __future__ import annotations

import configparser
import io
import json
import os
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._user import Saved

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER_MODE = 0o700
FILE_MODE = 0o600


@dataclass(frozen=True)
class FileStore:
    """A folder with one shared-credentials file for each user.

    Before a key is made, the ids of the keys that exist are written beside the file. A key that came after them and is
    not in the file was made by a run that died before it could save the secret.

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

    def check(self) -> None:
        """Refuse a folder that cannot be written, without making it.

        :raises InvalidInput: it says why.
        """
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
        ours = (".credentials", ".pending", ".unreadable")
        others = any(not path.name.endswith(ours) for path in self.directory.iterdir())
        return others and self.directory.stat().st_mode & 0o777 != FOLDER_MODE

    def read(self, user: str) -> Saved:
        """What is saved for a user.

        :raises CwagentError: the file is there and cannot be read.
        """
        where = str(self.path(user))
        section = self._parsed(user)
        pending = self._read_pending(user)
        if not section:
            return Saved(where, pending=pending)
        fit = self._mode_fits(user) and (self.region is None or section.get("region") == self.region)
        return Saved(where, key_id=section.get("aws_access_key_id"), fit=fit, pending=pending)

    def prepare(self, user: str, existing: Iterable[str]) -> None:
        """Write down which keys exist; this also proves that the folder can be written.

        :raises CwagentError: it cannot.
        """
        self._write(self._pending(user), json.dumps({"access_key_ids": sorted(existing)}))

    def save(self, user: str, key_id: str, secret: str) -> None:
        """Save a key in place of what was there.

        :raises CwagentError: it could not be saved.
        """
        wanted = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
        if self.region:
            wanted["region"] = self.region
        parser = self._parser(user)
        if parser is None:
            self._set_aside(user)
            parser = configparser.RawConfigParser()
        parser[self.profile] = wanted
        text = io.StringIO()
        parser.write(text)
        self._write(self.path(user), text.getvalue().rstrip() + "\n")
        self.settle(user)

    def _set_aside(self, user: str) -> None:
        """Move a file that AWS tools could not read out of the way: it may hold the only copy of something."""
        path = self.path(user)
        names = (f"{path.name}.{number}.unreadable" if number > 1 else f"{path.name}.unreadable" for number in count(1))
        aside = next(self.directory / name for name in names if not (self.directory / name).exists())
        try:
            path.replace(aside)
        except OSError as error:
            raise CwagentError(f"Could not move {path} to {aside}: {error.strerror}.") from error

    def rewrite(self, user: str) -> None:
        """Save the key that is there anew, with this store's mode and region."""
        section = self._parsed(user)
        if section:
            self.save(user, section["aws_access_key_id"], section["aws_secret_access_key"])

    def settle(self, user: str) -> None:
        """Forget which keys existed: all that exist now are accounted for."""
        _unlink(self._pending(user))

    def remove(self, user: str) -> None:
        """Remove what is saved for a user.

        :raises CwagentError: it could not be removed.
        """
        _unlink(self.path(user))
        self.settle(user)

    def _parsed(self, user: str) -> configparser.SectionProxy | None:
        parser = self._parser(user)
        if parser is None or not parser.has_section(self.profile):
            return None
        section = parser[self.profile]
        return section if section.get("aws_access_key_id") and section.get("aws_secret_access_key") else None

    def _parser(self, user: str) -> configparser.RawConfigParser | None:
        """The whole file, empty where there is none; ``None`` where it is no credentials file."""
        path = self.path(user)
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return parser
        except (OSError, UnicodeDecodeError) as error:
            raise CwagentError(f"Could not read {path}: {error}. Make it readable, or move it away.") from error
        except configparser.Error:
            return None  # the error quotes the line it stumbled over, which can be the secret
        return parser

    def _read_pending(self, user: str) -> frozenset[str] | None:
        path = self._pending(user)
        try:
            return frozenset(json.loads(path.read_text(encoding="utf-8"))["access_key_ids"])
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
        """Write a file that is either whole or not there, and never readable by others."""
        temporary: str | None = None
        try:
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            path.parent.chmod(FOLDER_MODE)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise CwagentError(f"Could not write {path}: {error.strerror}.") from error


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CwagentError(f"Could not remove {path}: {error.strerror}.") from error

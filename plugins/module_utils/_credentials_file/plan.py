# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans the files of the agent on a host: its credentials file, and the settings with the path of that file. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import (
    parse_sections,
    read_section,
    refuse_file,
    remove_section,
    replace_section,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file import common_config as config_format
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._files import File
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Callable

CREDENTIALS_MODE = 0o600
CONFIG_MODE = 0o644
ITEM = "files"
RESTART_SUMMARY = "restart the agent"
_ADVICE = "Set another path, or move the file away."
WRITE, DELETE, CREATE_FOLDER = "file:Write", "file:Delete", "file:CreateFolder"


@dataclass(frozen=True)
class State:
    """The files as they are. :param missing_folders: the folders to create for them, outermost first."""

    credentials: File | None
    config: File | None
    unfinished: bool = False
    missing_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Desired:
    """The user's choices for the files.

    :param credentials: the path of the credentials file.
    :param config: the path of the agent's common configuration; ``None`` leaves it as it is.
    :param text: a credentials file with the profile, which the file on the host gets; ``None`` removes the profile
        there, and deletes a file without other profiles.
    :param uid, gid: the owner and group of the credentials file; ``None`` keeps them.
    """

    credentials: str
    config: str | None
    profile: str
    text: str | None = field(repr=False)
    uid: int | None = None
    gid: int | None = None

    @property
    def change_config(self) -> ConfigChange:
        """The change of the agent's common configuration."""
        return ConfigChange(self.config, self.profile, self.credentials, self.text is not None)


def plan(current: State, desired: Desired) -> Plan[State]:
    """Plan the steps to the desired files.

    The settings are written after the credentials file, and removed before it.

    :raises CwagentError: one of the files cannot be changed.
    """
    planned = planned_state(current, desired)
    config = desired.change_config.steps(current.config)
    steps = [create_folder(path) for path in current.missing_folders if desired.text is not None]
    if desired.text is None:
        steps += config
        if planned.credentials is None:
            steps += [_delete(desired.credentials)] if current.credentials or current.unfinished else []
        elif planned.credentials != current.credentials or current.unfinished:
            remove = partial(_without_profile, desired=desired)
            steps.append(write("remove the access key from", desired.credentials, remove, is_new=False))
    else:
        if planned.credentials != current.credentials:
            put = partial(_with_profile, desired=desired)
            is_new = current.credentials is None
            steps.append(write("write the access key to", desired.credentials, put, is_new=is_new))
        steps += config
    return Plan(current, planned, {ITEM: steps})


def planned_state(current: State, desired: Desired) -> State:
    """Return the state after the plan was applied.

    :raises CwagentError: one of the files cannot be changed.
    """
    before = current.credentials
    config = desired.change_config(current.config)
    if desired.text is None:
        return replace(current, credentials=_without_profile(before, desired), config=config, unfinished=False)
    credentials = _with_profile(before, desired)
    return State(credentials, config, current.unfinished and credentials == before)


def _with_profile(before: File | None, desired: Desired) -> File:
    """Return the file on the host with the desired profile, and the others as they are.

    :raises CwagentError: the others cannot be kept.
    """
    text = desired.text or ""
    if before is None:
        return File(text, CREDENTIALS_MODE, desired.uid, desired.gid)
    values = read_section(text, desired.profile) or {}
    text = before.text
    if not values or read_section(text, desired.profile) != values:
        with refuse_file(desired.credentials, desired.profile, _ADVICE):
            text = replace_section(text, desired.profile, values)
    owner = before.uid if desired.uid is None else desired.uid
    return File(text, CREDENTIALS_MODE, owner, before.gid if desired.gid is None else desired.gid)


def _without_profile(before: File | None, desired: Desired) -> File | None:
    """Return the file without the profile; ``None`` if it has no other.

    The credentials of a session are not ours: the SSM agent can keep them in the same file.

    :raises CwagentError: the others cannot be kept.
    """
    if before and (read_section(before.text, desired.profile) or {}).get("aws_session_token"):
        return before
    if before is None:
        return None
    with refuse_file(desired.credentials, desired.profile, _ADVICE):
        if parse_sections(before.text).keys() == {desired.profile}:
            return None
        return replace(before, text=remove_section(before.text, desired.profile))


@dataclass(frozen=True)
class ConfigChange:
    """Changes the agent's common configuration: it gets the two settings, or loses them.

    :param path: of the file; ``None`` leaves it as it is. :param credentials: the path of the credentials file.
    """

    path: str | None
    profile: str
    credentials: str
    is_present: bool

    def __call__(self, current: File | None) -> File | None:
        """Return the file after the change. :raises CwagentError: it cannot be changed."""
        if self.path is None:
            return current
        before = current or File("", CONFIG_MODE, None, None)
        try:
            if self.is_present:
                text = config_format.set_credentials(before.text, self.profile, self.credentials)
            else:
                text = config_format.remove_credentials(before.text, self.credentials)
        except CwagentError as error:
            raise CwagentError(f"{self.path} cannot be changed: {error} Nothing was changed.") from error
        return replace(before, text=text) if text != before.text else current

    def steps(self, current: File | None) -> list[Step]:
        """Return the step that changes the file, if it differs."""
        if self.path is None or self(current) == current:
            return []
        what = "set the credentials file in" if self.is_present else "remove the credentials file from"
        return [write(what, self.path, self, is_new=current is None)]


def write(what: str, path: str, change: Callable[[File | None], File | None], *, is_new: bool) -> Step:
    """Return the step that changes a file.

    :param change: returns the file to write for the one that exists then. Other programs can have changed it since.
    """
    return Step(Kind.CREATE if is_new else Kind.UPDATE, WRITE, {"path": path}, f"{what} {path}", context=change)


def _delete(path: str) -> Step:
    return Step(Kind.DELETE, DELETE, {"path": path}, f"delete {path}")


def create_folder(path: str) -> Step:
    """Return the step that creates a folder."""
    return Step(Kind.CREATE, CREATE_FOLDER, {"path": path}, f"create folder {path}")


def _has_key(file: File, desired: Desired) -> bool:
    wanted = read_section(desired.text or "", desired.profile)
    return wanted is not None and read_section(file.text, desired.profile) == wanted


def to_diff(state: State, desired: Desired) -> dict[str, Any]:
    """Render a state for the diff. Its only file content is the two settings for the credentials file."""
    key, config = state.credentials, state.config
    shown: dict[str, Any] = {
        "credentials_file": None
        if key is None
        else {
            "path": desired.credentials,
            "access_key": "the saved one" if _has_key(key, desired) else "not the saved one",
            "mode": f"{key.mode:04o}",
            "owner": key.uid,
            "group": key.gid,
        }
    }
    if desired.config is not None:
        shown["common_config"] = config_format.read_settings(config.text) if config else {}
    return shown

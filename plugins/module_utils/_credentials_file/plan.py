# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans the files of the agent on a host: its credentials file, and the settings with the path of that file. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import (
    parse_sections,
    read_section,
    remove_section,
    replace_section,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file import common_config as config_format
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._files import File
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

CREDENTIALS_MODE = 0o600
CONFIG_MODE = 0o644
ITEM = "files"
RESTART_SUMMARY = "restart the agent"
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


def plan(current: State, desired: Desired) -> Plan[State]:
    """Plan the steps to the desired files.

    The settings are written after the credentials file, and removed before it.

    :raises CwagentError: one of the files cannot be changed.
    """
    planned = planned_state(current, desired)
    config = config_steps(desired.config, current.config, planned.config, is_present=desired.text is not None)
    steps = [create_folder(path) for path in current.missing_folders if desired.text is not None]
    if desired.text is None:
        steps += config
        if planned.credentials is None:
            steps += [_delete(desired.credentials)] if current.credentials or current.unfinished else []
        elif planned.credentials != current.credentials or current.unfinished:
            steps.append(
                _write("remove the access key from", desired.credentials, current.credentials, planned.credentials)
            )
    else:
        if planned.credentials != current.credentials:
            steps.append(
                _write("write the access key to", desired.credentials, current.credentials, planned.credentials)
            )
        steps += config
    return Plan(current, planned, {ITEM: steps})


def planned_state(current: State, desired: Desired) -> State:
    """Return the state after the plan was applied.

    :raises CwagentError: one of the files cannot be changed.
    """
    before, is_present = current.credentials, desired.text is not None
    config = planned_config(current.config, desired.config, desired.profile, desired.credentials, is_present=is_present)
    if desired.text is None:
        return replace(current, credentials=_without_profile(before, desired), config=config, unfinished=False)
    credentials = File(
        _text_with_profile(before.text, desired) if before else desired.text,
        CREDENTIALS_MODE,
        before.uid if before and desired.uid is None else desired.uid,
        before.gid if before and desired.gid is None else desired.gid,
    )
    return State(credentials, config, current.unfinished and credentials == before)


def _text_with_profile(before: str, desired: Desired) -> str:
    """Return the text of the file on the host with the desired profile, and the others as they are.

    :raises CwagentError: the others cannot be kept.
    """
    values = read_section(desired.text or "", desired.profile) or {}
    text = before if values and read_section(before, desired.profile) == values else None
    text = replace_section(before, desired.profile, values) if text is None else text
    return _require(text, desired)


def _without_profile(before: File | None, desired: Desired) -> File | None:
    """Return the file without the profile; ``None`` if it has no other.

    The credentials of a session are not ours: the SSM agent can keep them in the same file.

    :raises CwagentError: the others cannot be kept.
    """
    if before and (read_section(before.text, desired.profile) or {}).get("aws_session_token"):
        return before
    if before is None or (parse_sections(before.text) or {"": {}}).keys() == {desired.profile}:
        return None
    return replace(before, text=_require(remove_section(before.text, desired.profile), desired))


def _require(text: str | None, desired: Desired) -> str:
    if text is None:
        raise CwagentError(
            f"{desired.credentials} has content that does not belong in a credentials file, or that cannot be kept, so "
            f"the profile {desired.profile} in it cannot be changed. Set another path, or move the file away. Nothing "
            "was changed."
        )
    return text


def planned_config(
    current: File | None, path: str | None, profile: str, credentials: str, *, is_present: bool
) -> File | None:
    """Return the agent's common configuration with the two settings, or without them.

    :raises CwagentError: it cannot be changed.
    """
    if path is None:
        return current
    before = current or File("", CONFIG_MODE, None, None)
    try:
        if is_present:
            text = config_format.set_credentials(before.text, profile, credentials)
        else:
            text = config_format.remove_credentials(before.text, credentials)
    except CwagentError as error:
        raise CwagentError(f"{path} cannot be changed: {error} Nothing was changed.") from error
    return replace(before, text=text) if text != before.text else current


def config_steps(path: str | None, current: File | None, planned: File | None, *, is_present: bool) -> list[Step]:
    """Return the step that changes the agent's common configuration, if it differs."""
    if path is None or planned == current:
        return []
    what = "set the credentials file in" if is_present else "remove the credentials file from"
    return [_write(what, path, current, planned)]


def _write(what: str, path: str, before: File | None, after: File | None) -> Step:
    kind = Kind.UPDATE if before else Kind.CREATE
    return Step(kind, WRITE, {"path": path}, f"{what} {path}", context=after)


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

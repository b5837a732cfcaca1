# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans how the agent of a hybrid server uses the credentials that the SSM agent keeps in a file. Pure."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file import common_config as config_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.plan import (
    CREDENTIALS_MODE,
    DELETE,
    config_steps,
    create_folder,
    planned_config,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._files import File
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.region_line import (
    Profile,
    read_profile,
    remove_region,
    set_region,
)

ITEM = "files"
EDIT = "file:Edit"
# The CloudWatch agent uses this profile of root's file without other settings: https://docs.aws.amazon.com/
# AmazonCloudWatch/latest/monitoring/install-CloudWatch-Agent-commandline-fleet.html
_DEFAULT_PROFILE = "AmazonCloudWatchAgent"
_SEPARATE_PROFILE = (
    "Remove it from the profile, or let the SSM agent use a separate profile (Profile.ShareProfile in its "
    "configuration)."
)


@dataclass(frozen=True)
class State:
    """The files as they are.

    :param credentials: the file that the SSM agent keeps.
    :param config: the agent's common configuration.
    :param unfinished: files that a run left that was killed.
    :param missing_folders: the folders to create for the common configuration, outermost first.
    """

    credentials: File | None
    config: File | None
    unfinished: tuple[str, ...] = ()
    missing_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Desired:
    """The paths and values on this host.

    :param credentials: the path of the file that the SSM agent keeps. :param profile: the one with its credentials.
    :param config: the path of the agent's common configuration.
    :param is_present: whether the agent uses the file.
    :param role: the name of the role whose credentials these are; ``None`` accepts any.
    """

    region: str
    credentials: str
    config: str
    profile: str
    is_present: bool
    role: str | None = None


def plan(current: State, desired: Desired) -> Plan[State]:
    """Plan the steps to the desired files.

    The settings are written after the region, and removed before it.

    :raises CwagentError: one of the files cannot be changed.
    """
    planned = planned_state(current, desired)
    region = [] if planned.credentials == current.credentials else [_edit(desired)]
    config = config_steps(desired.config, current.config, planned.config, is_present=desired.is_present)
    folders = [create_folder(path) for path in current.missing_folders if config]
    steps = [*region, *config] if desired.is_present else [*config, *region]
    return Plan(current, planned, {ITEM: [*folders, *map(_delete, current.unfinished), *steps]})


def planned_state(current: State, desired: Desired) -> State:
    """Return the state after the plan was applied.

    :raises CwagentError: one of the files cannot be changed.
    """
    credentials, config = current.credentials, current.config
    # A missing file is one that the SSM agent has not written yet.
    if credentials or desired.is_present:
        before = credentials or File("", CREDENTIALS_MODE, None, None)
        credentials = replace(before, text=edited_text(before.text, desired))
    if desired.is_present or _settings(config):
        config = planned_config(
            config, desired.config, desired.profile, desired.credentials, is_present=desired.is_present
        )
    return replace(current, credentials=credentials, config=config, unfinished=())


def edited_text(text: str, desired: Desired) -> str:
    """Return the text of the file that the SSM agent keeps, with the region or without it.

    :raises CwagentError: it cannot be changed, or others have set another region or use the profile themselves.
    """
    if not desired.is_present:
        is_valid = read_profile(text, desired.profile) is not None
        return _require(remove_region(text, desired.profile), desired) if is_valid else text
    profile = _read(text, desired)
    if profile.has_access_key:
        raise CwagentError(
            f"Profile {desired.profile} of {desired.credentials} has the access key of a user, which the SSM agent "
            f"would replace. Other programs can depend on it. {_SEPARATE_PROFILE} Nothing was changed."
        )
    if profile.region not in (None, desired.region) and not profile.is_ours:
        raise CwagentError(
            f"Profile {desired.profile} of {desired.credentials} has the region {profile.region}, which this "
            f"collection did not set. Other programs can depend on it, so it is not replaced by {desired.region}. "
            f"{_SEPARATE_PROFILE} Nothing was changed."
        )
    return _require(set_region(text, desired.profile, desired.region), desired)


def has_credentials(current: State, desired: Desired) -> bool:
    """Whether the SSM agent has written credentials."""
    profile = read_profile(current.credentials.text, desired.profile) if current.credentials else None
    return profile is not None and profile.has_credentials


def has_other_credentials(current: State, desired: Desired) -> bool:
    """Whether the CloudWatch agent has other credentials now, which can work."""
    settings = _settings(current.config)
    if not settings:
        profile = read_profile(current.credentials.text, _DEFAULT_PROFILE) if current.credentials else None
        return bool(profile and profile.has_access_key)
    return settings != {config_format.FILE: desired.credentials, config_format.PROFILE: desired.profile}


def find_objection(caller: str | None, error: str | None, desired: Desired) -> str | None:
    """Return why the CloudWatch agent must not use the credentials instead of others; ``None`` if it can.

    :param caller: the ARN that STS returns for the credentials. :param error: why STS did not return it.
    """
    if caller is None:
        return error
    if desired.role is not None and f":assumed-role/{desired.role}/mi-" not in caller:
        return f"STS returned {caller}, which is not a session of role '{desired.role}'."
    return None


def _read(text: str, desired: Desired) -> Profile:
    profile = read_profile(text, desired.profile)
    _require(None if profile is None else text, desired)
    return profile or Profile()


def _require(text: str | None, desired: Desired) -> str:
    if text is None:
        raise CwagentError(
            f"{desired.credentials} has content that does not belong in a credentials file, or that cannot be kept, so "
            f"profile {desired.profile} in it cannot be changed. Correct the file, or move it away and restart the SSM "
            "agent, which creates it. Nothing was changed."
        )
    return text


def _settings(config: File | None) -> dict[str, str]:
    """Return the two settings, as far as a file has them. The agent cannot read a file that is not valid."""
    with contextlib.suppress(CwagentError):
        return config_format.read_settings(config.text) if config else {}
    return {}


def _edit(desired: Desired) -> Step:
    what = f"set region {desired.region} in" if desired.is_present else "remove the region from"
    summary = f"{what} profile {desired.profile} of {desired.credentials}"
    return Step(Kind.UPDATE, EDIT, {"path": desired.credentials}, summary)


def _delete(path: str) -> Step:
    return Step(Kind.DELETE, DELETE, {"path": path}, f"delete unfinished file {path}")


def to_diff(state: State, desired: Desired) -> dict[str, Any]:
    """Render a state for the diff. Of the files, it has only the region and the two settings for the file."""
    profile = read_profile(state.credentials.text, desired.profile) if state.credentials else None
    region = profile.region if profile else None
    return {
        "credentials_file": {"path": desired.credentials, "profile": desired.profile, "region": region},
        "common_config": _settings(state.config),
    }

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans how the agent of a hybrid server uses the credentials that the SSM agent keeps in a file. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import refuse_file
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file import common_config as config_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.plan import (
    CREDENTIALS_MODE,
    DELETE,
    ConfigChange,
    create_folder,
    write,
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
# The CloudWatch agent uses this profile of root's file without other settings: https://docs.aws.amazon.com/
# AmazonCloudWatch/latest/monitoring/install-CloudWatch-Agent-commandline-fleet.html
_DEFAULT_PROFILE = "AmazonCloudWatchAgent"
_SEPARATE_PROFILE = (
    "Remove it from the profile, or let the SSM agent use a separate profile (Profile.ShareProfile in its "
    "configuration)."
)
_ADVICE = "Correct the file, or move it away and restart the SSM agent, which creates it."


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

    @property
    def change_config(self) -> ConfigChange:
        """The change of the agent's common configuration."""
        return ConfigChange(self.config, self.profile, self.credentials, self.is_present)


def plan(current: State, desired: Desired) -> Plan[State]:
    """Plan the steps to the desired files.

    The settings are written after the region, and removed before it.

    :raises CwagentError: one of the files cannot be changed.
    """
    planned = planned_state(current, desired)
    region = [] if planned.credentials == current.credentials else [_edit(desired)]
    config = desired.change_config.steps(current.config)
    folders = [create_folder(path) for path in current.missing_folders if config]
    steps = [*region, *config] if desired.is_present else [*config, *region]
    return Plan(current, planned, {ITEM: [*folders, *map(_delete, current.unfinished), *steps]})


def planned_state(current: State, desired: Desired) -> State:
    """Return the state after the plan was applied.

    :raises CwagentError: one of the files cannot be changed.
    """
    credentials = current.credentials
    # A missing file is one that the SSM agent has not written yet.
    if credentials or desired.is_present:
        credentials = _edited_file(credentials or File("", CREDENTIALS_MODE, None, None), desired)
    return replace(current, credentials=credentials, config=desired.change_config(current.config), unfinished=())


def _edited_file(file: File | None, desired: Desired) -> File | None:
    """Return the file that the SSM agent keeps, with the region or without it; ``None`` if it does not exist.

    :raises CwagentError: it cannot be changed, or others have set another region or use the profile themselves.
    """
    if file is None:
        return None
    if desired.is_present:
        _check_profile(read_profile(file.text, desired.profile), desired)
    with refuse_file(desired.credentials, desired.profile, _ADVICE):
        if desired.is_present:
            return replace(file, text=set_region(file.text, desired.profile, desired.region))
        return replace(file, text=remove_region(file.text, desired.profile))


def _check_profile(profile: Profile, desired: Desired) -> None:
    """Refuse a profile that other programs use."""
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


def has_credentials(current: State, desired: Desired) -> bool:
    """Whether the SSM agent has written credentials."""
    credentials = current.credentials
    return credentials is not None and read_profile(credentials.text, desired.profile).has_credentials


def has_other_credentials(current: State, desired: Desired) -> bool:
    """Whether the CloudWatch agent has other credentials now, which can work."""
    settings = config_format.read_settings(current.config.text) if current.config else {}
    if not settings:
        credentials = current.credentials
        return credentials is not None and read_profile(credentials.text, _DEFAULT_PROFILE).has_access_key
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


def _edit(desired: Desired) -> Step:
    what = f"set region {desired.region} in" if desired.is_present else "remove the region from"
    change = partial(_edited_file, desired=desired)
    return write(f"{what} profile {desired.profile} of", desired.credentials, change, is_new=False)


def _delete(path: str) -> Step:
    return Step(Kind.DELETE, DELETE, {"path": path}, f"delete unfinished file {path}")


def to_diff(state: State, desired: Desired) -> dict[str, Any]:
    """Render a state for the diff. Of the files, it has only the region and the two settings for the file."""
    region = read_profile(state.credentials.text, desired.profile).region if state.credentials else None
    return {
        "credentials_file": {"path": desired.credentials, "profile": desired.profile, "region": region},
        "common_config": config_format.read_settings(state.config.text) if state.config else {},
    }

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans how the agent of a hybrid server uses the credentials that the SSM agent keeps in a file. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from .._ground.errors import CwagentError
from .._ground.files import File
from .._ground.plan import Kind, Plan, Step
from .._keys.saved_key import (
    FORMAT,
    KEY_ID,
    SECRET,
    TOKEN,
    insert,
    parse_sections,
    read_sections,
    refuse_file,
    split_lines,
)
from . import credentials_plan as config_format
from .credentials_plan import CREDENTIALS_MODE, DELETE, ConfigChange, create_folder, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


FILE_VARIABLE = "AWS_SHARED_CREDENTIALS_FILE"
_FILES_SUFFIX = " (ignore_errors="


@dataclass(frozen=True)
class Unit:
    """A unit of systemd. :param process: 0 if it does not run. :param files: with further environment variables."""

    is_loaded: bool
    process: int
    environment: Mapping[str, str]
    files: list[str]


def shared_file(environment: Mapping[str, str], home: str) -> str:
    """Return the path of the file that the SSM agent keeps.

    https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/sharedCredentials/shared_Credentials.go

    :param environment: of the SSM agent.
    :param home: the home directory of its user.
    :raises CwagentError: the path is not absolute.
    """
    file = environment.get(FILE_VARIABLE) or f"{environment.get('HOME') or home}/.aws/credentials"
    if not file.startswith("/"):
        raise CwagentError(
            f"The variable {FILE_VARIABLE} of the SSM agent is not an absolute path: '{file}'. Set an absolute path in "
            "its service, restart it, and run again. Nothing was changed."
        )
    return file


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of a process, which end with a null character, or of a file of systemd."""
    is_process = "\0" in text
    found = {}
    for line in text.split("\0" if is_process else "\n"):
        name, equal_sign, value = line.partition("=")
        if is_process:
            found.update({name: value} if equal_sign else {})
        elif equal_sign and not line.lstrip().startswith(("#", ";")):
            found[name.strip()] = _unquote(value.strip())
    return found


def parse_unit(output: str) -> Unit:
    """Return a unit from the output of ``systemctl show``."""
    properties = [line.partition("=")[::2] for line in output.splitlines()]
    values = dict(properties)
    try:
        assignments = shlex.split(values.get("Environment", ""))
    except ValueError:
        assignments = []
    return Unit(
        values.get("LoadState") == "loaded",
        int(values.get("MainPID") or 0),
        dict(each.partition("=")[::2] for each in assignments),
        [value.rpartition(_FILES_SUFFIX)[0] for name, value in properties if name == "EnvironmentFiles"],
    )


def _unquote(value: str) -> str:
    return value[1:-1] if value[1:] and value[0] == value[-1] and value[0] in "\"'" else value


REGION = "region"
CREDENTIALS = (KEY_ID, SECRET, TOKEN)
# The SSM agent writes the whole file whenever it renews the credentials. It keeps other options, their comments and
# other sections, but aligns the equal signs. So a comment directly before the line with the region shows that this
# collection has set the region.
COMMENT = "# Set by the Ansible collection cwagent.iam"

_REGION = re.compile(rf"([ \t]*{REGION}[ \t]*[=:][ \t]*)\S*", re.IGNORECASE)
_IGNORED = re.compile(r"\s*(?:[#;]|$)")


@dataclass(frozen=True)
class Profile:
    """A profile of a credentials file.

    :param is_ours: whether this collection has set the region.
    :param has_credentials: whether it has the credentials of a session, as the SSM agent writes them.
    :param has_access_key: whether it has the access key of a user, which the SSM agent never writes.
    """

    region: str | None = None
    is_ours: bool = False
    has_credentials: bool = False
    has_access_key: bool = False


def read_profile(text: str, name: str) -> Profile:
    """Return a profile, which is empty if it does not exist, or if this is not a credentials file."""
    options = read_sections(text).get(name, {})
    key_id, _secret, token = (options.get(each) for each in CREDENTIALS)
    has_credentials = all(options.get(each) for each in CREDENTIALS)
    lines = split_lines(text)
    found = FORMAT.find(lines, name)
    is_ours = bool(options and found and _find_ours(lines[slice(*found)]))
    return Profile(options.get(REGION), is_ours, has_credentials, bool(key_id and not token))


def set_region(text: str, name: str, region: str) -> str:
    """Return the text with the region in a profile, and everything else as it is.

    :raises Refused: this is not possible, or others have set another region.
    """
    options = parse_sections(text).get(name, {})
    if options.get(REGION) == region:
        return text

    def change(section: list[str], newline: str) -> list[str] | None:
        ours = _find_ours(section)
        if ours:
            line = _REGION.sub(rf"\g<1>{region}", section[ours[1]], count=1)
            return [*section[: ours[1]], line, *section[ours[1] + 1 :]]
        if REGION in options:
            return None
        # An option that is indented further than the one before it would belong to the value of that one.
        first = next((line for line in section[1:] if not _IGNORED.match(line)), "")
        indent = first[: len(first) - len(first.lstrip(" \t"))]
        lines = [f"{indent}{COMMENT}{newline}", f"{indent}{REGION} = {region}{newline}"]
        return insert(section or [f"[{name}]{newline}"], lines, newline)

    return FORMAT.edit(text, name, {**options, REGION: region}, change)


def remove_region(text: str, name: str) -> str:
    """Return the text without the region in a profile, if this collection has set it.

    :raises Refused: this is not possible without another change.
    """
    if not read_profile(text, name).is_ours:
        return text

    def change(section: list[str], _newline: str) -> list[str]:
        return [line for number, line in enumerate(section) if number not in (_find_ours(section) or ())]

    options = parse_sections(text)[name]
    return FORMAT.edit(text, name, {each: value for each, value in options.items() if each != REGION}, change)


def _find_ours(section: Sequence[str]) -> tuple[int, int] | None:
    """Return where our comment and the line with the region are in a section; ``None`` if the region is not ours."""
    for number, line in enumerate(section):
        if _REGION.match(line):
            ignored = takewhile(lambda each: _IGNORED.match(section[each]), range(number - 1, 0, -1))
            above = next((each for each in ignored if section[each].strip() == COMMENT), None)
            if above is not None:
                return above, number
    return None


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

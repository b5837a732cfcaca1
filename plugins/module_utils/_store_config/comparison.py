# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares configurations with Parameter Store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import read_history, read_versions
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import OFF, WARN, GivenConfig
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import (
    PREVIOUS,
    parts_in,
    version_of,
    version_problems,
)
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.validation import Earlier
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.versions import explain_stay, join_parts, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import State
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import Given, GivenConfigs
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.validation import Validated


# The versions of a parameter that Parameter Store keeps. It refuses another one while the oldest has a label.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-versions.html
KEPT = 100


@dataclass(frozen=True)
class Comparison:
    """Configurations, and the way in which the configurations that differ are stored.

    :param source: the name of the way, which is never ``auto`` after the checks.
    :param earlier: the profile and the role of the instance, according to its metadata service.
    """

    configurations: Sequence[Configuration]
    source: str
    earlier: Mapping[str, Any] = field(default_factory=dict)

    @property
    def to_store(self) -> list[Configuration]:
        """The configurations that a host has to store. Where only a tag differs, the controller sets it."""
        return [each for each in self.configurations if each.plan_without_tags.has_changes]

    def to_result(self) -> dict[str, Any]:
        """Render it for a task with the state ``stored``."""
        return {
            "compared": [each.to_comparison() for each in self.configurations],
            "source": self.source,
            "earlier_identity": self.earlier,
        }


def read_earlier(options: GivenConfigs, aws_in: Callable[[str | None], Aws]) -> list[Earlier] | None:
    """Read the versions that the options want to be stored again; ``None`` if they want none.

    Agents have run them, so a problem that an agent may accept is only a warning.

    :raises InvalidInput: there is no such version.
    """
    if not options.config_version:
        return None
    names = [each.name for each in options.configs]
    problems = version_problems(options.config_version, names)
    if problems:
        raise InvalidInput(f"version: {' '.join(problems)}")
    return [
        _read_earlier(replace(given, regions=(region,)), options, aws_in(region or None))
        for given in options.configs
        for region in given.regions
        if version_of(options.config_version, given.name)
    ]


def _read_earlier(given: Given, options: GivenConfigs, aws: Aws) -> Earlier:
    region, names = aws.region or "", [each.name for each in options.configs]
    histories = read_history(aws, region, given.name, names)
    parts = parts_in(options.config_version, names)
    found = list(histories) if options.handling.split_config else [next(histories)]
    wanted = version_of(options.config_version, given.name)
    versions = select(
        found,
        wanted,
        {name: options.config_version[name] for name, whole in parts.items() if whole == given.name},
    )
    numbers = " and ".join(f"version {version.number} of {name}" for name, version in versions)
    text = join_parts(versions)
    values = [version.value or "" for _name, version in versions if versions[1:]]
    handling = replace(options.handling, config_validation=OFF if options.handling.config_validation == OFF else WARN)
    config = GivenConfig(given.name, text, None, handling, f"{numbers} in {region}", values)
    return Earlier(given, config, explain_stay(found) if wanted == PREVIOUS else "")


def compare(
    validated: Validated, aws_in: Callable[[str | None], Aws], only: Mapping[tuple[str, str], bool] | None = None
) -> list[Configuration]:
    """Compare the configurations with Parameter Store.

    :param only: by name and region of some configurations, whether they are read, or were missing. By default, all are.
    """
    found = []
    for given, desired in validated.valid:
        for region in given.regions:
            aws = aws_in(region or None)
            exists = True if only is None else only.get((given.name, region or aws.region))
            if exists is not None:
                missing: State = dict.fromkeys(desired.names)
                known = ParameterResource(aws, desired, aws.region).read() if exists else missing
                found.append(Configuration(desired, known, aws.region))
    return found


def check_oldest(aws: Aws, configuration: Configuration) -> None:
    """Check that Parameter Store can drop the oldest version of each parameter that is to be stored.

    It takes no call for a parameter with fewer versions. A caller that may not read them gets the error of AWS later.

    :raises InvalidInput: the oldest version has a label, so AWS would refuse another version.
    """
    steps = configuration.plan_without_tags.all_steps
    written = [step.arguments["name"] for step in steps if step.action == "ssm:PutParameter"]
    known = configuration.known
    for name in (each for each in written if (parameter := known.get(each)) and (parameter.version or 0) >= KEPT):
        try:
            versions = read_versions(aws, name)
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            continue
        labels = versions[-1].labels if len(versions) >= KEPT else ()
        if labels:
            number, listed = versions[-1].number, " ".join(labels)
            raise InvalidInput(
                f"Parameter Store would refuse another version of parameter '{name}' in {aws.region}: it keeps {KEPT}, "
                f"and the oldest one, version {number}, has label {', '.join(labels)}. Move the label with "
                f"cwagent.iam.apply, or remove it: aws ssm unlabel-parameter-version --region {aws.region} --name "
                f"{name} --parameter-version {number} --labels {listed}"
            )

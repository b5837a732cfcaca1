# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validates the configurations that a user gives, and compares them with Parameter Store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._accounts.inventory import read_history, read_versions
from .._configuration.options import OFF, WARN, GivenConfig, Validation, validate_config
from .._configuration.parameter import ParameterResource
from .._ground.errors import DENIED_CODES, AwsApiError, InvalidInput
from .options import PREVIOUS, parts_in, version_of, version_problems
from .transaction import Configuration
from .versions import explain_stay, join_parts, select

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from .._configuration.parameter_plan import DesiredConfig, State
    from .._ground.aws import Aws
    from .options import Compared, Given, GivenConfigs


@dataclass(frozen=True)
class Validated:
    """Configurations, each with its problems.

    :param found: for each configuration its validation, or the error that prevented it.
    """

    found: Sequence[tuple[Given, Validation | InvalidInput]]

    @property
    def valid(self) -> Iterator[tuple[Given, DesiredConfig]]:
        """The configurations that are valid."""
        for given, each in self.found:
            if isinstance(each, Validation) and each.desired:
                yield given, each.desired

    def digests_of(self, name: str, regions: Collection[str]) -> set[str]:
        """Return the digest of the content of a configuration that is valid."""
        return {desired.digest for given, desired in self.valid if (given.name, given.regions) == (name, regions)}

    @property
    def _results(self) -> list[dict[str, Any]]:
        return [each.to_result() for _given, each in self.found if isinstance(each, Validation)]

    @property
    def problem_lines(self) -> list[str]:
        """All errors and warnings, as lines of text."""
        return [line for each in self._results for line in each["problem_lines"]]

    @property
    def _failures(self) -> list[str]:
        return [failure for each in self._results if (failure := each["failure"])]

    @property
    def errors(self) -> list[str]:
        """Errors that concern no single configuration, such as a schema that cannot be read."""
        unread = [str(each) for _given, each in self.found if isinstance(each, InvalidInput)]
        return unread or ([] if self._failures else self._shared_names())

    def _shared_names(self) -> list[str]:
        written = [
            f"{parameter.name} in {region}" if region else parameter.name
            for given, desired in self.valid
            for region in given.regions
            for parameter in desired.parameters
        ]
        shared = ", ".join(sorted(name for name, count in Counter(written).items() if count > 1))
        message = (
            f"More than one configuration would be stored in {shared}; a split configuration has further parameters, "
            "which end with a number. Choose another name."
        )
        return [message] if shared else []

    def check(self, outcome: str = "Nothing was changed.") -> None:
        """Refuse invalid configurations.

        :param outcome: the end of the message.
        :raises InvalidInput: with the first problem of each configuration.
        """
        refusals = [*self._failures, *self.errors]
        if refusals:
            raise InvalidInput(f"{' '.join(refusals)} {outcome}")

    @property
    def failure(self) -> str:
        """Why the configurations are refused; empty if they are not."""
        try:
            self.check()
        except InvalidInput as error:
            return str(error)
        return ""

    def to_result(self) -> dict[str, Any]:
        """Render the problems for the result, as lines for a terminal and as findings for reports."""
        return {
            "failure": self.failure,
            "problem_lines": self.problem_lines,
            "findings": [finding for each in self._results for finding in each["findings"]],
            "errors": self.errors,
        }


@dataclass(frozen=True)
class Earlier:
    """An earlier version of a configuration in one region.

    :param stays: the reason for which the previous version is the current one. Empty if it is not.
    """

    given: Given
    config: GivenConfig
    stays: str = ""


def validate(
    options: GivenConfigs,
    schema: str = "",
    earlier: Sequence[Earlier] | None = None,
    known: Compared | Validated | None = None,
) -> Validated:
    """Validate the configurations of the options.

    :param schema: the schema of the agent that is installed on the host.
    :param earlier: the versions to store again instead of the files.
    :param known: the contents that were valid before. Others are refused, and these only validated with ``schema``.
    """
    if earlier is None:
        paths = [(each, [str(Path(each.file).expanduser())] if each.file else None) for each in options.configs]
        configs = [(each, GivenConfig(each.name, None, path, options.handling)) for each, path in paths]
    else:
        configs = [(each.given, each.config) for each in earlier]
    used = schema or (None if known else options.handling.agent_schema)
    return Validated([(given, _validate(given, config, used, known)) for given, config in configs])


def _validate(
    given: Given, config: GivenConfig, schema: str | None, known: Compared | Validated | None
) -> Validation | InvalidInput:
    if config.src is None and config.config is None:
        return InvalidInput(f"configs: {given.name} has no file, and no version to store again. Set its file.")
    try:
        digests = known.digests_of(given.name, given.regions) if known else ()
        return validate_config(replace(config, handling=replace(config.handling, agent_schema=schema), digests=digests))
    except InvalidInput as error:
        return error


# The versions of a parameter that Parameter Store keeps. It refuses another one while the oldest has a label.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-versions.html
KEPT = 100


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

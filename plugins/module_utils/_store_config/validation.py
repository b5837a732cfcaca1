# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations that a user gives, and all their problems. Makes no AWS call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    GivenConfig,
    Validation,
    validate_config,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import Handling
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import DesiredConfig
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Compared
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import Given, GivenConfigs


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
    files = [(given, _of_file(given, options.handling)) for given in options.configs]
    configs = files if earlier is None else [(each.given, each.config) for each in earlier]
    used = schema or (None if known else options.handling.agent_schema)
    return Validated([(given, _validate(given, config, used, known)) for given, config in configs])


def _of_file(given: Given, handling: Handling) -> GivenConfig:
    return GivenConfig(given.name, None, [str(Path(given.file).expanduser())] if given.file else None, handling)


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

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares configurations with Parameter Store, and checks whether the host could store any that differ."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import to_known
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import minify
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, HostUnreachable
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.instance import check
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import (
    AUTO,
    CONTROLLER,
    INSTANCE,
    ONPREM,
    RUN_COMMAND,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.validation import Validated


class Host(Protocol):
    """A host that is to store, before anything is changed. Methods raise ``HostUnreachable`` if it does not answer."""

    def ping(self) -> dict[str, Any]:
        """Check whether Ansible can run a module. :returns: its result, which has ``ping`` if it can."""

    def current_identity(self, regions: Sequence[str]) -> dict[str, Any]:
        """Read the identity of the host. :param regions: the regions where Parameter Store must answer the host."""

    def try_to_store(self, configuration: Configuration) -> dict[str, Any]:
        """Find whether the host can store with the saved key, which a later task may create."""

    def has_file(self, path: str) -> bool:
        """Whether the host has a file."""


@dataclass(frozen=True)
class Comparison:
    """Configurations, and the source that stores the configurations that differ.

    :param source: the value of the option ``from``, without ``auto``.
    :param earlier: the profile and the role of the instance, according to its metadata service.
    """

    configurations: Sequence[Configuration]
    source: str
    earlier: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pending(self) -> list[Configuration]:
        """The configurations that a host has to store. Where only a tag differs, the controller sets it."""
        return [each for each in self.configurations if each.plan_without_tags.has_changes]

    def to_result(self) -> dict[str, Any]:
        """Render it for a task with the state ``stored``."""
        return {
            "compared": [each.to_comparison() for each in self.configurations],
            "source": self.source,
            "earlier_identity": self.earlier,
        }


def compare(validated: Validated, aws_in: Callable[[str | None], Aws], warnings: list[str]) -> list[Configuration]:
    """Compare the configurations with Parameter Store. :param warnings: receives warnings for the user."""
    found = []
    for given, desired in validated.valid:
        for region in given.regions:
            aws = aws_in(region or None)
            resource = ParameterResource(aws, desired, aws.region)
            known = resource.read()
            previous = {name: to_known(each) for name, each in known.items()}
            warnings += resource.warnings(resource.plan(known))
            found.append(Configuration(desired, known, aws.region, minify(desired.config), previous))
    return found


class HostCheck:
    """Finds whether a host could store, before the first write.

    :param name: its name, for messages.
    :param say: shows a line to a person.
    :param agent_problem: returns why commands do not reach the instance, or an empty text.
    :param state_problem: returns that the instance is stopped, or an empty text.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        name: str,
        host: Host,
        say: Callable[[str], None],
        *,
        agent_problem: Callable[[], str],
        state_problem: Callable[[], str],
    ) -> None:
        self._params = params
        self._name = name
        self._host = host
        self._agent_problem = agent_problem
        self._state_problem = state_problem
        self._say = say

    def check(self, comparison: Comparison) -> Comparison:
        """Return the comparison with the facts from the host. :raises CwagentError: it could not store."""
        pending = comparison.pending
        if not pending or comparison.source == CONTROLLER:
            return replace(comparison, source=RUN_COMMAND) if comparison.source == AUTO else comparison
        source = self._reach(comparison.source)
        if source == INSTANCE:
            regions = sorted({each.region for each in pending})
            identity = check(self._host.current_identity(regions), self._name)["identity"]
            return replace(comparison, source=source, earlier=identity)
        if source == ONPREM:
            self._check_key(pending[0])
        return replace(comparison, source=source)

    def _reach(self, source: str) -> str:
        """Return the source that stores."""
        if source == RUN_COMMAND:  # the SSM agent may come online when the roles have been created
            self._agent_problem()
            return source
        try:
            answer, is_lost = self._host.ping(), False
        except HostUnreachable as error:
            stopped = self._state_problem() if source in (INSTANCE, AUTO) else ""
            answer, is_lost = {"msg": stopped or error.reason}, True
        reason = f"{str(answer.get('msg') or 'no answer').strip().rstrip('.')}."
        if source != AUTO:
            if is_lost:
                raise CwagentError(
                    f"Ansible does not reach {self._name}, which stores the configuration: {reason} Nothing was "
                    "stored. Run again when it can be reached, or name another host or another way with "
                    "cwagent_store_config_from."
                )
            return source  # the next module reports any other problem
        if "ping" in answer:
            self._say("store with modules, since Ansible reaches this host (cwagent_store_config_from is auto)")
            return INSTANCE
        problem = self._agent_problem()
        if problem:
            raise CwagentError(
                f"{self._name} cannot store the configuration. Ansible: {reason} Systems Manager: {problem}"
            )
        self._say("store by Run Command, since Ansible does not reach this host (cwagent_store_config_from is auto)")
        return RUN_COMMAND

    def _check_key(self, configuration: Configuration) -> None:
        file = self._params["credentials_file"]
        if not file:
            check(self._host.try_to_store(configuration), self._name)
        elif not self._host.has_file(file):
            raise CwagentError(
                f"{self._name} has no {file} with the access key of {self._params['admin_user']}, which "
                "cwagent.iam.site creates and saves. Copy the key to that file, under the profile "
                f"{self._params['credentials_profile']}, or unset store_config_credentials_file to use the saved key. "
                "Then run again."
            )

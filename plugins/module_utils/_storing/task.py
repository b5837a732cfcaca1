# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of a task with the action cwagent_store_config, for each state."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from .._ground.aws import Aws
from .._ground.errors import CwagentError, HostUnreachable
from .base import InstanceChecks, to_sentence
from .command import CommandWay
from .comparison import check_oldest, compare, read_earlier, validate
from .controller import ControllerWay, tidy
from .instance import InstanceWay
from .onprem import OnPremisesWay
from .options import AUTO, CONTROLLER, FITTED, INSTANCE, ONPREM, RUN_COMMAND, VALIDATED, WAYS
from .policy_for_tools import fitted_result
from .transaction import Comparison, Transaction

if TYPE_CHECKING:
    from .base import Way, Wiring
    from .comparison import Earlier, Validated
    from .options import Compared, StoreOptions


# All but AUTO, which is one of them.
CLASSES: dict[str, type[Way]] = {
    INSTANCE: InstanceWay,
    RUN_COMMAND: CommandWay,
    ONPREM: OnPremisesWay,
    CONTROLLER: ControllerWay,
}


class Task:
    """The work of a task with these options. :param instance: by default, it asks AWS with the client of the wiring."""

    def __init__(self, options: StoreOptions, wiring: Wiring, instance: InstanceChecks | None = None) -> None:
        self._options = options
        self._wiring = wiring
        self._instance = instance or InstanceChecks(wiring.client, options.admin)
        self._shown: list[str] = []
        # The contents that were valid before, in an earlier task or without the schema of the agent.
        self._known: Compared | Validated | None = options.compared

    def validate(self, schema: str = "") -> Validated:
        """Validate the configurations, unless an earlier task has, and show their problems.

        :param schema: the schema of the agent on the host.
        """
        found = self._known = validate(self._options, schema, self._earlier, self._known)
        if found.problem_lines not in ([], self._shown):
            self._wiring.show(found.problem_lines)
        self._shown = found.problem_lines
        return found

    def fit(self) -> dict[str, Any]:
        """Return the fitted policy of the configurations, for the result.

        :raises InvalidInput: a configuration is refused, or has no fitted policy.
        """
        validated, options = self.validate(), self._options
        validated.check()
        return fitted_result(validated.valid, options.account_id, options.emf_log_groups)

    def compare(self) -> Comparison:
        """Compare the configurations with Parameter Store, and check that the host could store any that differ.

        :raises CwagentError: a configuration is refused, or the host could not store.
        """
        validated, wiring = self.validate(), self._wiring
        validated.check()

        configurations = compare(validated, self._aws_in)
        for each in configurations:
            wiring.report.warnings += each.warnings
            check_oldest(self._aws_in(each.region), each)
        for version, configuration in zip(self._earlier or (), configurations):  # each has one region
            if configuration.plan_without_tags.has_changes:
                wiring.report.say(f"store {version.config.source} again (afterwards, cwagent.iam.apply applies it)")
            elif version.stays:
                wiring.report.warnings.append(version.stays)
        found = self.check_host(Comparison(configurations, self._options.way))
        if found.to_store and self._options.needs_agent_schema:
            schema = self._way(found.source).read_schema()
            if schema:  # the agent need not be installed
                self.validate(schema).check()
        return found

    @cached_property
    def _earlier(self) -> list[Earlier] | None:
        """The versions that are stored again; ``None`` if files are stored, or only validated."""
        return None if self._options.state in (VALIDATED, FITTED) else read_earlier(self._options, self._aws_in)

    def _aws_in(self, region: str | None) -> Aws:
        client = self._wiring.client
        return Aws(partial(client, region=region) if region else client)

    def check_host(self, comparison: Comparison) -> Comparison:
        """Return the comparison with the facts from the host. :raises CwagentError: it could not store."""
        source, to_store = comparison.source, comparison.to_store
        if not to_store:
            return replace(comparison, source=RUN_COMMAND) if source == AUTO else comparison
        if source == AUTO:
            source = self._choose_way()
        else:
            self._way(source).reach()
        return replace(comparison, source=source, earlier=self._way(source).check_host(to_store))

    def _choose_way(self) -> str:
        """Return the way of ``auto``. :raises CwagentError: neither Ansible nor a command reaches the host."""
        wiring = self._wiring
        try:
            answer = wiring.host.ping()
        except HostUnreachable as error:
            answer = {"msg": self._instance.state_problem() or error.reason}
        if "ping" in answer:
            wiring.report.say("store with modules, since Ansible reaches this host (cwagent_store_config_from is auto)")
            return INSTANCE
        problem = self._instance.agent_problem()
        if problem:
            reason = to_sentence(answer.get("msg"))
            raise CwagentError(
                f"{wiring.name} cannot store the configuration. Ansible: {reason} Systems Manager: {problem}"
            )
        wiring.report.say(
            "store by Run Command, since Ansible does not reach this host (cwagent_store_config_from is auto)"
        )
        return RUN_COMMAND

    def transaction(self) -> Transaction:
        """Return the transaction that stores the configurations that differ. :raises CwagentError: it cannot begin."""
        earlier = self._options.compared
        found = self._compare_again(earlier) if earlier else self.compare()
        schema = self._way(found.source).check_again(found.to_store) if found.to_store else None
        if schema:
            self.validate(schema).check("Nothing was stored.")
        elif schema is not None and self._options.needs_agent_schema:
            reason = "check mode runs no command on an instance" if self._wiring.check_mode else "it gave none"
            self._wiring.report.say(f"the configurations were not validated by the agent's own schema: {reason}")
        return self._transaction(found)

    def opening(self) -> Transaction:
        """Return the transaction that opens the window for a person. :raises CwagentError: it cannot begin."""
        if self._options.way == RUN_COMMAND:  # nothing connects to the instance then
            return self._transaction(Comparison([], RUN_COMMAND))
        identity = InstanceWay(self._options, self._wiring, self._instance).identify([])
        return self._transaction(Comparison([], INSTANCE, identity))

    def _compare_again(self, earlier: Compared) -> Comparison:
        """Return what is still to be stored of the configurations that an earlier task has compared.

        :raises InvalidInput: a file has changed since then.
        """
        validated = self.validate()
        validated.check("Nothing was stored.")
        return Comparison(compare(validated, self._aws_in, earlier.differing), earlier.source, earlier.earlier)

    def _way(self, source: str) -> Way:
        return CLASSES[source](self._options, self._wiring, self._instance)

    def _transaction(self, comparison: Comparison) -> Transaction:
        wiring = self._wiring
        wiring.report.source = comparison.source
        way = self._way(comparison.source)
        source = way.source(comparison)
        does = partial(
            tidy,
            wiring.report,
            way.aws_in,
            comparison.configurations,
            names={each.name for each in self._options.configs},
            host=wiring.name if WAYS[comparison.source].connects else "",
            tags=not source.may_tag,
            surplus=self._options.remove_surplus_parameters,
            check_mode=wiring.check_mode,
        )
        return Transaction(source, comparison.configurations, does, wiring.shield, wiring.guard)

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of a task with the action cwagent_store_config, for each state, and the source that stores."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    DesiredAdmin,
    check_profiles,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.options import window_parameters
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    OPEN,
    DesiredWindow,
    check_binding,
    check_minutes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    OFF,
    desired_tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import STOPPED
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import instance_states
from ansible_collections.cwagent.iam.plugins.module_utils._planned import Planned
from ansible_collections.cwagent.iam.plugins.module_utils._shield import ShieldedAws
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import MIN_SECONDS, SENT, DesiredCommand
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.resource import (
    check_agent,
    check_instance,
    check_role,
)
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.admin_profile import Admin
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.command import CommandSource, writes
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.comparison import (
    Comparison,
    HostCheck,
    compare,
)
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import compared
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.controller import ControllerSource, tidy
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.instance import InstanceSource, check
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.onprem import OnPremisesSource
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import (
    CONTROLLER,
    INSTANCE,
    ONPREM,
    RUN_COMMAND,
    STORED,
)
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Transaction
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.validation import validate
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._guard import Guard
    from ansible_collections.cwagent.iam.plugins.module_utils._shield import Shield
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report, Source
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.validation import Validated


class Wiring(NamedTuple):
    """The tools of the work, besides its options.

    :param client: makes a boto3 client for a service: ``Call.client``.
    :param shield: as for the transaction. It protects each call that writes, too.
    :param name: the name of the host, for messages.
    :param host: does the work on the host.
    :param guard: watches this process while it holds the permission to store.
    :param find_file: returns the path of a file that the user named.
    :param show: shows lines to a person.
    """

    client: Callable[..., Any]
    shield: Shield
    check_mode: bool
    name: str
    host: Any
    report: Report
    guard: Guard
    find_file: Callable[[str], str]
    show: Callable[[Sequence[str]], None]


class Task:
    """The work of a task with these options."""

    def __init__(self, params: Mapping[str, Any], wiring: Wiring) -> None:
        self._params = {**params, "tier": params["tier"] or None}
        self._wiring = wiring
        self._shown: list[str] = []

    def validate(self, schema: str = "") -> Validated:
        """Validate the configurations, and show their problems.

        :param schema: the schema of the agent on the host.
        """
        found = validate(self._params, self._wiring.find_file, schema)
        if found.problem_lines not in ([], self._shown):
            self._wiring.show(found.problem_lines)
        self._shown = found.problem_lines
        return found

    def compare(self) -> Comparison:
        """Compare the configurations with Parameter Store, and check that the host could store any that differ.

        :raises CwagentError: a configuration is refused, or the host could not store.
        """
        validated, wiring, source = self.validate(), self._wiring, self._params["from"]
        validated.check()

        def aws_in(region: str | None) -> Aws:
            return Aws(partial(wiring.client, region=region) if region else wiring.client)

        found = Comparison(compare(validated, aws_in, wiring.report.warnings), source)
        check = HostCheck(
            self._params,
            wiring.name,
            wiring.host,
            wiring.report.say,
            agent_problem=self._agent_problem,
            state_problem=self._state_problem,
        )
        found = check.check(found)
        if found.pending and found.source in (INSTANCE, ONPREM) and self._needs_schema:
            schema = wiring.host.read_file(self._params["agent_schema_path"])
            if schema:  # the agent need not be installed
                self.validate(schema).check()
        return found

    def transaction(self) -> Transaction:
        """Return the transaction that stores the configurations that differ. :raises CwagentError: it cannot begin."""
        given = self._params["compared"]
        found = self.compare() if given is None else _read_comparison(given, self._params)
        if found.source == RUN_COMMAND and found.pending:
            schema = self._check_command(sorted({each.region for each in found.pending}))
            if schema:
                self.validate(schema).check()
            elif self._needs_schema:
                reason = "check mode runs no command on an instance" if self._wiring.check_mode else "it gave none"
                self._wiring.report.say(f"the configurations were not validated by the agent's own schema: {reason}")
        return self._transaction(found)

    def opening(self) -> Transaction:
        """Return the transaction that opens the window for a person. :raises CwagentError: it cannot begin."""
        if self._params["from"] == RUN_COMMAND:  # nothing connects to the instance then
            return self._transaction(Comparison([], RUN_COMMAND))
        identity = check(self._wiring.host.current_identity([]), self._wiring.name)["identity"]
        return self._transaction(Comparison([], INSTANCE, identity))

    @property
    def _needs_schema(self) -> bool:
        params = self._params
        return bool(params["agent_schema_path"]) and not params["schema"] and params["validation"] != OFF

    def _agent_problem(self) -> str:
        """Return why no command reaches the instance now. :raises InvalidInput: none ever will."""
        try:
            check_agent(Aws(self._wiring.client), _instance_id(self._params), Deadline(0))
        except InvalidInput:
            raise
        except CwagentError as error:
            return str(error)
        return ""

    def _state_problem(self) -> str:
        """Return that the instance is stopped; empty if it is not, or if EC2 does not say."""
        instance_id = _instance_id(self._params)
        try:
            state = instance_states(Aws(self._wiring.client), [instance_id]).get(instance_id)
        except CwagentError:
            return ""  # that Ansible does not reach it is the problem
        return f"Instance {instance_id} is {state}. Start it" if state in STOPPED else ""

    def _check_command(self, regions: Sequence[str]) -> str:
        """Check that the instance can store through a command, with the admin role. :returns: its agent's schema."""
        params, wiring = self._params, self._wiring
        aws, instance, is_created = Aws(wiring.client), _instance_id(params), _is_created(params, RUN_COMMAND)
        try:
            waits = is_created and not wiring.check_mode
            check_agent(aws, instance, Deadline(params["wait_timeout"] if waits else 0))
            check_role(aws, wiring.client, params["admin_role"])
            return "" if wiring.check_mode else check_instance(aws, instance, regions)
        except InvalidInput:
            raise  # no earlier task changes that
        except CwagentError as error:
            if stopped := self._state_problem():
                raise CwagentError(f"{stopped}, then run again. Nothing was opened.") from error
            if not (is_created and wiring.check_mode):
                raise
            wiring.report.warnings.append(str(error))
            return ""

    def _transaction(self, comparison: Comparison) -> Transaction:
        params, wiring = self._params, self._wiring
        wiring.report.source = comparison.source

        def aws_in(region: str | None = None) -> Aws:
            client = partial(wiring.client, region=region) if region else wiring.client
            return ShieldedAws(client, params["wait_timeout"], wiring.shield)

        source = _source(params, comparison, wiring, aws_in)
        does = partial(
            tidy,
            wiring.report,
            aws_in,
            comparison.configurations,
            tags=not source.may_tag,
            surplus=params["remove_surplus"],
            check_mode=wiring.check_mode,
        )
        return Transaction(source, comparison.configurations, does, wiring.shield, wiring.guard)


def _instance_id(params: Mapping[str, Any]) -> str:
    """Return the instance. :raises InvalidInput: it is not given, or not valid."""
    if not params["instance_id"]:
        raise InvalidInput("The ID of the instance that stores is missing. Set instance_id of the host.")
    _names.check_instance_id(params["instance_id"])
    return str(params["instance_id"])


def _read_comparison(given: Mapping[str, Any], params: Mapping[str, Any]) -> Comparison:
    """Return the comparison in the option. :raises InvalidInput: it is not a comparison."""
    tags = desired_tags({"tags": params["parameter_tags"]})
    configurations = [
        compared(each, params["tier"], tags, split=params["split"], split_recent=params["split_recent"])
        for each in given.get("compared", [{}])
    ]
    return Comparison(configurations, given.get("source", params["from"]), given.get("earlier_identity") or {})


def _source(params: Mapping[str, Any], comparison: Comparison, wiring: Wiring, aws_in: Callable[..., Aws]) -> Source:
    if comparison.source == CONTROLLER:
        return ControllerSource(wiring.report, aws_in)
    window, aws, pending = _window(params, comparison, wiring.check_mode), aws_in(), comparison.pending
    opened, wait = window if params["admin_window"] else None, params["wait_timeout"]
    if comparison.source == ONPREM:
        return OnPremisesSource(wiring.report, aws, wiring.host, name=wiring.name, window=opened, wait_timeout=wait)
    desired = _desired_admin(params, aws.region, wiring.check_mode, is_over_connection=comparison.source == INSTANCE)
    admin = Admin(wiring.name, desired, opened, wait)
    if comparison.source == INSTANCE:
        return InstanceSource(
            wiring.report, aws, admin, wiring.host, configurations=pending, earlier=comparison.earlier
        )
    command = DesiredCommand(
        SENT,
        params["instance_id"],
        str(uuid.uuid4()),
        params["admin_role"],
        tuple(write for each in pending for write in writes(each, can_change_tier=not params["tier"])),
        _command_seconds(params),
        params["permission_timeout"],
    )
    return CommandSource(wiring.report, aws, admin, command, aws_in)


def _window(params: Mapping[str, Any], comparison: Comparison, check_mode: bool) -> DesiredWindow:
    check_minutes(params["admin_window_minutes"])
    is_user = comparison.source == ONPREM
    kind, principal = ("user", params["admin_user"]) if is_user else ("role", params["admin_role"])
    _names.check_name(kind, principal)
    written = [
        {"name": step.arguments["name"], "region": each.region}
        for each in comparison.configurations
        for step in each.plan_without_tags.all_steps
    ]
    is_created = _is_created(params, comparison.source)
    window = DesiredWindow(
        kind,
        principal,
        OPEN,
        params["admin_window_minutes"],
        managed_only=not is_created,  # the task that creates it has checked it
        # Outside check mode, the window is in the state that IAM shows.
        closed_before=check_mode and Planned(params["planned"]).has_restored,
        created_before=check_mode and is_created,
        instance_id=_instance_id(params) if kind == "role" else None,
        parameters=window_parameters(written),
        read_others=not is_created,
    )
    check_binding(window)
    return window


def _desired_admin(
    params: Mapping[str, Any], region: str, check_mode: bool, *, is_over_connection: bool
) -> DesiredAdmin:
    for name in (params["admin_profile"], params["server_profile"]):
        _names.check_name("instance profile", name)
    check_profiles(params["admin_profile"], params["server_profile"])
    planned, instance = Planned(params["planned"]), _instance_id(params)
    return DesiredAdmin(
        ACQUIRED,
        params["admin_profile"],
        params["server_profile"],
        (instance,),
        record_role=params["admin_role"],
        region=region,
        fail_if_tagged=params["state"] == STORED,  # a person may open a window for longer
        are_running=params["state"] == STORED or is_over_connection,  # it has just answered
        managed_before=_is_created(params, INSTANCE),
        released_before=check_mode and planned.has_restored,
        associated_before=check_mode and planned.profiles.get(instance) == params["server_profile"],
    )


def _is_created(params: Mapping[str, Any], source: str) -> bool:
    """Return whether an earlier task has created or changed the admin principal, or has planned to."""
    planned = Planned(params["planned"])
    return (
        planned.has_user(params["admin_user"]) if source == ONPREM else planned.has_changed_role(params["admin_role"])
    )


def _command_seconds(params: Mapping[str, Any]) -> int:
    """Return how long the command may live, which is as long as the waits of the run, within the window."""
    waits = params["wait_timeout"] + params["identity_timeout"] + params["permission_timeout"]
    return int(min(params["admin_window_minutes"] * 60, max(2 * MIN_SECONDS, waits)))

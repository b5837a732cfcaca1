# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules about stored configurations. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import GET
from ansible_collections.cwagent.iam.plugins.module_utils._access.case import MAX_LISTED
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.opentelemetry import is_yaml_name, read_yaml
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE, LIMITS, TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import select
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._findings import CONFIGURATION, NOTICE, WARNING, Rule
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.cwagent.iam.plugins.module_utils._access.case import Case
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ConfigParameter
    from ansible_collections.cwagent.iam.plugins.module_utils._findings import Finding

# A configuration that uses this share of its limit, or more, is near the limit.
NEAR_LIMIT = 0.9

PARAMETER_UNREADABLE = Rule("parameter-unreadable", CONFIGURATION, (WARNING,), "a server cannot read a configuration")
PARAMETER_INVALID = Rule("parameter-invalid", CONFIGURATION, (WARNING,), "a configuration is not valid")
PARAMETER_NEAR_LIMIT = Rule("parameter-near-limit", CONFIGURATION, (NOTICE,), "a configuration almost fills its tier")


def _parameter_findings(case: Case) -> Iterator[Finding]:
    for each in case.account.parameters:
        servers = [server for server, decision in case.readers(each) if decision is Decision.NO]
        if servers:
            names = join_first([server.label for server in servers], MAX_LISTED)
            why = f"Server principals may not read the parameter: {names}."
            fix = f"Allow {GET} on {case.parameter_arn(each.region, each.name)} to {names}."
            yield PARAMETER_UNREADABLE.finding(each.name, why, fix, each.region)
        problem = parameter_problem(each)
        if problem:
            fix = "Store a corrected configuration with the playbook cwagent.iam.store_config."
            if each.type not in (TYPE, ENCRYPTED_TYPE):
                fix = f"aws ssm delete-parameter --region {each.region} --name {each.name}"
            yield PARAMETER_INVALID.finding(each.name, problem, fix, each.region)
        size, limit = parameter_size(each), LIMITS.get(each.tier, max(LIMITS.values()))
        if size is not None and size >= limit * NEAR_LIMIT:
            why = f"The configuration has {size} of {limit} bytes of the {each.tier} tier."
            fix = "Decide whether to divide it into several parameters (cwagent_configs), or to use the Advanced tier."
            yield PARAMETER_NEAR_LIMIT.finding(each.name, why, fix, each.region)


def parameter_problem(parameter: ConfigParameter) -> str | None:
    """Return why a parameter is not a valid configuration; ``None`` if it is, or was not read."""
    if parameter.type not in (TYPE, ENCRYPTED_TYPE):
        return f"parameter '{parameter.name}' has type {parameter.type}; the agent reads a {TYPE}."
    if parameter.value is None:
        return None
    source = f"parameter '{parameter.name}'"
    is_yaml = is_yaml_name(parameter.name)
    problems = read_yaml(parameter.value, source)[1] if is_yaml else validate(parameter.value, source=source).problems
    errors, _warnings = select(problems, "warn")
    if not errors:
        return None
    more = f" ({len(errors) - 1} more)" if errors[1:] else ""
    return f"{source} is not valid: {errors[0]}{more}."


def parameter_size(parameter: ConfigParameter) -> int | None:
    """Return the size of a configuration in bytes; ``None`` if it was not read."""
    return None if parameter.value is None else len(parameter.value.encode())


def readable_by_servers(case: Case, parameter: ConfigParameter) -> Decision:
    """Return whether all server principals may read a parameter; unknown if there is none."""
    return min((decision for _server, decision in case.readers(parameter)), default=Decision.UNKNOWN)


CHECKS = (_parameter_findings,)

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the configuration that is wanted, what is wrong with it, and what is known of it, from a module's options."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import Document
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.files import read_file
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import (
    DesiredConfig,
    Parameter,
    State,
    check_parameter_name,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import (
    Problem,
    Severity,
    select,
    to_lines,
    to_result,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.schema import (
    add_schema_problems,
    read_schema,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PRESENT, ABSENT, VALIDATED = "present", "absent", "validated"
STRICT, WARN, OFF = "strict", "warn", "off"
_TOGETHER = "the configurations together"


@dataclass(frozen=True)
class Validation:
    """What a configuration is, and what is wrong with it.

    :param desired: ``None`` where there is an error.
    :param errors: what it is refused for.
    """

    desired: DesiredConfig | None = None
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def to_result(self) -> dict[str, Any]:
        """Render the problems for the result: as data, and as lines for a terminal."""
        problems = [*self.errors, *self.warnings]
        return {"problems": [to_result(each) for each in problems], "problem_lines": to_lines(problems)}


def desired_config(params: Mapping[str, Any]) -> tuple[DesiredConfig, list[str]]:
    """Return the configuration that the options declare, and the warnings about it.

    :raises InvalidInput: its name or the configuration is not valid; the message has everything that is wrong with it.
    """
    check_parameter_name(params["name"])
    if params["state"] == ABSENT:
        return DesiredConfig(params["name"], can_be_split=params["split"]), []
    found = validated(params)
    if found.desired is None:
        raise InvalidInput(refusal(found), **found.to_result())
    return found.desired, [line.strip() for line in to_lines(found.warnings)]


def refusal(found: Validation) -> str:
    """Return the message about a configuration that is refused."""
    count = len(found.errors)
    lines = "\n".join(to_lines(found.errors))
    return f"The configuration is not valid ({count} problem{'' if count == 1 else 's'}), so it is not stored.\n{lines}"


def validated(params: Mapping[str, Any]) -> Validation:
    """Return everything that is wrong with a configuration. :raises InvalidInput: the schema is not usable."""
    documents = list(_documents(params))
    problems = [problem for each in documents for problem in each.problems]
    values = [each.value for each in documents if each.value is not None]
    config: Mapping[str, Any] = values[0] if values else {}
    if len(values) == len(documents) > 1:
        config, together = _merge(values, params, {(each.rule, each.message) for each in problems})
        problems += together
    errors, warnings = select(problems, params["validation"])
    if errors:
        return Validation(None, errors, warnings)
    try:
        desired = config_plan.desired_config(
            params["name"],
            config,
            params["tier"],
            can_be_split=params["split"],
            allow_recent=params["split_recent"],
        )
    except InvalidInput as error:
        source = documents[0].source if len(documents) == 1 else _TOGETHER
        return Validation(None, [Problem((), "size", str(error).rstrip("."), Severity.ERROR, source=source)], warnings)
    return Validation(desired, [], warnings)


def _documents(params: Mapping[str, Any]) -> Iterator[Document]:
    """Read and validate each configuration of the options."""
    schema = _schema(params)
    for source, content in _contents(params):
        try:
            document = validate(read_file(source) if content is None else content, source=source, **_rules(params))
        except InvalidInput as error:
            yield _unreadable(source, str(error))
            continue
        yield add_schema_problems(document, *schema, is_required=True) if schema else document


def _unreadable(source: str, reason: str) -> Document:
    problem = Problem((), "file", reason.rstrip("."), Severity.ERROR, source=source)
    return Document(source, None, [problem], lambda _path: (None, None))


def _rules(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"has_onprem": params["has_onprem"]}


def _contents(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the name of each configuration, and its content; ``None`` for that of a file."""
    if params["src"]:
        yield from ((path, None) for path in params["src"])
    elif isinstance(params["config"], list):
        yield from ((f"config[{index}]", each) for index, each in enumerate(params["config"]))
    else:
        yield "config", params["config"]


def _schema(params: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    given = params["schema"]
    if not given or params["validation"] == OFF:
        return None
    if isinstance(given, dict):
        return read_schema(json.dumps(given), "schema"), "schema"
    if str(given).lstrip().startswith("{"):
        return read_schema(str(given), "schema"), "schema"
    return read_schema(read_file(str(given)), str(given)), str(given)


def _merge(
    values: list[dict[str, Any]], params: Mapping[str, Any], known: set[tuple[str, str]]
) -> tuple[dict[str, Any], list[Problem]]:
    """Merge configurations as the agent does, and return what is wrong with them together only."""
    try:
        merged = merge(values)
    except InvalidInput as error:
        return {}, [Problem((), "merge", str(error).rstrip("."), Severity.ERROR, source=_TOGETHER)]
    found = validate(merged, source=_TOGETHER, **_rules(params)).problems
    return merged, [each for each in found if (each.rule, each.message) not in known]


def known_state(known: Mapping[str, Any] | None) -> State | None:
    """Return the parameters that the option ``known_values`` describes; ``None`` where it is not given."""
    if known is None:
        return None
    return {name: Parameter(**each) if each else None for name, each in known.items()}

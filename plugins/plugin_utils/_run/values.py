# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed values from the text that users write in inventories, files and surveys. Pure.

A survey gives text where a person meant a number, and a blank for a question without an answer. Only this file decides
the meaning of such values. Every problem is one sentence that contains the name of the variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from ansible.module_utils.common.validation import check_type_bool, check_type_dict, check_type_int

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.names import check_region
from ...module_utils._ground.text import join_first, misspelled, to_message
from ...module_utils._ground.text import quote as quote_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


T = TypeVar("T")

MAX_SHOWN_CHARACTERS = 60
EXPECTATIONS = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "str": "must be text",
    "path": "must be text",
    "list": "must be a list",
    "dict": "must be a mapping",
}
TEXT_TYPES = ("str", "path")
# Options of roles whose values are lists by region. Argument specs have no type for the values of a mapping.
LISTS_BY_REGION = frozenset(
    {
        *("audit_instances", "ec2_server_instances", "ec2_admin_instances"),
        "audit_configs_by_region",
    }
)
# The option of a role whose entries can have regions.
CONFIGS_OF_ROLE = "store_config_configs"
# Options of roles with environment variables, whose values can be secrets.
ENVIRONMENTS = frozenset({"hybrid_registration_environment", "store_config_environment", "verify_environment"})
MAX_SHOWN_HOSTS = 10
_OF_HOST = re.compile(r"Host (\S+): ")
_VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True)
class Undefined:
    """Stands for a value that refers to a variable which is not defined. :param reason: in the words of Ansible."""

    reason: str


@dataclass
class Problems:
    """Collects all problems as sentences, each sentence once, in the order in which they were found."""

    _found: dict[str, None] = field(default_factory=dict)

    @property
    def sentences(self) -> list[str]:
        """All problems. One that several hosts have is one sentence with their names."""
        hosts_of: dict[str, list[str]] = {}
        for problem in self._found:
            host = _OF_HOST.match(problem)
            hosts_of.setdefault(problem[host.end() :] if host else problem, []).extend(host.groups() if host else ())
        return [
            f"Host{'s' if hosts[1:] else ''} {join_first(hosts, MAX_SHOWN_HOSTS)}: {problem}" if hosts else problem
            for problem, hosts in hosts_of.items()
        ]

    def add(self, problem: str) -> None:
        """Add one problem."""
        self._found[to_message(problem)] = None

    def check(self, work: Callable[..., T], *arguments: Any, where: str = "") -> T | None:
        """Return the result of ``work``; ``None`` if it raises ``InvalidInput``, which is added as a problem."""
        try:
            return work(*arguments)
        except InvalidInput as error:
            self.add(f"{where}{error}")
            return None


def is_blank(value: Any) -> bool:
    """Return whether a value is empty, like the value of a survey question without an answer."""
    return value is None or (isinstance(value, str) and not value.strip())


def to_typed(name: str, option: Mapping[str, Any], value: Any) -> Any:
    """Return a value in the type of its option; ``None`` for a blank.

    :param option: as in an argument spec.
    :raises InvalidInput: it is undefined, of another type, or none of the choices.
    """
    if isinstance(value, Undefined):
        raise InvalidInput(f"{name} cannot be evaluated: {value.reason}.")
    if is_blank(value):
        return None
    try:
        return _convert(option, value)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} {_expectation(option)}, not {quote(value)}.") from error


def _convert(option: Mapping[str, Any], value: Any) -> Any:
    """Return a value in the type of its option.

    :raises ValueError, TypeError: it is of another type.
    :raises InvalidInput: a part of it is of another type. The message contains the name of the part.
    """
    kind = option.get("type", "str")
    if kind == "list":
        item = {"type": option.get("elements", "str"), **{key: option.get(key) for key in ("options", "choices")}}
        items = _parse(list, value, accepts_single=option.get("accepts_single", False))
        return [_convert(item, each) for each in items]
    if kind == "dict":
        mapping = _parse(dict, value)
        for key in mapping:
            if not isinstance(key, (str, int, float)):  # YAML reads a date without quotes as one, and null as nothing
                raise InvalidInput(f"the key {quote(key)} is not text. Put it in quotes.")
        return _convert_each(option["options"], mapping) if option.get("options") else mapping
    if value is False and "off" in option.get("choices", ()):
        value = "off"  # YAML reads it as false without quotes, and Ansible's own check takes that back
    converted = _convert_scalar(kind, value)
    if option.get("choices") and converted not in option["choices"]:
        raise ValueError(value)
    return converted


def _convert_each(options: Mapping[str, Mapping[str, Any]], mapping: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key, option in options.items() if option.get("required") and is_blank(mapping.get(key))]
    unknown = mapping.keys() - options.keys()
    if missing or unknown:
        raise ValueError(mapping)
    required = {key: _convert(option, mapping[key]) for key, option in options.items() if option.get("required")}
    optional = {
        key: to_typed(_part(key, mapping, options), options[key], mapping[key])
        for key in mapping
        if key not in required
    }
    return {**required, **{key: value for key, value in optional.items() if value is not None}}


def _part(key: str, mapping: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of a part of a mapping for messages, with the value of the first required option."""
    return " of ".join([key, *(str(mapping[each]) for each in options if options[each].get("required"))][:2])


def _convert_scalar(kind: str, value: Any) -> Any:
    """Return a boolean, number or text. Ansible's own check turns lists into text, and booleans into numbers."""
    if kind == "bool":
        return check_type_bool(value)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise TypeError(value)
    if kind == "int":
        if isinstance(value, float):
            raise TypeError(value)
        return check_type_int(value)
    return value.strip() if isinstance(value, str) else str(value)


def _parse(kind: type[T], value: Any, *, accepts_single: bool = False) -> T:
    """Return a list or a mapping, which can be text in YAML, such as the answer to a survey.

    :param accepts_single: whether to turn a number into a list, and text into a list of the parts between commas.
    """
    if accepts_single and isinstance(value, (int, float)):
        value = [value]
    if accepts_single and isinstance(value, str) and not value.lstrip().startswith(("[", "- ")):
        value = value.split(",")  # as the modules take it
    if isinstance(value, str):
        try:
            # The base loader takes numbers and dates for text, as their author wrote them.
            value = yaml.load(value, yaml.BaseLoader)  # noqa: S506  it constructs nothing but text, lists and mappings
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(value) from error
        if kind is dict and isinstance(value, str):
            value = check_type_dict(value)  # name=value, as the modules take it
    if not isinstance(value, kind):
        raise TypeError(value)
    return value


def _expectation(option: Mapping[str, Any]) -> str:
    if option.get("choices"):
        choices = ", ".join(str(choice) for choice in option["choices"] if choice != "")
        return f"must be a list of any of {choices}" if option.get("type") == "list" else f"must be one of {choices}"
    if option.get("options"):
        required = [key for key, each in option["options"].items() if each.get("required")]
        optional = [key for key in option["options"] if key not in required]
        perhaps = f", perhaps {' and '.join(optional)}," if optional else ""
        return f"must be a list of mappings, each with {' and '.join(required)}{perhaps} and nothing else"
    if option.get("accepts_single"):
        return f"{EXPECTATIONS[option['elements']]}, or a list of it"
    if option.get("elements"):
        return f"must be a list, each item of which {EXPECTATIONS[option['elements']]}"
    return EXPECTATIONS[option.get("type", "str")]


def check_role(options: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Any]) -> list[str]:
    """Return the problems with the variables of a role, in sentences.

    Ansible's own check of a role's arguments accepts any text as a list, which the role then takes apart into letters.

    :param options: the options in the role's argument specs.
    :param variables: the variables of the role that are set, with their values.
    """
    problems = Problems()
    for name, option in options.items():
        if option.get("required") and is_blank(variables.get(name)):
            problems.add(f"{name} is required.")
        elif name in ENVIRONMENTS and name in variables:
            problems.check(check_environment, name, variables[name])
        elif name in variables and not _is_left_out(option, variables[name]):
            problems.check(_check_variable, name, option, variables[name])
    return problems.sentences


def _is_left_out(option: Mapping[str, Any], value: Any) -> bool:
    """Whether null leaves out a number that the role finds by itself then."""
    return value is None and option.get("type") == "int" and "default" not in option


def misspelled_variables(role: str, names: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a sentence for each variable that is nearly one of a role, which would ignore it.

    Others can begin with the name of a role by chance.

    :param known: the variables of all entry points of the role.
    """
    given = sorted(name for name in names if name.startswith(f"{role}_") and name not in known)
    return [
        f"{name} is not a variable of the role {role}; did you mean {near}?"
        for name in given
        if (near := misspelled(name, known))
    ]


def _check_variable(name: str, option: Mapping[str, Any], value: Any) -> None:
    """Check a variable as it is, because nothing replaces it with its typed value, unlike a playbook's input."""
    kind = option.get("type", "str")
    takes_blank = kind in TEXT_TYPES and "" in option.get("choices", [""])
    takes_text = kind not in ("list", "dict")
    if (is_blank(value) and not takes_blank) or (isinstance(value, str) and not takes_text):
        raise InvalidInput(f"{name} {_expectation(option)}, not {quote(value)}.")
    to_typed(name, option, value)
    options = option.get("options", {}) if kind == "list" else {}
    for entry in value if options else ():
        for key, part in entry.items():
            _check_variable(f"{name}: {_part(key, entry, options)}", options[key], part)
    if name == CONFIGS_OF_ROLE:
        check_config_regions(name, value)
    if name in LISTS_BY_REGION:
        for region, items in value.items():
            if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
                raise InvalidInput(f"{name} must have a list for each region; '{region}' has {quote(items)}.")


def check_environment(name: str, value: Any) -> None:
    """Check environment variables. :raises InvalidInput: they are not valid. The message never contains a value."""
    if isinstance(value, Undefined):
        raise InvalidInput(f"{name} cannot be evaluated: {value.reason}.")
    if not isinstance(value, dict):
        raise InvalidInput(f"{name} must be a mapping of names of environment variables to their values.")
    for key, each in value.items():
        if not re.fullmatch(_VARIABLE_NAME, str(key)):
            raise InvalidInput(f"{name}: {quote(key)} is not a valid name of an environment variable.")
        if isinstance(each, (list, dict)):
            raise InvalidInput(f"{name}: the value of {key} must be text.")


def check_config_regions(name: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Check the regions of configurations. :raises InvalidInput: with the variable and the name of a configuration."""
    for entry in entries:
        regions, where = entry.get("regions"), f"{name}: regions of {entry['name']}"
        if regions == []:
            raise InvalidInput(f"{where} is an empty list. Name a region, or leave regions out.")
        for region in regions or ():
            try:
                check_region(region)
            except InvalidInput as error:
                raise InvalidInput(f"{where}: {error}") from error
        if len({*(regions or ())}) < len(regions or ()):
            raise InvalidInput(f"{where} has a duplicate region.")


def quote(value: Any) -> str:
    """Return a value for a sentence, cut if it is long."""
    return quote_value("null" if value is None else value, MAX_SHOWN_CHARACTERS)

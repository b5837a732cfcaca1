# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a module's options the desired configuration and its problems."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.validation import check_type_path

from .._ground.errors import InvalidInput
from .._ground.findings import ERROR, NOTICE, Rule
from .._ground.names import check_tags, is_yaml_name, tags_as_text
from .._ground.options import option, read_options, spec_of
from .._ground.text import count_noun, to_summary
from . import parameter_plan
from . import problems as rules
from .document import MAX_SIZE, Content, Document, is_json, read, read_yaml
from .parameter_plan import LIMITS, DesiredConfig, check_name_of_json, check_parameter_name
from .parts import merge
from .problems import Problem, select, to_finding, to_lines
from .schema import add_schema_problems, read_schema
from .validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence


PRESENT, ABSENT, VALIDATED, TAGGED = "present", "absent", "validated", "tagged"
STRICT, WARN, OFF = "strict", "warn", "off"
_TOGETHER = "the configurations together"
# The source of a schema that is not a file. An earlier task has read it from a host, so the user has not chosen it.
_GIVEN = "schema"
# The rules about something missing. If one of several configurations lacks it, another one can have it.
_INCOMPLETE = frozenset({rules.MISSING_KEY, rules.ON_PREMISES, rules.SECTION})


@dataclass(frozen=True)
class Handling:
    """How a configuration is validated and stored, with the options of these names.

    :param agent_schema: the JSON schema of the agent, as a path, a mapping or a text. It is falsy if there is none.
    :param parameter_tier: ``None`` for the smallest tier that fits.
    """

    agent_schema: Any
    parameter_tier: str | None
    tags: Mapping[str, Any] | None
    config_validation: str = option(choices=[STRICT, WARN, OFF], default=STRICT)
    has_onprem: bool = option(default=False)
    split_config: bool = option(default=False)
    split_recent: bool = option(default=False)


SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "config": {"type": "raw"},
    "src": {"type": "list", "elements": "path"},
    "agent_schema": {"type": "raw"},
    **spec_of(Handling),
    "parameter_tier": {"type": "str", "choices": list(LIMITS)},
    "state": {"type": "str", "choices": [PRESENT, ABSENT, VALIDATED, TAGGED], "default": PRESENT},
    "tags": {"type": "dict"},
    "wait_timeout": {"type": "int", "default": 0},
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [("config", "src")],
    "required_if": [
        *(("state", state, ["config", "src"], True) for state in (PRESENT, VALIDATED)),
        ("state", TAGGED, ["tags"]),
    ],
}


@dataclass(frozen=True)
class GivenConfig:
    """A configuration that the options contain, in ``config`` or in the files of ``src``.

    :param source: where ``config`` comes from, for its problems.
    :param parts: the parts of ``config`` as they were stored before. They are stored as they are.
    :param digests: if this was validated before, the digest of its content then, or several. Any other content is
        refused, and this content is validated again only with a schema.
    """

    name: str
    config: Any
    src: Sequence[str] | None
    handling: Handling
    source: str = "config"
    parts: Sequence[str] = ()
    digests: Collection[str] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> GivenConfig:
        """Return the configuration of the validated options."""
        return cls(params["name"], params["config"], params["src"], read_options(Handling, params))


@dataclass(frozen=True)
class Validation:
    """A configuration with its problems.

    :param name: the name of its parameter.
    :param desired: ``None`` if there is an error.
    :param errors: the problems for which it is refused.
    :param notices: facts that the user should know, although the configuration is right.
    """

    name: str
    desired: DesiredConfig | None = None
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    notices: list[Problem] = field(default_factory=list)

    def to_result(self) -> dict[str, Any]:
        """Render the problems for the result: as data, as lines for a terminal, and for reports."""
        problems = [*self.errors, *self.warnings, *self.notices]
        return {
            "failure": self._failure(),
            "problem_lines": [
                *to_lines(self.errors),
                *to_lines(self.warnings, "warning"),
                *to_lines(self.notices, "notice"),
            ],
            "findings": [to_finding(each, self.name) for each in problems],
        }

    def _failure(self) -> str:
        """Return the message for one event: the first error with its place, and how many more there are."""
        errors = [f"{each.source}: {each}" for each in self.errors]
        return f"{self.name} is not valid: {to_summary(errors)}" if errors else ""


def declared_config(given: GivenConfig, *, is_absent: bool = False) -> tuple[DesiredConfig, Validation]:
    """Return the configuration that the options declare, with its problems.

    :raises InvalidInput: its name or the configuration is not valid. The message lists all problems.
    """
    if is_absent:
        check_parameter_name(given.name)
        return DesiredConfig(given.name, can_be_split=given.handling.split_config), Validation(given.name)
    found = validate_config(given)
    if found.desired is None:
        raise InvalidInput(refusal(found), **found.to_result())
    return found.desired, found


def desired_tags(given: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the tags that a parameter is to have. :raises InvalidInput: AWS would refuse them."""
    tags = tags_as_text(given or {})
    check_tags(tags)
    return tags


def refusal(found: Validation) -> str:
    """Return the message about a configuration that is refused."""
    count, lines = count_noun(len(found.errors), "problem"), "\n".join(to_lines(found.errors))
    return f"The configuration is not valid ({count}), so it is not stored.\n{lines}"


def validate_config(given: GivenConfig) -> Validation:
    """Return a configuration with all its problems.

    :raises InvalidInput: the name of its parameter or the schema is not valid, or the content has changed since it was
        validated.
    """
    check_parameter_name(given.name)
    contents = list(_contents(given))
    digest = _digest(given, contents)
    if is_yaml_name(given.name):
        return _validate_yaml(given, contents, digest)
    check_name_of_json(given.name)
    schema = _schema(given.handling)

    def check(content: Content, source: str) -> Document:
        if given.digests and not schema:
            return read(content, source)
        document = validate(content, source=source, has_onprem=given.handling.has_onprem, name=given.name)
        return add_schema_problems(document, *schema, is_required=schema[1] != _GIVEN) if schema else document

    documents = [
        _unusable(rules.FILE, content, source) if isinstance(content, InvalidInput) else check(content, source)
        for source, content in contents
    ]
    problems = [problem for each in documents for problem in each.problems]
    whole = documents[0]
    if len(documents) > 1:
        whole = _merge(documents, check)
        problems = _join(problems, whole)
    return _validation(given, whole.value, problems, whole.source, digest)


def _validate_yaml(given: GivenConfig, contents: Sequence[tuple[str, Any]], digest: str) -> Validation:
    """Return an OpenTelemetry configuration with its problems. :raises InvalidInput: it is JSON, or several files."""
    source, content = contents[0]
    if isinstance(content, InvalidInput):
        return _validation(given, None, [_problem(rules.FILE, content, source)], source)
    if is_json(content):
        check_name_of_json(given.name)
    if len(contents) > 1:
        raise InvalidInput(f"parameter name '{given.name}': an OpenTelemetry configuration is one file.")
    return _validation(given, *read_yaml(content, source), source, digest)


def _validation(
    given: GivenConfig, config: dict[str, Any] | str | None, problems: list[Problem], source: str, digest: str = ""
) -> Validation:
    """Return the validation of a configuration, which is ``None`` if it cannot be stored."""
    tags = desired_tags(given.handling.tags)
    desired = None
    if config is not None and not select(problems, OFF)[0]:
        try:
            desired = parameter_plan.desired_config(
                given.name,
                config,
                given.handling.parameter_tier,
                can_be_split=given.handling.split_config,
                allow_recent=given.handling.split_recent,
                tags=tags,
                parts=given.parts,
                digest=digest,
            )
        except InvalidInput as error:
            problems.append(_problem(rules.SIZE, error, source))
    errors, warnings = select(problems, given.handling.config_validation)
    has_notices = given.handling.config_validation != OFF
    notices = [each for each in problems if each.severity == NOTICE and has_notices]
    return Validation(given.name, None if errors else desired, errors, warnings, notices)


def _contents(given: GivenConfig) -> Iterator[tuple[str, Any]]:
    """Return the name of each configuration with its content, or with the error if its file cannot be read."""
    if given.src:
        yield from ((path, _read(path)) for path in given.src)
    elif given.config and isinstance(given.config, list):
        yield from ((f"config[{index}]", each) for index, each in enumerate(given.config))
    else:
        yield given.source, given.config


def _read(path: str) -> bytes | InvalidInput:
    try:
        return read_file(path)
    except InvalidInput as error:
        return error


def _digest(given: GivenConfig, contents: Sequence[tuple[str, Any]]) -> str:
    """Return the digest of the contents.

    It finds a file that was changed or truncated between two tasks. It does not protect against an attacker.

    :raises InvalidInput: the contents were validated before and have changed, or one cannot be read any more.
    """
    found = hashlib.sha256()
    for _source, each in contents:
        if isinstance(each, InvalidInput) and given.digests:
            raise each
        found.update(each if isinstance(each, bytes) else str(each).encode(errors="surrogatepass"))
    if given.digests and found.hexdigest() not in given.digests:
        raise InvalidInput(f"{contents[0][0]} has changed since it was validated in this run. Run again.")
    return found.hexdigest()


def _merge(documents: Sequence[Document], check: Callable[[Content, str], Document]) -> Document:
    """Merge configurations as the agent does, and validate the whole. It has no value if the merge is not possible."""
    values = [each.value for each in documents if each.value is not None]
    if len(values) < len(documents):
        return _without_value(_TOGETHER)
    try:
        merged = merge(values)
    except InvalidInput as error:
        return _unusable(rules.MERGE, error, _TOGETHER)
    return check(merged, _TOGETHER)


def _join(problems: list[Problem], whole: Document) -> list[Problem]:
    """Join the problems of the parts and of the whole, without problems that only a part alone has."""
    if whole.value is not None:
        found = {_kind(each) for each in whole.problems}
        only_in_parts = {_kind(each) for each in problems if each.rule in _INCOMPLETE} - found
        problems = [each for each in problems if each.is_final or _kind(each) not in only_in_parts]
    known = {_kind(each) for each in problems}
    return [*problems, *(each for each in whole.problems if _kind(each) not in known)]


def _kind(problem: Problem) -> tuple[Rule, str]:
    return problem.rule, problem.message


def _unusable(rule: Rule, error: InvalidInput, source: str) -> Document:
    return _without_value(source, _problem(rule, error, source))


def _without_value(source: str, *problems: Problem) -> Document:
    return Document(source, None, list(problems), lambda _path: (None, None))


def _problem(rule: Rule, error: InvalidInput, source: str) -> Problem:
    return Problem((), rule, str(error).rstrip("."), ERROR, source=source)


def _schema(handling: Handling) -> tuple[dict[str, Any], str] | None:
    given = handling.agent_schema
    if not given or handling.config_validation == OFF:
        return None
    if isinstance(given, dict):
        return read_schema(json.dumps(given), _GIVEN), _GIVEN
    if str(given).lstrip().startswith("{"):
        return read_schema(str(given), _GIVEN), _GIVEN
    path = str(check_type_path(given))
    return read_schema(read_file(path), path), path


def read_file(path: str) -> bytes:
    """Read a file, but never more than the size of a configuration or schema, because some files have no end.

    :raises InvalidInput: it cannot be read, is not a regular file, or is too large.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInput(f"{path} cannot be read: it is not a regular file.")
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_SIZE:
        raise InvalidInput(f"{path} cannot be read: it is larger than {MAX_SIZE} bytes.")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file, even if it is a FIFO without a writer."""
    return os.open(path, flags | os.O_NONBLOCK)

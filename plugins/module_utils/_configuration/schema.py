# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validates agent configurations with the JSON schema that is installed with the agent.

It needs the library jsonschema, so it runs where the library is installed, and never on an instance. Another process
does the work, because nothing else ends a regular expression that takes too long.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import select
import signal
import time
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.findings import ERROR, WARNING
from . import problems
from .document import MAX_PROBLEMS
from .problems import Path, Problem, closest, quote
from .validate import duplicates, in_order, is_integer, locate, missing_key, unknown_key, wrong_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .document import Document


LIMIT_SECONDS = 20
READ_BYTES = 65536
# The rules that find problems that the schema finds too.
_SAME_AS_SCHEMA = frozenset(
    {
        problems.JSON,
        problems.SECTION,
        problems.UNKNOWN_KEY,
        problems.WRONG_VALUE,
        problems.MISSING_KEY,
        problems.DUPLICATE_ENTRY,
    }
)
_TYPES = {
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} or more characters",
    "maxLength": "{} or fewer characters",
    "minItems": "{} or more entries",
    "maxItems": "{} or fewer entries",
    "minProperties": "{} or more keys",
    "maxProperties": "{} or fewer keys",
    "pattern": "a text that matches {}",
    "not": "another value",
}


def read_schema(content: str | bytes, source: str) -> dict[str, Any]:
    """Read a JSON schema.

    :param source: the name of its file, for the error.
    :raises InvalidInput: it is not a schema, or refers to other documents, which are not read.
    """
    try:
        schema = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{source} is not a JSON schema: {error}.") from error
    if not isinstance(schema, dict):
        raise InvalidInput(f"{source} is not a JSON schema: it is {quote(schema)}.")
    for reference in _references(schema):
        if not _is_in(schema, reference):
            raise InvalidInput(f"{source} cannot be used: its reference {quote(reference)} is not to a part of itself.")
    return schema


def add_schema_problems(document: Document, schema: Mapping[str, Any], source: str, *, is_required: bool) -> Document:
    """Add the problems that a schema finds to the problems of a document.

    :param source: the name of the schema's file, for the error.
    :param is_required: whether a missing jsonschema library is an error, instead of only a warning.
    :raises InvalidInput: the schema is not a valid schema, or takes too long.
    """
    try:
        import jsonschema  # noqa: PLC0415  not above, since it takes a tenth of a module's time, and few runs use it
    except ImportError:
        severity = ERROR if is_required else WARNING
        message = (
            "not validated by the agent's schema, since the Python library jsonschema is not installed where Ansible "
            "runs; install it"
        )
        return replace(
            document, problems=[*document.problems, locate(Problem((), problems.SCHEMA, message, severity), document)]
        )
    if document.value is None:
        return document
    try:
        # The schema can be from a server, and a regular expression can take years.
        found = work_limited(lambda: _find_problems(jsonschema, document.value, schema), LIMIT_SECONDS)
    except TooSlow:
        raise InvalidInput(
            f"{source} cannot be used as a JSON schema: the validation took longer than {LIMIT_SECONDS} seconds."
        ) from None
    except ValueError as error:
        raise InvalidInput(f"{source} cannot be used as a JSON schema: {error}.") from error
    return replace(document, problems=_merge(document, found))


def _find_problems(jsonschema: Any, value: Any, schema: Mapping[str, Any]) -> list[Problem]:
    """Return the problems that a schema finds in a value. :raises ValueError: the schema is not a valid schema."""
    try:
        errors = list(islice(_validator(jsonschema, schema).iter_errors(value), MAX_PROBLEMS))
        return list(dict.fromkeys(each for error in errors for each in _problems(error)))
    except (jsonschema.exceptions.SchemaError, RecursionError, re.error) as error:
        raise ValueError(getattr(error, "message", str(error))) from None


def _merge(document: Document, found: list[Problem]) -> list[Problem]:
    """Join the problems of the rules and of the schema, without duplicates.

    Apart from the section ``agent``, the agent's schema defines the known keys itself, and it can be newer than the
    rules.
    """
    own = [each for each in document.problems if each.rule != problems.UNKNOWN_KEY or each.path[0] == "agent"]
    refused = {each.path for each in own if each.rule in _SAME_AS_SCHEMA and each.severity != WARNING}
    added = [locate(each, document) for each in found if each.path not in refused]
    unknown = {each.path for each in added if each.rule == problems.UNKNOWN_KEY}
    names = (problems.UNKNOWN_KEY, problems.MISSPELLED)
    return in_order([*(each for each in own if each.rule not in names or each.path not in unknown), *added])


def _validator(jsonschema: Any, schema: Mapping[str, Any]) -> Any:
    base = jsonschema.validators.validator_for(schema, default=jsonschema.Draft4Validator)
    base.check_schema(schema)
    # The agent takes 60.0 for an integer, whatever the version of the schema.
    types = base.TYPE_CHECKER.redefine("integer", lambda _checker, value: is_integer(value))

    # The library compares each entry with each other one, which takes minutes for a long list.
    def unique_items(_validator: Any, is_unique: bool, entries: Any, _schema: Any) -> Iterator[Any]:
        for index, message in duplicates(entries if is_unique and isinstance(entries, list) else ()):
            yield jsonschema.ValidationError(message, path=[index])

    return jsonschema.validators.extend(base, {"uniqueItems": unique_items}, type_checker=types)(schema)


def _problems(error: Any) -> Iterator[Problem]:
    """Turn an error of jsonschema into problems. If the schema has several branches, the nearest one counts."""
    path: Path = tuple(error.absolute_path)
    if error.context:
        yield from _branch_problems(error, path)
    elif error.validator == "additionalProperties":
        properties = error.schema.get("properties", {})
        patterns = error.schema.get("patternProperties", {})
        for key in error.instance:
            if key not in properties and not any(re.search(each, key) for each in patterns):
                yield replace(unknown_key(key, properties, path), severity=ERROR)
    elif error.validator == "required":
        yield from _required_problems(error, path)
    elif error.validator == "uniqueItems":
        yield Problem(path, problems.DUPLICATE_ENTRY, error.message)
    else:
        yield _wrong_value(error, path)


def _required_problems(error: Any, path: Path) -> Iterator[Problem]:
    properties = error.schema.get("properties", {})
    unknown = [key for key in error.instance if key not in properties]
    for key in error.validator_value:
        misspelt = closest(key, unknown)
        if misspelt:
            problem = unknown_key(misspelt, properties, path)
            yield replace(problem, severity=ERROR, near=key)
        elif key not in error.instance:
            yield missing_key((key,), path)


def _wrong_value(error: Any, path: Path) -> Problem:
    value = error.validator_value
    near = ""
    if error.validator == "type":
        allowed = _join_types([value] if isinstance(value, str) else value)
    elif error.validator == "enum":
        allowed = ", ".join(str(each) for each in value)
        if isinstance(error.instance, str):
            near = closest(error.instance, [each for each in value if isinstance(each, str)])
    elif error.validator in _LIMITS:
        allowed = _LIMITS[error.validator].format(value)
    else:
        allowed = f"see {error.validator} in the schema"
    return wrong_value(error.instance, allowed, path, near)


def _join_types(types: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(_TYPES.get(each, each) for each in types))


def _branch_problems(error: Any, path: Path) -> Iterator[Problem]:
    branches: dict[Any, list[Any]] = defaultdict(list)
    for each in error.context:
        branches[each.schema_path[0]].append(each)
    groups = list(branches.values())
    if all(each.validator == "required" and not each.path for group in groups for each in group):
        keys = dict.fromkeys(key for group in groups for each in group for key in each.validator_value)
        yield missing_key(tuple(keys), path)
        return
    types = [_own_type(group) for group in groups]
    if all(types):
        allowed = _join_types([each for own in types for each in own])
        yield wrong_value(error.instance, allowed, path)
        return
    for each in min(groups, key=_distance):
        yield from _problems(each)


def _own_type(errors: list[Any]) -> list[str]:
    """The types that a branch allows, if the value has another type."""
    return [
        each.validator_value
        for each in errors
        if each.validator == "type" and not each.path and isinstance(each.validator_value, str)
    ]


def _distance(errors: list[Any]) -> tuple[bool, int, int, int]:
    """How far a value is from a branch. A branch for another type or for another value of a field is far away."""
    fixed = sum(each.validator in ("enum", "const") for each in errors)
    return bool(_own_type(errors)), fixed, len(errors), -max(len(each.path) for each in errors)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _references(each)


def _is_in(schema: Any, reference: str) -> bool:
    if not reference.startswith("#"):
        return False
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(schema, dict) or key not in schema:
            return False
        schema = schema[key]
    return isinstance(schema, dict)


class TooSlow(Exception):
    """The work has taken longer than it may."""


def work_limited(work: Callable[[], Any], seconds: float) -> Any:
    """Return the result of the work, which another process does.

    :raises TooSlow: the work has not ended in time, or its process has crashed.
    :raises Exception: the error of the work.
    """
    read, write = os.pipe()
    process = os.fork()
    if not process:
        # It ends by itself even if this process is killed before.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _work(work, write)
    os.close(write)
    try:
        answer = _read(read, time.monotonic() + seconds)
    finally:
        os.close(read)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    if not answer:
        raise TooSlow
    is_done, result = pickle.loads(answer)  # noqa: S301  this process has forked the other one
    if not is_done:
        raise result
    return result


def _work(work: Callable[[], Any], write: int) -> None:
    """Do the work and end this process."""
    try:
        try:
            answer = pickle.dumps((True, work()))
        except Exception as error:  # noqa: BLE001  the other process raises it
            answer = pickle.dumps((False, error))
        while answer:
            answer = answer[os.write(write, answer) :]
    finally:
        os._exit(0)


def _read(file: int, end: float) -> bytes:
    """Return all that is written to a pipe until it is closed; nothing if that takes too long."""
    answer = b""
    while select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(file, READ_BYTES)
        if not part:
            return answer
        answer += part
    return b""

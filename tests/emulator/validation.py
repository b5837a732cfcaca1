"""Systems Manager's checks of a request before it looks at the account, from botocore's model of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from .wire import ErrorAnswer


@cache
def _service() -> Any:
    from botocore.session import Session

    return Session().get_service_model("ssm")


def find_problem(action: str, params: dict[str, Any]) -> ErrorAnswer | None:
    for where, value, constraint in _violations(_service().operation_model(action).input_shape, params, ""):
        message = f"Value '{value}' at '{where}' failed to satisfy constraint: Member must {constraint}"
        return ErrorAnswer("ValidationException", f"1 validation error detected: {message}")
    return None


def _violations(shape: Any, value: Any, where: str) -> Iterator[tuple[str, Any, str]]:
    """Where a value violates its shape, with the constraint in AWS's words."""
    if shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                yield where + _lower(name), "null", "not be null"
        for name in value.keys() & shape.members.keys():
            yield from _violations(shape.members[name], value[name], f"{where}{_lower(name)}.")
        return
    where = where.rstrip(".")
    yield from ((where, value, constraint) for constraint in _constraints(shape, value))
    if shape.type_name == "list":
        for each in value:
            yield from _violations(shape.member, each, f"{where}.member.")


def _constraints(shape: Any, value: Any) -> Iterator[str]:
    """The constraints of a shape, other than a structure, that a value violates."""
    limits, has_length = shape.metadata, isinstance(value, (str, list, dict))
    size, word = (len(value), "length") if has_length else (value, "value")
    if size < limits.get("min", size):
        yield f"have {word} greater than or equal to {limits['min']}"
    if size > limits.get("max", size):
        yield f"have {word} less than or equal to {limits['max']}"
    pattern = limits.get("pattern", "")
    if "\\p" not in pattern and not re.search(pattern, str(value)):  # Python does not know this part of Java's syntax
        yield f"satisfy regular expression pattern: {pattern}"
    if value not in limits.get("enum", [value]):
        yield f"satisfy enum value set: [{', '.join(limits['enum'])}]"


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]

"""Makes mutants of the conditions of playbooks and roles: when, hosts, state and tasks_from."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .making import Mutant

CHECKOUT = Path(__file__).parents[2]
FILES = sorted(
    path
    for pattern in ("playbooks/*.yml", "playbooks/tasks/*.yml", "roles/*/tasks/*.yml")
    for path in CHECKOUT.glob(pattern)
)
STATES = ("present", "absent", "open", "closed", "acquired", "released", "registered", "deregistered", "retired")
NO_HOST = "cwagent_no_such_group"
KEY = re.compile(r"(?P<begin>\s*(?:- )?(?P<key>when|hosts|state|tasks_from):)\s*(?P<value>\S.*)?$")
ITEM = re.compile(r"(?P<begin>\s*-) (?P<value>\S.*)$")


def sample(names: Iterable[str], size: int, seed: int) -> list[tuple[str, Mutant]]:
    """Choose mutants of files, the same ones for the same seed, each with the path of its file."""
    found = [(name, mutant) for name in names for mutant in mutants(CHECKOUT / name)]
    random.Random(seed).shuffle(found)  # noqa: S311 (no secret)
    return sorted(found[:size], key=lambda each: (each[0], each[1].line))


def importers(name: str) -> list[str]:
    """The files that import or include a file of tasks. Only they are recorded if all its tasks are imports."""
    return [
        str(path.relative_to(CHECKOUT))
        for path in FILES
        if any(path.parent / each == CHECKOUT / name for each in re.findall(r"_tasks: (\S+)", path.read_text()))
    ]


def mutants(path: Path) -> Iterator[Mutant]:
    """Make all mutants of a file."""
    lines = path.read_text().splitlines()
    in_when = -1  # the indentation of a list of conditions
    for number, line in enumerate(lines):
        indentation = len(line) - len(line.lstrip())
        key, item = KEY.match(line), ITEM.match(line)
        changed: list[str] = []
        if in_when >= 0 and item and indentation > in_when:
            changed = [f"{item['begin']} {negate(item['value'])}"]
        else:
            in_when = -1
        if key and key["key"] == "when" and not key["value"]:
            in_when = indentation
        elif key and key["value"]:
            changed = [f"{key['begin']} {value}" for value in _other_values(path, key["key"], key["value"])]
        for each in changed:
            code = "\n".join([*lines[:number], each, *lines[number + 1 :], ""])
            yield Mutant(number + 1, line.strip(), each.strip(), code)


def negate(condition: str) -> str:
    """The opposite of a condition, which may be in quotes."""
    quote = condition[0] if condition[0] in "'\"" and condition[-1] == condition[0] else ""
    inner = condition[1:-1] if quote else condition
    return f"{quote}not ({inner}){quote}"


def _other_values(path: Path, key: str, value: str) -> list[str]:
    if key == "when":
        return [negate(value)]
    if key == "hosts":
        return [NO_HOST]
    if key == "tasks_from":
        others = sorted(each.stem for each in path.parent.glob("*.yml"))
        return [each for each in others if each not in (value, "main")][:1]
    return [STATES[STATES.index(value) ^ 1]] if value in STATES[:-1] else []

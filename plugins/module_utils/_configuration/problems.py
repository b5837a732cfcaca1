# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules about an agent configuration, and its problems, which are selected and shown here. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from itertools import groupby
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Union

from .._ground.findings import CONFIGURATION, ERROR, NOTICE, WARNING, Rule
from .._ground.text import count_noun
from .json_path import json_path

if TYPE_CHECKING:
    from collections.abc import Iterable


FILE = Rule("file", CONFIGURATION, (ERROR,), "a file cannot be read")
JSON = Rule("json", CONFIGURATION, (ERROR,), "the text is not JSON")
YAML = Rule("yaml", CONFIGURATION, (ERROR,), "an OpenTelemetry configuration is not YAML")
REFERENCE = Rule("reference", CONFIGURATION, (ERROR,), "Parameter Store refuses two braces in a text")
MERGE = Rule("merge", CONFIGURATION, (ERROR,), "several configurations cannot be merged")
SIZE = Rule("size", CONFIGURATION, (ERROR,), "it is too large for its parameter")
PROBLEMS = Rule("problems", CONFIGURATION, (ERROR,), "it breaks so many rules that some are left out")
SECTION = Rule("section", CONFIGURATION, (ERROR, WARNING), "a section is unknown, or none makes the agent collect")
UNKNOWN_KEY = Rule("unknown-key", CONFIGURATION, (ERROR, WARNING), "a key is unknown", is_lenient=True)
MISSPELLED = Rule("misspelled", CONFIGURATION, (ERROR, WARNING), "a name is nearly a known one", is_lenient=True)
MISSING_KEY = Rule("missing-key", CONFIGURATION, (ERROR,), "a key is missing", is_lenient=True)
WRONG_VALUE = Rule("wrong-value", CONFIGURATION, (ERROR,), "a value is not valid", is_lenient=True)
DUPLICATE_ENTRY = Rule("duplicate-entry", CONFIGURATION, (ERROR,), "a list has the same entry twice", is_lenient=True)
LOG_GROUP = Rule("log-group", CONFIGURATION, (ERROR,), "a log group has two retentions or classes", is_lenient=True)
PLACEHOLDER = Rule("placeholder", CONFIGURATION, (ERROR, WARNING), "a placeholder is unknown", is_lenient=True)
PATTERN = Rule("pattern", CONFIGURATION, (ERROR,), "a regular expression is not valid", is_lenient=True)
SCHEMA = Rule("schema", CONFIGURATION, (ERROR, WARNING), "the agent's schema was not used", is_lenient=True)
RUN_AS_USER = Rule("run-as-user", CONFIGURATION, (WARNING,), "the agent's user may not read a log file")
PLATFORM = Rule("platform", CONFIGURATION, (WARNING,), "only servers of another platform collect a section")
ON_PREMISES = Rule("on-premises", CONFIGURATION, (WARNING,), "a setting does not work on premises")
PERMISSION = Rule("permission", CONFIGURATION, (NOTICE,), "it needs more than the server policy allows", listed=False)
OPENTELEMETRY = Rule("opentelemetry", CONFIGURATION, (NOTICE,), "only its syntax was checked", listed=False)
RULES = [each for each in globals().values() if isinstance(each, Rule)]


# The keys and indexes that lead from the root to a value.
Path = tuple[Union[str, int], ...]

# How many characters of a document a message quotes at most, as a value, as a key and as a path.
MAX_VALUE, MAX_KEY, MAX_PATH = 60, 40, 100
# The columns of a terminal that a problem should fit in, and how many of them always show the allowed values.
WIDTH, MIN_ALLOWED = 98, 60
# Two names are near if this part of their characters is the same.
_NEAR = 0.75


@dataclass(frozen=True)
class Problem:
    """One problem in one place.

    :param path: the keys and indexes of the place, or the place where a missing key would be.
    :param severity: for a notice, the configuration is right, and something outside of it can be missing.
    :param allowed: the values that are allowed in this place.
    :param near: the known name that a misspelled one resembles.
    :param source: the file or option that has the document.
    :param line: the line and column, which count from 1; ``None`` if the document is not text.
    """

    path: Path
    rule: Rule
    message: str
    severity: str = ERROR
    allowed: str = ""
    near: str = ""
    source: str = ""
    line: int | None = None
    column: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is an error with every validation."""
        return self.severity == ERROR and not self.rule.is_lenient

    @property
    def fix(self) -> str:
        """The known name, or the allowed values; empty if there are none."""
        if self.near:
            return f"did you mean {quote_key(self.near)}?"
        return f"allowed: {self.allowed}" if self.allowed else ""

    def __str__(self) -> str:
        """The problem in one line, without its source, and with the beginning of the allowed values."""
        place = f"{self.line}:{self.column} " if self.line else ""
        text = f"{place}{short_path(self.path)}: {self.message}"
        end = f"; {self.fix}" if self.fix else ""
        return text + shorten(end, max(MIN_ALLOWED, WIDTH - len(text)), placeholder=" …")


def select(problems: Iterable[Problem], validation: str) -> tuple[list[Problem], list[Problem]]:
    """Divide problems into errors, for which the configuration is refused, and warnings. Notices are neither.

    :param validation: ``strict``, ``warn`` or ``off``: whether errors of lenient rules are errors, warnings or nothing.
        With ``off``, there are no warnings either.
    """
    listed = [each for each in problems if each.severity != NOTICE]
    errors = [each for each in listed if each.severity == ERROR and (each.is_final or validation == "strict")]
    others = [each for each in listed if each.severity != ERROR or not (each.is_final or validation == "strict")]
    return errors, [] if validation == "off" else others


def to_lines(problems: Iterable[Problem], noun: str = "problem") -> list[str]:
    """Render problems for a terminal, one line each, below a line with the name of their source."""
    lines: list[str] = []
    for source, group in groupby(problems, lambda each: each.source):
        shown = [f"  {each}" for each in group]
        lines += [f"{source}: {count_noun(len(shown), noun)}", *shown]
    return lines


def to_finding(problem: Problem, name: str) -> dict[str, Any]:
    """Render a problem for results and reports. :param name: of the parameter."""
    affected, fix = f"{name} {short_path(problem.path)}", problem.fix
    found = problem.rule.finding(affected, problem.message, fix[:1].upper() + fix[1:], severity=problem.severity)
    return {**asdict(found), "file": problem.source, "line": problem.line, "column": problem.column}


def short_path(path: Path) -> str:
    """Render a path. The middle of a long path is left out."""
    text = json_path(tuple(_shorten_key(step) if isinstance(step, str) else step for step in path))
    half = MAX_PATH // 2 - 1
    return text if len(text) <= MAX_PATH else f"{text[:half]}…{text[-half:]}"


def _shorten_key(key: str) -> str:
    return key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - 1]}…"


def quote_key(key: str) -> str:
    """Quote the beginning of a key."""
    return _quote(key, MAX_KEY)


def quote(value: Any) -> str:
    """Quote the beginning of a text or number, or describe a list or object."""
    if isinstance(value, str):
        return _quote(value, MAX_VALUE)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'}{'' if value else ' without entries'}"
    return str(value)[:MAX_VALUE]


def _quote(text: str, length: int) -> str:
    # A character that cannot be printed becomes several.
    shown = repr(text[: length + 1])
    return shown if len(shown) <= length + 2 else f"{shown[:length]}…{shown[0]}"


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that a name resembles most; empty if it resembles none."""
    folded = {_fold(each): each for each in known}
    found = get_close_matches(_fold(name[:MAX_KEY]), folded, n=1, cutoff=_NEAR)
    return folded[found[0]] if found else ""


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")

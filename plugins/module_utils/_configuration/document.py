# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a configuration, with the position of each value and all violations of its syntax. Pure.

The reader of JSON continues after the most common mistakes, so that one run shows all of them. An OpenTelemetry
configuration is text in YAML, of which only the syntax is checked, and is stored as it is.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-appending-OpenTelemetry-config-files.html
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Union

from .._ground.findings import ERROR, NOTICE, Rule
from . import problems as rules
from .problems import Path, Problem, quote, quote_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


Content = Union[str, bytes, Mapping[Any, Any], list[Any], None]

# Configurations of the agent are much smaller, even if they need several parameters.
MAX_SIZE = 1024 * 1024
MAX_VALUES = 50_000
MAX_DEPTH = 64
# Nobody reads more problems, and each takes time.
MAX_PROBLEMS = 1000

# Parameter Store takes this for a reference to another parameter, and refuses the value. It can only be in a text,
# because in the syntax of JSON a name or a closing brace follows an opening brace.
REFERENCE = "{{"
REFERENCE_REFUSED = f"Parameter Store refuses a text with '{REFERENCE}'; if this is a template, render it first"

_TOO_MANY = f"the configuration has more than {MAX_VALUES} values"
_TOO_DEEP = f"the configuration is nested more than {MAX_DEPTH} levels deep"
_BYTE_ORDER_MARK = "\ufeff"
# The longer mark first, since it begins with the shorter one.
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_GAP = re.compile(r"[ \t\n\r]+|(?P<comment>//[^\n]*|#[^\n]*|/\*.*?\*/)", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![0-9A-Za-z_.])")
# Words and texts that other languages write without double quotes.
_BARE = re.compile(r"""'[^'\n]*'|[^\s\[\]{},:"/#]+""")
# After blank lines and comments, the beginning of a document, of a mapping or of a list.
_YAML = re.compile(
    r"""(?:\s|\#[^\n]*\n)*
    (---|%YAML|[A-Za-z_][\w-]*[ \t]*:(?=\s|$)|"[\w-]+"[ \t]*:(?=\s|$)|'[\w-]+'[ \t]*:(?=\s|$)|-[ \t]+[A-Za-z"'])""",
    re.VERBOSE,
)
_APOSTROPHE = "'"
# By a word of Python's error about a text, the message for the user.
_TEXT_MISTAKES = {
    "control": "there is a line break or another control character in a text",
    "Unterminated": "the double quotes at the end of this text are missing",
}
_CONSTANTS = {"true": True, "false": False, "null": None}
_SURROGATE = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Document:
    """A configuration, as far as it could be read.

    :param value: the object at the root, with the probable meaning of any mistakes; ``None`` if there is no object.
    :param problems: the violations of JSON. A configuration with such a problem must not be stored.
    :param locate: finds the line and column of a value, or of the nearest part that contains it; ``None`` in a mapping.
    """

    source: str
    value: dict[str, Any] | None
    problems: list[Problem]
    locate: Callable[[Path], tuple[int | None, int | None]]


def read(content: Content, source: str) -> Document:
    """Read a configuration.

    :param content: the bytes of a file, a text, or the value that YAML has made of it.
    :param source: the name of the file or option, for the problems.
    """
    reader = _TextReader(content, source) if isinstance(content, (str, bytes)) else _MappingReader(content, source)
    try:
        value = reader.read()
        if not isinstance(value, dict):
            reader.add((), reader.begin, f"the configuration is {quote(value)}, not an object")
    except _UnreadableError:
        value = None
    return Document(source, value if isinstance(value, dict) else None, reader.problems, reader.locate)


class _UnreadableError(Exception):
    """The reader cannot continue. Its last problem is the reason."""


def _position(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _text_mistakes(text: str) -> Iterator[tuple[Rule, str]]:
    """The rule and the message of each mistake in a key or text."""
    surrogate = _SURROGATE.search(text)
    if surrogate:
        yield rules.JSON, f"{surrogate.group()!r} is half of a character (a lone surrogate), which UTF-8 does not have"
    if REFERENCE in text:
        yield rules.REFERENCE, REFERENCE_REFUSED


class _Reader:
    """Collects problems and counts values.

    :param begin: the offset of the first value in the text. A mapping has no offsets.
    """

    def __init__(self, content: Any, source: str) -> None:
        self.problems: list[Problem] = []
        self.begin: int | None = None
        self._content = content
        self._source = source
        self._text = ""
        self._values = 0

    def add(self, path: Path, offset: int | None, message: str, allowed: str = "", rule: Rule = rules.JSON) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            raise _UnreadableError
        line, column = (None, None) if offset is None else _position(self._text, offset)
        self.problems.append(Problem(path, rule, message, ERROR, allowed, "", self._source, line, column))

    def _fail(self, path: Path, offset: int | None, message: str) -> NoReturn:
        self.add(path, offset, message)
        raise _UnreadableError

    def _begin_value(self, path: Path, offset: int | None, is_container: bool) -> None:
        # A YAML alias can stand for far more values than the text has.
        self._values += 1
        if self._values > MAX_VALUES:
            self._fail((), offset, _TOO_MANY)
        if is_container and len(path) >= MAX_DEPTH:
            self._fail((), offset, _TOO_DEEP)


class _MappingReader(_Reader):
    """Copies the value that YAML has made of a configuration, with a problem for each thing that JSON does not have."""

    def read(self) -> Any:
        return self._value(self._content, ())

    def locate(self, _path: Path) -> tuple[None, None]:
        return None, None  # a mapping has no positions

    def _value(self, value: Any, path: Path) -> Any:
        self._begin_value(path, None, isinstance(value, (Mapping, list, tuple)))
        if isinstance(value, str):
            self._check_text(value, path)
        elif isinstance(value, Mapping):
            return {key: self._value(each, (*path, key)) for key, each in value.items() if self._is_valid(key, path)}
        elif isinstance(value, (list, tuple)):
            return [self._value(each, (*path, index)) for index, each in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            self.add(path, None, f"{value} is not a number in JSON")
        elif value is not None and not isinstance(value, (bool, int, float)):
            kind = type(value).__name__
            self.add(path, None, f"a value of the type {kind} is not JSON; quote it, so that it is a text")
        return value

    def _is_valid(self, key: Any, path: Path) -> bool:
        if isinstance(key, str):
            self._check_text(key, (*path, key))
            return True
        self.add(path, None, f"the key {quote(key)} is not a text; quote it")
        return False

    def _check_text(self, text: str, path: Path) -> None:
        for rule, message in _text_mistakes(text):
            self.add(path, None, message, rule=rule)


class _TextReader(_Reader):
    """Parses JSON, and records where each value begins."""

    def __init__(self, content: str | bytes, source: str) -> None:
        super().__init__(content, source)
        self._at = 0
        self._root: Any = None
        # By the identity of each object and list: where its members begin.
        self._offsets: dict[int, dict[str | int, int]] = {}

    def read(self) -> Any:
        if len(self._content) > MAX_SIZE:
            self._fail((), 0, f"the configuration is larger than {MAX_SIZE} bytes")
        self._text = self._decode(self._content) if isinstance(self._content, bytes) else self._content
        if self._text.startswith(_BYTE_ORDER_MARK):
            self.add((), 0, "the configuration begins with a byte order mark; save it as UTF-8 without one")
            self._at = 1
        yaml = _YAML.match(self._text, self._at)
        if yaml:
            self._fail(
                (),
                yaml.start(1),
                "the configuration is YAML, and must be JSON; only an OpenTelemetry configuration can be YAML, in a "
                "parameter whose name ends with .yaml",
            )
        self._skip(())
        begin = self._at
        if begin == len(self._text):
            self._fail((), begin, "the configuration is empty")
        self._root, self.begin = self._value(()), begin
        self._skip(())
        if self._at < len(self._text):
            self._fail((), self._at, f"there is {self._next_text()} after the end of the configuration")
        return self._root

    def locate(self, path: Path) -> tuple[int, int]:
        value, offset = self._root, self.begin or 0
        for step in path:
            offsets = self._offsets.get(id(value), {})
            if step not in offsets:
                break
            offset, value = offsets[step], value[step]
        return _position(self._text, offset)

    def _decode(self, content: bytes) -> str:
        for mark, name in _OTHER_ENCODINGS.items():
            if content.startswith(mark):
                self._fail((), 0, f"the configuration is in the encoding {name}; save it as UTF-8")
        # JSON begins with one or two ASCII characters. In these encodings, one of their bytes is zero.
        if b"\0" in content[:2]:
            self._fail((), 0, "the configuration is in the encoding UTF-16 or UTF-32; save it as UTF-8")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            self._text = content[: error.start].decode()
            self._fail(
                (),
                len(self._text),
                f"the configuration is not UTF-8: there is an invalid byte 0x{content[error.start]:02x}",
            )

    def _value(self, path: Path) -> Any:
        start = self._at
        first = self._text[start : start + 1]
        self._begin_value(path, start, first in ("{", "["))
        if first in ("{", "["):
            self._at += 1
            return self._object(path, start) if first == "{" else self._array(path, start)
        if first == '"':
            return self._string(path)
        number = _NUMBER.match(self._text, start)
        if number:
            self._at = number.end()
            return self._number(number, path)
        bare = _BARE.match(self._text, start)
        if not bare:
            self._fail(path, start, f"a value is missing: there is {self._next_text()}")
        self._at = bare.end()
        if bare.group() in _CONSTANTS:
            return _CONSTANTS[bare.group()]
        self.add(
            path,
            start,
            f"{quote_key(bare.group().strip(_APOSTROPHE))} is not JSON",
            "true, false, null, a number, or a text in double quotes",
        )
        return bare.group()[1:-1] if bare.group().startswith(_APOSTROPHE) else None

    def _number(self, number: re.Match[str], path: Path) -> int | float:
        value = float(number.group())
        if math.isinf(value):
            self.add(path, number.start(), f"{quote_key(number.group())} is too large for a number")
        elif not number.group(1) and not number.group(2):
            return int(number.group())
        return value

    def _string(self, path: Path, is_key: bool = False) -> str:
        start = self._at
        try:
            text, self._at = _DECODER.raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            found = (message for word, message in _TEXT_MISTAKES.items() if word in error.msg)
            self._fail(path, error.pos, next(found, "there is a backslash that begins no escape sequence of JSON"))
        for rule, message in _text_mistakes(text):
            self.add((*path, text) if is_key else path, start, message, rule=rule)
        return str(text)

    def _array(self, path: Path, start: int) -> list[Any]:
        result: list[Any] = []
        offsets: dict[str | int, int] = {}
        while self._has_next(path, start, "]", bool(result)):
            offsets[len(result)] = self._at
            result.append(self._value((*path, len(result))))
        self._offsets[id(result)] = offsets
        return result

    def _object(self, path: Path, start: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        offsets: dict[str | int, int] = {}
        while self._has_next(path, start, "}", bool(result)):
            offset = self._at
            key = self._key(path)
            if key in result:
                line, _column = _position(self._text, offsets[key])
                self.add((*path, key), offset, f"duplicate key {quote_key(key)}, which is also in line {line}")
            self._skip(path)
            if self._text[self._at : self._at + 1] != ":":
                self._fail((*path, key), self._at, f"a colon is missing after the key: there is {self._next_text()}")
            self._at += 1
            self._skip(path)
            offsets[key] = offset
            result[key] = self._value((*path, key))
        self._offsets[id(result)] = offsets
        return result

    def _key(self, path: Path) -> str:
        start = self._at
        bare = _BARE.match(self._text, start)
        if bare:
            self._at = bare.end()
            key = bare.group().strip(_APOSTROPHE)
            self.add((*path, key), start, f"the key {quote_key(key)} is not in double quotes")
            return key
        if self._text[start : start + 1] != '"':
            is_template = self._text.startswith(REFERENCE, start - 1)
            hint = "; if this is a template, render it first" if is_template else ""
            self._fail(path, start, f"a key is missing: there is {self._next_text()}{hint}")
        return self._string(path, is_key=True)

    def _has_next(self, path: Path, start: int, closing: str, has_some: bool) -> bool:
        """Go to the next member of an object or list; at its end, pass it and return false."""
        self._skip(path)
        if has_some:
            comma = self._at
            found = self._text[comma : comma + 1]
            if found == ",":
                self._at += 1
                self._skip(path)
                if self._text[self._at : self._at + 1] == closing:
                    self.add(path, comma, f"there is a comma before the closing '{closing}'")
            elif found and found not in "]}:":
                self.add(path, comma, f"a comma is missing before {self._next_text()}")
            elif found and found != closing:
                self._fail(path, comma, f"'{closing}' or a comma is missing: there is {self._next_text()}")
        if self._at == len(self._text):
            line, column = _position(self._text, start)
            self._fail(path, self._at, f"the '{closing}' for line {line} column {column} is missing")
        if self._text[self._at] == closing:
            self._at += 1
            return False
        return True

    def _skip(self, path: Path) -> None:
        """Go to the end of spaces and comments."""
        while gap := _GAP.match(self._text, self._at):
            if gap.group("comment"):
                self.add(path, self._at, "JSON has no comments")
            self._at = gap.end()

    def _next_text(self) -> str:
        return quote(self._text[self._at]) if self._at < len(self._text) else "the end of the text"


_NOTICE = "this is an OpenTelemetry configuration, of which only the syntax was checked"


def is_json(content: Content) -> bool:
    """Return whether a configuration is JSON, which the agent ignores under such a name."""
    if not isinstance(content, (str, bytes)):
        return True
    try:
        return isinstance(json.loads(content), (dict, list))
    except (ValueError, RecursionError):
        return False


def read_yaml(content: str | bytes, source: str) -> tuple[str | None, list[Problem]]:
    """Return a configuration as text, or ``None`` if it cannot be stored, and its problems."""
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError:
        return None, [Problem((), rules.YAML, "the file is not in UTF-8", ERROR, source=source)]
    found = _problem(text)
    return None if found.severity == ERROR else text, [replace(found, source=source)]


def _problem(text: str) -> Problem:
    """Return the first mistake in a text, or else the notice."""
    if REFERENCE in text:
        return Problem((), rules.REFERENCE, REFERENCE_REFUSED, ERROR)
    try:
        import yaml  # noqa: PLC0415  slow, rare, and missing on instances
    except ImportError:  # the controller has it, and has checked the text
        return Problem((), rules.OPENTELEMETRY, f"{_NOTICE}, on the controller", NOTICE)
    try:
        # The agent would construct the values, which need not be checked.
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        if isinstance(error, yaml.composer.ComposerError) and "single document" in str(error.context):
            return Problem((), rules.YAML, "this contains more than one YAML document", ERROR, **place)
        return Problem((), rules.YAML, f"this is not YAML: {error.problem}", ERROR, **place)
    except (yaml.YAMLError, RecursionError):
        return Problem((), rules.YAML, "this is not YAML", ERROR)
    if not isinstance(node, yaml.MappingNode):
        return Problem((), rules.YAML, "the configuration is not a mapping", ERROR)
    return Problem((), rules.OPENTELEMETRY, _NOTICE, NOTICE)

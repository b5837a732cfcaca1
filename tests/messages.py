"""Collects the error messages of the collection from its source, so that a test can compare them with the guide.

A message is found where an error is constructed, where a problem with the input is added to the others, and where an
action plugin returns a failure. Its text is followed through local names, functions, attributes and constants of the
collection. An error whose text cannot be found that way raises ``UnknownText``: the collector never skips one silently.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from guide import COLLECTION, ROOT

from ansible_collections.cwagent.iam.plugins.module_utils import _errors

# The placeholder in a template for text that differs from case to case.
HOLE = "\0"
# Nobody searches for a shorter message, such as a single word, or for a shorter part of one.
FEWEST_LETTERS = 12
FEWEST_LETTERS_OF_A_PART = 20
ANSIBLE_ERRORS = {"AnsibleFilterError", "AnsibleLookupError", "AnsibleParserError"}
# Errors of Python with which a function tells its caller that a value is not valid. The caller words the message.
VALUE_ERRORS = {"TypeError", "ValueError"}
INVALID_INPUT = _errors.InvalidInput.__name__


class UnknownText(Exception):
    """The collector cannot find out what the text of an error is. Write it as a literal, or extend the collector."""


@dataclass(frozen=True)
class Message:
    """The text of an error, or a part of it.

    :param template: the text, with a hole for each part that is not literal.
    :param error: the name of the error's class; empty for the failure of a task in a playbook or a role.
    :param source: the file and the line where the error is constructed.
    """

    template: str
    error: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.template.replace(HOLE, '<...>')}"

    def is_quoted_in(self, quote: str) -> bool:
        """Return whether a quote has all literal parts of the template, in their order."""
        position = 0  # a regular expression with many gaps would try all combinations of their lengths
        for part in self.template.split(HOLE):
            found = quote.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return True


def error_classes() -> list[type[_errors.CwagentError]]:
    """Return the exceptions of the collection, the base class last. Packages derive further ones from these."""
    derived = _errors.CwagentError.__subclasses__()
    return [*(each for each in derived if each.__module__ == _errors.__name__), _errors.CwagentError]


@cache
def all_messages() -> list[Message]:
    """Return every error message that the collection words itself. :raises UnknownText: one could not be found."""
    return [*_python_messages(), *_yaml_messages()]


def all_texts() -> str:
    """Return all texts of plugins, playbooks and roles, and the texts of amazon.aws that users can meet, in lines."""
    amazon = importlib.import_module("ansible_collections.amazon.aws.plugins.module_utils.botocore")
    literals = [
        _tidy(_literal(node, source))
        for source in [*_sources(), Source(amazon)]
        for node in source.nodes
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp))
    ]
    return "\n".join([*literals, *(message.template for message in _yaml_messages())])


class Source:
    """A Python file of the collection, with its imported module."""

    def __init__(self, module: ModuleType) -> None:
        path = Path(str(module.__file__))
        self.folder = path.parent.name
        self.name = f"{self.folder}/{path.name}"
        self.tree = ast.parse(path.read_text())
        self.constants = vars(module)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def function_of(self, node: ast.AST) -> ast.FunctionDef | None:
        """Return the function in which a node stands."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None

    def values_of(self, name: ast.Name) -> list[ast.expr]:
        """Return the values that a local name is assigned, or that it iterates over."""
        values = []
        for node in ast.walk(self.function_of(name) or self.tree):
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            value = getattr(node, "value", None) or getattr(node, "iter", None)
            names = {each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)}
            if value and name.id in names and not isinstance(node, ast.keyword):
                values.append(value)
        return values

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the file. To find them takes much longer than to look through them."""
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[ast.FunctionDef]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef)]

    def values_of_mapping(self, name: str) -> list[ast.expr]:
        """Return the values of a constant that is a mapping."""
        assigned = [
            node.value
            for node in self.tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and target.id == name
        ]
        return [each for mapping in assigned if isinstance(mapping, ast.Dict) for each in mapping.values]


@cache
def _sources() -> list[Source]:
    paths = [path for path in sorted((ROOT / "plugins").rglob("*.py")) if path.name != "__init__.py"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [Source(importlib.import_module(f"{COLLECTION}.{name}")) for name in names if "doc_fragments" not in name]


def _python_messages() -> Iterator[Message]:
    for source in _sources():
        for expression, error in messages_of(source):
            for template in texts(expression, source, set()):
                yield Message(template, error, f"{source.name}:{expression.lineno}")


def messages_of(source: Source) -> Iterator[tuple[ast.expr, str]]:
    """Return the messages in a file, each with the name of the exception in whose section of the guide it belongs."""
    for node in source.nodes:
        where = f"{source.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Raise):
            _check_raised(node, source, where)
        elif isinstance(node, ast.Call):
            yield from _messages_of_call(node, source, where)
        elif isinstance(node, ast.ClassDef) and node.name in _derived_errors():
            for call in _calls_of_base(node):
                yield _message_argument(call, where), _derived_errors()[node.name]
        elif isinstance(node, ast.Dict) and "failed" in _keys(node):
            # With an exit code, it is Ansible's message about a module that has a mistake.
            yield _message_of_failure(node, where), "" if "rc" in _keys(node) else INVALID_INPUT


def _check_raised(node: ast.Raise, source: Source, where: str) -> None:
    # An error that is private to a file does not leave it. The message that replaces it is collected there.
    private = {each.name for each in source.nodes if isinstance(each, ast.ClassDef) and each.name.startswith("_")}
    known = {*(error.__name__ for error in error_classes()), *ANSIBLE_ERRORS, *_derived_errors(), *private}
    if isinstance(node.exc, ast.Call) and not _is_error(node.exc, known) and not _is_value_error(node.exc, source):
        raise UnknownText(f"{where}: {ast.unparse(node.exc)} is not an error that the collector knows")


def _messages_of_call(node: ast.Call, source: Source, where: str) -> Iterator[tuple[ast.expr, str]]:
    """Return the message of a call that constructs an error, or adds a problem to others."""
    name = _called(node)
    if _adds_problem(node, source, where):
        yield node.args[0], INVALID_INPUT
    elif name in {error.__name__ for error in error_classes()}:
        yield _message_argument(node, where), name
    elif name in {*ANSIBLE_ERRORS, "fail_json"}:
        yield _message_argument(node, where), ""


def _message_of_failure(node: ast.Dict, where: str) -> ast.expr:
    """Return the message of the failure that an action plugin returns."""
    if "msg" not in _keys(node):
        raise UnknownText(f"{where}: {ast.unparse(node)} has no message")
    return node.values[_keys(node).index("msg")]


@cache
def _derived_errors() -> dict[str, str]:
    """Return the errors that a package derives from a known error and words itself, each with the known one's name."""
    known = {error.__name__ for error in error_classes()}
    found = {}
    for source in _sources():
        for node in source.nodes:
            bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.ClassDef) and source.constants is not vars(_errors) and known & set(bases):
                if not _calls_of_base(node):
                    raise UnknownText(f"{source.name}:{node.lineno}: {node.name} does not word its message")
                [found[node.name]] = known & set(bases)
    return found


def _calls_of_base(error: ast.ClassDef) -> list[ast.Call]:
    """Return where the class of an error calls the constructor of its base class."""
    calls = [node for node in ast.walk(error) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func) == "super().__init__"]


def _adds_problem(call: ast.Call, source: Source, where: str) -> bool:
    """Return whether a call adds a problem to the input's problems."""
    if _called(call) != "add" or source.folder not in {"plugin_utils", "action"}:
        return False
    if ast.unparse(call.func) not in {"problems.add", "self.add"}:
        raise UnknownText(f"{where}: does {ast.unparse(call)} add a problem?")
    return True


def _is_value_error(node: ast.Call, source: Source) -> bool:
    """Return whether an error has nothing but the value that is not valid."""
    value = node.args[0] if node.args else None
    if _called(node) not in VALUE_ERRORS or not isinstance(value, ast.Name):
        return False
    return not any(isinstance(each, (ast.Constant, ast.JoinedStr, ast.BinOp)) for each in source.values_of(value))


def _keys(node: ast.Dict) -> list[Any]:
    """Return the literal keys of a mapping; ``None`` for any other."""
    return [key.value if isinstance(key, ast.Constant) else None for key in node.keys]


def _is_error(node: ast.expr, known: set[str]) -> bool:
    """Return whether an expression constructs a known error, itself or in a function that it calls."""
    if not isinstance(node, ast.Call):
        return False
    returned = _returned_values(_called(node))
    return _called(node) in known or (bool(returned) and all(_is_error(value, known) for value, _source in returned))


def _called(call: ast.Call) -> str:
    """Return the name of a called function or class, without where it is from."""
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _message_argument(call: ast.Call, where: str) -> ast.expr:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    found = call.args[0] if call.args else keywords.get("message", keywords.get("msg"))
    if found is None or isinstance(found, ast.Starred):
        raise UnknownText(f"{where}: {ast.unparse(call)} has no message")
    return found


def texts(node: ast.expr, source: Source, seen: set[ast.AST], *, whole: bool = True) -> set[str]:
    """Return the templates of a message, and of the texts that it is made of.

    :param whole: whether the expression is a whole message. Only a part of a message can be a value without words.
    """
    if node in seen:
        return set()
    seen.add(node)
    if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
        inner = (texts(part, source, seen, whole=False) for part in _parts(node))
        template = _tidy(_literal(node, source))
        fewest = FEWEST_LETTERS if whole else FEWEST_LETTERS_OF_A_PART
        return {each for each in [template] if sum(map(str.isalpha, each)) >= fewest}.union(*inner)
    if _is_text_of_error(node) or (isinstance(node, ast.List) and not node.elts):
        return set()
    origins = _origins(node, source, whole=whole)
    if whole and not origins:
        raise UnknownText(f"{source.name}:{node.lineno}: what is the text of {ast.unparse(node)}?")
    return set().union(*(texts(value, where, seen, whole=whole) for value, where in origins))


def _parts(node: ast.expr) -> list[ast.expr]:
    """Return the expressions whose values are parts of a literal text."""
    if isinstance(node, ast.JoinedStr):
        return [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
    return [node.left, node.right] if isinstance(node, ast.BinOp) else []


def _is_text_of_error(node: ast.expr) -> bool:
    """Return whether an expression is the text of another error: ``str(error)``, or with a part of it replaced."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
        return _is_text_of_error(node.func.value)
    return isinstance(node, ast.Call) and _called(node) == "str"


# By kind of expression, the expressions inside it that it takes its text from.
_INNER: dict[type[ast.expr], Callable[[Any], list[ast.expr]]] = {
    ast.IfExp: lambda node: [node.body, node.orelse],
    ast.BoolOp: lambda node: node.values,
    ast.List: lambda node: node.elts,
    ast.Tuple: lambda node: node.elts,
    ast.ListComp: lambda node: [node.elt],
    ast.GeneratorExp: lambda node: [node.elt],
    ast.NamedExpr: lambda node: [node.value],
    ast.Starred: lambda node: [node.value],
}


def _origins(node: ast.expr, source: Source, *, whole: bool) -> list[tuple[ast.expr, Source]]:
    """Return the expressions that an expression takes its text from; nothing if that is unknown."""
    if type(node) in _INNER:
        return [(each, source) for each in _INNER[type(node)](node)]
    if isinstance(node, ast.Name):
        return [(each, source) for each in source.values_of(node)]
    if isinstance(node, ast.Attribute) and whole:
        return _keyword_values(node.attr)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return [(each, source) for each in source.values_of_mapping(node.value.id)]
    if isinstance(node, ast.Call) and _called(node) in {"join", "list", "sorted"}:
        arguments = _argument_values(node.args[0], source) if isinstance(node.args[0], ast.Name) else []
        return arguments or [(node.args[0], source)]
    if isinstance(node, ast.Call):
        # A function that is passed to another one is called by that.
        passed = [] if whole else [getattr(each, "id", getattr(each, "attr", "")) for each in node.args]
        return [value for name in [_called(node), *passed] for value in _returned_values(name)]
    return []


def _argument_values(name: ast.Name, source: Source) -> list[tuple[ast.expr, Source]]:
    """Return the values that callers pass for a parameter."""
    function = source.function_of(name)
    names = [each.arg for each in function.args.args if each.arg != "self"] if function else []
    if not function or name.id not in names:
        return []
    position = names.index(name.id)
    return [
        (node.args[position], caller)
        for caller in _sources()
        for node in caller.nodes
        if isinstance(node, ast.Call) and _called(node) == function.name and len(node.args) > position
    ]


def _keyword_values(name: str) -> list[tuple[ast.expr, Source]]:
    """Return the values that calls pass under a keyword: the possible values of a field."""
    return [
        (keyword.value, source)
        for source in _sources()
        for node in source.nodes
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == name
    ]


@cache
def _returned_values(name: str) -> list[tuple[ast.expr, Source]]:
    """Return the values that a function of the collection returns."""
    return [
        (node.value, source)
        for source in _sources()
        for function in source.functions
        if function.name == name
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value and source.function_of(node) is function
    ]


def _literal(node: ast.AST, source: Source) -> str:
    """Return the template of a literal text; names of constants are replaced by their values."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(part, source) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _literal(node.left, source) + _literal(node.right, source)
    if isinstance(node, ast.FormattedValue):
        return _literal(node.value, source)
    value = source.constants.get(node.id) if isinstance(node, ast.Name) and not source.values_of(node) else None
    return str(value) if isinstance(value, (str, int)) else HOLE


def _yaml_messages() -> Iterator[Message]:
    paths = [*sorted((ROOT / "playbooks").rglob("*.yml")), *sorted((ROOT / "roles").rglob("tasks/*.yml"))]
    for path in paths:
        content = yaml.safe_load(path.read_text())
        for text in [*_failures(content), *_undefined_messages(content, path.name)]:
            yield Message(_tidy(re.sub(r"\{\{.*?\}\}", HOLE, text, flags=re.DOTALL)), "", path.name)


def _failures(content: Any) -> Iterator[str]:
    """Return the texts with which tasks fail."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "fail_msg":
                yield value
            elif key == "ansible.builtin.fail":
                yield value["msg"]
            else:
                yield from _failures(value)
    elif isinstance(content, list):
        for each in content:
            yield from _failures(each)


def _undefined_messages(content: Any, where: str) -> Iterator[str]:
    """Return the texts with which variables fail that are mandatory, from the variables that hold them."""
    for value in content.values() if isinstance(content, dict) else []:
        for name in re.findall(r"\| mandatory\((.*?)\)", str(value)):
            if name not in content:
                raise UnknownText(f"{where}: what is the text of {name}?")
            yield content[name]


def _tidy(template: str) -> str:
    """Return a template with single spaces and single holes."""
    return re.sub(f"{HOLE}+", HOLE, " ".join(template.split()))

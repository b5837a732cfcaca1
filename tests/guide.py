"""The guide's pages as tests read them: their code blocks, and the messages of the collection that they quote."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "docsite" / "rst"
README = ROOT / "README.md"
COLLECTION = "ansible_collections.cwagent.iam"
PAGES = [README, *sorted(GUIDE.glob("*.rst"))]

RUN_BY_TEST = "run-by-test"
_RST = re.compile(r"^( *)\.\. code-block:: *(\S+)\n((?: *:.*\n)*)\n((?:\1 +\S.*\n|[ \t]*\n)+)", re.MULTILINE)
_MARKDOWN = re.compile(r"^( *)```(\S+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block. :param marked: whether the page says that a test runs it."""

    page: str
    line: int
    language: str
    text: str
    marked: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in reStructuredText or Markdown."""
    text = page.read_text()
    found = _MARKDOWN.finditer(text) if page.suffix == ".md" else _RST.finditer(text)
    return [_block(page.name, text[: match.start()], match) for match in found]


def _block(page: str, before: str, match: re.Match[str]) -> Block:
    lines = match[match.lastindex or 0].rstrip().splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    content = "".join(f"{line[indent:]}\n" for line in lines)
    marked = before.rstrip().endswith(f"\n.. {RUN_BY_TEST}")
    return Block(page, before.count("\n") + 1, match[2], content, marked)


def is_playbook(content: Any) -> bool:
    """Whether the content of a YAML block is a list of plays."""
    return isinstance(content, list) and all({"hosts", "import_playbook"} & each.keys() for each in content)


# What a message says of the case at hand; a page writes <something> in its place.
HOLE = "\0"
ERRORS = {"CwagentError", "InvalidInput", "AwsRefusal", "AnsibleFilterError", "AnsibleLookupError"}
# They word problems that a caller joins to one message.
WORDED_BY = {"_problems", "carriers"}
# They word one whole message. Others only pass on what an error says already.
FOLLOWED = {"explain", "_told", "_unanswered", "_deactivated", "unfit_instance"}
PASSED_ON = {"str", "join", "replace", "_refusal"}
FEWEST_LETTERS = 12


def as_pattern(template: str) -> re.Pattern[str]:
    """What a quote of a message looks like: letter by letter, with one placeholder for each hole."""
    return re.compile("<[^<>]+>".join(re.escape(part) for part in template.split(HOLE)))


def readable(template: str) -> str:
    """A template for a failure of a test."""
    return template.replace(HOLE, "<...>")


def required_messages() -> dict[str, str]:
    """By template, where it comes from: every error that the collection words itself."""
    found: dict[str, str] = {}
    for source in _sources():
        for node in ast.walk(source.tree):
            for message in _messages_of(node):
                found.update(dict.fromkeys(source.templates(message), source.name))
    for path in _playbook_files():
        found.update(dict.fromkeys(_worded(_failures(yaml.safe_load(path.read_text()))), path.name))
    return found


def all_messages() -> set[str]:
    """The templates of all texts in plugins, warnings among them, and of those of amazon.aws that users meet."""
    foreign = Source(
        "amazon.aws", importlib.import_module("ansible_collections.amazon.aws.plugins.module_utils.botocore")
    )
    texts = (
        template
        for source in [*_sources(), foreign]
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.JoinedStr, ast.BinOp, ast.Constant))
        for template in source.templates(node)
    )
    return {*texts, *required_messages()}


def _messages_of(node: ast.AST) -> list[ast.expr]:
    """The expressions in a node whose text becomes an error."""
    if isinstance(node, ast.Call):
        name = _name(node)
        told = {keyword.arg: keyword.value for keyword in node.keywords}
        given = [told["problem"]] if "problem" in told else [told["msg"]] if name == "fail_json" else []
        return [*given, *(node.args[:1] if name in ERRORS else [])]
    return _returned(node) if isinstance(node, ast.FunctionDef) and node.name in WORDED_BY else []


def _returned(function: ast.FunctionDef) -> list[ast.expr]:
    """What a function returns, item by item where that is a list."""
    values = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
    return [
        each
        for value in values
        for each in (
            value.elts if isinstance(value, ast.List) else [value.elt] if isinstance(value, ast.ListComp) else [value]
        )
    ]


class Source:
    """A module of Python, with what its names stand for."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.tree = ast.parse(Path(str(module.__file__)).read_text())
        self._module = module
        self._parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def templates(self, node: ast.expr) -> list[str]:
        """What a message can be, with holes; nothing where next to all of it is a hole."""
        return _worded(self._texts(node))

    def _texts(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return self._joined(node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([node.left, node.right])
        if isinstance(node, ast.FormattedValue):
            return self._texts(node.value)
        if isinstance(node, ast.IfExp):
            return [*self._texts(node.body), *self._texts(node.orelse)]
        if isinstance(node, ast.Name):
            return self._named(node)
        if isinstance(node, ast.Call):
            return self._called(node)
        return [HOLE]

    def _joined(self, nodes: list[ast.expr]) -> list[str]:
        return ["".join(parts) for parts in itertools.product(*map(self._texts, nodes))]

    def _named(self, node: ast.Name) -> list[str]:
        """A local name that is assigned once, or a constant of the module."""
        scope = self._function(node)
        assigned = [
            each.value
            for each in ast.walk(scope or self.tree)
            if scope
            and isinstance(each, ast.Assign)
            and [getattr(target, "id", None) for target in each.targets] == [node.id]
        ]
        if len(assigned) == 1:
            return self._texts(assigned[0])
        constant = None if assigned else getattr(self._module, node.id, None)
        return [str(constant)] if isinstance(constant, (str, int)) else [HOLE]

    def _function(self, node: ast.AST) -> ast.FunctionDef | None:
        while node in self._parents:
            node = self._parents[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None

    def _called(self, node: ast.Call) -> list[str]:
        """What a function returns that words a whole message; else a hole."""
        name = _name(node)
        if isinstance(self._parents[node], ast.Call) and _name(self._parents[node]) in ERRORS:
            assert name in FOLLOWED | PASSED_ON, f"{self.name}: does {name} word messages, or pass them on?"
        if name not in FOLLOWED:
            return [HOLE]
        return [
            text
            for source in _sources()
            for each in ast.walk(source.tree)
            if isinstance(each, ast.FunctionDef) and each.name == name
            for value in _returned(each)
            for text in source._texts(value)
        ]


def _name(call: ast.AST) -> str | None:
    """The name of what is called, without where it is from."""
    function = getattr(call, "func", None)
    return getattr(function, "id", getattr(function, "attr", None))


_READ: list[Source] = []


def _sources() -> list[Source]:
    if not _READ:
        for path in sorted((ROOT / "plugins").rglob("[!_]*.py")) + sorted((ROOT / "plugins").rglob("_[!_]*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if "doc_fragments" not in name:
                _READ.append(Source(path.name, importlib.import_module(f"{COLLECTION}.{name}")))
    return _READ


def _playbook_files() -> list[Path]:
    return [*sorted((ROOT / "playbooks").rglob("*.yml")), *sorted((ROOT / "roles").rglob("tasks/*.yml"))]


def _failures(content: Any) -> Iterator[str]:
    """The texts with which tasks fail."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "fail_msg":
                yield _without_jinja(value)
            elif key == "ansible.builtin.fail":
                yield _without_jinja(value["msg"])
            else:
                yield from _failures(value)
    elif isinstance(content, list):
        for each in content:
            yield from _failures(each)


def _without_jinja(text: str) -> str:
    return re.sub(r"\{\{.*?\}\}", HOLE, text, flags=re.DOTALL)


def _worded(templates: Any) -> list[str]:
    """Templates that say something themselves, with single spaces."""
    tidy = (re.sub(f"{HOLE}+", HOLE, " ".join(template.split())) for template in templates)
    return [each for each in tidy if sum(map(str.isalpha, each)) >= FEWEST_LETTERS]

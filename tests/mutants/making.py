"""Makes the mutants of a file."""

from __future__ import annotations

import ast
import difflib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .equivalent import EQUIVALENT

# Whether equal values are the same object is up to Python: only an "is" that is there is changed, and not to "==". What
# is compared with "==" are names, whose order means nothing.
LEFT_OUT = re.compile(
    r"ReplaceComparisonOperator_(?!Is_IsNot$|IsNot_Is$)"
    r"(\w+_(Is|IsNot)|Is_Eq|IsNot_NotEq|(Eq|NotEq)_(Lt|LtE|Gt|GtE))$"
)
# "frozen" only keeps developers from a mistake.
GUARD = "@dataclass("


@dataclass(frozen=True)
class Mutant:
    """A changed file.

    :param line: the number of its first changed line. :param lines: how many lines of the original are changed.
    :param before: the changed lines of the original, without indentation.
    :param after: these lines in the mutant.
    """

    line: int
    before: str
    after: str
    code: str
    lines: int = 1

    def __str__(self) -> str:
        return f"{self.line}: {self.before}\n    became {self.after}"


def sample(path: Path, name: str, size: int, seed: int) -> list[Mutant]:
    """Choose mutants of a file, the same ones for the same seed. :param name: the path below plugins/."""
    same = {(before, after) for before, after, _ in EQUIVALENT.get(name, [])}
    order = random.Random(f"{seed} {name}")  # noqa: S311 (no secret)
    found = (
        each
        for each in mutants(path.read_text(), order)
        if (each.before, each.after) not in same and not each.before.startswith(GUARD)
    )
    return list(itertools.islice(found, size))


def mutants(source: str, order: random.Random) -> Iterator[Mutant]:
    """Make all mutants that differ from the source in more than annotations, each once, in random order."""
    original = _meaning(source)
    seen: set[str] = set()
    changes = list(_changes(source))
    order.shuffle(changes)
    for operator, occurrence in changes:
        try:
            code = mutate_code(source, operator, occurrence)
            if not code or code in seen or _meaning(code) == original:
                continue
        except (SyntaxError, AttributeError):  # an operator that cannot change this place
            continue
        seen.add(code)
        yield _describe(source, code)


def _changes(source: str) -> Iterator[tuple[Any, int]]:
    """Pairs of an operator and the number of a place that it can change."""
    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments() or LEFT_OUT.search(name):
            continue
        operator = operator_class()
        places = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        yield from ((operator, occurrence) for occurrence in range(places))


def _describe(source: str, code: str) -> Mutant:
    before, after = source.splitlines(), code.splitlines()
    [(_, start, end, other_start, other_end)] = [
        each
        for each in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if each[0] != "equal"
    ][:1]
    changed = max(end - start, 1)
    return Mutant(start + 1, _one_line(before[start:end]), _one_line(after[other_start:other_end]), code, changed)


def _one_line(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


class _WithoutAnnotations(ast.NodeTransformer):
    """Removes annotations, which have no effect because they are not evaluated."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """Let arguments be given by position and by name: a limit only keeps developers from a mistake."""
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults += [each for each in node.kw_defaults if each]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Leave out statements that only type checkers read."""
        return [] if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def _meaning(source: str) -> str:
    return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))

"""The collector of messages follows a text to where it is written, or fails."""

from __future__ import annotations

import ast
from types import ModuleType

import pytest
from messages import HOLE, Source, UnknownText, texts

CODE = """
LIMIT = 50
def check(parameter, error):
    local = f"{parameter} is longer than {LIMIT} characters."
    listed = [f"the part {each} is not known at all" for each in parameter]
    return [{expressions}]
"""


@pytest.fixture
def collect(tmp_path):
    def collect_texts(expression):
        path = tmp_path / "checks.py"
        path.write_text(CODE.replace("{expressions}", expression))
        module = ModuleType("checks")
        module.__file__, module.LIMIT = str(path), 50
        source = Source(module)
        [returned] = [node.value for node in ast.walk(source.tree) if isinstance(node, ast.Return)]
        return texts(returned.elts[0], source, set())

    return collect_texts


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'a literal text'", {"a literal text"}),
        ("'two literal ' + 'texts'", {"two literal texts"}),
        ("local", {f"{HOLE} is longer than 50 characters."}),
        ("'the first text' if error else 'the second text'", {"the first text", "the second text"}),
        (
            "f'these are wrong: {\"; \".join(listed)}'",
            {f"these are wrong: {HOLE}", f"the part {HOLE} is not known at all"},
        ),
        ("str(error)", set()),
        ("str(error).replace('secret', '')", set()),
    ],
)
def test_a_text_is_found(collect, expression, expected):
    assert collect(expression) == expected


@pytest.mark.parametrize("expression", ["parameter", "parameter['key']", "error.args[0]", "unknown_function(error)"])
def test_an_unknown_text_is_an_error(collect, expression):
    with pytest.raises(UnknownText):
        collect(expression)

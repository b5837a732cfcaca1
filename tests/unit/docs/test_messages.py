"""The collector of messages follows a text to where it is written, or fails."""

from __future__ import annotations

import ast
from types import ModuleType
from typing import Any

import pytest
from messages import HOLE, Source, UnknownText, messages_of, texts

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
        module: Any = ModuleType("checks")
        module.__file__ = str(path)
        vars(module)["LIMIT"] = 50
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


def source_of(path, code):
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    return Source(module)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("problems.add('a problem with the input')", "a problem with the input"),
        ("def run(): return {'failed': True, 'msg': 'the task has failed'}", "the task has failed"),
        ("raise InvalidInput('the input is not valid')", "the input is not valid"),
    ],
)
def test_a_message_of_an_action_plugin_is_found(tmp_path, code, expected):
    [(expression, error)] = messages_of(source_of(tmp_path / "action" / "checks.py", code))
    assert ast.literal_eval(expression) == expected
    assert error == "InvalidInput"


@pytest.mark.parametrize(
    "code",
    [
        "found.add('is this a problem?')",
        "def run(): return {'failed': True}",
        "raise ValueError('a text that no caller words again')",
        "def run():\n    text = 'a text that no caller words again'\n    raise ValueError(text)",
        "raise KeyError(value)",
    ],
)
def test_an_unknown_failure_of_an_action_plugin_is_an_error(tmp_path, code):
    with pytest.raises(UnknownText):
        list(messages_of(source_of(tmp_path / "action" / "checks.py", code)))


def test_an_error_with_nothing_but_a_value_has_no_message(tmp_path):
    code = "def convert(value): raise ValueError(value)"
    assert list(messages_of(source_of(tmp_path / "action" / "checks.py", code))) == []

"""The page on troubleshooting has a section for each class of errors, and quotes messages as the code words them."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import pytest
import yaml
from guide import COLLECTION, GUIDE, ROOT, blocks, sections

from ansible_collections.cwagent.iam.plugins.module_utils._ground import errors

PAGE = GUIDE / "troubleshooting.rst"
PLACEHOLDER = r"<[^<>]+>"
# A message can be put together from several texts. They meet at punctuation.
END_OF_CLAUSE = r"(?<=[.:;,)]) | (?=\()"
PUNCTUATION = " .:;,()'"
# Stands in a text for the parts that differ from case to case.
HOLE = "\0"
AMAZON = "ansible_collections.amazon.aws.plugins.module_utils.botocore"
"""Users can meet the messages of this module too."""
ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CwagentError)]


def quotes():
    """The messages that the page quotes, in blocks and as terms with an explanation."""
    quoted = [quote for block in blocks(PAGE) if block.language == "text" for quote in block.text.split("\n\n")]
    terms = re.findall(r"^``(.+)``\n   \S", PAGE.read_text(), re.MULTILINE)
    return [" ".join(quote.split()) for quote in [*quoted, *terms]]


def literal(node, constants):
    """The text of a literal; constants of the module are replaced by their values."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part, constants) for part in node.values)
    if isinstance(node, ast.BinOp):
        return literal(node.left, constants) + literal(node.right, constants)
    if isinstance(node, ast.FormattedValue):
        return literal(node.value, constants)
    return str(constants[node.id]) if isinstance(node, ast.Name) and node.id.isupper() else HOLE


def texts_of_code():
    """The literal texts of the plugins, and of the module of amazon.aws."""
    paths = [path for path in (ROOT / "plugins").rglob("*.py") if path.name != "__init__.py"]
    names = [".".join((COLLECTION, *path.relative_to(ROOT).with_suffix("").parts)) for path in paths]
    for module in map(importlib.import_module, [*names, AMAZON]):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                yield literal(node, vars(module))


def texts_of_tasks(content):
    """The texts of a file with tasks or plays."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (dict, list)):
        for each in content.values() if isinstance(content, dict) else content:
            yield from texts_of_tasks(each)


def all_texts():
    """Everything that a message can be made of, one text a line."""
    files = [path for folder in ("playbooks", "roles") for path in (ROOT / folder).rglob("*.yml")]
    tasks = [text for path in files for text in texts_of_tasks(yaml.safe_load(path.read_text()))]
    return "\n".join(" ".join(text.split()) for text in [*texts_of_code(), *tasks])


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_class_of_errors_has_a_section(error):
    assert len([title for title in sections(PAGE) if title.endswith(f"({error.__name__})")]) == 1


def test_every_quote_is_in_the_code():
    texts = all_texts()
    clauses = {clause for quote in quotes() for clause in re.split(f"{PLACEHOLDER}|{END_OF_CLAUSE}", quote)}
    assert len(clauses) > 50
    assert sorted(clause for clause in clauses if clause.strip(PUNCTUATION) not in texts) == []


def test_no_message_is_quoted_twice():
    assert sorted(quotes()) == sorted(set(quotes()))


def test_the_page_begins_with_ten_symptoms():
    assert next(iter(sections(PAGE))) == "Symptoms"
    assert len(re.findall(r"^~+$", sections(PAGE)["Symptoms"], re.MULTILINE)) == 10

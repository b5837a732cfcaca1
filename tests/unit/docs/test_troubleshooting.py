"""The page on troubleshooting quotes every error as the code words it, and follows the tree of exceptions."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
from guide import GUIDE, blocks, sections
from messages import all_messages, all_texts, error_classes

from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.variables import HOST_VARIABLES

PAGE = GUIDE / "troubleshooting.rst"
PLACEHOLDER = r"<[^<>]+>"
# A message can be put together from several texts. They meet at punctuation.
END_OF_CLAUSE = r"(?<=[.:;,)]) | (?=\()"
PUNCTUATION = " .:;,()'"


def quotes_in(text):
    """The messages that a part of the page quotes."""
    quoted = [quote for block in blocks(PAGE, text) if block.language == "text" for quote in block.text.split("\n\n")]
    return [" ".join(quote.split()) for quote in quoted]


SECTIONS = {title: quotes_in(text) for title, text in sections(PAGE).items()}
QUOTES = [quote for quotes in SECTIONS.values() for quote in quotes]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_exception_has_a_section(error):
    assert len([title for title in SECTIONS if title.endswith(f"({error.__name__})")]) == 1


def test_every_error_is_quoted():
    assert [str(each) for each in all_messages() if not any(map(each.is_quoted_in, QUOTES))] == []


def test_every_error_is_quoted_in_the_section_of_its_exception():
    messages = all_messages()
    errors = defaultdict(set)  # exceptions can share a message; then one of their sections has it
    for message in messages:
        errors[message.template].add(f"({message.error})")
    misplaced = [
        str(message)
        for message in messages
        if message.error
        and not any(
            message.is_quoted_in(quote)
            for title, quotes in SECTIONS.items()
            if title.endswith(tuple(errors[message.template]))
            for quote in quotes
        )
    ]
    assert misplaced == []


def test_every_quote_is_in_the_code():
    texts = all_texts()
    invented = [
        (quote, clause)
        for quote in QUOTES
        for clause in re.split(f"{PLACEHOLDER}|{END_OF_CLAUSE}", quote)
        if clause.strip(PUNCTUATION) not in texts
    ]
    assert invented == []


def test_nothing_is_quoted_twice():
    assert sorted(QUOTES) == sorted(set(QUOTES))


def test_the_page_lists_the_variables_that_can_differ_from_host_to_host():
    [listed] = re.findall(r"can differ from host to host:\n(.*?)\n\*Resolution", PAGE.read_text(), re.DOTALL)
    assert sorted(re.findall(r"``(cwagent_\w+)``", listed)) == sorted({*HOST_VARIABLES, "cwagent_accounts"})

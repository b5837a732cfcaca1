"""The page on troubleshooting quotes every error as the code words it, and none that is not in the code any more."""

from __future__ import annotations

from guide import GUIDE, all_messages, as_pattern, blocks, readable, required_messages

PAGE = GUIDE / "troubleshooting.rst"


def quotes():
    """The messages that the page quotes, with the line of the block."""
    found = [
        (str(block), " ".join(quote.split()))
        for block in blocks(PAGE)
        if block.language == "text"
        for quote in block.text.split("\n\n")
    ]
    assert found
    return found


def test_every_error_is_on_the_page():
    quoted = [quote for _block, quote in quotes()]
    missing = [
        f"{source}: {readable(template)}"
        for template, source in required_messages().items()
        if not any(as_pattern(template).fullmatch(quote) for quote in quoted)
    ]
    assert missing == []


def test_every_quote_is_in_the_code():
    patterns = [as_pattern(template) for template in all_messages()]
    invented = [
        f"{block}: {quote}" for block, quote in quotes() if not any(pattern.fullmatch(quote) for pattern in patterns)
    ]
    assert invented == []


def test_nothing_is_quoted_twice():
    quoted = [quote for _block, quote in quotes()]
    assert sorted(quoted) == sorted(set(quoted))

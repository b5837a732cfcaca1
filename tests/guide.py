"""Reads the pages of the guide: their code blocks and sections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A code block. :param marked: whether the page marks it as run by a test."""

    page: str
    line: int
    language: str
    text: str
    marked: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def sections(page: Path) -> dict[str, str]:
    """Return the text of each section of a page in reStructuredText, by title."""
    parts = re.split(r"^(.+)\n-+\n", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """Return the code blocks of a page, in reStructuredText or Markdown. :param text: a part of the page."""
    text = page.read_text() if text is None else text
    found = _MARKDOWN.finditer(text) if page.suffix == ".md" else _RST.finditer(text)
    return [_block(page.name, text[: match.start()], match) for match in found]


def _block(page: str, before: str, match: re.Match[str]) -> Block:
    lines = match[match.lastindex or 0].rstrip().splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    content = "".join(f"{line[indent:]}\n" for line in lines)
    marked = before.rstrip().endswith(f"\n.. {RUN_BY_TEST}")
    return Block(page, before.count("\n") + 1, match[2], content, marked)


def is_playbook(content: Any) -> bool:
    """Return whether the content of a YAML block is a list of plays."""
    return isinstance(content, list) and all({"hosts", "import_playbook"} & each.keys() for each in content)

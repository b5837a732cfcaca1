"""Finds sentences that make readers stop, in the README, the guide, messages, task names, comments and docstrings.

Each expression stands for a pattern of the style guide and has the better wording beside it. Expressions can't judge,
so a few lines may remain. Run with FILES to check only these: python tests/sentences.py [FILES]
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ALLOWED = 11
CHECKED = ["README.md", "docs/docsite/rst", "examples", "playbooks", "plugins", "roles", "tests"]
SUFFIXES = {".md", ".py", ".rst", ".yml"}
# Where a sentence, a description or a comment begins.
BEGIN = r"(?:^|[.:;!?*|#] |\"\"\"|\"|``|- )\s*"
PATTERNS = {
    "name the noun, such as 'anything that' or 'the policies that'": (
        BEGIN + r"(?:What|Who|Whoever|That which|(?<=[;:] )(?:what|who|whoever)) (?!is\b.*\?|if\b)[^?]*$"
    ),
    "write 'even if', 'even where', 'not even' or 'including'": (
        r"\b[Aa]lso (?:not|that of|those of|where|if|when|for|in|with|of|on|from|after|while|before|without|by|at)\b"
    ),
    "repeat the noun": r"\b[Tt]h(?:at|ose) of\b|\bsuch as (?:has|have|is|are)\b|\bones? that (?:has|have|is|are)\b",
    "write 'with', 'using', 'through' or 'according to'": (
        r"\b(?:checked|read|reached|done|tested|asked|seen|shown) by (?:EC2|IAM|AWS|STS|the connection|its own)\b"
    ),
    "write 'contains', 'prints', 'lists' or 'reports'": (
        r"\bsays? (?:so|who|which|what|whether|how|until|where|why|that)\b|\bnames? (?:it|them|what)\b"
    ),
    "say it positively, or with 'never'": r"\b(?:is|are|stands?|goes|be|was|were) (?:in|on|to|of|for) no\b",
    "write 'instead of', 'its own' or 'separate'": (
        r"\bin place of\b|\bof (?:its|their|your|one's|our|his) own\b|\ban own\b"
    ),
    "one claim a sentence, with 'because' or 'so'": r"^[^`|\"']*[a-z]: [a-z][^.`\"']*; [a-z]",
    "name the actor, or address the reader as 'you'": (
        r"\b(?:is|are|was|were|be) (?:looked (?:for|at|up)|said|told|asked(?: for)?|let|heard)\b(?! by)"
    ),
    "use the everyday verb, such as 'fix', 'skip' or 'clean up'": (
        r"\b(?:[Mm]end(?:s|ed|ing)?|(?:[Nn]ot |un)begun|for good|from which on|lets? (?:it|them) be)\b"
    ),
}


def find(files: Iterable[Path]) -> Iterator[tuple[Path, int, str, str]]:
    """Find lines with their number and the better wording."""
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for better, pattern in PATTERNS.items():
                if re.search(pattern, line):
                    yield file, number, line.strip(), better


def main(named: list[str]) -> int:
    """Print the lines that were found. :returns: the exit code."""
    listed = subprocess.run(["git", "ls-files", *(named or CHECKED)], check=True, capture_output=True, text=True)
    files = [path for path in map(Path, listed.stdout.split()) if path.suffix in SUFFIXES]
    found = list(find(path for path in files if not path.samefile(__file__)))
    for file, number, line, better in found:
        print(f"{file}:{number}: {better}: {line}")
    if len(found) > ALLOWED:
        print(f"{len(found)} lines can be written more plainly; at most {ALLOWED} are allowed.", file=sys.stderr)
    return int(len(found) > ALLOWED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Makes the picture of the demo in the README, from the output of a run.

make picture
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COLUMNS = 100
# The picture shows the output from the first of these headings to the second.
FIRST, LAST = "Who could write", "The audit, which"


def run() -> str:
    """Run the demo in a terminal, and return what it prints, with its colors."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(ROOT / "examples" / "demo" / "demo.py")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=ROOT) as demo:
        os.close(theirs)
        printed = b""
        try:
            while chunk := os.read(ours, 65536):
                printed += chunk
        except OSError:  # Linux raises it after the demo has ended
            pass
    os.close(ours)
    if demo.returncode:
        sys.exit(printed.decode())
    return printed.decode().replace("\r\n", "\n")


def main() -> None:
    lines = run().splitlines()
    first, last = (next(number for number, line in enumerate(lines) if each in line) for each in (FIRST, LAST))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi("\n".join(lines[first:last]).strip()), soft_wrap=False)
    PICTURE.write_text(console.export_svg(title="make demo", theme=MONOKAI))


if __name__ == "__main__":
    main()

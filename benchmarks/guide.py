"""Writes the results into the guide."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ansible.release import __version__ as ansible_core

from . import tables
from .bounds import Bound
from .process import CHECKOUT
from .results import Results

PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "benchmarks.rst"
PLOT = CHECKOUT / "docs" / "images" / "benchmarks.png"
BEGIN, END = ".. begin of what make bench writes\n", ".. end of what make bench writes\n"


def publish(results: Results, evaluated: Sequence[Bound], plot: Path) -> None:
    """Replace the text between the two marks on the page, and the plot."""
    shutil.copyfile(plot, PLOT)
    PAGE.write_text(between(PAGE.read_text(), render(results, evaluated)))


def between(page: str, text: str) -> str:
    """The page with another text between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError("the page lacks the marks for the measurements")
    return f"{before}{BEGIN}\n{text}\n\n{END}{after}"


def render(results: Results, evaluated: Sequence[Bound]) -> str:
    """The text between the marks."""
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    with_what = f"Python {platform.python_version()}, ansible-core {ansible_core}, boto3 {version('boto3')}"
    shown = [tables.bounds(evaluated), *tables.costs(results), tables.stages(results), tables.payloads(results)]
    return "\n\n".join([f"Measured on {when} with {with_what}.", *(table.rst() for table in shown)])

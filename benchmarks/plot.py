"""Plots the wall time of every side against the number of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .jobs import USERS, Side
from .measure import Phase
from .results import Results

STYLES = {
    Side.OURS: ("#1b6ca8", "o"),
    Side.LOOP: ("#c0392b", "s"),
    Side.HOSTS: ("#e08e0b", "^"),
    Side.FLOOR: ("#6b7280", "D"),
}
LINES = {Phase.CREATE: "-", Phase.REPEAT: ":"}


def draw(results: Results, file: Path) -> None:
    """Draw axes for every delay, with solid lines for an empty account and dotted ones for nothing to do."""
    delays = results.delays(USERS)
    if not delays:
        return
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6 * len(delays), 5.6), layout="constrained")
        axes = figure.subplots(1, len(delays), sharey=True, squeeze=False)[0]
        for delay, each in zip(delays, axes, strict=True):
            _draw_delay(results, delay, each)
        axes[0].set_ylabel("seconds")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(STYLES), frameon=False, fontsize=10)
        figure.savefig(file, dpi=120, metadata={"Software": None})


def _draw_delay(results: Results, delay: int, axes: Axes) -> None:
    for side, (color, marker) in STYLES.items():
        for phase, line in LINES.items():
            sizes = results.sizes(USERS, side, phase, delay)
            walls = [results.wall(USERS, side, phase, size, delay=delay) or 0 for size in sizes]
            style: dict[str, Any] = {
                "color": color,
                "marker": marker,
                "linestyle": line,
                "linewidth": 2,
                "markersize": 6,
            }
            axes.plot(sizes, walls, label=f"{side}\n{phase}", **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(f"{delay} ms a call more" if delay else "on this machine alone")
    axes.set_xlabel("users")
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)


def _plain(value: float, _: int) -> str:
    return f"{value:g}"

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits long lists into batches, so that the loop of a task shows its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def batches(lists: Mapping[str, Sequence[str]], size: int) -> list[dict[str, Any]]:
    """Return the batches of all lists in order, each with the key of its list and a label with its position."""
    return [
        {"key": key, "value": list(items[first : first + size]), "label": _label(key, first, size, len(items))}
        for key, items in lists.items()
        for first in range(0, len(items), size)
    ]


def _label(key: str, first: int, size: int, total: int) -> str:
    where = f" in {key}" if key else ""
    return f"{total}{where}" if total <= size else f"{first + 1} to {min(first + size, total)} of {total}{where}"


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"batches": batches}

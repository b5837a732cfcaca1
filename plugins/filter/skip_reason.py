# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Returns why an account is skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils import _run_report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


def skip_reason(
    hostvars: Mapping[str, Mapping[str, Any]],
    account: str,
    accounts: Iterable[str],
    active: Collection[str],
    batch_sizes: Sequence[str],
) -> str:
    """Return why an account is skipped, from the variables of the hosts that stand for all accounts."""
    found = [_run_report.Account(name, hostvars[name], is_finished=name in active) for name in accounts]
    return _run_report.skip_reason(found, account, batch_sizes)


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"skip_reason": skip_reason}

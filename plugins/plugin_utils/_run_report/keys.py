# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far access keys are replaced and users are retired, in lines for a person. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.steps import wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import Record


# The meaning of each phase of a replacement for its user, in the order of the report.
PHASES = {
    "blocked": "blocked: a key that is not saved takes the slot of the new one",
    "due": "a new access key {was} created and saved",
    "waiting_for_use": "waiting until the server uses the new access key, and it alone",
    "deactivating": "the old access key {was} deactivated",
    "grace_period": "the old access key is kept, deactivated, for the grace period",
    "deleting": "the old access key {was} deleted",
}
# The same for the retirement of a user.
RETIREMENT_PHASES = {
    "blocked": "blocked: {reasons}",
    "waiting": "the access key is kept until all servers are ready: {reasons}",
    "in_use": "waiting until the access key was unused for five hours",
    "deactivating": (
        "the access key {was} deactivated, because its servers are registered with Systems Manager; {later}"
    ),
    "grace_period": "the access key is kept, deactivated, for the grace period; {later}",
    "deleting": "the user {was} deleted with its access key",
}
DELETED_LATER = "the user is deleted {} after the last use"
KEPT = "the user is kept without an access key: {reasons}"
DELIVERED = "a new access key {was} created, saved and delivered to the server"
TO_DELIVER = f"{PHASES['due']}; deliver it to the server"


def rotation_report(records: Iterable[Record], is_delivered: Mapping[str, bool], *, check_mode: bool) -> list[str]:
    """How far the access keys of all users are replaced: a line for each user whose key is not current, and counts.

    :param is_delivered: by user of servers, whether the new key is on all of these servers.
    :param check_mode: whether the changes were only predicted.
    """
    phase_of = rotation_phases(records)
    due = {user: DELIVERED if is_on_servers else TO_DELIVER for user, is_on_servers in is_delivered.items()}
    was = "would be" if check_mode else "was"
    described = [
        f"{user}: {(due.get(user, text) if phase == 'due' else text).format(was=was)}"
        for phase, text in PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    words = {"current": "current", "due": "would be replaced" if check_mode else "replaced", "blocked": "blocked"}
    # In all other phases, the old key still exists.
    counts = Counter(words.get(phase, "being replaced") for phase in phase_of.values())
    shown = [f"{counts[each]} {each}" for each in (*words.values(), "being replaced") if counts[each]]
    lines = [*described, *([f"Access keys: {', '.join(shown)}."] if shown else [])]
    return [part for line in lines for part in wrap(line)]


def retirement_report(records: Iterable[Record], *, check_mode: bool, key_delete_after_days: int) -> list[str]:
    """How far the users of servers that no longer need access keys are retired, a line for each user.

    :param check_mode: whether the changes were only predicted.
    :param key_delete_after_days: how long a user is kept after the last use of its access key.
    """
    found = [each for each in records if each.retirement]
    later = DELETED_LATER.format(count_noun(key_delete_after_days, "day"))
    reasons = {user: ", ".join(of) for each in found for user, of in each.blockers.items()}
    phase_of = {user: of for each in found for user, of in each.retirement.items()}
    lines = [
        f"{user}: "
        + (KEPT if of == "deleting" and user in reasons else text).format(
            was="would be" if check_mode else "was", later=later, reasons=reasons.get(user, "")
        )
        for phase, text in RETIREMENT_PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    return [part for line in lines for part in wrap(line)]


def rotation_phases(records: Iterable[Record]) -> dict[str, str]:
    """By user, how far the access key is replaced."""
    return {user: of for each in records for user, of in each.rotation.items()}

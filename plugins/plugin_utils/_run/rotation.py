# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of the input for a rotation of access keys. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .given import GROUPS, ROTATION
from .hosts import apply_limit, select_users
from .values import Problems
from .variables import ALL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .given import Given
    from .run import Run


def hosts_to_rotate(given: Given, hosts: Iterable[str]) -> list[str]:
    """Return the hosts that ``--limit`` leaves, or all hosts if it contains only accounts."""
    is_limited = not given.accounts or apply_limit(given, given.members(*GROUPS))
    return apply_limit(given, hosts) if is_limited else list(hosts)


def narrow_to_rotation(run: Run, servers: Mapping[str, str], rotated: Collection[str]) -> Run:
    """Return the run with only the users whose keys are replaced and all their hosts.

    The key of a user that several hosts share is saved in the region of the first host, even if the limit excludes it.

    :param servers: by host, the user of each server that has an access key.
    :param rotated: the users.
    """
    hosts = [host for host, user in servers.items() if user in rotated]
    not_delivered = {*run.undelivered_hosts, *(host for host in hosts if host not in run.delivery_hosts)}
    narrowed = replace(
        run,
        admin_users=select_users(run.admin_users, rotated),
        delivery_hosts=[host for host in run.delivery_hosts if host in servers],
        server_users=select_users(run.server_users, rotated),
        undelivered_hosts=[host for host in run.undelivered_hosts if host in hosts],
    )
    if not (run.settings["revoke_old"] and narrowed.server_users):
        return narrowed
    delivered = [host for host in hosts if host not in not_delivered]
    undelivered = [host for host in hosts if host in not_delivered]
    return replace(narrowed, notices=[*run.notices, _revocation_notice(delivered, undelivered)])


def _revocation_notice(delivered: Sequence[str], undelivered: Sequence[str]) -> str:
    """Return a notice of the servers whose agents cannot send until they have their new access keys."""
    text = (
        "Each access key that this run replaces is deactivated as soon as the new one is saved. Until the server has "
        "the new one, its agent cannot send."
    )
    if delivered:
        text += f" This run delivers the new access key to: {', '.join(delivered)}."
    if undelivered:
        text += f" It does not deliver to these, so do that yourself: {', '.join(undelivered)}."
    return text


def check_revocation(given: Given, run: Run, problems: Problems) -> None:
    has_batches = run.settings["batch_size"] != [ALL] and len(apply_limit(given, given.accounts)) > 1
    if ROTATION in given.requires and run.settings["revoke_old"] and has_batches:
        problems.add(
            "cwagent_revoke_old is set, and cwagent_batch_size is not 100%. New access keys are delivered after the "
            "last batch, and until then the agents of the first one could not send. Limit the run to one account, or "
            "set the size to 100%."
        )

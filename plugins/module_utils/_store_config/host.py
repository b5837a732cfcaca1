# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that stores, as the ways to store see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration


class StoreHost(Protocol):
    """A host that Ansible reaches. Methods that run a module of the collection return its result, even if it failed.

    Methods raise ``HostUnreachable`` if the host does not answer.
    """

    def ping(self) -> dict[str, Any]:
        """Check whether Ansible can run a module. :returns: its result, which has ``ping`` if it can."""

    def has_file(self, path: str) -> bool:
        """Whether the host has a file."""

    def read_file(self, path: str) -> str:
        """Read a text file; empty if it cannot be read."""

    def probe(self, regions: Sequence[str]) -> dict[str, Any]:
        """Check the host without a write, and read the identity of an instance.

        :param regions: where Parameter Store must answer it.
        """

    def identity(self, profile: str | None, role: str | None, *, fail_on_refused_role: bool = False) -> dict[str, Any]:
        """Wait until the instance has the identity of a profile, or none."""

    def store(self, configuration: Configuration) -> dict[str, Any]:
        """Store a configuration."""

    def compare(self, configuration: Configuration) -> dict[str, Any]:
        """Compare a configuration with the value that the host reads."""


# The details of a failure in a result besides its message, including the output of a module that crashed.
_OF_FAILURES = ("done", "not_done", "counts", "module_stdout", "module_stderr", "rc")


def check(result: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Return the result of a module on a host.

    :param name: the host, which the message then names.
    :raises CwagentError: it failed.
    """
    if result.get("failed"):
        message = str(result.get("msg") or "A module on the host failed without a message.")
        raise CwagentError(
            f"{name}: {message}" if name else message, **{key: result[key] for key in _OF_FAILURES if key in result}
        )
    return result

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server whose agent sends data. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sender:
    """The facts about the server whose agent sends the data. ``None`` stands for a fact that is not known.

    :param platform: ``Linux``, ``Windows`` or ``MacOS``.
    :param region: the region of its agent, unless the configuration contains one.
    :param account: the account of its agent, unless the configuration contains a role.
    :param instance_id: the ID of the EC2 instance. Empty if the server is not on EC2.
    :param hostname: the name that its operating system reports.
    :param hostname_of_ec2: the private DNS name of the instance.
    :param auto_scaling_group: empty for none.
    """

    platform: str
    region: str
    account: str
    instance_id: str = ""
    hostname: str | None = None
    hostname_of_ec2: str | None = None
    ip_address: str | None = None
    image_id: str | None = None
    instance_type: str | None = None
    auto_scaling_group: str | None = None

    @property
    def identities(self) -> frozenset[str]:
        """The texts that stand for this server and no other."""
        return frozenset(filter(None, (self.instance_id, self.hostname, self.hostname_of_ec2)))

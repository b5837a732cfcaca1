# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and their violations, with a severity. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# From the least to the most severe.
NOTICE, WARNING, ERROR = SEVERITIES = ("notice", "warning", "error")
# The subjects of rules.
ACCOUNT, PRINCIPAL, SERVER, CONFIGURATION = ("account", "principal", "server", "configuration")


@dataclass(frozen=True)
class Finding:
    """A violation of a rule.

    :param object: the name of the principal, instance, parameter or profile, or the id of the key or account.
    :param fix: the command to run, the variable to set, or the decision that a person must make.
    :param listed: whether summaries list it. Any other finding is only in reports, and never makes a run fail.
    """

    rule: str
    severity: str
    object: str
    why: str
    fix: str
    region: str | None = None
    listed: bool = True


@dataclass(frozen=True)
class Rule:
    """A rule about one of the subjects.

    :param about: its subject.
    :param severities: of its findings, with the most severe first.
    :param meaning: the violation in general, for the documentation.
    :param listed: whether summaries list its findings.
    :param is_lenient: whether the agent can know better, so that the user decides whether its errors are refused.
    """

    name: str
    about: str
    severities: tuple[str, ...]
    meaning: str
    listed: bool = True
    is_lenient: bool = False

    def finding(
        self, affected: str, why: str, fix: str, region: str | None = None, *, severity: str | None = None
    ) -> Finding:
        """Return a violation. :param affected: the name or ID of the object."""
        return Finding(self.name, severity or self.severities[0], affected, why, fix, region, self.listed)

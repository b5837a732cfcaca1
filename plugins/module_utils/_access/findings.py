# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for an account, and their violations. Pure.

Each violation is one finding, because a rule skips everything that another rule reports. Unknown parts give no finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access import (
    configuration_rules,
    fitting_rules,
    key_rules,
    principal_rules,
    server_rules,
)
from ansible_collections.cwagent.iam.plugins.module_utils._findings import SEVERITIES, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.cwagent.iam.plugins.module_utils._access.case import Case
    from ansible_collections.cwagent.iam.plugins.module_utils._findings import Finding

_FILES = (principal_rules, fitting_rules, key_rules, server_rules, configuration_rules)
RULES = [each for file in _FILES for each in vars(file).values() if isinstance(each, Rule)]


def find(case: Case) -> list[Finding]:
    """Return the violations of the rules, the most severe first."""
    found = [finding for file in _FILES for check in file.CHECKS for finding in check(case)]
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[Any, ...]:
    severity = -SEVERITIES.index(finding.severity)
    return severity, not finding.listed, finding.rule, finding.region or "", finding.object, finding.why


def count_severities(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    severities = [each.severity for each in findings]
    return {severity: severities.count(severity) for severity in SEVERITIES}

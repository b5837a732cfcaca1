# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The severities of findings, in the audit, on servers and in configurations. Pure."""

from __future__ import annotations

# From the least to the most severe.
NOTICE, WARNING, ERROR = SEVERITIES = ("notice", "warning", "error")

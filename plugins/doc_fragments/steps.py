# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The values that every module with a plan returns."""

    DOCUMENTATION = r"""
options: {}
notes:
  - The module also returns C(steps), C(counts), C(done) and C(not_done), which M(cwagent.iam.cwagent_iam_role)
    describes.
"""

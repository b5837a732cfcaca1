# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.amazon.aws.plugins.module_utils.botocore import (
    MINIMUM_BOTO3_VERSION,
    MINIMUM_BOTOCORE_VERSION,
)


class ModuleDocFragment:
    """Requirements of what calls AWS. The Python version in the fragment of amazon.aws is too old."""

    def __init__(self) -> None:
        # Not class constants, because ansible-test reads those without running the code.
        self.DOCUMENTATION = f"""
options: {{}}
requirements:
  - python >= 3.9
  - boto3 >= {MINIMUM_BOTO3_VERSION}
  - botocore >= {MINIMUM_BOTOCORE_VERSION}
"""
        self.MODULE = f"""{self.DOCUMENTATION}
attributes:
  action_group:
    description: Use C(group/cwagent.iam.aws) in C(module_defaults) to set the AWS options of all modules at once.
    support: full
    membership: [cwagent.iam.aws]
"""

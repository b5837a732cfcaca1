# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """The options that roles and users have in common."""

    DOCUMENTATION = r"""
options:
  access:
    description:
      - What the principal is for. V(server) attaches C(CloudWatchAgentServerPolicy), enough to run the agent;
        V(admin) attaches C(CloudWatchAgentAdminPolicy), which also lets it store the configuration.
      - The other one of the two is detached.
      - Required with O(state=present).
    type: str
    choices: [server, admin]
  ssm_policy:
    description:
      - The policy that lets Systems Manager install and configure the agent. V(none) removes it; when omitted it is
        left as it is, unless O(exclusive=true).
      - C(AmazonEC2RoleforSSM) is deprecated by AWS, since it gives broad rights on S3, and is used with a warning.
    type: str
    choices: [none, AmazonSSMManagedInstanceCore, AmazonEC2RoleforSSM]
  managed_policies:
    description: ARNs of further managed policies to attach.
    type: list
    elements: str
    default: []
  exclusive:
    description:
      - With V(false), others may have things on the principal too. Only the agent's policies are attached and detached;
        what else is attached, inline or trusted stays; and O(state=absent) leaves a principal with such things.
      - With V(true), the principal ends with exactly what is declared.
    type: bool
    default: false
  path:
    description:
      - The IAM path, such as V(/monitoring/), used when the principal is made; the default is then V(/).
      - One that exists under another path is an error.
    type: str
  permissions_boundary:
    description:
      - The ARN of the policy that bounds the principal. V(none) removes it; when omitted it is left as it is.
    type: str
  tags:
    description: Tags to set. When omitted, tags are left as they are.
    type: dict
    aliases: [resource_tags]
  purge_tags:
    description: Whether to remove tags that are not in O(tags). The default is the value of O(exclusive).
    type: bool
  admin_window:
    description:
      - Whether the principal has an admin window, which M(cwagent.iam.cwagent_admin_window) opens and closes.
      - A principal that has none gets it closed, before it gets any right. One that has it keeps it as it is.
    type: bool
    default: false
  state:
    description: Whether the principal is to be there.
    type: str
    choices: [present, absent]
    default: present
"""

"""The names of everything that an acceptance run makes. Nobody else's objects have them."""

from __future__ import annotations

PREFIX = "AmazonCloudWatch-live"

SERVER_ROLE = f"{PREFIX}-ServerRole"
ADMIN_ROLE = f"{PREFIX}-AdminRole"
HYBRID_ROLE = f"{PREFIX}-HybridRole"
# The on-premises server that is registered, in the inventory and as a node.
HYBRID_SERVER = f"{PREFIX}-hybrid"
# The role of an application on the admin instance, by which Systems Manager reaches it.
BASE_ROLE = f"{PREFIX}-BaseRole"
# The credentials of the playbooks: by duty, a role with the example policies of that duty.
CONTROLLER_ROLE = f"{PREFIX}-Controller"
SERVER_USER = f"{PREFIX}-ServerUser"
ADMIN_USER = f"{PREFIX}-AdminUser"
# The user that the hybrid server would have with an access key. The run never creates it.
HYBRID_USER = f"{SERVER_USER}-hybrid"
# The measurements use these.
PROBE_ROLE = f"{PREFIX}-ProbeRole"
PROBE_USER = f"{PREFIX}-ProbeUser"
PROBE_PARAMETER = f"{PREFIX}-probe"
PROBE_GROUP = f"{PREFIX}-probe"
PARAMETER = f"{PREFIX}-linux"
# A role that has a fitted policy and nothing else, and the configuration that it may read.
FITTED_ROLE = f"{PREFIX}-FittedRole"
FITTED_POLICY = f"{PREFIX}-FittedPolicy"
FITTED_PARAMETER = f"{PREFIX}-fitted"
KEY_PREFIX = f"{PREFIX}/credentials/"

"""The names of everything that an acceptance run makes. Nobody else's objects have them."""

from __future__ import annotations

PREFIX = "AmazonCloudWatch-live"

SERVER_ROLE = f"{PREFIX}-ServerRole"
ADMIN_ROLE = f"{PREFIX}-AdminRole"
# The role of an application on the admin instance, by which Systems Manager reaches it.
BASE_ROLE = f"{PREFIX}-BaseRole"
# The credentials of the playbooks: by duty, a role with the example policies of that duty.
CONTROLLER_ROLE = f"{PREFIX}-Controller"
SERVER_USER = f"{PREFIX}-ServerUser"
ADMIN_USER = f"{PREFIX}-AdminUser"
# The measurements use these.
PROBE_ROLE = f"{PREFIX}-ProbeRole"
PROBE_USER = f"{PREFIX}-ProbeUser"
PROBE_PARAMETER = f"{PREFIX}-probe"
PARAMETER = f"{PREFIX}-linux"
KEY_PREFIX = f"{PREFIX}/credentials/"

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters that a command stores, and the answers of the scripts on the instance. Pure."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, error_code, explain

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import Invocation

# The forms of the results that the scripts print.
CHECK_FORM = {"cli": str, "regions": {str: str}, "schema": str}
STORE_FORM = {
    "problem": str,
    "parameters": [{"region": str, "name": str, "status": str, "version": int, "error": str}],
}
STORED, CHANGED = "stored", "changed"
# How long to wait for the result of a command after its end.
GRACE_SECONDS = 15.0
# A schema is 69 KB. The limit keeps the answer of an instance from taking too much memory here.
MAX_SCHEMA_BYTES = 2_000_000
_GZIP = 31
_CLI_ERROR = r"An error occurred \((\w+)\) when calling the (\w+) operation[^:]*: (.*)"
NO_CLI = (
    "it has no AWS CLI, which the command needs. Amazon Linux has it; elsewhere install it, see "
    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
)


@dataclass(frozen=True)
class Write:
    """A parameter to store.

    :param version: the version that the configuration was compared with; 0 if there was no parameter.
    :param can_change_tier: whether to use the Advanced tier if the parameter turns out to be in it.
    :param description: the record of the parts that are stored together, or an empty text.
    """

    region: str
    name: str
    value: str
    tier: str
    version: int = 0
    can_change_tier: bool = True
    description: str = ""


@dataclass(frozen=True)
class StoreRequest:
    """The work of a command that stores parameters.

    :param role: the admin role, with which the instance stores.
    :param deadline: the latest time to store, in seconds since 1970. The admin window closes later.
    :param permission_seconds: how long to try after the instance has got the role.
    """

    writes: tuple[Write, ...]
    role: str
    deadline: int
    permission_seconds: int


def check_problems(instance_id: str, invocation: Invocation) -> list[str]:
    """Return why an instance cannot store, according to the command that checks it."""
    result = invocation.result(CHECK_FORM)
    if result is None:
        return [f"the command that checks instance {instance_id} gave no result: {invocation.reason}"]
    if not result["cli"]:
        return [f"instance {instance_id} cannot store: {NO_CLI}"]
    silent = [f"{region} ({error.strip()})" for region, error in sorted(result["regions"].items()) if error]
    return [
        f"instance {instance_id} does not reach Parameter Store in {', '.join(silent)}. A private subnet needs a VPC "
        "endpoint for ssm in the same region, and a NAT gateway or a proxy for other regions"
        for _each in silent[:1]
    ]


def unpack_schema(invocation: Invocation) -> str:
    """Return the agent's schema as text; empty where the instance has none or it cannot be read."""
    try:
        packed = base64.b64decode((invocation.result(CHECK_FORM) or {}).get("schema", ""), validate=True)
        return zlib.decompressobj(_GZIP).decompress(packed, MAX_SCHEMA_BYTES).decode()
    except (ValueError, zlib.error):
        return ""


def check_stored(invocation: Invocation, region: str, name: str, summary: str) -> None:
    """Check that a command that has ended has stored a parameter.

    :param summary: the planned step, for the message.
    :raises CwagentError: it has not.
    """
    result = invocation.result(STORE_FORM) or {"problem": "", "parameters": []}
    found = next((each for each in result["parameters"] if (each["region"], each["name"]) == (region, name)), None)
    if found and found["status"] == STORED:
        return
    failed = f"Could not {summary}"
    if found and found["status"] == CHANGED:
        raise CwagentError(
            f"{failed}: something else has stored version {found['version']} since the configuration was compared. Run "
            "again, which compares it anew."
        )
    if result["problem"] == "no-cli":
        raise CwagentError(f"{failed} from the instance: {NO_CLI}.")
    if result["problem"]:
        raise CwagentError(
            f"{failed}: the instance did not get the credentials of the admin role in time. EC2 can take minutes: "
            "increase store_config_identity_timeout (for the playbooks: cwagent_identity_timeout), or run again."
        )
    if not found:
        raise CwagentError(f"{failed}: the command on the instance did not store it: {invocation.reason}.")
    parts = re.search(_CLI_ERROR, found["error"])
    if parts is None:
        said = found["error"].strip() or "its time was up"
        raise CwagentError(f"{failed} from the instance: {said}.")
    code, operation, message = parts.groups()
    message = message.strip()
    text = f"{summary} from the instance"
    raise CwagentError(explain(text, f"ssm:{operation}", error_code(code, message), message, machine="the instance"))

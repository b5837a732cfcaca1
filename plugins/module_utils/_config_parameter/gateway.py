# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the credentials with which a host stores a configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._call import aws_gateway
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call


def select_gateway(call: Call) -> Aws:
    """Return the gateway to AWS, with the saved key, the instance's credentials or the module's."""
    if call.params["saved_key"]:
        return _saved_key_gateway(call, call.params["saved_key"])
    if not call.params["use_instance_credentials"]:
        return aws_gateway(call)
    # It imports Ansible's HTTP client, which no other case needs.
    from ansible_collections.cwagent.iam.plugins.module_utils._imds import MetadataService  # noqa: PLC0415  as above

    metadata = MetadataService()

    def client(service: str, **more: Any) -> Any:
        credentials = metadata.credentials(call.params["instance_role"])
        return call.client(service, **credentials, profile_name=None, **more)

    # The service can show the credentials of the earlier role for a while after it shows the new profile.
    return Aws(client, call.params["wait_timeout"], renews_clients=True)


def _saved_key_gateway(call: Call, key: dict[str, Any]) -> Aws:
    """Return a gateway that uses nothing of the host's environment to sign its requests."""
    call.params.update(access_key=key["access_key"], secret_key=key["secret_key"], session_token=None, profile=None)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):  # boto3 would look for it
        os.environ.pop(name, None)

    def client(service: str, **more: Any) -> Any:
        if not key["secret_key"]:
            raise InvalidInput(
                f"The access key of user '{key['user']}' does not exist yet, so what is stored cannot be read with it. "
                "In check mode, set known_values."
            )
        return call.client(service, **more)

    return Aws(client, call.params["wait_timeout"])

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of AWS services, which a host gets from the controller. botocore knows them."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

with suppress(ImportError):  # callers check for boto3, or suppress every error
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

# To sign with, although nothing is sent.
_NO_KEYS = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
# Any operation, to sign an address that nothing is sent to.
_OPERATIONS = {"ssm": ("get_parameter", {"Name": "x"}), "sts": ("get_caller_identity", {})}


def find_endpoint(service: str, region: str) -> dict[str, str]:
    """Return the endpoint of a service in a region, as the option ``endpoints`` of a module has it.

    The endpoint URLs of the controller's own configuration are for the controller alone.

    :raises CwagentError: botocore knows none, because the region or the configuration of the controller is not valid.
    """
    try:
        return _find(service, region)
    except BotoCoreError as error:
        raise CwagentError(f"The endpoint of {service} in {region} is not known here ({error}).") from error


def _find(service: str, region: str) -> dict[str, str]:
    session = botocore.session.get_session()
    session.set_config_variable("sts_regional_endpoints", "regional")
    client = session.create_client(
        service,
        region_name=region,
        **_NO_KEYS,
        config=Config(ignore_configured_endpoint_urls=True),
    )
    operation, arguments = _OPERATIONS[service]
    signed = urlsplit(client.generate_presigned_url(operation, arguments))
    signing_region = parse_qs(signed.query)["X-Amz-Credential"][0].split("/")[2]
    url = f"{signed.scheme}://{signed.netloc}"
    return {"service": service, "region": region, "url": url, "signing_region": signing_region}

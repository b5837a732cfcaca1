# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out whether this host reaches Parameter Store, before anything is opened for it.

A subnet without a way to the service is common, and a call into it fails only after minutes of retries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel

try:
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
except ImportError:
    pass  # _module.run_module reports it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TIMEOUT_SECONDS = 5


def check_parameter_store(client_factory: Callable[..., Any], regions: Iterable[str]) -> None:
    """Check that Parameter Store answers in each region. Any HTTP status proves that it is reachable.

    :param client_factory: makes a boto3 client for a service, whose endpoint, proxy and certificates are used.
    :raises CwagentError: it does not. The message contains the regions and the likely cause.
    """
    config = Config(connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS)
    clients = [client_factory("ssm", region=region, config=config) for region in regions]
    problems = [problem for problem in run_in_parallel(_problem, clients) if problem]
    if problems:
        raise CwagentError(
            f"This host does not reach Parameter Store in {'; '.join(problems)}. A private subnet needs a VPC endpoint "
            "for ssm in the same region, and a NAT gateway or a proxy for other regions. Nothing was opened."
        )


def _problem(client: Any) -> str:
    """Return the region of a client whose endpoint does not answer, and why; empty where it answers."""
    request = AWSRequest("GET", client.meta.endpoint_url).prepare()
    try:
        # Not an API call, but it uses the same proxy, certificates and timeouts.
        client._endpoint.http_session.send(request)
    except BotoCoreError as error:
        return f"{client.meta.region_name} ({error})"
    return ""

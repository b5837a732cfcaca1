# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host calls AWS, and whether its services answer before anything is opened.

The controller hands over an endpoint of each service and Region, because hosts have no table of endpoints. A subnet
without a way to a service is common, and a call into it fails only after minutes of retries.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment

from .._ground.errors import CwagentError
from .._ground.plan import run_in_parallel
from .._ground.signed_call import Endpoint, probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


PROBE_SECONDS = 5
# Each endpoint has a service, a Region, an address and the Region of its signatures.
ENDPOINTS_SPEC: dict[str, Any] = {
    "endpoints": {"type": "list", "elements": "dict", "default": []},
    "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url"]},
    "aws_ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}


def own_url(service: str, environment: Mapping[str, str]) -> str:
    """Return the address of a service in the environment; empty if it has none."""
    return environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL") or ""


def find_endpoints(params: Mapping[str, Any], region: str) -> dict[str, Endpoint]:
    """Return by service the endpoint in a Region, according to the options and the environment of this host."""
    variables = (os.environ.get(name) for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"))
    return {
        each["service"]: Endpoint(
            each["service"],
            params["endpoint_url"] or own_url(each["service"], os.environ) or each["url"],
            each["signing_region"],
            getproxies_environment(),
            params["aws_ca_bundle"] or next(filter(None, variables), ""),
            params["validate_certs"],
        )
        for each in params["endpoints"]
        if each["region"] == region
    }


def check_parameter_store(params: Mapping[str, Any], regions: Iterable[str]) -> None:
    """Check that Parameter Store answers in each Region. Any HTTP status proves that it is reachable.

    :raises CwagentError: it does not. The message contains the Regions and the likely cause.
    """
    reasons = run_in_parallel(partial(_find_problem, params), regions)
    problems = [reason for reason in reasons if reason]
    if problems:
        raise CwagentError(
            f"This host does not reach Parameter Store in {'; '.join(problems)}. A private subnet needs a VPC endpoint "
            "for ssm in the same region, and a NAT gateway or a proxy for other regions. Nothing was opened."
        )


def _find_problem(params: Mapping[str, Any], region: str) -> str:
    """Return a Region whose Parameter Store does not answer, and why; empty where it answers."""
    reason = probe(find_endpoints(params, region)["ssm"], PROBE_SECONDS)
    return f"{region} ({reason})" if reason else ""

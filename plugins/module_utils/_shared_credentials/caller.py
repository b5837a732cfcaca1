# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks STS for the identity of the credentials that the SSM agent of this host keeps.

No text that it returns contains a credential, an answer of STS (which can quote the signed request), or a value of the
environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.common_config import read_text
from ansible_collections.cwagent.iam.plugins.module_utils._endpoints import own_url
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CLOCK_CODES, error_code
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.region_line import CREDENTIALS
from ansible_collections.cwagent.iam.plugins.module_utils._signature import Keys
from ansible_collections.cwagent.iam.plugins.module_utils._signed_call import Answer, Endpoint, call

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPTS = 2
SERVER_ERROR = 500


def choose_endpoint(
    handed: Mapping[str, str], environment: Mapping[str, str], proxies: Mapping[str, str], config: str
) -> Endpoint:
    """Return how a host reaches STS.

    :param handed: the endpoint that the controller has handed over.
    :param proxies: the proxies of the environment, as ``urllib.request.getproxies_environment`` returns them.
    :param config: the text of the agent's common configuration, which counts where the environment has nothing.
    :raises CwagentError: a line of that text cannot be read.
    """
    found = {each: read_text(config, "proxy", f"{each}_proxy") for each in ("http", "https", "no")}
    settings = {name: value for name, value in found.items() if value}
    return Endpoint(
        "sts",
        own_url("sts", environment) or handed["url"],
        handed["signing_region"],
        proxies if proxies.keys() - {"no"} else {**settings, **proxies},
        environment.get("AWS_CA_BUNDLE") or read_text(config, "ssl", "ca_bundle_path") or "",
    )


def find_caller(credentials: Mapping[str, str], endpoint: Endpoint) -> tuple[str | None, str | None]:
    """Return the ARN of the credentials, or the reason why STS did not return it.

    :param credentials: the options of the profile with the credentials.
    """
    if not all(credentials.get(each) for each in CREDENTIALS):
        return None, "The credentials file has no credentials at the moment."
    if not endpoint.url:
        return None, "The address of STS is not known. Check the region, and that the controller has boto3."
    keys = Keys(*(credentials[each] for each in CREDENTIALS))
    return read_answer(call(endpoint, keys, "GetCallerIdentity", {}, ATTEMPTS))


def read_answer(answer: Answer) -> tuple[str | None, str | None]:
    """Return the ARN in an answer, or the reason why there is none."""
    if answer.reason:
        return None, f"STS did not answer: {answer.reason}."
    if answer.arn:
        return answer.arn, None
    code, message = answer.error or ("", "")
    if error_code(code, message) in CLOCK_CODES:
        return None, f"The clock of this server differs from the one of AWS ({code}). Set it, for instance with NTP."
    if code and answer.status < SERVER_ERROR:
        return None, f"STS refused the credentials ({code})."
    return None, (f"The answer with HTTP status {answer.status} is not one of STS. Check the proxy and the endpoint.")

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common parts of the scripts for instances. Pure.

Systems Manager replaces ``{{…}}`` in commands, and shells and locales change other text. So scripts contain data in
base64, and in plain text only words that none of these changes.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

# Systems Manager refuses larger scripts. AWS documents no limit for the parameters of a command, but documents can have
# up to 64 KB: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
MAX_SCRIPT = 60_000
_WORD = r"[A-Za-z0-9+=,.@_-]+"

# The AWS CLI must use the credentials of the instance, and not credentials in root's environment or files.
SHELL_PREAMBLE = r"""
umask 077
PATH="$PATH:/usr/local/bin:/snap/bin"
unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
unset AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_EC2_METADATA_DISABLED
unset AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_CREDENTIALS_FULL_URI
AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_MAX_ATTEMPTS=1 AWS_PAGER='' LC_ALL=C
export PATH AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_MAX_ATTEMPTS AWS_PAGER LC_ALL
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
metadata=${metadata%/}/latest
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

ssm() {
    command=$1
    shift
    aws ssm "$command" --cli-connect-timeout 5 --cli-read-timeout 20 --output text "$@"
}

# The role whose credentials the instance has, by its metadata service, or where curl is missing by STS.
role() {
    if ! command -v curl >/dev/null; then
        aws sts get-caller-identity --region "$1" --query Arn --output text 2>/dev/null |
            sed -n 's|.*:assumed-role/\([^/]*\)/.*|\1|p'
        return
    fi
    token=$(curl -sf --noproxy '*' -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") &&
        printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
        curl -sf --noproxy '*' -m 5 -K - "$metadata/meta-data/iam/security-credentials/"
}

# Text that can stand in a string of JSON.
printable() {
    tr -cs ' !#-[]-~' ' ' | cut -c 1-600
}
"""


def to_json(value: Any) -> str:
    """Return data as JSON in ASCII, in the form in which JMESPath of the AWS CLI writes it."""
    return json.dumps(value, separators=(",", ":"))


def to_base64(text: str) -> str:
    """Return text in base64."""
    return base64.b64encode(text.encode()).decode()


def word(text: str) -> str:
    """Return a word for use in a script as it is. :raises InvalidInput: a shell could take it for something else."""
    if not re.fullmatch(_WORD, text):
        raise InvalidInput(f"'{text}' cannot be used in a command for an instance.")
    return text


def check_size(script: str) -> str:
    """Return a script that can be sent. :raises InvalidInput: it is too large."""
    if len(script) > MAX_SCRIPT:
        raise InvalidInput(
            f"The command for the instance would have {len(script)} characters, and at most {MAX_SCRIPT} are sent. "
            "Store fewer configurations in one run."
        )
    return script

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents and commands as Systems Manager describes them, and the common parts of scripts for instances. Pure."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.text import to_printable

if TYPE_CHECKING:
    from collections.abc import Mapping


LINUX, WINDOWS = "Linux", "Windows"
# The document that runs a script.
SHELL_SCRIPT = "AWS-RunShellScript"
ONLINE = "Online"
# The beginning of the IDs of on-premises servers.
NODE_PREFIX = "mi-"
# https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
CANCELLING = "Cancelling"
PENDING_STATUSES = frozenset({"Pending", "InProgress", "Delayed", CANCELLING})
SUCCESS = "Success"
_REASONS = {
    "Cancelled": "it was cancelled",
    "DeliveryTimedOut": "the agent did not fetch it in time",
    "ExecutionTimedOut": "it ran longer than it may",
    "Undeliverable": "it could not be delivered to the agent",
    "InvalidPlatform": "the document is not for the platform of the instance",
    "AccessDenied": "the identity that sent it may not run it on this instance",
    "Terminated": "Systems Manager ended it",
}


@dataclass(frozen=True)
class Agent:
    """The SSM agent of an instance, as Systems Manager saw it last.

    :param ping: whether it answers: ``Online``, ``ConnectionLost`` or ``Inactive``.
    :param platform: ``Linux``, ``Windows`` or ``MacOS``.
    """

    instance_id: str
    ping: str
    platform: str

    @property
    def is_online(self) -> bool:
        """Whether commands reach it."""
        return self.ping == ONLINE


@dataclass(frozen=True)
class Command:
    """A command in the list of commands."""

    id: str
    comment: str
    status: str

    @property
    def is_pending(self) -> bool:
        """Whether it can still do something."""
        return self.status in PENDING_STATUSES


@dataclass(frozen=True)
class Invocation:
    """A command on one instance.

    :param details: the status in more words, such as ``Undeliverable``.
    :param output: the standard output of the script, perhaps cut.
    :param errors: the standard error of the script, perhaps cut.
    """

    status: str
    details: str = ""
    output: str = ""
    errors: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it has not ended."""
        return self.status in PENDING_STATUSES

    def result(self, form: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the object in JSON on the last line that has one; ``None`` if the script printed none of this form.

        The instance, and not the script, decides what its agent answers.
        """
        for line in reversed(self.output.splitlines()):
            if line.startswith("{"):
                try:
                    found: dict[str, Any] = json.loads(line)
                except (ValueError, RecursionError):  # cut, or nested too deeply
                    return None
                return found if has_form(found, form) else None
        return None

    @property
    def reason(self) -> str:
        """Why a command that has ended did not do its work, for the middle of a sentence."""
        details = self.details.replace(" ", "")
        if details in _REASONS:
            return _REASONS[details]
        said = to_printable(self.errors or self.output)[-300:]
        return f"its status is {details or self.status}" + (f", and it printed: {said}" if said else "")


def has_form(value: object, form: Any) -> bool:
    """Return whether data from an instance has a form, in which texts are printable. Other names are ignored.

    :param form: a type, a list with the form of each element, or a mapping with the form of each name. The name ``str``
        stands for all names.
    """
    if isinstance(form, list):
        return isinstance(value, list) and all(has_form(each, form[0]) for each in value)
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return False
        forms = dict.fromkeys(value, form[str]) if str in form else form
        return all(name.isprintable() and has_form(value.get(name), each) for name, each in forms.items())
    is_of_type = isinstance(value, form) and isinstance(value, bool) == (form is bool)  # true is no number here
    return is_of_type and (form is not str or str(value).isprintable())


def platform_problem(agent: Agent) -> str:
    """Return why the platform of an instance cannot run the script; empty if it can."""
    if agent.platform == LINUX:
        return ""
    return f"instance {agent.instance_id} runs {agent.platform}, and only Linux instances can run the script"


def unreachable_reason(instance_id: str, agent: Agent | None) -> str:
    """Return why no command reaches an instance or a hybrid server; empty if commands reach it."""
    if agent is None:
        return (
            f"Systems Manager does not know instance {instance_id}. Its SSM agent is not installed or does not run, or "
            "the role of its instance profile lacks the policy for it (cwagent_ssm_policy)"
        )
    problem = platform_problem(agent)
    if problem or agent.is_online:
        return problem
    if instance_id.startswith(NODE_PREFIX):
        return (
            f"the SSM agent of node {instance_id} is not online (its status is {agent.ping}). A restart of the agent "
            "brings it online, if its role can be assumed and allows that"
        )
    return (
        f"the SSM agent of instance {instance_id} is not online (its status is {agent.ping}). After the instance "
        "profile was changed, this can take half an hour; a restart of the agent brings it online at once"
    )


# Systems Manager replaces ``{{…}}`` in commands, and shells and locales change other text. So scripts contain data in
# base64, and in plain text only words that none of these changes.

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

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that store configurations from an instance: their scripts, answers, sending and cancelling. Pure."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._accounts.assess import may
from .._accounts.evaluate import Decision
from .._ground.errors import CwagentError, error_code, explain
from .._ground.plan import Kind, Plan, Step
from .._principals.policies import SSM_POLICIES, SSM_SUCCESSOR
from .._servers.commands import CANCELLING, SHELL_PREAMBLE, Command, check_size, to_base64, to_json, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from .._accounts.model import Principal
    from .._servers.commands import Invocation


# The forms of the results that the scripts print, each as one object in JSON on the last line.
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


# Where the agent installs its schema.
SCHEMA_FILE = "/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json"


_STORE = r"""
# Take the next step for a parameter: NUMBER REGION NAME VALUE VERSION TIER CAN_CHANGE_TIER DESCRIPTION
store() {
    number=$1 region=$2 name=$3 value=$4 expected=$5 tier=$6 can_change_tier=$7 description=$8
    error=$folder/$number.error result=$folder/$number.result status=waiting version=0
    [ ! -e "$result" ] || grep -q '"waiting"' "$result" || return 0
    take_step
    printf '{"region":"%s","name":"%s","status":"%s","version":%s,"error":"%s"}' \
        "$region" "$name" "$status" "${version:-0}" "$(printable <"$error")" >"$result"
    [ "$status" != waiting ] || waits=yes
}

take_step() {
    # As JSON in ASCII, [3,"VALUE"], whatever the locale; nothing where there is no such parameter.
    found=$(ssm get-parameter --region "$region" --name "$name" \
        --query 'to_string(Parameter.[Version,Value])' 2>"$error") ||
        grep -q '(ParameterNotFound)' "$error" || return 0
    : >"$error"
    version=${found%%,*} version=${version#[}
    # A read need not show yet what was written a moment ago, here or before the comparison.
    [ "${version:-0}" -ge "$expected" ] || return 0
    if [ "${found#*,}" = "$(cat "$folder/$value.wanted")" ]; then
        status=stored
    elif [ "${version:-0}" -gt "$expected" ]; then
        status=changed
    elif [ ! -e "$folder/$number.written" ] && [ "$(date +%s)" -lt "$deadline" ]; then
        put
    fi
}

put() {
    # Parameter Store itself refuses to create a parameter that was created meanwhile.
    overwrite=--overwrite
    [ "$expected" -gt 0 ] || overwrite=--no-overwrite
    [ ! -e "$folder/$number.advanced" ] || tier=Advanced
    if ssm put-parameter --region "$region" --name "$name" --tier "$tier" "$overwrite" \
        --cli-input-json "file://$folder/$value.input" ${description:+--description "$description"} \
        >/dev/null 2>"$error"; then
        : >"$folder/$number.written"
        take_step
    elif grep -q '(ValidationException)' "$error" && sed "s/$name//g" "$error" | grep -qi advanced &&
        [ "$can_change_tier$tier" = yesStandard ]; then
        : >"$folder/$number.advanced" # AWS does not move a parameter back from the Advanced tier
    elif grep -q 'ValidationException)\|LimitExceeded)' "$error"; then
        status=failed
    fi
}
"""

_STORE_LOOP = r"""
problem=no-cli
if command -v aws >/dev/null; then
    problem=no-role end=$deadline
    while now=$(date +%s) && [ "$now" -lt "$end" ]; do
        if [ "$(role "$home_region")" = "$admin_role" ]; then
            [ ! "$problem" ] || [ $((now + permission_seconds)) -gt "$deadline" ] || end=$((now + permission_seconds))
            problem='' waits=''
            store_all
            [ "$waits" ] || break
        fi
        sleep 2
    done
fi
results=$(cat "$folder"/*.result 2>/dev/null | sed 's/}{/},{/g')
printf '{"problem":"%s","parameters":[%s]}\n' "$problem" "$results"
[ ! "$problem" ] || exit 1
"""

# Whether the AWS CLI exists, and whether Parameter Store is reachable in each region, which any answer of AWS proves.
_CHECK = r"""
answers=''
version=''
if command -v aws >/dev/null; then
    version=$(aws --version 2>&1 | head -n 1 | printable)
    for region in $regions; do
        ssm get-parameter --region "$region" --name AmazonCloudWatch-check --no-sign-request \
            >/dev/null 2>"$folder/error"
        grep -q 'An error occurred (' "$folder/error" && error='' || error=$(printable <"$folder/error")
        answers="$answers,\"$region\":\"$error\""
    done
fi
schema=''
[ ! -r "$schema_file" ] || ! command -v gzip >/dev/null || schema=$(gzip -9c "$schema_file" | base64 | tr -d '\n')
[ ${#schema} -lt "$max_schema" ] || schema=''
printf '{"cli":"%s","regions":{%s},"schema":"%s"}\n' "$version" "${answers#,}" "$schema"
"""
# GetCommandInvocation cuts the output of a command after 24,000 characters. All but the schema needs less than 4,000.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
_MAX_SCHEMA = 20_000


def check_script(regions: Sequence[str]) -> str:
    """Return the script that checks an instance. It changes nothing."""
    settings = [
        f"regions='{' '.join(map(word, regions))}'",
        f"schema_file={SCHEMA_FILE}",
        f"max_schema={_MAX_SCHEMA}",
    ]
    return "\n".join([SHELL_PREAMBLE, *settings, _CHECK])


def store_script(request: StoreRequest) -> str:
    """Return the script that stores configurations. :raises InvalidInput: it is too large to be sent."""
    values = list(dict.fromkeys(each.value for each in request.writes))
    files = [
        f'echo {to_base64(text)} | base64 -d >"$folder/{number}.{file}"'
        for number, value in enumerate(values)
        for file, text in (("input", to_json({"Type": "String", "Value": value})), ("wanted", f"{to_json(value)}]"))
    ]
    calls = [
        f"    store p{number} {word(each.region)} {word(each.name)} {values.index(each.value)} {each.version} "
        f"{word(each.tier)} {'yes' if each.can_change_tier else 'no'} '{' '.join(map(word, each.description.split()))}'"
        for number, each in enumerate(request.writes)
    ]
    settings = [
        f"admin_role={word(request.role)}",
        f"home_region={word(request.writes[0].region)}",
        f"deadline={request.deadline}",
        f"permission_seconds={request.permission_seconds}",
    ]
    parts = [SHELL_PREAMBLE, *settings, *files, _STORE, "store_all() {", *calls, "}", _STORE_LOOP]
    return check_size("\n".join(parts))


SENT, CANCELLED = "sent", "cancelled"
# The comments of all commands that store begin like this, so that the next run finds an interrupted run's commands.
COMMENT = "cwagent.iam store"
SEND, CANCEL = "ssm:SendCommand", "ssm:CancelCommand"
# The least that Systems Manager allows for the delivery; the script may run for as long.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
MIN_SECONDS = 30
MAX_DELIVERY_SECONDS = 120
# The permissions that the SSM agent needs to stay online, and for either of the two channels for its commands.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html
_PING = "ssm:UpdateInstanceInformation"
_CHANNELS = (
    ("ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel"),
    ("ec2messages:GetMessages", "ec2messages:AcknowledgeMessage", "ec2messages:SendReply"),
)


@dataclass(frozen=True)
class State:
    """The commands that store configurations from an instance.

    :param now: the time according to the clock of AWS.
    :param own: the command of this run.
    :param others: commands of other runs that can still store something.
    """

    now: datetime
    own: Command | None = None
    others: tuple[Command, ...] = ()


@dataclass(frozen=True)
class DesiredCommand:
    """The command that the user wants to be sent or cancelled.

    :param state: ``SENT`` or ``CANCELLED``.
    :param run_id: identifies the command of this run.
    :param seconds: how long the command may live. The admin window is opened later and for longer.
    :param permission_seconds: how long it tries to store after the instance has got the role.
    """

    state: str
    instance_id: str
    run_id: str
    role: str = ""
    writes: tuple[Write, ...] = ()
    seconds: int = 0
    permission_seconds: int = 0

    @property
    def comment(self) -> str:
        """How the comment of the command begins. It ends with the deadline."""
        return f"{COMMENT} {self.run_id} "


@dataclass(frozen=True)
class Sending:
    """The data for sending a command, besides its step.

    :param delivery_seconds: how long the agent has to fetch it.
    :param execution_seconds: how long the script may run then. Both times together end at the deadline, whatever the
        clock of the instance shows.
    """

    script: str
    comment: str
    delivery_seconds: int
    execution_seconds: int


def state_of(commands: Iterable[Command], desired: DesiredCommand, now: datetime) -> State:
    """Return the state according to the commands that were recently sent to the instance."""
    found = [each for each in commands if each.comment.startswith(f"{COMMENT} ")]
    own = [each for each in found if each.comment.startswith(desired.comment)]
    others = tuple(each for each in found if each not in own and each.is_pending)
    return State(now, own[0] if own else None, others)


def deadline_of(command: Command) -> int:
    """Return the time after which a command does nothing, in seconds since 1970."""
    return int(command.comment.rpartition(" ")[2])


def plan(current: State, desired: DesiredCommand) -> Plan[State]:
    """Plan which commands to cancel, and the one to send.

    The command of an interrupted run is cancelled before a new one is sent. Otherwise it would store its older
    configurations as soon as the instance gets the admin identity again.

    :raises InvalidInput: the configurations are too large for a command.
    """
    own = current.own
    if desired.state == CANCELLED:
        is_running = own is not None and own.is_pending and own.status != CANCELLING
        steps = [_cancel(own, desired, is_awaited=False)] if own and is_running else []
        planned = replace(current, own=replace(own, status=CANCELLING) if own and steps else own)
    else:
        steps = [_cancel(each, desired, is_awaited=True) for each in current.others]
        steps += [_send(current, desired)] if own is None else []
        planned = State(current.now, own or Command("", desired.comment, "Pending"))
    return Plan(current, planned, {desired.instance_id: steps})


def to_diff(state: State) -> dict[str, object]:
    """Render the commands for the diff."""
    can_store = state.own is not None and state.own.status != CANCELLING
    return {"command": "sent" if can_store else "none", "commands_of_other_runs": [each.id for each in state.others]}


def _cancel(command: Command, desired: DesiredCommand, *, is_awaited: bool) -> Step:
    return Step(
        Kind.DELETE,
        CANCEL,
        {"command_id": command.id},
        f"cancel command {command.id} on instance {desired.instance_id}",
        done_when=frozenset({"InvalidCommandId"}),
        context=is_awaited,
    )


def _send(current: State, desired: DesiredCommand) -> Step:
    delivery = max(MIN_SECONDS, min(MAX_DELIVERY_SECONDS, desired.seconds // 2))
    deadline = int(current.now.timestamp()) + desired.seconds
    request = StoreRequest(desired.writes, desired.role, deadline, desired.permission_seconds)
    script = store_script(request)
    names = ", ".join(f"{each.name} in {each.region}" for each in desired.writes)
    return Step(
        Kind.CREATE,
        SEND,
        {},
        f"send instance {desired.instance_id} the command that stores {names}",
        context=Sending(script, f"{desired.comment}{deadline}", delivery, desired.seconds - delivery),
    )


def has_ssm_policy(role: Principal) -> bool:
    """Whether a role has the permissions for the SSM agent, without reading the documents of its policies."""
    return role.boundary is None and any(role.has_policy(each) for each in SSM_POLICIES.values())


def agent_access_problem(role: Principal, now: datetime) -> str:
    """Return why the SSM agent of an instance with a role would not work; empty if it would, or if that is unknown."""

    def is_denied(action: str) -> bool:
        return may(role, now, action) is Decision.NO

    missing = [action for action in (_PING,) if is_denied(action)]
    if all(any(map(is_denied, channel)) for channel in _CHANNELS):
        missing += filter(is_denied, _CHANNELS[0])
    if not missing:
        return ""
    return (
        f"role '{role.name}' does not allow {', '.join(missing)}, so the SSM agent would not work while the instance "
        f"has the admin profile. Set cwagent_ssm_policy to {SSM_SUCCESSOR} and run cwagent.iam.site, which attaches it "
        "to the role; a permissions boundary must allow these actions too. Or set cwagent_store_config_from to another "
        "source"
    )

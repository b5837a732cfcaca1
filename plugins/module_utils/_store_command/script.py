# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that store configurations from an instance, or check whether the instance could. Pure.

Each prints one object in JSON on its last line, whose meaning is in ``model.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._run_command.script import (
    SHELL_PREAMBLE,
    check_size,
    to_base64,
    to_json,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import StoreRequest

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

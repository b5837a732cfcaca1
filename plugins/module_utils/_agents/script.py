# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that reads facts on a server, and the parser of its output. Pure.

It is a POSIX shell script, so that Ansible and Run Command can run it on servers without Python. It prints one fact on
each line, as a word and values with spaces between them, so that no text has to be quoted in a shell. The last line is
``end``, because Systems Manager cuts long output.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from .._ground.errors import CwagentError
from .configs_plan import AgentFiles
from .server import MESSAGE_SERVICES, Facts, Reading
from .watch import FIND_AGENT, READ_LOG

if TYPE_CHECKING:
    from .server import Server


# AWS tools read another address of a service from a variable with the name AWS_ENDPOINT_URL_ and this ending.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
_SERVICE_IDS = {
    "monitoring": "CLOUDWATCH",
    "logs": "CLOUDWATCH_LOGS",
    "ssm": "SSM",
    **{service: service.upper() for service in ("ec2", "ecs", "sts", "xray")},
    **{service: service.upper() for service in MESSAGE_SERVICES},
}
# The script must not contain double braces, because Systems Manager would replace the text between them.
_SCRIPT = r"""# Reads what the CloudWatch agent has on this server. It changes nothing and prints no secret.
export LC_ALL=C.UTF-8 PYTHONIOENCODING=utf-8 AWS_PAGER='' AWS_MAX_ATTEMPTS=2
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE
@agent@digest() { { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-64; }
# The last line of an error, without the login of a proxy.
reason() { sed -e 's|://[^" ]*@|://|g' -e '/^[[:space:]]*$/d' | tail -n 1 | cut -c1-300; }
setting() {
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*[\"']\([^\"']*\)[\"'].*/\1/p" "$agent/etc/common-config.toml" \
    2>/dev/null | tail -n 1
}
for name in http_proxy https_proxy no_proxy; do
  value=$(setting $name)
  [ -z "$value" ] || export "$name=$value"
done
echo "clock $(date +%s)"
echo "host $(cat /proc/sys/kernel/hostname 2>/dev/null || hostname)"
@identity@
probe() {
  status=$(curl -s -o /dev/null --connect-timeout 5 -m 10 -w '%{http_code}' "$2" 2>/dev/null)
  echo "endpoint $1 ${status:--}"
}
@probes@
if command -v aws >/dev/null 2>&1; then
  for name in @names@; do
    read_parameter() {
      aws ssm get-parameter --region @region@ --name "$name" --with-decryption \
        --query '[Parameter.Version,Parameter.Value]' --output text --cli-connect-timeout 5 --cli-read-timeout 20
    }
    if found=$(read_parameter 2>/dev/null); then
      echo "config $name $(printf %s "$found" | sed -n '1s/[[:space:]].*//p') $(printf %s "${found#*	}" | digest)"
    else
      echo "config $name 0 $(read_parameter 2>&1 >/dev/null | reason)"
    fi
  done
else
  echo 'cli no'
fi
if [ -x "$control" ]; then
  text=$(agent_status) status=$(value status) start=$(value starttime)
  echo "agent ${status:-unknown}"
  [ -z "$start" ] || { start=$(date -u -d "$start" +%s 2>/dev/null) && echo "start $start"; }
  trial=
  for file in "$agent"/etc/amazon-cloudwatch-agent.d/*; do
    name=${file##*/}
    case $name in
      '*' | default | *.tmp) ;;
      ssm_*)
        echo "file ${name#ssm_} $(printf %s "$(cat "$file")" | digest)"
        # A version that was not proved. Its log decides whether the agent has to begin again.
        case ${name##*_} in *[!0-9]* | '') ;; *) trial=yes ;; esac
        ;;
      *) echo "other $name" ;;
    esac
  done
  if [ -n "$trial" ]; then
@log@    begin
    case $(read_log) in *"
refused "*) echo refused ;; esac
  fi
fi
echo end
"""
_INSTANCE = r"""export AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_CONFIG_FILE=/dev/null
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
metadata=${metadata%/}/latest
ask() { curl -sf -m 5 --noproxy '*' "$@" 2>/dev/null; }
if ! command -v curl >/dev/null 2>&1; then
  echo 'metadata unknown'
elif ! token=$(ask -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token"); then
  echo 'metadata no'
fi
profile=$(printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" | ask -K - "$metadata/meta-data/iam/info" \
  | sed -n 's|.*"InstanceProfileArn"[^"]*"[^"]*/\([^"/]*\)".*|\1|p')
echo "profile ${profile:--}" """
_ONPREM = r"""file=$(setting shared_credential_file) profile=$(setting shared_credential_profile)
export AWS_SHARED_CREDENTIALS_FILE="${file:-$HOME/.aws/credentials}" AWS_PROFILE="${profile:-AmazonCloudWatchAgent}"
export AWS_CONFIG_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
if [ -e "$AWS_SHARED_CREDENTIALS_FILE" ] && [ ! -r "$AWS_SHARED_CREDENTIALS_FILE" ]; then
  key='?'
else
  key=$(awk -v section="[$AWS_PROFILE]" '
    /^[[:space:]]*\[/ { gsub(/[[:space:]]/, ""); inside = ($0 == section) }
    inside && /^[[:space:]]*aws_access_key_id[[:space:]]*=/ { sub(/^[^=]*=/, ""); gsub(/[[:space:]]/, ""); print; exit }
  ' "$AWS_SHARED_CREDENTIALS_FILE" 2>/dev/null)
fi
echo "key ${key:--} $AWS_SHARED_CREDENTIALS_FILE"
if [ -n "$key" ] && [ "$key" != '?' ] && command -v aws >/dev/null 2>&1; then
  identify() {
    aws sts get-caller-identity --region @region@ --query Arn --output text --cli-connect-timeout 5 \
      --cli-read-timeout 20
  }
  if caller=$(identify 2>/dev/null); then echo "caller $caller"; else echo "error $(identify 2>&1 | reason)"; fi
fi"""
# The environment of the SSM agent's process names the file that it writes, or without a process, its service does. Both
# agents run as root. Run Command sets no HOME, and with Ansible, it can be the one of another user.
# https://github.com/aws/amazon-ssm-agent/issues/427
_HYBRID = rf"""HOME=$(getent passwd 0 2>/dev/null | cut -d : -f 6)
export HOME="${{HOME:-/root}}"
{_ONPREM}
shared=
for unit in amazon-ssm-agent.service snap.amazon-ssm-agent.amazon-ssm-agent.service; do
  show() {{ systemctl show -p "$1" "$unit" 2>/dev/null | sed -n "s/^$1=//p"; }}
  process=$(show MainPID)
  if [ -r "/proc/${{process:-0}}/environ" ]; then
    variables=$(tr '\000' '\n' <"/proc/$process/environ")
  else
    files=$(show EnvironmentFiles | sed 's/ (ignore_errors=.*//')
    variables=$({{ show Environment | tr ' ' '\n'; cat /dev/null $files 2>/dev/null; }} | tr -d "\"'")
  fi
  variable() {{ printf '%s\n' "$variables" | sed -n "s/^$1=//p" | tail -n 1; }}
  found=$(variable AWS_SHARED_CREDENTIALS_FILE) home=$(variable HOME)
  [ -z "$found$home" ] || shared=${{found:-$home/.aws/credentials}}
done
shared=${{shared:-$HOME/.aws/credentials}}
[ "$key" = '?' ] || [ "$AWS_SHARED_CREDENTIALS_FILE" -ef "$shared" ] || echo "shared $shared" """


def digest(value: str) -> str:
    """Return the digest of a configuration as the script does, without line ends at the end, which a shell drops."""
    return hashlib.sha256(value.rstrip("\n").encode()).hexdigest()


def script(server: Server) -> str:
    """Return the script for a server. It is the same for all servers of a region that use the same configurations."""
    endpoints = {**server.endpoints, **server.possible_endpoints}
    # Names and regions were checked, so they have no character that means anything to a shell.
    parts = {
        "identity": _INSTANCE if server.is_ec2 else _HYBRID if server.is_hybrid else _ONPREM,
        "probes": "\n".join(f'probe {name} "{_address(name, url)}"' for name, url in endpoints.items()),
        "names": " ".join(each.name for each in server.configs),
        "region": server.region,
        "agent": FIND_AGENT,
        "log": READ_LOG,
    }
    text = _SCRIPT
    for name, value in parts.items():
        text = text.replace(f"@{name}@", value)
    return text


def _address(name: str, url: str) -> str:
    """Return the address of an endpoint for the shell, unless the server says another."""
    address = f"${{AWS_ENDPOINT_URL:-{url}}}"
    return f"${{AWS_ENDPOINT_URL_{_SERVICE_IDS[name]}:-{address}}}" if name in _SERVICE_IDS else address


def parse(output: str) -> Facts:
    """Return the facts in the output of the script. :raises CwagentError: it is not complete, or not readable."""
    lines = [line.split() for line in output.splitlines() if line.strip()]
    if ["end"] not in lines:
        raise CwagentError(f"its answer is not complete, but has {len(lines)} lines")
    try:
        return _facts(lines)
    except ValueError as error:
        raise CwagentError(f"its answer is not readable: {error}") from error


def _facts(lines: list[list[str]]) -> Facts:
    found: dict[str, list[list[str]]] = {}
    for word, *values in lines:
        found.setdefault(word, []).append(values)

    def first(word: str) -> list[str]:
        return found.get(word, [[]])[0]

    [profile] = first("profile") or ["-"]
    key_id, *key_file = first("key") or ["-"]
    [agent] = first("agent") or [""]
    [clock], [start] = (first(word) or ["0"] for word in ("clock", "start"))
    return Facts(
        has_metadata={"no": False, "unknown": None}.get(" ".join(first("metadata")), True),
        profile=None if profile == "-" else profile,
        key_id={"-": "", "?": None}.get(key_id, key_id),
        key_file=" ".join(key_file),
        shared_file=" ".join(first("shared")),
        caller=" ".join(first("caller")),
        caller_error=" ".join(first("error")),
        endpoints={service: int(status) for service, status in found.get("endpoint", ()) if status.isdigit()},
        has_cli="cli" not in found,
        configs={name: _reading(version, rest) for name, version, *rest in found.get("config", ())},
        agent=agent,
        files=AgentFiles(
            dict(found.get("file", ())),
            tuple(" ".join(each) for each in found.get("other", ())),
        ),
        is_refused="refused" in found,
        hostname=_read("host", r"[A-Za-z0-9._-]{0,255}", " ".join(first("host"))),
        clock=int(_read("clock", "[0-9]{1,10}", clock)),
        start=int(_read("start", "[0-9]{1,10}", start)),
    )


def _read(word: str, form: str, text: str) -> str:
    """Return a value. :raises ValueError: it is none that the script prints."""
    if not re.fullmatch(form, text):
        raise ValueError(f"{text[:20]!r} is no {word}")
    return text


def _reading(version: str, rest: list[str]) -> Reading:
    if version == "0":
        return Reading(error=" ".join(rest) or "no reason was given")
    [found] = rest
    return Reading(int(version), found)

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that watches an agent after its restart, and the judgement on its output. Pure.

The control program of the agent reports success as soon as a process exists. Whether AWS accepts the agent's calls is
only in its log, where a denial of metrics appears 60 to 120 seconds after the start. The time counts from the start of
the agent. So servers that are watched one after the other are nevertheless watched side by side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._configuration.json_path import find_values
from .._ground.errors import InvalidInput
from .._ground.text import count_noun, shorten, to_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# The agent closes a batch of metrics after this time, and sends it at any time within the next such interval.
_FLUSH_SECONDS, _SENDING_SECONDS = 60, 20
# A longer watch would stop all batches for one server. A user can choose a longer one, up to the second limit.
LONGEST_SECONDS, MAX_SECONDS = 900, 3600
# The codes with which AWS refuses a call, and with which the SDK reports that it has no credentials or no connection.
# The words before them changed between versions of the agent.
_CODES = (
    *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "Forbidden"),
    *("UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidSignatureException"),
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "MissingAuthenticationToken"),
    *("NoCredentialProviders", "EC2RoleRequestError", "RequestError"),
)
# Lines that have no code in some versions. Without the tags of its instance, the agent sends no metrics at all, though
# it only warns.
_PHRASES = (
    *("Unable to describe ec2 tags", "Unable to describe ec2 volume", "Failed to get credential from session"),
    *("failed to batch describe log group retention", "failed to update retention policy"),
    "failed to refresh cached credentials",
)
# The agent does well without the tags that describe where data of OpenTelemetry and Application Signals comes from.
_HARMLESS = "failed fetching ec2 instance tags"
# The beginning of the failure of a watch without a result.
NOT_WATCHED = "It was not watched: "
# Paths and names of log groups also contain words like these. A code has neither of their characters beside it.
_REFUSED = rf'([ ":=(,>]({"|".join(_CODES)})([].:;",)< ]|$))|{"|".join(_PHRASES)}'
_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* [WE]! .+")
_MAX_CHARACTERS = 300
# How often the script looks, in seconds.
_POLL_SECONDS = 5
# The control program computes the start from the time since the boot, so two results can differ by a second.
_SAME_SECONDS = 2
# 2017, the year of the first agent, in Unix seconds.
_FIRST_START = 1_483_228_800
_RUNNING = "running"
_SILENT = {"ERROR": "shows no warnings", "OFF": "is off"}

AGENT_FOLDER = "/opt/aws/amazon-cloudwatch-agent"
# Finds the agent's control program and folder, and reads a value of its status.
FIND_AGENT = rf"""PATH=$PATH:/usr/local/bin:/snap/bin
control=$(command -v amazon-cloudwatch-agent-ctl || echo {AGENT_FOLDER}/bin/amazon-cloudwatch-agent-ctl)
agent={AGENT_FOLDER}
[ ! -x "$control" ] || agent=$(dirname "$(dirname "$(readlink -f "$control")")")
agent_status() {{ "$control" -a status 2>/dev/null | tr '\n' ' '; }}
value() {{ printf %s "$text" | sed -n 's/.*[{{,][[:space:]]*"'"$1"'"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'; }}
"""

# Reads the agent's status, and prints what its log has since its start.
READ_LOG = r"""look() {
  text=$(agent_status)
  status=$(value status) start=$(value starttime)
  began=$(date -u -d "${start:-@0}" +%s 2>/dev/null || date +%s)
}
toml=$agent/etc/amazon-cloudwatch-agent.toml
logfile='s/^[[:space:]]*logfile[[:space:]]*=[[:space:]]*"\(.*\)".*/\1/p'
if grep -q '^[[:space:]]*logfile[[:space:]]*=' "$toml" 2>/dev/null; then
  log=$(sed -n "$logfile" "$toml" | head -n 1)
else
  log=$agent/logs/amazon-cloudwatch-agent.log
fi
# The log since the start. After a rotation, a part of it is in the newest other file.
lines() {
  if [ -z "$log" ]; then
    journalctl -u amazon-cloudwatch-agent.service -o cat --since "@$first" 2>/dev/null
    return
  fi
  head -n 1 "$log" 2>/dev/null | grep -q '^[0-9]' && [ "$(head -n 1 "$log" | cut -c1-19)" '>' "$since" ] &&
    rotated=$(ls -t "${log%.*}"-* 2>/dev/null | head -n 1) && [ -n "$rotated" ] &&
    case $rotated in *.gz) gzip -dc "$rotated" ;; *) cat "$rotated" ;; esac
  tail -c 4000000 "$log" 2>/dev/null
}
# The agent that was stopped writes its last lines in the second in which the next one starts.
read_log() {
  lines | awk -v since="$since" '
    $1 !~ /^[0-9][0-9][0-9][0-9]-/ || substr($1, 1, 19) < since { next }
    / Starting AmazonCloudWatchAgent/ && (!begun || since == "") {
      begun = 1; all = 1; others = 0; refused = 0; last = ""; next
    }
    { all++ }
    $2 !~ /^[WE]!$/ { next }
    { line = substr($0, 1, 900) }
    $2 == "E!" { last = line }
    /@harmless@/ { others++; next }
    /@refused@/ { if (refused++ < 3) shown[refused] = line; next }
    { others++ }
    END {
      print "lines " all + 0 " " others + 0
      for (number = 1; number <= refused && number <= 3; number++) print "refused " shown[number]
      if (last != "") print "last " last
    }' | sed 's|://[^" ]*@|://|g'
}
begin() {
  look
  first=$began was=$status
  since=$(date -u -d "@$first" +%Y-%m-%dT%H:%M:%S 2>/dev/null || printf %.19s "$start")
  [ -n "$start" ] || since=
  [ "$status" = running ] || first=$(date +%s)
}
""".replace("@refused@", _REFUSED).replace("@harmless@", _HARMLESS)

_SCRIPT = (
    r"""# Watches the CloudWatch agent of this server. It changes nothing and prints no secret.
export LC_ALL=C.UTF-8
"""
    + FIND_AGENT
    + READ_LOG
    + r"""[ -x "$control" ] || { echo 'agent missing'; echo end; exit 0; }
begin
while :; do
  found=$(read_log)
  look
  now=$(date +%s)
  left=$((first + @seconds@ - now))
  [ "$status" = running ] && [ $((began - first)) -le @same@ ] && [ $((first - began)) -le @same@ ] || break
  case $found in *"
refused "*) break ;; esac
  [ "$left" -gt 0 ] || break
  sleep $((left < @poll@ ? left : @poll@))
done
echo "agent ${was:-unknown} ${status:-unknown} $((began - first)) $((now - first)) $first"
[ -z "$log" ] || [ -r "$log" ] || echo 'unreadable'
echo "log ${log:-journal}"
level=$(sed -n 's/.*"CWAGENT_LOG_LEVEL"[[:space:]]*:[[:space:]]*"\([A-Z]*\)".*/\1/p' "$agent/etc/env-config.json" \
  2>/dev/null)
! grep -q '^[[:space:]]*quiet[[:space:]]*=[[:space:]]*true' "$toml" 2>/dev/null || level=ERROR
echo "level ${level:-INFO}"
printf '%s\n' "$found"
echo end
"""
)


@dataclass(frozen=True)
class Watch:
    """The result of watching an agent after its restart.

    :param seconds: how long the agent ran since its start.
    :param failure: why it failed, with the line of its log. Empty if nothing was found.
    :param note: why its log was not watched. Empty if it was.
    :param others: how many other warnings and errors its log has.
    :param started: when it started, in Unix seconds by the clock of the server.
    """

    seconds: int = 0
    failure: str = ""
    note: str = ""
    others: int = 0
    started: int = 0


def watch_seconds(configs: Iterable[Mapping[str, Any] | None]) -> int:
    """Return how long to watch an agent after its restart, until it must have sent its first metrics, or to a limit.

    :param configs: the configurations that it can run. ``None`` is an unknown configuration.
    """
    values = [value for each in configs for _path, value in find_values(each, "metrics.force_flush_interval")]
    known = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return min(LONGEST_SECONDS, 2 * max([_FLUSH_SECONDS, *known]) + _SENDING_SECONDS)


def check_seconds(name: str, seconds: int) -> None:
    """Check how long the user wants to watch. :raises InvalidInput: it is out of range."""
    if not 0 <= seconds <= MAX_SECONDS:
        raise InvalidInput(f"{name} is {shorten(seconds)}; it must be between 0 and {MAX_SECONDS}.")


def watch_script(seconds: int) -> str:
    """Return the script that watches the agent of a server until it has run for some seconds."""
    parts = {"seconds": seconds, "same": _SAME_SECONDS, "poll": _POLL_SECONDS}
    text = _SCRIPT
    for name, value in parts.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def judge(output: str) -> Watch:
    """Return the result in the output of the script. The server decides what it contains, so only its form counts."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        word, _blank, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    try:
        if "end" not in found:
            raise ValueError
        if found["agent"] == ["missing"]:
            return Watch(failure="The agent is no longer installed.")
        was, status, later, seconds, started = found["agent"][0].split()
        count, others = map(_to_number, found["lines"][0].split())
        result = Watch(max(0, _to_number(seconds)), others=others, started=_to_time(started))
        failure = _failure(found, was, status, _to_number(later))
        if "refused" in found and not failure:
            raise ValueError  # nothing that a log has
        level, path = found["level"][0], to_printable(found["log"][0])[:_MAX_CHARACTERS]
    except (KeyError, ValueError):
        return Watch(failure="The answer of the watch is not complete, or not readable.")
    if failure:
        return replace(result, failure=failure)
    return replace(result, note=_note(found, level, path, count))


def _to_number(text: str) -> int:
    """Return a number. :raises ValueError: it is none that the script prints."""
    if not re.fullmatch(r"-?[0-9]{1,10}", text):
        raise ValueError
    return int(text)


def _to_time(text: str) -> int:
    """Return a time. :raises ValueError: it is none, or before the first version of the agent."""
    time = _to_number(text)
    if time < _FIRST_START:
        raise ValueError
    return time


def _failure(found: Mapping[str, list[str]], was: str, status: str, later: int) -> str:
    refused = _first_line(found.get("refused", ()))
    ended = ""
    if status != _RUNNING:
        ended = f"The agent is {to_printable(status)[:_MAX_CHARACTERS]} after its restart."
    elif was != _RUNNING or abs(later) > _SAME_SECONDS:
        ended = "The agent ended after its restart, and was started again."
    line = refused or (_first_line(found.get("last", ())) if ended else "")
    return " ".join(each for each in (ended, f"Its log has: {line}" if line else "") if each)


def _first_line(lines: Iterable[str]) -> str:
    """Return the first text that is a line of the agent's log; empty if there is none. Other text is not repeated."""
    return next((text for each in lines if _LINE.fullmatch(text := to_printable(each)[:_MAX_CHARACTERS])), "")


def _note(found: Mapping[str, list[str]], level: str, path: str, count: int) -> str:
    if level in _SILENT:
        return f"its log {_SILENT[level]}"
    if "unreadable" in found:
        return f"{path} cannot be read"
    return "" if count else f"{path} has no line since the start"


def describe_watch(watches: Mapping[str, Watch]) -> list[str]:
    """Return what was seen on the servers without a failure, in sentences."""
    good = {host: each for host, each in watches.items() if not each.failure}
    seen = [host for host, each in good.items() if not each.note]
    lines = []
    if seen:
        least = min(good[host].seconds for host in seen)
        lines.append(
            f"Watched for at least {count_noun(least, 'second')} after the restart, without a denial or missing "
            f"credentials in the log: {', '.join(seen)}."
        )
        if least >= LONGEST_SECONDS:
            covered = (least - _SENDING_SECONDS) // 2
            lines.append(
                "The watch can end before the first metrics are sent where metrics.force_flush_interval is longer than "
                f"{covered} seconds."
            )
    others = [f"{host} ({good[host].others})" for host in seen if good[host].others]
    if others:
        lines.append(f"Other warnings and errors in the agent's log: {', '.join(others)}.")
    lines += [f"Not watched on {host}: {each.note}." for host, each in good.items() if each.note]
    return lines

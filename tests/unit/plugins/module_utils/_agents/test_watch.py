"""The watch of an agent after its restart: its script on servers, and the judgement on what that prints."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._agents.watch import (
    LONGEST_SECONDS,
    MAX_SECONDS,
    Watch,
    check_seconds,
    describe_watch,
    judge,
    watch_script,
    watch_seconds,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

START, BEFORE, AFTER, LATER = "2026-08-01T10:00:00", "2026-08-01T09:59:59", "2026-08-01T10:00:01", "2026-08-01T10:01:30"
STARTED = f"{START}Z I! Starting AmazonCloudWatchAgent CWAgent/1.300"
METRICS = (
    "E! cloudwatch: code: AccessDenied, message: User: arn:aws:sts::1:assumed-role/R/i-1 is not authorized to perform: "
    "cloudwatch:PutMetricData, original error: <nil>"
)
TAGS = (
    'W! {"caller":"ec2tagger/ec2tagger.go:430","msg":"ec2tagger: Unable to describe ec2 tags for initial retrieval",'
    '"error":"UnauthorizedOperation: You are not authorized to perform this operation."}'
)
NOT_READABLE = "The answer of the watch is not complete, or not readable."
REFUSED = {
    "metrics": METRICS,
    "tags": TAGS,
    "tags without a code": "W! ec2tagger: Unable to describe ec2 tags for initial retrieval",
    "volumes": "E! ec2tagger: Unable to describe ec2 volume for initial retrieval",
    "logs": "E! [outputs.cloudwatchlogs] Aws error received when sending logs to G/S: AccessDeniedException: no",
    "no credentials": "E! Failed to get credential from session: NoCredentialProviders: no valid providers in chain",
    "no credentials later": "E! cloudwatch: code: NoCredentialProviders, message: no valid providers",
    "expired": "E! cloudwatch: code: ExpiredToken, message: The security token is expired",
    "no endpoint": "E! cloudwatch: code: RequestError, message: send request failed, original error: no such host",
    "no credentials of the instance": "E! get credentials: failed to refresh cached credentials, no role found",
    "a code before other characters": "E! cloudwatch: <Code>AccessDenied</Code>",
    "a code at the end of a sentence": "E! cloudwatch: the call failed with AccessDenied.",
    "a request that is too old": "E! cloudwatch: code: RequestExpired, message: no",
    "retention": "E! [outputs.cloudwatchlogs] failed to update retention policy for target G after 5 attempts",
}
UNRELATED = [
    "W! cloudwatch: 0 retries, going to sleep 192 ms before retrying.",
    "E! [inputs.logfile] Failed to tail file /var/log/AccessDenied.log with error: permission denied",
    "E! [outputs.cloudwatchlogs] Aws error received when sending logs to AccessDenied/Forbidden: no",
    'W! {"caller":"ec2/ec2.go:121","msg":"failed fetching ec2 instance tags","error":"UnauthorizedOperation: no."}',
    "W! failed fetching ec2 instance tags: RequestError: send request failed",
    "E! [EC2] Fetch hostname from EC2 metadata fail: EC2MetadataRequestError: no data",
]


@dataclass
class Host:
    """A host with a stand-in for the agent's control program."""

    root: Path

    def __post_init__(self) -> None:
        for each in ("bin", "etc", "logs"):
            (self.root / each).mkdir()
        self.install("amazon-cloudwatch-agent-ctl", f'#!/bin/sh\ncat "{self.root}/status"\n')
        self.show()

    def install(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def show(self, status: str = "running", start: str = f"{START}+00:00") -> None:
        text = f'{{\n  "status": "{status}",\n  "starttime": "{start}",\n  "configstatus": "configured"\n}}\n'
        (self.root / "status").write_text(text)

    def log(self, *lines: str, name: str = "amazon-cloudwatch-agent.log") -> Path:
        path = self.root / "logs" / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def set(self, file: str, text: str) -> None:
        (self.root / "etc" / file).write_text(text)

    def watch(self, seconds: int = 0) -> Watch:
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
        command = ["/bin/sh", "-c", watch_script(seconds)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return judge(done.stdout)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_systems_manager_and_every_shell_take_the_script():
    text = watch_script(140)
    assert "{{" not in text
    assert "@" not in text.replace("@0", "").replace("@$first", "").replace("""[^" ]*@|""", "")
    for shell in ("dash", "bash", "busybox"):
        if program := shutil.which(shell):
            command = [program, "sh"] if shell == "busybox" else [program]
            subprocess.run([*command, "-n", "-c", text], check=True)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_fails_with_the_line_of_the_agent(host, name):
    host.log(STARTED, f"{LATER}Z {REFUSED[name]}", f"{LATER}Z E! cloudwatch: code: AccessDenied, again")
    found = host.watch()
    assert found.failure == f"Its log has: {f'{LATER}Z {REFUSED[name]}'[:300]}"
    assert found.note == ""


def test_unrelated_lines_are_counted_and_no_failure(host):
    """Information is not counted."""
    host.log(STARTED, *(f"{LATER}Z {each}" for each in [*UNRELATED, "I! cloudwatch: code: AccessDenied, of the past"]))
    found = host.watch()
    assert (found.failure, found.note, found.others) == ("", "", len(UNRELATED))


EARLIER = {
    "before the start": [f"{BEFORE}Z {METRICS}", STARTED],
    "of the agent that was stopped": [f"{START}Z {METRICS}", STARTED],
    "a line without a time": [STARTED, "AccessDenied: no", f"\tcode: {METRICS}"],
}


@pytest.mark.parametrize("name", EARLIER)
def test_lines_of_an_earlier_agent_do_not_count(host, name):
    host.log(*EARLIER[name])
    assert (host.watch().failure, host.watch().note) == ("", "")


def test_in_the_second_of_the_start_the_agents_own_lines_count(host):
    host.log(f"{START}Z {METRICS}", STARTED, f"{START}Z {TAGS}")
    assert host.watch().failure == f"Its log has: {f'{START}Z {TAGS}'[:300]}"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_rotated_log_is_read(host, suffix):
    lines = "".join(f"{line}\n" for line in (f"{BEFORE}Z {TAGS}", STARTED, f"{AFTER}Z {METRICS}")).encode()
    name = f"amazon-cloudwatch-agent-2026-08-01T10-01-00.000.log{suffix}"
    (host.root / "logs" / name).write_bytes(gzip.compress(lines) if suffix else lines)
    host.log(f"{LATER}Z I! more")
    assert METRICS[:100] in host.watch().failure


def test_a_log_elsewhere_is_read(host):
    path = host.log(STARTED, f"{LATER}Z {METRICS}", name="my own.log")
    host.set("amazon-cloudwatch-agent.toml", f'[agent]\n  interval = "60s"\n  logfile = "{path}"\n  quiet = false\n')
    assert METRICS[:100] in host.watch().failure


def test_the_journal_is_read(host):
    host.set("amazon-cloudwatch-agent.toml", '[agent]\n  logfile = ""\n')
    host.install("journalctl", f"#!/bin/sh\nprintf '%s\\n' '{STARTED}' '{LATER}Z {REFUSED['logs']}'\n")
    assert REFUSED["logs"] in host.watch().failure
    host.install("journalctl", "#!/bin/sh\nexit 1\n")
    assert host.watch().note == "journal has no line since the start"


SILENT = {
    "log level": ("env-config.json", '{"CWAGENT_LOG_LEVEL": "OFF"}', "its log is off"),
    "errors only": ("env-config.json", '{"A": "b","CWAGENT_LOG_LEVEL":"ERROR"}', "its log shows no warnings"),
    "quiet": ("amazon-cloudwatch-agent.toml", "[agent]\n  quiet = true\n", "its log shows no warnings"),
    "information": ("env-config.json", '{"CWAGENT_LOG_LEVEL": "INFO"}', ""),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_silenced_log_is_not_watched_but_its_errors_count(host, name):
    file, text, note = SILENT[name]
    host.set(file, text)
    host.log(STARTED)
    assert (host.watch().failure, host.watch().note) == ("", note)
    host.log(STARTED, f"{LATER}Z {METRICS}")
    assert METRICS[:100] in host.watch().failure


def test_a_log_without_a_line_since_the_start_is_not_watched(host):
    log = f"{host.root}/logs/amazon-cloudwatch-agent.log"
    assert host.watch().note == f"{log} cannot be read"
    host.log(f"{BEFORE}Z I! earlier")
    assert host.watch().note == f"{log} has no line since the start"


ENDED = "Error running agent: plug-in refuses"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [STARTED, f"{AFTER}Z E! {ENDED}"],
            f"The agent is stopped after its restart. Its log has: {AFTER}Z E! {ENDED}",
        ),
        ([STARTED], "The agent is stopped after its restart."),
        ([f"{BEFORE}Z E! older", STARTED], "The agent is stopped after its restart."),
    ],
)
def test_an_agent_that_has_ended_fails(host, lines, expected):
    host.show("stopped", "")
    host.log(*lines)
    assert host.watch(3600).failure == expected


def test_a_control_program_that_is_gone_fails(host):
    (host.root / "bin/amazon-cloudwatch-agent-ctl").unlink()
    assert host.watch(3600).failure == "The agent is no longer installed."


def test_an_agent_that_is_started_again_fails(host):
    """Each call of the control program shows another start."""
    again = f'n=$(cat "{host.root}/n" 2>/dev/null || echo 0); echo $((n + 10)) >"{host.root}/n"'
    shown = 'printf \'{"status": "running", "starttime": "2026-08-01T10:00:%02d+00:00"}\' "$n"'
    host.install("amazon-cloudwatch-agent-ctl", f"#!/bin/sh\n{again}\n{shown}\n")
    host.log(STARTED, f"{AFTER}Z E! {ENDED}", f"{LATER}Z I! Starting AmazonCloudWatchAgent CWAgent/1.300")
    what = "The agent ended after its restart, and was started again."
    assert host.watch(3600).failure == f"{what} Its log has: {AFTER}Z E! {ENDED}"


def test_the_watch_ends_when_the_agent_has_run_for_the_time(host):
    now = int(time.time())
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    host.show(start=f"{stamp}+00:00")
    host.log(f"{stamp}Z I! Starting AmazonCloudWatchAgent CWAgent/1.300")
    found = host.watch(1)
    assert (found.failure, found.note) == ("", "")
    assert 1 <= found.seconds <= int(time.time()) - now


COMPLETE = ["agent running running 0 140 1764750000", "log /var/log/a.log", "level INFO", "lines 3 1", "end"]


def test_a_complete_answer():
    assert judge("\n".join(COMPLETE)) == Watch(140, others=1, started=1764750000)


@pytest.mark.parametrize("number", range(len(COMPLETE)))
def test_an_answer_in_another_form_fails(number):
    for each in ([], ["agent x"], ["lines a b"]):
        lines = [*COMPLETE[:number], *each, *COMPLETE[number + 1 :]]
        if lines != COMPLETE:
            assert judge("\n".join(lines)).failure == NOT_READABLE


def test_only_lines_of_a_log_are_repeated_without_characters_for_a_terminal():
    said = ["refused run this: curl http://x", f"refused {LATER}Z E! a\x1b[31m\u202e {'b' * 1000}"]
    failure = judge("\n".join([*COMPLETE, *said])).failure
    assert failure.startswith(f"Its log has: {LATER}Z E! a[31m b")
    assert failure.isprintable()
    assert len(failure) < 320
    assert "curl" not in judge("\n".join([*COMPLETE, said[0]])).failure
    assert judge("\n".join([*COMPLETE, said[0]])).failure != ""


@pytest.mark.parametrize("login", ["me:s3cret", "me:s3cret/s3cret", "me:p@s3cret", "s3cret@s3cret:@/"])
def test_the_login_of_a_proxy_is_left_out(host, login):
    host.log(STARTED, f"{LATER}Z E! code: RequestError, proxyconnect http://{login}@proxy:3128 refused")
    assert "s3cret" not in host.watch().failure
    assert "http://proxy:3128" in host.watch().failure


@pytest.mark.parametrize(
    ("configs", "seconds"),
    [
        ([], 140),
        ([None], 140),
        ([{"logs": {"force_flush_interval": 500}}], 140),
        ([{"metrics": {"force_flush_interval": 30}}], 140),
        ([{"metrics": {"force_flush_interval": 300}}, {"metrics": {"force_flush_interval": 90}}], 620),
        ([{"metrics": {"force_flush_interval": "300"}}, {"metrics": {"force_flush_interval": True}}], 140),
    ],
)
def test_the_time_depends_on_the_longest_interval_of_the_metrics(configs, seconds):
    assert watch_seconds(configs) == seconds


@given(st.lists(st.integers() | st.sampled_from([2**31, 2**63 - 1, 86_400, 440, 441]), max_size=3))
def test_the_time_has_a_limit_whatever_the_configurations_contain(intervals):
    seconds = watch_seconds({"metrics": {"force_flush_interval": each}} for each in intervals)
    assert 140 <= seconds <= LONGEST_SECONDS
    assert seconds == LONGEST_SECONDS or all(seconds >= 2 * each + 20 for each in intervals)


@pytest.mark.parametrize("seconds", [-1, MAX_SECONDS + 1, 2**63 - 1, 10**4000])
def test_a_time_out_of_range_is_refused_in_a_short_message(seconds):
    with pytest.raises(InvalidInput, match=r"^x is .*; it must be between 0 and 3600\.$") as error:
        check_seconds("x", seconds)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("seconds", [0, 1, MAX_SECONDS])
def test_a_time_in_range_is_accepted(seconds):
    check_seconds("x", seconds)


def test_a_watch_that_reached_its_limit_says_what_it_can_miss():
    limit = "The watch can end before the first metrics are sent where metrics.force_flush_interval is longer than"
    assert describe_watch({"a": Watch(LONGEST_SECONDS)})[1:] == [f"{limit} 440 seconds."]
    assert describe_watch({"a": Watch(MAX_SECONDS)})[1:] == [f"{limit} 1790 seconds."]
    assert describe_watch({"a": Watch(LONGEST_SECONDS - 1)})[1:] == []


def test_a_number_that_the_script_cannot_print_is_no_answer():
    for start in ("-1", "0", "1", "1483228799", "-2208988800"):
        assert judge(f"agent running running 0 1 {start}\nlevel INFO\nlog x\nlines 1 0\nend").failure == NOT_READABLE
    for number in ("9" * 11, "٣", "1_0", "+1", ""):
        assert (
            judge(f"agent running running 0 {number} 1764750000\nlevel INFO\nlog x\nlines 1 0\nend").failure
            == NOT_READABLE
        )


def test_what_was_seen_is_described():
    watches = {
        "a": Watch(141),
        "b": Watch(150, others=2),
        "c": Watch(9, "It failed."),
        "d": Watch(140, note="it is off"),
    }
    assert describe_watch(watches) == [
        "Watched for at least 141 seconds after the restart, without a denial or missing credentials in the log: a, b.",
        "Other warnings and errors in the agent's log: b (2).",
        "Not watched on d: it is off.",
    ]
    assert describe_watch({}) == []


def test_of_a_log_with_millions_of_lines_the_end_is_read(host):
    path = host.log(*[f"{BEFORE}Z I! {'x' * 200}"] * 30_000, STARTED, f"{LATER}Z {METRICS}")
    assert path.stat().st_size > 4_000_000
    assert METRICS[:100] in host.watch().failure

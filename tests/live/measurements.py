"""Measures how long AWS takes, and asks it what its documentation leaves open.

Each measurement is independent. If one fails, its answer contains the reason. The collection handles both outcomes of
each question, so no answer is wrong. The answers show which way AWS goes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import eq
from typing import Any

from botocore.exceptions import ClientError

from .account import DENIED, NEW_SECONDS, ONLINE_SECONDS, LiveAccount, code_of, poll, retry
from .names import BASE_ROLE, PREFIX, PROBE_GROUP, PROBE_PARAMETER, PROBE_ROLE, PROBE_USER
from .report import Answer

POLICY = "probe"
LAST_USE_SECONDS = 300
# AWS documents 15 minutes for a new metric to be listed, and typically less than an hour for the time of a log event.
METRIC_SECONDS, EVENT_SECONDS = 1200, 3600
REPEAT_SECONDS = 20
# Prints, for a minute and a half, when the two documents of the metadata service that name the role change.
WATCH_METADATA = r"""
base=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest
ask() { curl -s -H "X-aws-ec2-metadata-token: $token" "$base/$1"; }
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$base/api/token")
end=$(($(date +%s) + 90))
while [ "$(date +%s)" -lt "$end" ]; do
    info=$(ask meta-data/iam/info | grep InstanceProfileArn); role=$(ask meta-data/iam/security-credentials/)
    [ "$info$role" = "$before" ] || echo "$(date +%s) $role $info"
    before=$info$role; sleep 1
done
"""


def _allow(effect: str) -> str:
    statement = {"Effect": effect, "Action": "ssm:GetParameter", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@dataclass
class Measurements:
    """Measurements in an account, with a separate role, user and parameter."""

    account: LiveAccount

    def run(self, say: Callable[[str], None]) -> list[Answer]:
        """Measure everything."""
        questions: Mapping[str, Callable[[], str]] = {
            "Is the agent's admin policy in this partition?": self.admin_policy,
            "How long until a new role can be assumed?": self.new_role,
            "How long until a permission that was granted has an effect?": lambda: self.permission("Allow", True),
            "How long until a Deny has an effect, as when the admin window is closed?": lambda: self.permission(
                "Deny", False
            ),
            "How long until a new access key works?": self.new_key,
            "What does AWS answer to the first of two quick writes of a parameter that it refuses?": self.quick_writes,
            "Which resource of a policy lets a role read a version and a label?": self.resource_of_label,
            "What does EC2 answer to disassociating what is gone?": self.stale_association,
            "Do both metadata documents change at the same time?": self.metadata,
            f"Is the last use of a key known within {LAST_USE_SECONDS} s?": self.last_use,
            "How long until the first point of a new metric can be read?": self.first_point,
            "How long until RecentlyActive lists a new metric?": self.recently_active,
            "How long until a log stream has the time of its last event?": self.last_event,
        }
        answers = []
        # teardown has taken the profile from the instance by which Systems Manager reaches it.
        self.account.associate(self.account.web, BASE_ROLE)
        for question, measure in questions.items():
            say(f"{question} …")
            try:
                answers.append(Answer(question, measure()))
            except Exception as error:  # noqa: BLE001  one measurement less, and the reason is in the report
                answers.append(Answer(question, f"not measured: {type(error).__name__}: {error}"))
        return answers

    def _seconds(self, wanted: Callable[[], bool], limit: float = NEW_SECONDS, pause: float = 0.5) -> str:
        began = time.monotonic()
        held = poll(wanted, bool, limit, pause)
        return f"{time.monotonic() - began:.1f} s" if held else f"not within {limit} s"

    def admin_policy(self) -> str:
        arn = f"arn:{self.account.partition}:iam::aws:policy/CloudWatchAgentAdminPolicy"
        try:
            self.account.iam.get_policy(PolicyArn=arn)
        except ClientError as error:
            return code_of(error)
        return "yes"

    def new_role(self) -> str:
        self.account.make_role(PROBE_ROLE, {"AWS": f"arn:{self.account.partition}:iam::{self.account.id}:root"}, {})
        return self._seconds(lambda: self._probe("sts") is not None)

    def _probe(self, service: str) -> Any:
        """A client with the credentials of the role that is measured; none while it cannot be assumed."""
        found = self.account.assume(PROBE_ROLE)
        return self.account.session.client(service, **found) if found else None

    def permission(self, effect: str, wanted: bool) -> str:
        ssm = self._probe("ssm")

        def is_allowed() -> bool:
            try:
                ssm.get_parameter(Name=PROBE_PARAMETER)
            except ClientError as error:
                return code_of(error) not in DENIED
            return True

        retry(self.account.iam.put_role_policy, RoleName=PROBE_ROLE, PolicyName=POLICY, PolicyDocument=_allow(effect))
        return self._seconds(lambda: is_allowed() == wanted)

    def new_key(self) -> str:
        retry(self.account.iam.create_user, UserName=PROBE_USER)
        key = retry(self.account.iam.create_access_key, UserName=PROBE_USER)["AccessKey"]
        self._key_id = key["AccessKeyId"]
        sts = self.account.session.client(
            "sts",
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=None,
        )

        def works() -> bool:
            try:
                sts.get_caller_identity()
            except ClientError:
                return False
            return True

        return self._seconds(works)

    def quick_writes(self) -> str:
        for number in range(5):
            try:
                self.account.ssm.put_parameter(Name=PROBE_PARAMETER, Value=str(number), Type="String", Overwrite=True)
            except ClientError as error:
                return code_of(error)
        return "it refused none of five"

    def resource_of_label(self) -> str:
        ssm = self.account.ssm
        written = retry(ssm.put_parameter, Name=PROBE_PARAMETER, Value="label", Type="String", Overwrite=True)
        version = written["Version"]
        retry(ssm.label_parameter_version, Name=PROBE_PARAMETER, ParameterVersion=version, Labels=["probe"])
        arn = f"arn:{self.account.partition}:ssm:*:{self.account.id}:parameter/{PROBE_PARAMETER}"
        found = []
        for end, reads_name in ("", True), (":*", False):
            statement = {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": f"{arn}{end}"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            retry(self.account.iam.put_role_policy, RoleName=PROBE_ROLE, PolicyName=POLICY, PolicyDocument=document)
            poll(partial(self._reads, ""), partial(eq, reads_name), NEW_SECONDS)
            read = [selector for selector in (f":{version}", ":probe") if self._reads(selector)]
            found.append(f"NAME{end} alone lets it read {' and '.join(read) or 'neither'}")
        return "; ".join(found)

    def _reads(self, selector: str) -> bool:
        """Whether the role that is measured may read a parameter by its name and a selector."""
        try:
            self._probe("ssm").get_parameter(Name=f"{PROBE_PARAMETER}{selector}")
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            return False
        return True

    def stale_association(self) -> str:
        ec2, web = self.account.ec2, self.account.web
        [found] = poll(lambda: self.account.associations(web), bool, NEW_SECONDS)
        ec2.disassociate_iam_instance_profile(AssociationId=found["AssociationId"])
        try:
            code = self._seconds_until_refused(found["AssociationId"])
        finally:
            self.account.associate(web, BASE_ROLE)
        return code

    def _seconds_until_refused(self, association: str) -> str:
        def try_again() -> str:
            try:
                self.account.ec2.disassociate_iam_instance_profile(AssociationId=association)
            except ClientError as error:
                return code_of(error)
            return ""

        return poll(try_again, bool, REPEAT_SECONDS) or "nothing: it succeeds again"

    def metadata(self) -> str:
        """The metadata of the web server, while its profile changes from one to none and back."""
        ssm, web = self.account.ssm, self.account.web
        poll(lambda: self.account.is_online(web), bool, ONLINE_SECONDS, pause=5)
        sent = ssm.send_command(
            InstanceIds=[web],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": WATCH_METADATA.strip().splitlines()},
        )["Command"]["CommandId"]
        poll(lambda: self._status(sent), lambda status: status == "InProgress", NEW_SECONDS)
        self.account.associate(web, BASE_ROLE)
        status = poll(lambda: self._status(sent), lambda status: status not in ("", "Pending", "InProgress"), 900, 5)
        output = ssm.get_command_invocation(CommandId=sent, InstanceId=web)["StandardOutputContent"]
        return f"{status}: " + "; ".join(output.split("\n"))

    def _status(self, command: str) -> str:
        try:
            found = self.account.ssm.get_command_invocation(CommandId=command, InstanceId=self.account.web)
        except self.account.ssm.exceptions.InvocationDoesNotExist:
            return ""
        return str(found["Status"])

    def last_use(self) -> str:
        read = self.account.iam.get_access_key_last_used
        return self._seconds(
            lambda: "LastUsedDate" in read(AccessKeyId=self._key_id)["AccessKeyLastUsed"], LAST_USE_SECONDS
        )

    def _new_metric(self) -> dict[str, str]:
        """Put a point of a metric that the account does not have yet. :returns: its namespace and name."""
        metric = {"Namespace": PREFIX, "MetricName": f"probe-{time.time_ns()}"}
        data = [{"MetricName": metric["MetricName"], "Value": 1}]
        self.account.cloudwatch.put_metric_data(Namespace=PREFIX, MetricData=data)
        return metric

    def first_point(self) -> str:
        statistic = {"Metric": self._new_metric(), "Period": 60, "Stat": "SampleCount"}

        def has_point() -> bool:
            now = datetime.now(UTC)
            found = self.account.cloudwatch.get_metric_data(
                MetricDataQueries=[{"Id": "probe", "MetricStat": statistic}],
                StartTime=now - timedelta(hours=1),
                EndTime=now + timedelta(hours=1),
            )
            return any(each["Timestamps"] for each in found["MetricDataResults"])

        return self._seconds(has_point, METRIC_SECONDS, pause=2)

    def recently_active(self) -> str:
        options = {**self._new_metric(), "RecentlyActive": "PT3H"}
        read = self.account.cloudwatch.list_metrics
        return self._seconds(lambda: bool(read(**options)["Metrics"]), METRIC_SECONDS, pause=2)

    def last_event(self) -> str:
        """The time of the second event, because the first one can be known at once."""
        logs, stream = self.account.logs, {"logGroupName": PROBE_GROUP, "logStreamName": "probe"}
        logs.create_log_group(logGroupName=PROBE_GROUP)
        logs.create_log_stream(**stream)
        last = int(time.time() * 1000)
        for timestamp in (last - 60_000, last):
            retry(logs.put_log_events, **stream, logEvents=[{"timestamp": timestamp, "message": "cwagent.iam"}])

        def is_known() -> bool:
            found = logs.describe_log_streams(logGroupName=PROBE_GROUP)["logStreams"]
            return any(each.get("lastEventTimestamp") == last for each in found)

        return self._seconds(is_known, EVENT_SECONDS, pause=10)

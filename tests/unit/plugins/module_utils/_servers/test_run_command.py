"""Cases that the emulator cannot show: an agent that goes offline between two calls, and very long output."""

from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._servers import run_command
from ansible_collections.cwagent.iam.plugins.module_utils._servers.run_command import Answer, Document

DOCUMENT = Document("AWS-RunShellScript", {"commands": ["true"]}, "cwagent.iam: a test " * 20)
LONG = "x" * 3000


class Service(Aws):
    """Systems Manager for instances that answer, each with its output."""

    def __init__(self, outputs, offline=(), platforms=None, status="Success", pending=0):
        super().__init__(lambda *_arguments, **_more: None)
        self.outputs, self.offline, self.status, self.pending = outputs, set(offline), status, pending
        self.platforms = platforms or {}
        self.sent, self.calls = {}, []

    def call(self, action, description, max_attempts=10, **arguments):
        self.calls.append(action)
        ids = arguments["InstanceIds"]
        assert len(ids) <= 50
        assert len(arguments["Comment"]) <= 100
        if self.offline & set(ids):
            raise AwsApiError("not in a valid state", "InvalidInstanceId")
        command = f"c{len(self.sent)}"
        self.sent[command] = ids
        return {"Command": {"CommandId": command}}

    def find(self, action, description, absent, **arguments):
        self.calls.append(action)
        return {"Status": "Success", "StandardOutputContent": self.outputs[arguments["InstanceId"]]}

    def pages(self, action, description, **arguments):
        self.calls.append(action)
        if action == "ssm:DescribeInstanceInformation":
            [known] = arguments["Filters"]
            found = [each for each in known["Values"] if each in self.outputs]
            keys = [("InstanceId", each) for each in found]
            yield {
                "InstanceInformationList": [
                    {key: each, "PingStatus": "Online", "PlatformType": self.platforms.get(each, "Linux")}
                    for key, each in keys
                ]
            }
            return
        self.pending -= 1
        status = "InProgress" if self.pending >= 0 else self.status
        yield {
            "CommandInvocations": [
                {
                    "InstanceId": each,
                    "Status": status,
                    "StatusDetails": status,
                    "CommandPlugins": [{"Output": self.outputs[each][:2500]}],
                }
                for each in self.sent[arguments["CommandId"]]
            ]
        }


def deadline(seconds=10.0):
    times = iter(range(1000))
    return Deadline(seconds, clock=lambda: next(times), sleep=lambda _seconds: None)


def ids(count):
    return [f"i-{number}" for number in range(count)]


def test_commands_are_sent_to_fifty_instances_at_once():
    service = Service(dict.fromkeys(ids(120), "ok"))
    assert run_command.run(service, ids(120), DOCUMENT, deadline()) == dict.fromkeys(ids(120), Answer("ok"))
    assert [len(each) for each in service.sent.values()] == [50, 50, 20]
    assert service.calls.count("ssm:ListCommandInvocations") == 3


def test_an_instance_that_just_went_offline_stops_no_other():
    service = Service(dict.fromkeys(ids(50), "ok"), offline=["i-7"])
    answers = run_command.run(service, ids(50), DOCUMENT, deadline())
    assert {each for each, answer in answers.items() if answer.failure} == {"i-7"}
    assert sorted(each for sent in service.sent.values() for each in sent) == sorted({*ids(50)} - {"i-7"})


def test_another_error_of_sending_fails_at_once():
    class Denied(Service):
        def call(self, *_args, **_more):
            raise AwsApiError("denied", "AccessDeniedException")

    with pytest.raises(AwsApiError, match="denied"):
        run_command.run(Denied({"i-1": "ok"}), ["i-1"], DOCUMENT, deadline())


def test_long_output_is_read_by_instance():
    service = Service({"i-1": "short", "i-2": LONG})
    assert run_command.run(service, ["i-1", "i-2"], DOCUMENT, deadline()) == {
        "i-1": Answer("short"),
        "i-2": Answer(LONG),
    }
    assert service.calls.count("ssm:GetCommandInvocation") == 1


def test_a_command_that_failed_is_a_problem():
    [answer] = run_command.run(Service({"i-1": "no"}, status="Failed"), ["i-1"], DOCUMENT, deadline()).values()
    assert answer.failure == "its status is Failed, and it printed: no"


def test_an_instance_that_does_not_answer_in_time_is_a_problem():
    service = Service({"i-1": "ok"}, pending=1000)
    assert (
        run_command.run(service, ["i-1"], DOCUMENT, deadline(5.0))["i-1"].failure
        == "it did not answer within 5 seconds"
    )


def test_a_command_is_waited_for():
    assert run_command.run(Service({"i-1": "ok"}, pending=2), ["i-1"], DOCUMENT, deadline()) == {"i-1": Answer("ok")}


def test_instances_that_no_command_reaches():
    service = Service({"i-1": "ok", "i-3": "ok"}, platforms={"i-1": "Windows", "i-3": "MacOS"})
    answers = run_command.run(service, ["i-1", "i-2", "i-3"], DOCUMENT, deadline())
    assert answers["i-1"].failure == "instance i-1 runs Windows, and only Linux instances can run the script"
    assert "does not know instance i-2" in answers["i-2"].failure
    assert "runs MacOS" in answers["i-3"].failure
    assert [name for name, answer in answers.items() if answer.is_windows] == ["i-1"]
    assert service.sent == {}

"""The reads of the admin role, and how long a run waits for a command that gives no sign."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aws_account import Account
from aws_model import NOW

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import DesiredConfig
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Step
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command import (
    CHECK_SECONDS,
    AwaitedParameterResource,
    check_instance,
    check_role,
)
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import GRACE_SECONDS

COMMAND = "11111111-2222-3333-4444-555555555555"
INVOCATION = "get_command_invocation"
pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def account() -> Account:
    found = Account()
    found.answer("send_command", {"Command": {"CommandId": COMMAND}})
    found.answer("cancel_command", {})
    found.answer(INVOCATION, {"Status": "InProgress"})
    return found


@pytest.mark.parametrize("code", ["NoSuchEntity", "AccessDenied"])
def test_check_role_accepts_a_role_that_is_missing_or_denied(account, code):
    account.fail("get_role", code)
    check_role(account.aws(), "Admin")


def test_no_document_is_read_if_the_role_has_the_policy_of_the_agent(account):
    account.add_role("Admin", "AmazonSSMManagedInstanceCore", "AmazonS3ReadOnlyAccess")
    check_role(account.aws(), "Admin")
    assert account.operations == ["get_role", "list_attached_role_policies", "list_role_policies"]


def test_a_check_without_an_end_is_cancelled_after_its_delivery_and_its_execution(account):
    with pytest.raises(CwagentError, match="Nothing was opened"):
        check_instance(account.aws(), "i-1", ["eu-central-1"])
    assert account.count(INVOCATION) == 2 * CHECK_SECONDS + GRACE_SECONDS + 1
    assert account.operations[-1] == "cancel_command"


def test_a_command_without_an_end_is_awaited_until_its_deadline(account):
    account.fail("get_parameter", "ParameterNotFound")
    command = {"id": COMMAND, "instance_id": "i-1", "deadline": (NOW + timedelta(seconds=100)).timestamp()}
    config, aws = DesiredConfig("C"), account.aws()
    awaited = AwaitedParameterResource(aws, config, "eu-central-1", None, command=command, command_aws=aws)
    step = Step(Kind.CREATE, "ssm:PutParameter", {"name": "C", "value": "{}"}, "create parameter 'C'")
    with pytest.raises(CwagentError, match=f"Could not create parameter 'C': command {COMMAND} on instance i-1"):
        awaited.execute(step)
    assert account.count(INVOCATION) == 100 + GRACE_SECONDS + 1

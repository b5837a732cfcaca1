"""policy.yml: somebody without an AWS account gets the policy that fits the configurations, for the tool of choice."""

from __future__ import annotations

import json
from typing import Any

from emulator import Emulator
from harness import CHECKOUT, NO_CREDENTIALS, Controller, Play
from printed import assert_brief

LINUX = CHECKOUT / "examples" / "agent-config" / "linux.json"
EMF = {"logs": {"metrics_collected": {"emf": {}}}}
ACCOUNTS = {"shop": "123456789012", "blog": "210987654321"}
WEB = {"web1": {"instance_id": "i-0123456789abcdef0", "cwagent_region": "eu-west-1"}}


def run(controller: Controller, *arguments: str, groups: Any = None, **variables: Any) -> Play:
    inventory = controller.inventory(groups or {"ec2_servers": WEB})
    given = {"cwagent_config_file": str(LINUX), **variables}
    play = controller.play(inventory, "policy", *arguments, env=NO_CREDENTIALS, **given)
    assert play.calls == [], "it never calls AWS"
    return play


def allowed(policy: dict[str, Any]) -> set[tuple[str, str]]:
    return {(action, name) for each in policy["Statement"] for action in each["Action"] for name in each["Resource"]}


def test_the_policy_is_printed_as_json(controller: Controller) -> None:
    play = run(controller).assert_succeeded()
    assert_brief(play, "policy")
    printed = play.output.partition("TASK [Print the policy]")[2].partition("\n{")[2].partition("\n}")[0]
    policy = json.loads(f"{{{printed}}}")
    assert list(policy) == ["Version", "Statement"]
    group = "arn:aws:logs:eu-west-1:*:log-group:linux/amazon-cloudwatch-agent:*"
    assert ("logs:PutLogEvents", group) in allowed(policy)


def test_each_account_has_its_own_files(controller: Controller) -> None:
    """The ending chooses the format. Check mode writes nothing."""
    groups = {"accounts": {name: {"cwagent_account_id": account} for name, account in ACCOUNTS.items()}}
    files = [str(controller.home / f"own{ending}") for ending in (".json", ".tf", ".template", ".sarif")]
    options = {"groups": groups, "cwagent_report_files": files}
    run(controller, "--check", **options).assert_succeeded()
    assert list(controller.home.glob("own*")) == []
    play = run(controller, **options).assert_succeeded()
    assert "Version" not in play.output
    names = {f"own-{name}{ending}" for name in ACCOUNTS for ending in (".json", ".tf", ".template")}
    assert {path.name for path in controller.home.glob("own*")} == names
    for name, account in ACCOUNTS.items():
        policy = json.loads((controller.home / f"own-{name}.json").read_text())
        read = f"arn:aws:ssm:*:{account}:parameter/AmazonCloudWatch-linux"
        assert ("ssm:GetParameter", read) in allowed(policy)
    assert "jsonencode({" in (controller.home / "own-shop.tf").read_text()


def test_the_template_creates_the_policy(controller: Controller, moto: Emulator) -> None:
    files = {name: controller.home / f"policy.{name}" for name in ("json", "template")}
    run(controller, cwagent_report_files=[str(each) for each in files.values()]).assert_succeeded()
    stacks, iam = moto.client("cloudformation"), moto.client("iam")
    stacks.create_stack(StackName="agent", TemplateBody=files["template"].read_text())
    [output] = stacks.describe_stacks(StackName="agent")["Stacks"][0]["Outputs"]
    arn = output["OutputValue"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    account = arn.split(":")[4]
    expected = files["json"].read_text().replace("eu-west-1:*:", f"eu-west-1:{account}:")
    assert document == json.loads(expected)


def test_a_part_that_nothing_limits_is_refused_until_the_user_limits_it(controller: Controller) -> None:
    file = controller.file("emf.json", EMF)
    play = run(controller, cwagent_config_file=str(file)).assert_failed()
    why = "$.logs.metrics_collected.emf: applications choose the log groups; list them in emf_log_groups"
    assert play.message == (
        f"No fitted policy is possible. AmazonCloudWatch-linux: {why} (cwagent_emf_log_groups in the playbooks)."
    )
    play = run(controller, cwagent_config_file=str(file), cwagent_emf_log_groups=["{hostname}/*"]).assert_succeeded()
    warning = "The policy allows very many log groups: all whose names match */*."
    assert warning in play.words

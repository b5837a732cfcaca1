"""Anyone who can only tag instances gains nothing and blocks nothing, and changes made by hand are left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator.snapshot import associated_profiles, configurations
from harness import (
    ADMIN_ROLE,
    CHECKOUT,
    PARAMETER,
    RESTORE_TAG,
    SERVER_ROLE,
    Controller,
    Play,
    allow,
    assert_no_writes,
    associate,
    create_role,
    create_user,
    disassociate,
    restore_records,
)

from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES

POWER = "Power"
CONFIG, NEWER = ({"agent": {"metrics_collection_interval": seconds}} for seconds in (60, 10))


@dataclass(frozen=True)
class Account:
    """An account after site.yml, with an instance outside the inventory that has no profile."""

    controller: Controller
    admin: str
    outside: str
    user: dict[str, str]

    @property
    def aws(self) -> Any:
        return self.controller.aws

    def inventory(self, *more: str) -> Path:
        hosts = {f"web{number}": self.controller.instance_host(name) for number, name in enumerate(more)}
        groups = {"ec2_admin": {"admin1": self.controller.instance_host(self.admin)}, "ec2_servers": hosts}
        return self.controller.inventory({name: each for name, each in groups.items() if each}, f"{len(more)}.yml")

    def play(self, playbook: str, *arguments: str, inventory: Path | None = None, config: Any = NEWER) -> Play:
        """Run a playbook as a user who has the example policies only."""
        file = self.controller.file("agent.json", config)
        return self.controller.play(
            inventory or self.inventory(), playbook, *arguments, env=self.user, cwagent_config_file=str(file)
        )

    def restore_tags(self) -> dict[str, str]:
        return {each["ResourceId"]: each["Value"] for each in self.aws.client("ec2").describe_tags()["Tags"]}


@pytest.fixture(scope="module")
def account(shared_controller: Controller) -> Account:
    aws = shared_controller.aws
    admin, outside = aws.instances(2)
    create_role(aws, POWER, "AdministratorAccess")
    user = create_user(aws, "controller")
    for duty in ("provision", "store-configuration"):
        document = (CHECKOUT / "examples" / "policies" / f"{duty}.json").read_text()
        aws.client("iam").put_user_policy(UserName="controller", PolicyName=duty, PolicyDocument=document)
    made = Account(shared_controller, admin, outside, user)
    made.play("site", config=CONFIG).assert_succeeded()
    return made


@pytest.fixture(scope="module")
def planted(account: Account) -> dict[str, Play]:
    """The runs after somebody who may tag instances, and nothing else, has planted restore tags."""
    keys = create_user(account.aws, "tagger", allow("ec2:CreateTags"))
    credentials = {"AccessKeyId": keys["AWS_ACCESS_KEY_ID"], "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"]}
    tag = {"Key": RESTORE_TAG, "Value": POWER}
    account.aws.client("ec2", credentials=credentials).create_tags(
        Resources=[account.admin, account.outside], Tags=[tag]
    )
    with assert_no_writes(account.aws):
        restored = account.play("restore")
        predicted = account.play("site", "--check")
    return {"restore": restored, "site --check": predicted, "site": account.play("site")}


RUNS = ("restore", "site --check", "site")


@pytest.mark.parametrize("run", RUNS)
def test_a_planted_tag_blocks_nothing(account: Account, planted: dict[str, Play], run: str) -> None:
    """No call that the example policies do not allow is made because of it."""
    planted[run].assert_succeeded()
    assert [call.action for call in planted[run].calls if call.error in DENIED_CODES] == []


@pytest.mark.parametrize("run", RUNS)
def test_a_planted_tag_is_named_in_a_warning(account: Account, planted: dict[str, Play], run: str) -> None:
    warning = f"instance {account.outside} has a tag {RESTORE_TAG} that no run of this collection has written"
    assert "".join(warning.split()) in "".join(planted[run].output.split())


def test_a_planted_tag_gains_nothing(account: Account, planted: dict[str, Play]) -> None:
    """Not even on the instance that is acquired: a run overwrites the tag, and then removes its own."""
    # The first one proves that the profile can be restored.
    assert planted["site"].associated == [SERVER_ROLE, ADMIN_ROLE, SERVER_ROLE]
    assert associated_profiles(account.aws) == {account.admin: SERVER_ROLE, account.outside: None}
    assert configurations(account.aws) == {PARAMETER: NEWER}
    assert account.restore_tags() == {account.outside: POWER}
    assert restore_records(account.aws) == {}


def test_check_mode_predicts_the_run_in_spite_of_a_planted_tag(planted: dict[str, Play]) -> None:
    predicted, done = planted["site --check"], planted["site"]
    assert predicted.outcomes == done.outcomes
    steps = [[each for each in run.report if " until " not in each] for run in (predicted, done)]
    assert steps[0][0] == steps[1][0].replace("updated", "would be updated")
    assert sorted(steps[0][1:]) == sorted(steps[1][1:])


def test_who_can_tag_the_admin_role_can_choose_no_other_role(account: Account, planted: dict[str, Play]) -> None:
    """The example policies associate only the profiles of the agent, so the run fails and reports the profile."""
    keys = create_user(account.aws, "role-tagger", allow("iam:TagRole"))
    credentials = {"AccessKeyId": keys["AWS_ACCESS_KEY_ID"], "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"]}
    key = f"{RESTORE_TAG}:{account.aws.region}:{account.outside}"
    record = {"RoleName": ADMIN_ROLE, "Tags": [{"Key": key, "Value": POWER}]}
    account.aws.client("iam", credentials=credentials).tag_role(**record)
    refused = account.play("restore").assert_failed()
    account.aws.client("iam").untag_role(RoleName=ADMIN_ROLE, TagKeys=[key])
    assert f"Could not associate instance profile '{POWER}' with instance {account.outside}" in refused.message
    assert "user/controller lacks ec2:AssociateIamInstanceProfile" in refused.message
    assert associated_profiles(account.aws)[account.outside] is None


def test_an_admin_profile_that_a_person_associated_is_left(account: Account, planted: dict[str, Play]) -> None:
    """Nothing is stored while the instance has it. Adding the instance to the inventory makes it a server."""
    associate(account.aws, account.outside, ADMIN_ROLE)
    with assert_no_writes(account.aws):
        restored = account.play("restore").assert_succeeded()
        refused = account.play("site", config=CONFIG).assert_failed()
    holder = f"instance {account.outside} has instance profile '{ADMIN_ROLE}'"
    what = f"{holder}, which no run of this collection has associated"
    assert "".join(what.split()) in "".join(restored.output.split())
    assert what in refused.message
    assert associated_profiles(account.aws)[account.outside] == ADMIN_ROLE
    account.play("restore", inventory=account.inventory(account.outside)).assert_succeeded()
    assert associated_profiles(account.aws)[account.outside] == SERVER_ROLE
    disassociate(account.aws, account.outside)

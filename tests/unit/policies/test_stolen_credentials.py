"""The attacks that the stolen credentials of a duty allow, with a permissions boundary and without it.

The table in the documentation lists them, and two evaluators that share no code check each of its cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from emulator import Emulator
from simulator import Request, Simulator

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import closed_policy
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import trust_policy

CHECKOUT = Path(__file__).parents[3]
PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "permissions_boundary.rst"
DOCUMENTS = {
    path.stem: json.loads(path.read_text().replace("ID-OF-THE-ADMIN-INSTANCE", "*"))
    for path in (CHECKOUT / "examples" / "policies").glob("*.json")
}
BOUNDARY, REQUIRE = (DOCUMENTS.pop(name) for name in ("boundary", "require-boundary"))
DUTIES = sorted(DOCUMENTS)

ACCOUNT, REGION = "123456789012", "us-east-1"
IAM, SSM = f"arn:aws:iam::{ACCOUNT}:", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/"
SECRETS = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
AWS_POLICY = "arn:aws:iam::aws:policy/"
BOUNDARY_ARN = f"{IAM}policy/CloudWatchAgentBoundary"
ADMIN_ROLE, ADMIN_USER, OTHER = "CloudWatchAgentAdminRole", "CloudWatchAgentAdminUser", "other"
SERVER_USER = "CloudWatchAgentServerUser-db1"
NAME, SAVED = "AmazonCloudWatch-linux", "/cwagent/credentials/db1"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Account:
    """An account in which the collection has created its roles and users, and the stolen credentials.

    :param bounded: whether they have the boundary.
    :param ids: the ids that AWS has assigned, by their placeholders in the steps.
    """

    aws: Emulator
    bounded: bool
    ids: dict[str, str]
    credentials: dict[str, dict[str, str]]

    def client(self, actor: str, service: str) -> Any:
        is_role = actor == ADMIN_ROLE
        instance = self.ids["@instance"]
        credentials = self.aws.instance_credentials(instance) if is_role else self.credentials[actor]
        return self.aws.client(service, credentials=credentials)

    def set_policies(self, policies: Sequence[dict[str, Any]]) -> None:
        """Give the stolen credentials these policies and no others, and save the account."""
        iam = self.aws.client("iam")
        self.aws.restore()
        for name in iam.list_user_policies(UserName="controller")["PolicyNames"]:
            iam.delete_user_policy(UserName="controller", PolicyName=name)
        for number, document in enumerate(policies):
            iam.put_user_policy(UserName="controller", PolicyName=f"P{number}", PolicyDocument=json.dumps(document))
        self.aws.save()


@dataclass(frozen=True)
class Step:
    """A call, as a request for the simulator and with the arguments for the emulator.

    :param context: its condition keys. The boundary is left out in an account without boundaries.
    :param actor: the caller: the stolen credentials, or somebody else, who has all permissions.
    :param trust: the trust policy of the role that is assumed.
    """

    action: str
    resource: str
    arguments: dict[str, Any] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)
    actor: str = "controller"
    trust: dict[str, Any] | None = None

    def is_allowed(self, account: Account) -> bool:
        service, action = self.action.split(":")
        arguments = {
            key: [account.ids[each] for each in value] if key == "InstanceIds" else account.ids.get(str(value), value)
            for key, value in self.arguments.items()
        }
        try:
            getattr(account.client(self.actor, service), xform_name(action))(**arguments)
        except ClientError as error:
            # Any other error means that the caller was allowed to call.
            return error.response["Error"]["Code"] not in DENIED_CODES
        return True

    def to_request(self, account: Account, controller: Sequence[dict[str, Any]]) -> Request:
        is_controller, is_bounded = self.actor == "controller", self.actor in (ADMIN_ROLE, ADMIN_USER)
        kind = "role" if self.actor == ADMIN_ROLE else "user"
        return Request(
            self.action,
            self.resource.replace("@instance", account.ids["@instance"]),
            controller if is_controller else [EVERYTHING],
            boundary=BOUNDARY if is_bounded and account.bounded else None,
            resource_policy=self.trust,
            context={key: value for key, value in self.context.items() if account.bounded or value != BOUNDARY_ARN},
            principal=f"{IAM}{kind}/{self.actor}",
        )


@dataclass(frozen=True)
class PassedRole(Step):
    """A permission that the step before needs too, and that no separate call checks."""

    def is_allowed(self, account: Account) -> bool:
        return True


BOUNDED = {"iam:PermissionsBoundary": BOUNDARY_ARN}
ADMINISTRATOR = {**BOUNDED, "iam:PolicyARN": f"{AWS_POLICY}AdministratorAccess"}
TRUST_IN_OTHER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"{IAM}user/{OTHER}"}}],
}
TRUST = {"AssumeRolePolicyDocument": json.dumps(TRUST_IN_OTHER)}
INSTANCE, SECRET = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/@instance", f"{SAVED}-a1B2c3"
ROLE, USER = {"RoleName": ADMIN_ROLE}, {"UserName": ADMIN_USER}
ROLE_ARN, USER_ARN = f"{IAM}role/{ADMIN_ROLE}", f"{IAM}user/{ADMIN_USER}"
SERVER, SERVER_ARN = {"UserName": SERVER_USER}, f"{IAM}user/{SERVER_USER}"
RUN_SCRIPT = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]}, "InstanceIds": ["@instance"]}
WRITE = {"Value": "{}", "Type": "String", "Overwrite": True}


def replace_window(kind: str) -> Step:
    """The window is an inline policy, so anyone who may write it may write any policy."""
    arn, name = (ROLE_ARN, ROLE) if kind == "Role" else (USER_ARN, USER)
    arguments = {**name, "PolicyName": WINDOW_POLICY, "PolicyDocument": json.dumps(EVERYTHING)}
    return Step(f"iam:Put{kind}Policy", arn, arguments, BOUNDED)


def write_parameter(name: str, actor: str = "controller") -> Step:
    return Step("ssm:PutParameter", f"{SSM}{name.lstrip('/')}", {**WRITE, "Name": name}, actor=actor)


def create_user(actor: str) -> Step:
    """A call that the agent never needs."""
    return Step("iam:CreateUser", f"{IAM}user/new", {"UserName": "new"}, actor=actor)


def associate(profile: str, role: str = "") -> list[Step]:
    arguments = {"AssociationId": "@association", "IamInstanceProfile": {"Name": profile}}
    new_profile = {"ec2:NewInstanceProfile": f"{IAM}instance-profile/{profile}"}
    return [
        Step("ec2:ReplaceIamInstanceProfileAssociation", INSTANCE, arguments, new_profile),
        PassedRole(
            "iam:PassRole", f"{IAM}role/{role or profile}", context={"iam:PassedToService": "ec2.amazonaws.com"}
        ),
    ]


# The first cell of each row of the table, and the calls with which somebody would do that.
ATTACKS: dict[str, list[Step]] = {
    "Give the admin role any permission": [replace_window("Role"), create_user(ADMIN_ROLE)],
    "Give the admin user any permission": [replace_window("User"), create_user(ADMIN_USER)],
    "Create a role without the boundary": [Step("iam:CreateRole", ROLE_ARN, {**ROLE, **TRUST})],
    "Create a user without the boundary": [Step("iam:CreateUser", USER_ARN, USER)],
    "Attach another policy to a role": [
        Step("iam:AttachRolePolicy", ROLE_ARN, {**ROLE, "PolicyArn": ADMINISTRATOR["iam:PolicyARN"]}, ADMINISTRATOR)
    ],
    "Attach another policy to a user": [
        Step("iam:AttachUserPolicy", USER_ARN, {**USER, "PolicyArn": ADMINISTRATOR["iam:PolicyARN"]}, ADMINISTRATOR)
    ],
    "Associate another profile and pass its role": associate(OTHER),
    "Remove the boundary of a role": [Step("iam:DeleteRolePermissionsBoundary", ROLE_ARN, ROLE, BOUNDED)],
    "Remove the boundary of a user": [Step("iam:DeleteUserPermissionsBoundary", USER_ARN, USER, BOUNDED)],
    "Write a configuration directly": [write_parameter(NAME)],
    "Open or remove the admin window of the role": [replace_window("Role"), write_parameter(NAME, ADMIN_ROLE)],
    "Open or remove the admin window of the user": [replace_window("User"), write_parameter(NAME, ADMIN_USER)],
    "Associate the admin profile with any instance": associate(ADMIN_ROLE),
    "Associate an earlier profile of yours with any instance": associate(
        "NAME-OF-AN-EARLIER-PROFILE", "ROLE-OF-AN-EARLIER-PROFILE"
    ),
    "Assume the server role and the admin role": [
        Step("iam:UpdateAssumeRolePolicy", ROLE_ARN, {**ROLE, "PolicyDocument": json.dumps(TRUST_IN_OTHER)}, BOUNDED),
        Step(
            "sts:AssumeRole",
            ROLE_ARN,
            {"RoleArn": ROLE_ARN, "RoleSessionName": "s1"},
            actor=OTHER,
            trust=TRUST_IN_OTHER,
        ),
    ],
    "Act as the server users and the admin user": [Step("iam:CreateAccessKey", USER_ARN, USER)],
    "Read access keys saved in Parameter Store": [Step("ssm:GetParameter", f"{SSM}{SAVED[1:]}", {"Name": SAVED})],
    "Replace access keys saved in Parameter Store": [write_parameter(SAVED)],
    "Read access keys saved in Secrets Manager": [
        Step("secretsmanager:GetSecretValue", f"{SECRETS}{SECRET}", {"SecretId": "@secret"})
    ],
    "Replace access keys saved in Secrets Manager": [
        Step("secretsmanager:UpdateSecret", f"{SECRETS}{SECRET}", {"SecretId": "@secret", "SecretString": "x"})
    ],
    "Run any script as root on the admin instance, and with ``apply`` and ``verify`` on every instance": [
        Step("ssm:SendCommand", f"arn:aws:ssm:{REGION}:{ACCOUNT}:document/{RUN_SCRIPT['DocumentName']}", RUN_SCRIPT),
        Step("ssm:SendCommand", INSTANCE, RUN_SCRIPT),
    ],
    "Disassociate the profile of any instance": [
        Step("ec2:DisassociateIamInstanceProfile", INSTANCE, {"AssociationId": "@association"})
    ],
    "Delete access keys of the admin user": [
        Step("iam:DeleteAccessKey", USER_ARN, {**USER, "AccessKeyId": "@access-key"})
    ],
    "Delete access keys of the server users": [
        Step("iam:DeleteAccessKey", SERVER_ARN, {**SERVER, "AccessKeyId": "@server-access-key"})
    ],
    "Delete the server users": [Step("iam:DeleteUser", SERVER_ARN, SERVER)],
    "Delete the admin user": [Step("iam:DeleteUser", USER_ARN, USER)],
    "Delete a configuration": [Step("ssm:DeleteParameter", f"{SSM}{NAME}", {"Name": NAME})],
    "Delete the roles": [Step("iam:DeleteRole", ROLE_ARN, ROLE)],
}


def table() -> dict[str, tuple[str, set[str], set[str]]]:
    """By attack the cell with the calls, and the duties that could do it without the boundary and with it."""
    text = PAGE.read_text()
    [found] = re.findall(r"^\.\. list-table:: Attacks.*?\n\n(.*?)\n\n(?=\S)", text, re.DOTALL | re.MULTILINE)
    _head, *rows = re.split(r"^   \* - ", f"\n{found}", flags=re.MULTILINE)[1:]
    result = {}
    for row in rows:
        attack, calls, *duties = (" ".join(cell.split()) for cell in re.split(r"^     - ", row, flags=re.MULTILINE))
        without, bounded = (set(re.findall(r"``(.+?)``", cell)) for cell in duties)
        result[attack] = calls, without, bounded
    return result


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator.start("ministack", region=REGION) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def account(aws: Emulator, request: pytest.FixtureRequest) -> Account:
    """:param request: whether it has the boundary."""
    aws.reset()
    created = create_account(aws, bounded=request.param)
    aws.save()
    return created


def create_account(aws: Emulator, *, bounded: bool) -> Account:
    iam, ssm, credentials = aws.client("iam"), aws.client("ssm"), {}
    iam.create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=json.dumps(BOUNDARY))
    boundary = {"PermissionsBoundary": BOUNDARY_ARN} if bounded else {}
    window = {"PolicyName": WINDOW_POLICY, "PolicyDocument": json.dumps(closed_policy())}
    trust = json.dumps(trust_policy("ec2.amazonaws.com"))
    iam.create_role(RoleName=ADMIN_ROLE, AssumeRolePolicyDocument=trust, **boundary)
    iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=f"{AWS_POLICY}CloudWatchAgentAdminPolicy")
    iam.create_instance_profile(InstanceProfileName=ADMIN_ROLE)
    iam.add_role_to_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)
    iam.put_role_policy(RoleName=ADMIN_ROLE, **window)
    for user in (ADMIN_USER, SERVER_USER, "controller", OTHER):
        iam.create_user(UserName=user, **(boundary if user in (ADMIN_USER, SERVER_USER) else {}))
        credentials[user] = dict(iam.create_access_key(UserName=user)["AccessKey"])
    iam.put_user_policy(UserName=ADMIN_USER, **window)
    iam.put_user_policy(UserName=OTHER, PolicyName="P", PolicyDocument=json.dumps(EVERYTHING))
    [instance] = aws.instances(1)
    association = aws.client("ec2").associate_iam_instance_profile(
        InstanceId=instance, IamInstanceProfile={"Name": ADMIN_ROLE}
    )["IamInstanceProfileAssociation"]["AssociationId"]
    for name in (NAME, SAVED):
        ssm.put_parameter(Name=name, Value="{}", Type="String")
    secret = aws.client("secretsmanager").create_secret(Name=SAVED, SecretString="{}")["ARN"]
    ids = {
        "@instance": instance,
        "@association": association,
        "@secret": secret,
        "@access-key": credentials[ADMIN_USER]["AccessKeyId"],
        "@server-access-key": credentials[SERVER_USER]["AccessKeyId"],
    }
    return Account(aws, bounded, ids, credentials)


def test_the_table_and_the_attacks_are_the_same():
    assert list(table()) == list(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_table_names_the_calls(attack):
    calls, *_ = table()[attack]
    expected = {step.action for step in ATTACKS[attack] if step.actor == "controller" and not step.trust}
    assert set(re.findall(r"``(.+?)``", calls)) == expected


@pytest.mark.parametrize("account", [False, True], ids=["without the boundary", "with the boundary"], indirect=True)
@pytest.mark.parametrize("duty", DUTIES)
def test_stolen_credentials_allow_the_attacks_in_the_table(account, simulator, duty):
    policies = [DOCUMENTS[duty], *([REQUIRE] if account.bounded else [])]
    expected = {attack for attack, (_, *duties) in table().items() if duty in duties[account.bounded]}
    emulated, simulated = find_successful(account, simulator, policies)
    assert emulated == expected
    assert simulated == expected


# Attacks that fail with the boundary, even with the stolen credentials of all duties.
ESCALATION = {attack for attack, (_, _, bounded) in table().items() if not bounded}


@pytest.mark.parametrize("account", [True], indirect=True)
def test_duties_together_cannot_do_more_than_each(account, simulator):
    emulated, simulated = find_successful(account, simulator, [*DOCUMENTS.values(), REQUIRE])
    assert emulated == simulated == ATTACKS.keys() - ESCALATION


@pytest.mark.parametrize("account", [False], indirect=True)
def test_roles_and_users_without_the_boundary_cannot_be_changed_where_it_is_required(account, simulator):
    """For example, principals that were created before it was required."""
    emulated, simulated = find_successful(account, simulator, [*DOCUMENTS.values(), REQUIRE])
    changes = {attack for attack, steps in ATTACKS.items() if any(step.context is BOUNDED for step in steps)}
    assert emulated == simulated == ATTACKS.keys() - ESCALATION - changes


def find_successful(
    account: Account, simulator: Simulator, policies: Sequence[dict[str, Any]]
) -> tuple[set[str], set[str]]:
    """The attacks that succeed with stolen credentials: on the emulator, and in the simulator.

    :param policies: of the stolen credentials.
    """
    emulated, simulated = set(), set()
    account.set_policies(policies)
    for attack, steps in ATTACKS.items():
        if all(simulator.decide(step.to_request(account, policies) for step in steps)):
            simulated.add(attack)
        allowed = [step.is_allowed(account) for step in steps]
        if all(allowed):
            emulated.add(attack)
        if allowed[0]:  # the changes of one attack must not help the next one
            account.aws.restore()
    return emulated, simulated

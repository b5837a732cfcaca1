"""The attacks that the stolen credentials of a duty allow, with a permissions boundary and without it.

The documentation lists them in one table, and the attacks with credentials of a hybrid server in another one. Two
evaluators that share no code check each cell.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from emulator import Emulator
from emulator.host import Host
from simulator import Request, Simulator

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    CREATED,
    FITTED_PATH,
    FITTED_POLICIES,
    MARK_TAG,
    WINDOW_POLICY,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import Ec2Trust, HybridTrust
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import closed_policy

CHECKOUT = Path(__file__).parents[3]
PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "security.rst"
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
SERVER_USER, HYBRID_ROLE = "CloudWatchAgentServerUser-db1", "CloudWatchAgentHybridRole"
HYBRID_SERVER = "hybrid server"
FITTED_ARN = f"{IAM}policy{FITTED_PATH}{FITTED_POLICIES['server']}"
HYBRID_POLICIES = [f"{AWS_POLICY}{name}" for name in ("CloudWatchAgentServerPolicy", "AmazonSSMManagedInstanceCore")]
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
        self.aws.restore("account")
        for name in iam.list_user_policies(UserName="controller")["PolicyNames"]:
            iam.delete_user_policy(UserName="controller", PolicyName=name)
        for number, document in enumerate(policies):
            iam.put_user_policy(UserName="controller", PolicyName=f"P{number}", PolicyDocument=json.dumps(document))
        self.aws.save("account")


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
        has_given, is_bounded = self.actor in ("controller", HYBRID_SERVER), self.actor not in ("controller", OTHER)
        kind = "role" if self.actor == ADMIN_ROLE else "user"
        session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{HYBRID_ROLE}/{account.ids['@node']}"
        name = self.resource.rpartition("/")[2]
        return Request(
            self.action,
            self.resource.replace(name, account.ids.get(name, name)),
            controller if has_given else [EVERYTHING],
            boundary=BOUNDARY if is_bounded and account.bounded else None,
            resource_policy=self.trust,
            context={key: value for key, value in self.context.items() if account.bounded or value != BOUNDARY_ARN},
            principal=session if self.actor == HYBRID_SERVER else f"{IAM}{kind}/{self.actor}",
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
RUN_SCRIPT = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["id"]}}
ADMIN_TAG = {"Key": "cwagent-admin", "Value": "true"}
NODES = f"arn:aws:ssm:{REGION}:{ACCOUNT}:managed-instance/"
WRITE = {"Value": "{}", "Type": "String", "Overwrite": True}


def delete_window(kind: str) -> Step:
    arn, name = (ROLE_ARN, ROLE) if kind == "Role" else (USER_ARN, USER)
    return Step(f"iam:Delete{kind}Policy", arn, {**name, "PolicyName": WINDOW_POLICY})


def replace_window(kind: str) -> Step:
    """The window is an inline policy, so anyone who may write it may write any policy."""
    arn, name = (ROLE_ARN, ROLE) if kind == "Role" else (USER_ARN, USER)
    arguments = {**name, "PolicyName": WINDOW_POLICY, "PolicyDocument": json.dumps(EVERYTHING)}
    return Step(f"iam:Put{kind}Policy", arn, arguments, BOUNDED)


def replace_fitted_policy(document: dict[str, Any]) -> Step:
    """IAM limits who may write a policy, and never its content. Servers have this one."""
    arguments = {"PolicyArn": FITTED_ARN, "PolicyDocument": json.dumps(document), "SetAsDefault": True}
    return Step("iam:CreatePolicyVersion", FITTED_ARN, arguments)


def write_parameter(name: str, actor: str = "controller") -> Step:
    return Step("ssm:PutParameter", f"{SSM}{name.lstrip('/')}", {**WRITE, "Name": name}, actor=actor)


def create_user(actor: str) -> Step:
    """A call that the agent never needs."""
    return Step("iam:CreateUser", f"{IAM}user/new", {"UserName": "new"}, actor=actor)


def register(role: str, actor: str = "controller") -> list[Step]:
    """The calls for an activation, with which somebody registers a server."""
    arguments = {"IamRole": role, "Tags": [{"Key": MARK_TAG, "Value": CREATED}]}
    to_ssm = {"iam:PassedToService": "ssm.amazonaws.com"}
    return [
        Step("ssm:CreateActivation", "*", arguments, {f"aws:RequestTag/{MARK_TAG}": CREATED}, actor=actor),
        PassedRole("iam:PassRole", f"{IAM}role/{role}", context=to_ssm, actor=actor),
    ]


def deregister(node: str, actor: str = "controller", *, is_ours: bool) -> Step:
    tags = {f"ssm:resourceTag/{MARK_TAG}": CREATED} if is_ours else {}
    return Step("ssm:DeregisterManagedInstance", f"{NODES}{node}", {"InstanceId": node}, tags, actor=actor)


def run_script(resource: str, actor: str = "controller") -> list[Step]:
    """AWS checks the document and each server."""
    document = f"arn:aws:ssm:{REGION}:{ACCOUNT}:document/{RUN_SCRIPT['DocumentName']}"
    arguments = {**RUN_SCRIPT, "InstanceIds": [resource.rpartition("/")[2]]}
    tags = {f"ssm:resourceTag/{ADMIN_TAG['Key']}": ADMIN_TAG["Value"]}
    return [
        Step("ssm:SendCommand", each, arguments, context, actor)
        for each, context in ((document, {}), (resource, tags if resource == INSTANCE else {}))
    ]


def assume(role: str) -> list[Step]:
    arn = f"{IAM}role/{role}"
    trust = {"RoleName": role, "PolicyDocument": json.dumps(TRUST_IN_OTHER)}
    session = {"RoleArn": arn, "RoleSessionName": "s1"}
    return [
        Step("iam:UpdateAssumeRolePolicy", arn, trust, BOUNDED),
        Step("sts:AssumeRole", arn, session, actor=OTHER, trust=TRUST_IN_OTHER),
    ]


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
    "Give every server with a fitted policy any permission": [
        replace_fitted_policy(EVERYTHING),
        create_user(SERVER_USER),
    ],
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
    "Attach the admin policy to the hybrid role": [
        Step(
            "iam:AttachRolePolicy",
            f"{IAM}role/{HYBRID_ROLE}",
            {"RoleName": HYBRID_ROLE, "PolicyArn": f"{AWS_POLICY}CloudWatchAgentAdminPolicy"},
            {**BOUNDED, "iam:PolicyARN": f"{AWS_POLICY}CloudWatchAgentAdminPolicy"},
        )
    ],
    "Register a server with another role": register(OTHER),
    "Deregister a server that somebody else registered": [deregister("@other-node", is_ours=False)],
    "Write a configuration directly": [write_parameter(NAME)],
    "Let every server with a fitted policy write configurations": [
        replace_fitted_policy(EVERYTHING),
        write_parameter(NAME, SERVER_USER),
    ],
    "Open the admin window of the role": [replace_window("Role"), write_parameter(NAME, ADMIN_ROLE)],
    "Open the admin window of the user": [replace_window("User"), write_parameter(NAME, ADMIN_USER)],
    "Delete the admin window of the role": [delete_window("Role")],
    "Delete the admin window of the user": [delete_window("User")],
    "Associate the admin profile with any instance": associate(ADMIN_ROLE),
    "Associate an earlier profile of yours with any instance": associate(
        "NAME-OF-AN-EARLIER-PROFILE", "ROLE-OF-AN-EARLIER-PROFILE"
    ),
    "Assume the server role and the admin role": assume(ADMIN_ROLE),
    "Assume the hybrid role": assume(HYBRID_ROLE),
    "Register a server with the hybrid role": register(HYBRID_ROLE),
    "Act as the server users and the admin user": [Step("iam:CreateAccessKey", USER_ARN, USER)],
    "Read access keys saved in Parameter Store": [Step("ssm:GetParameter", f"{SSM}{SAVED[1:]}", {"Name": SAVED})],
    "Replace access keys saved in Parameter Store": [write_parameter(SAVED)],
    "Read access keys saved in Secrets Manager": [
        Step("secretsmanager:GetSecretValue", f"{SECRETS}{SECRET}", {"SecretId": "@secret"})
    ],
    "Replace access keys saved in Secrets Manager": [
        Step("secretsmanager:UpdateSecret", f"{SECRETS}{SECRET}", {"SecretId": "@secret", "SecretString": "x"})
    ],
    "Run any script as root on the admin instance, and with ``apply`` and ``verify`` on every instance": run_script(
        INSTANCE
    ),
    "Run any script as root on every hybrid server": run_script(f"{NODES}@node"),
    "Disassociate the profile of any instance": [
        Step("ec2:DisassociateIamInstanceProfile", INSTANCE, {"AssociationId": "@association"})
    ],
    "Delete access keys of the admin user": [
        Step("iam:DeleteAccessKey", USER_ARN, {**USER, "AccessKeyId": "@access-key"})
    ],
    "Delete access keys of the server users": [
        Step("iam:DeleteAccessKey", SERVER_ARN, {**SERVER, "AccessKeyId": "@server-access-key"})
    ],
    "Deactivate access keys of the server users": [
        Step("iam:UpdateAccessKey", SERVER_ARN, {**SERVER, "AccessKeyId": "@server-access-key", "Status": "Inactive"})
    ],
    "Delete the server users": [Step("iam:DeleteUser", SERVER_ARN, SERVER)],
    "Delete the admin user": [Step("iam:DeleteUser", USER_ARN, USER)],
    "Deregister the hybrid servers": [deregister("@node", is_ours=True)],
    "Delete any activation, even of somebody else": [
        Step("ssm:DeleteActivation", "*", {"ActivationId": "@activation"})
    ],
    "Delete a configuration": [Step("ssm:DeleteParameter", f"{SSM}{NAME}", {"Name": NAME})],
    "Delete the roles": [Step("iam:DeleteRole", ROLE_ARN, ROLE)],
}


YES, NO, WITHOUT = "Yes", "No", "Without the boundary"
SERVER_ATTACKS: dict[str, list[Step]] = {
    "Register a server": register(HYBRID_ROLE, HYBRID_SERVER),
    "Send false metrics": [
        Step(
            "cloudwatch:PutMetricData",
            "*",
            {"Namespace": "CWAgent", "MetricData": [{"MetricName": "mem", "Value": 1}]},
            actor=HYBRID_SERVER,
        )
    ],
    "Read the configurations": [Step("ssm:GetParameter", f"{SSM}{NAME}", {"Name": NAME}, actor=HYBRID_SERVER)],
    "Read a parameter that is not encrypted with a KMS key of yours": [
        Step("ssm:GetParameter", f"{SSM}{SAVED[1:]}", {"Name": SAVED}, actor=HYBRID_SERVER)
    ],
    "Write a configuration": [write_parameter(NAME, HYBRID_SERVER)],
    "Run a script on another server": run_script(INSTANCE, HYBRID_SERVER),
    "Deregister another server": [deregister("@node", HYBRID_SERVER, is_ours=True)],
    "Create an access key": [Step("iam:CreateAccessKey", USER_ARN, USER, actor=HYBRID_SERVER)],
}


def rows(title: str) -> dict[str, list[str]]:
    """By attack, the other cells of a row."""
    [found] = re.findall(
        rf"^\.\. csv-table:: {title}$.*?\n\n(.*?)\n\n(?=\S)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    listed = csv.reader(io.StringIO(textwrap.dedent(found)), skipinitialspace=True, strict=True)
    cells = ([" ".join(cell.split()) for cell in row] for row in listed)
    return {attack: others for attack, *others in cells}


def table() -> dict[str, tuple[str, set[str], set[str]]]:
    """By attack the cell with the calls, and the duties that could do it without the boundary and with it."""
    result = {}
    for attack, (calls, cell) in rows("Attacks with stolen credentials of the controller").items():
        duties = set(re.findall(r"``(.+?)``", cell))
        assert duties or cell == "Nobody"
        result[attack] = calls, duties, set() if cell.endswith(", without the boundary") else duties
    return result


def server_table() -> dict[str, list[str]]:
    """By attack the call, and whether a session and an activation code allow it."""
    return rows("Attacks with stolen credentials of a hybrid server")


@pytest.fixture(scope="module")
def account(aws: Emulator, request: pytest.FixtureRequest) -> Account:
    """:param request: whether it has the boundary."""
    aws.reset()
    created = create_account(aws, bounded=request.param)
    aws.save("account")
    return created


def create_account(aws: Emulator, *, bounded: bool) -> Account:
    iam, ssm, credentials = aws.client("iam"), aws.client("ssm"), {}
    iam.create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=json.dumps(BOUNDARY))
    boundary = {"PermissionsBoundary": BOUNDARY_ARN} if bounded else {}
    window = {"PolicyName": WINDOW_POLICY, "PolicyDocument": json.dumps(closed_policy())}
    trust = json.dumps(Ec2Trust().new_policy())
    iam.create_role(RoleName=ADMIN_ROLE, AssumeRolePolicyDocument=trust, **boundary)
    iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=f"{AWS_POLICY}CloudWatchAgentAdminPolicy")
    iam.create_instance_profile(InstanceProfileName=ADMIN_ROLE)
    iam.add_role_to_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)
    iam.put_role_policy(RoleName=ADMIN_ROLE, **window)
    trust = json.dumps(HybridTrust("aws", ACCOUNT, frozenset({REGION})).new_policy())
    iam.create_role(RoleName=HYBRID_ROLE, AssumeRolePolicyDocument=trust, **boundary)
    for policy in HYBRID_POLICIES:
        iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=policy)
    for user in (ADMIN_USER, SERVER_USER, "controller", OTHER):
        iam.create_user(UserName=user, **(boundary if user in (ADMIN_USER, SERVER_USER) else {}))
        credentials[user] = dict(iam.create_access_key(UserName=user)["AccessKey"])
    iam.put_user_policy(UserName=ADMIN_USER, **window)
    fitted = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ec2:DescribeTags", "Resource": "*"}],
    }
    name, document = FITTED_POLICIES["server"], json.dumps(fitted)
    iam.create_policy(PolicyName=name, Path=FITTED_PATH, PolicyDocument=document)
    iam.attach_user_policy(UserName=SERVER_USER, PolicyArn=FITTED_ARN)
    iam.put_user_policy(UserName=OTHER, PolicyName="P", PolicyDocument=json.dumps(EVERYTHING))
    [instance] = aws.instances(1)
    aws.client("ec2").create_tags(Resources=[instance], Tags=[ADMIN_TAG])
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
        "@activation": ssm.create_activation(IamRole=HYBRID_ROLE)["ActivationId"],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, tags in (("@node", [{"Key": MARK_TAG, "Value": CREATED}]), ("@other-node", [])):
            activation = ssm.create_activation(IamRole=HYBRID_ROLE, Tags=tags)
            ids[name] = aws.host(Path(folder) / name).register(activation, REGION)
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
    """For example, principals that were created before it was required. A policy that they already have can change."""
    emulated, simulated = find_successful(account, simulator, [*DOCUMENTS.values(), REQUIRE])
    changes = {attack for attack, steps in ATTACKS.items() if any(step.context is BOUNDED for step in steps)}
    by_content = {attack for attack, steps in ATTACKS.items() if steps[0].action == "iam:CreatePolicyVersion"}
    assert emulated == simulated == (ATTACKS.keys() - ESCALATION - changes) | by_content


def test_the_table_of_hybrid_servers_and_its_attacks_are_the_same():
    assert list(server_table()) == list(SERVER_ATTACKS)
    for attack, (call, *_) in server_table().items():
        assert call == f"``{SERVER_ATTACKS[attack][0].action}``"


def register_host(account: Account, root: Path, activation: dict[str, Any]) -> Host:
    """Register a host, and get its session."""
    host = account.aws.host(root)
    host.register(activation, REGION)
    host.restart()
    return host


@pytest.mark.parametrize("account", [False, True], ids=["without the boundary", "with the boundary"], indirect=True)
def test_a_stolen_session_and_a_stolen_code_allow_the_attacks_in_the_table(account, simulator, tmp_path):
    activation = account.aws.client("ssm").create_activation(IamRole=HYBRID_ROLE, RegistrationLimit=1)
    thief = register_host(account, tmp_path / "thief", activation)
    with pytest.raises(RuntimeError, match="RegistrationLimitExceeded"):
        account.aws.host(tmp_path / "server").register(activation, REGION)
    server = register_host(
        account, tmp_path / "server", account.aws.client("ssm").create_activation(IamRole=HYBRID_ROLE)
    )
    iam = account.aws.client("iam")
    policies = [
        iam.get_policy_version(PolicyArn=arn, VersionId=iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"])
        for arn in HYBRID_POLICIES
    ]
    documents = [each["PolicyVersion"]["Document"] for each in policies]
    allowed = {NO: False, YES: True, WITHOUT: not account.bounded}
    for column, host in ((1, server), (2, thief)):
        account.credentials[HYBRID_SERVER] = host.session()
        # A code registers one server, which the thief has done.
        expected = {attack: allowed[cells[column].replace("Once", NO)] for attack, cells in server_table().items()}
        emulated, simulated = {}, {}
        for attack, steps in SERVER_ATTACKS.items():
            emulated[attack] = all(step.is_allowed(account) for step in steps)
            simulated[attack] = all(simulator.decide(step.to_request(account, documents) for step in steps))
        assert (emulated, simulated) == (expected, expected)


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
            account.aws.restore("account")
    return emulated, simulated

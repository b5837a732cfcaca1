"""Each unkind behaviour of AWS, as a client sees it, and that it ends."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from emulator import AS_AWS, Behaviour, Emulator

HOUR = 3600
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
HYBRID_TRUST = TRUST.replace("ec2.", "ssm.")
READER = "arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess"
ONCE = Config(retries={"total_max_attempts": 1})


@dataclass
class Caller:
    """A user with all permissions, whose client does not retry. :param found: values for the next step."""

    aws: Emulator
    key: dict[str, str]
    instance: str
    found: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def created(cls, aws: Emulator) -> Caller:
        iam = aws.client("iam")
        iam.create_user(UserName="controller")
        iam.attach_user_policy(UserName="controller", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        key = iam.create_access_key(UserName="controller")["AccessKey"]
        iam.create_role(RoleName="old", AssumeRolePolicyDocument=TRUST)
        iam.create_user(UserName="old")
        return cls(aws, key, aws.instances(1)[0])

    def client(self, service: str, region: str | None = None, key: dict[str, str] | None = None) -> Any:
        return self.aws.client(service, region, key or self.key, ONCE)

    @property
    def iam(self) -> Any:
        return self.client("iam")

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    def create_role(self, name: str, trust: str = TRUST) -> None:
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)

    def create_profile(self, name: str, role: str) -> None:
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)

    def associate(self, profile: str) -> None:
        answer = self.ec2.associate_iam_instance_profile(InstanceId=self.instance, IamInstanceProfile={"Name": profile})
        self.found["association"] = answer["IamInstanceProfileAssociation"]["AssociationId"]

    def replace(self, profile: str) -> None:
        association = self.found["association"]
        self.ec2.replace_iam_instance_profile_association(
            AssociationId=association, IamInstanceProfile={"Name": profile}
        )

    def put(self, name: str = "p", value: str = "v", tier: str = "Standard") -> None:
        self.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True, Tier=tier)

    def create_key(self, user: str) -> None:
        self.found["key"] = self.iam.create_access_key(UserName=user)["AccessKey"]

    def create_user(self, name: str) -> None:
        self.iam.create_user(UserName=name)

    def attach_reader(self, user: str) -> None:
        self.iam.attach_user_policy(UserName=user, PolicyArn=READER)

    def attach_reader_to_role(self, role: str) -> None:
        self.iam.attach_role_policy(RoleName=role, PolicyArn=READER)

    def use_key(self) -> None:
        self.client("sts", key=self.found["key"]).get_caller_identity()

    def read_with_key(self) -> None:
        self.client("ssm", key=self.found["key"]).get_parameters(Names=["p"])

    def tag(self, key: str) -> None:
        self.iam.tag_role(RoleName="old", Tags=[{"Key": key, "Value": ""}])

    def tag_instance(self) -> None:
        self.ec2.create_tags(Resources=[self.instance], Tags=[{"Key": "a", "Value": "b"}])

    def tags(self) -> int:
        return len(self.iam.list_role_tags(RoleName="old")["Tags"])

    def instance_tags(self) -> int:
        return len(self.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [self.instance]}])["Tags"])

    def create_node(self) -> None:
        """Make Systems Manager reach the instance."""
        self.iam.attach_role_policy(RoleName="old", PolicyArn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
        self.create_profile("node", "old")
        self.associate("node")

    def send(self) -> None:
        sent = self.client("ssm").send_command(
            InstanceIds=[self.instance],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": ["true"]},
            TimeoutSeconds=24 * HOUR,
        )
        self.found["command"] = sent["Command"]["CommandId"]

    def is_pending(self) -> bool:
        found = self.client("ssm").get_command_invocation(CommandId=self.found["command"], InstanceId=self.instance)
        return bool(found["Status"] == "Pending")

    def ping(self) -> list[str]:
        found = self.client("ssm").describe_instance_information()["InstanceInformationList"]
        return [each["PingStatus"] for each in found]

    def activate(self) -> None:
        self.found["activation"] = self.client("ssm").create_activation(IamRole="hybrid")

    def deregister(self) -> None:
        """Register a hybrid server, and deregister it while it has a session."""
        with tempfile.TemporaryDirectory() as folder:
            host = self.aws.host(Path(folder))
            self.activate()
            node = host.register(self.found["activation"], self.aws.region)
            host.restart()
            self.found["session"] = host.session()
        self.client("ssm").deregister_managed_instance(InstanceId=node)

    def has_session(self) -> bool:
        sts = self.client("sts", key=self.found["session"])
        return ":assumed-role/hybrid/mi-" in result(lambda _: sts.get_caller_identity()["Arn"], self)

    def last_use(self) -> bool:
        used = self.iam.get_access_key_last_used(AccessKeyId=self.found["key"]["AccessKeyId"])
        return "LastUsedDate" in used["AccessKeyLastUsed"]


Step = Callable[[Caller], Any]


def steps(*each: Step) -> Step:
    """One step of several; the last one gives the result."""
    return lambda caller: [step(caller) for step in each][-1]


def put_many(caller: Caller) -> None:
    """Write so many parameters that some second has more than three writes, however busy the machine is."""
    try:
        caller.put("first")
    except ClientError as error:
        raise AssertionError("nothing was written in the second before") from error
    for number in range(50):
        caller.put(str(number))


def delete_secret(caller: Caller) -> None:
    client = caller.client("secretsmanager")
    client.create_secret(Name="s", SecretString="v")
    client.delete_secret(SecretId="s", ForceDeleteWithoutRecovery=True)


def create_secret(caller: Caller) -> None:
    caller.client("secretsmanager").create_secret(Name="s", SecretString="v")


def read_secret(caller: Caller) -> None:
    caller.client("secretsmanager").get_secret_value(SecretId="s")


def global_token(caller: Caller) -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    caller.aws.client("iam").create_role(RoleName="assumed", AssumeRolePolicyDocument=json.dumps(trust))
    caller.aws.client("iam").attach_role_policy(
        RoleName="assumed", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
    )
    sts = caller.client("sts", "us-east-1")
    caller.found["token"] = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/assumed", RoleSessionName="session"
    )["Credentials"]


def use_token(caller: Caller) -> None:
    caller.client("ec2", "eu-south-1", caller.found["token"]).describe_instances()


def metadata_code(caller: Caller) -> Any:
    return caller.aws.instance_credentials(caller.instance)["Code"]


def do(method: str, *arguments: str) -> Step:
    """A step that calls a method of the caller."""
    return lambda caller: getattr(caller, method)(*arguments)


@dataclass(frozen=True)
class Case:
    """The effect of a behaviour.

    :param prepare: the calls that are made first, while it is on.
    :param step: the step that it affects.
    :param unkind: the result of the step with it: an error code, or the value that the step returns.
    :param kind: the result without it, which the step has after some hours.
    :param ends: whether it has.
    """

    behaviour: Behaviour
    prepare: Step
    step: Step
    unkind: Any
    kind: Any = None
    ends: bool = True

    def __str__(self) -> str:
        return f"{self.behaviour}-{self.unkind}"


NOTHING = do("tags")  # it reads and affects nothing
SENT = steps(do("create_node"), do("send"))
PROFILE, ASSOCIATED = do("create_profile", "p", "old"), steps(do("create_profile", "p", "old"), do("associate", "p"))
NEW_ROLE = steps(do("create_role", "new"), do("create_profile", "p", "new"), do("associate", "p"))
HYBRID_ROLE = do("create_role", "hybrid", HYBRID_TRUST)
READ_WITH_KEY = steps(do("create_key", "old"), do("attach_reader", "old"))
USED_KEY = steps(do("create_key", "old"), do("last_use"), do("use_key"))
TAGGED = steps(do("instance_tags"), do("tag_instance"))
CASES = [
    Case(Behaviour.STALE_READS, steps(do("tags"), do("tag", "a")), do("tags"), unkind=0, kind=1),
    Case(Behaviour.STALE_READS, TAGGED, do("instance_tags"), unkind=0, kind=1),
    Case(Behaviour.STALE_READS, USED_KEY, do("last_use"), unkind=False, kind=True),
    Case(Behaviour.NEW_ENTITIES, do("create_role", "new"), do("attach_reader_to_role", "new"), unkind="NoSuchEntity"),
    Case(Behaviour.NEW_ENTITIES, HYBRID_ROLE, do("activate"), unkind="ValidationException"),
    Case(Behaviour.LATE_PERMISSIONS, READ_WITH_KEY, do("read_with_key"), unkind="AccessDeniedException"),
    Case(Behaviour.NEW_KEYS, do("create_key", "old"), do("use_key"), unkind="InvalidClientTokenId"),
    Case(
        Behaviour.ASSOCIATIONS,
        steps(ASSOCIATED, do("replace", "p")),
        do("replace", "p"),
        unkind="IncorrectState",
        ends=False,
    ),
    Case(Behaviour.NEW_PROFILES, PROFILE, do("associate", "p"), unkind="InvalidParameterValue"),
    Case(Behaviour.UNAUTHORIZED_ROLES, NEW_ROLE, metadata_code, "AssumeRoleUnauthorizedAccess", "Success"),
    Case(Behaviour.TOO_MANY_UPDATES, do("put"), do("put"), unkind="TooManyUpdates"),
    Case(Behaviour.PARAMETER_RATE, NOTHING, put_many, unkind="ThrottlingException", ends=False),
    *(
        Case(Behaviour.PARAMETER_LIMITS, NOTHING, do("put", *parameter), unkind="ValidationException", ends=False)
        for parameter in (
            *(("p", "{{p}}"), ("p", "é" * 2049), ("p", "x" * 8193, "Advanced")),
            *(("a b", "v"), ("x" * 1000, "v")),
        )
    ),
    Case(
        Behaviour.CONCURRENT_MODIFICATION,
        NOTHING,
        do("create_role", "new"),
        unkind="ConcurrentModification",
        ends=False,
    ),
    Case(
        Behaviour.UNMODIFIABLE_USERS,
        do("create_user", "new"),
        do("create_key", "new"),
        unkind="EntityTemporarilyUnmodifiable",
    ),
    Case(Behaviour.DELETED_SECRETS, delete_secret, create_secret, unkind="InvalidRequestException"),
    Case(Behaviour.DELETED_SECRETS, delete_secret, read_secret, "InvalidRequestException", "ResourceNotFoundException"),
    Case(Behaviour.OPT_IN_REGIONS, global_token, use_token, unkind="AuthFailure", ends=False),
    Case(Behaviour.LATE_INVOCATIONS, SENT, do("is_pending"), unkind="InvocationDoesNotExist", kind=False),
    Case(Behaviour.LATE_DELIVERIES, SENT, do("is_pending"), unkind=True, kind=False),
    Case(Behaviour.AWAY_AGENTS, do("create_node"), do("ping"), unkind=[], kind=["Online"]),
    Case(Behaviour.LASTING_SESSIONS, steps(HYBRID_ROLE, do("deregister")), do("has_session"), unkind=True, kind=False),
]


def result(step: Step, caller: Caller) -> Any:
    try:
        return step(caller)
    except ClientError as error:
        return error.response["Error"]["Code"]


def test_every_behaviour_has_a_case(aws: Emulator) -> None:
    assert {case.behaviour for case in CASES} == set(AS_AWS) == set(Behaviour)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_behaviour_alone_has_its_effect_and_ends(aws: Emulator, case: Case) -> None:
    caller = Caller.created(aws)
    aws.be_unkind(case.behaviour, seconds=HOUR, chance=1)
    case.prepare(caller)
    assert result(case.step, caller) == case.unkind
    aws.shift_clock(20 * HOUR)
    assert result(case.step, caller) == (case.kind if case.ends else case.unkind)


def test_root_is_exempt(aws: Emulator) -> None:
    aws.be_unkind(*AS_AWS, seconds=HOUR, chance=1)
    iam, ssm = aws.client("iam"), aws.client("ssm")
    iam.create_user(UserName="u")
    iam.create_access_key(UserName="u")
    for value in "abcd":
        ssm.put_parameter(Name="p", Value=value, Type="String", Overwrite=True)
    assert [call.unkind for call in aws.calls() if call.unkind] == []


def test_the_call_log_names_the_behaviour(aws: Emulator) -> None:
    caller = Caller.created(aws)
    aws.be_unkind(Behaviour.TOO_MANY_UPDATES, seconds=HOUR)
    mark = aws.mark()
    caller.put()
    assert result(Caller.put, caller) == "TooManyUpdates"
    assert [call.unkind for call in aws.calls(mark)] == ["", "too_many_updates"]


def test_a_reset_switches_all_behaviours_off(aws: Emulator) -> None:
    aws.be_unkind(Behaviour.TOO_MANY_UPDATES, seconds=HOUR)
    aws.reset()
    caller = Caller.created(aws)
    caller.put()
    caller.put()


def test_the_same_seed_has_the_same_effects(aws: Emulator) -> None:
    def codes(seed: int) -> list[Any]:
        aws.reset()
        caller = Caller.created(aws)
        aws.be_unkind(Behaviour.CONCURRENT_MODIFICATION, seed=seed, chance=0.5)
        return [result(partial(Caller.create_role, name=name), caller) for name in "abcdefghij"]

    assert codes(1) == codes(1) != codes(2)


def test_a_change_that_became_visible_stays_visible(aws: Emulator) -> None:
    """The second write makes the first one's answers no older than they were."""
    caller = Caller.created(aws)
    aws.be_unkind(Behaviour.STALE_READS, seconds=HOUR, chance=1)
    assert caller.tags() == 0
    caller.tag("a")
    aws.shift_clock(2 * HOUR)
    caller.tag("b")
    assert caller.tags() == 2
    caller.tag("c")
    assert caller.tags() == 2


def test_a_write_affects_no_answers_about_others(aws: Emulator) -> None:
    caller = Caller.created(aws)
    aws.be_unkind(Behaviour.STALE_READS, seconds=HOUR, chance=1)
    assert caller.tags() == 0
    caller.create_role("new")
    aws.client("iam").tag_role(RoleName="old", Tags=[{"Key": "a", "Value": ""}])
    assert caller.tags() == 1


def test_associating_again_gives_an_instance_its_credentials(aws: Emulator) -> None:
    caller = Caller.created(aws)
    aws.be_unkind(Behaviour.UNAUTHORIZED_ROLES, seconds=HOUR, chance=1)
    caller.create_role("new")
    caller.create_profile("p", "new")
    caller.associate("p")
    aws.shift_clock(8 * HOUR)  # the role is no longer new, and the next scheduled refresh is later
    assert metadata_code(caller) == "AssumeRoleUnauthorizedAccess"
    caller.replace("p")
    assert metadata_code(caller) == "Success"

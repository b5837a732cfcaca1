"""Sides of AWS that the emulators lack, and that make calls fail or answer late. Each is a separate behaviour.

``Emulator.be_unkind(*behaviours)`` switches behaviours on. Root's calls are exempt, so that a test prepares
and looks at the account undisturbed. All delays are a few seconds by the clock of the backend; on AWS most are minutes.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any

from . import wire
from .wire import Call, ErrorAnswer

Params = dict[str, Any]

DELAY_SECONDS = 2.0
PASSED_AROUND = ("InstanceProfileName", "RoleName", "UserName", "AccessKeyId")
"""The parameters of IAM that identify the changed thing."""
OK = 200


class Behaviour(StrEnum):
    """A way in which AWS is less kind than an emulator."""

    STALE_READS = "stale_reads"
    """Some reads of IAM and EC2 answer as before the latest write. A change that was visible once stays visible."""
    NEW_ENTITIES = "new_entities"
    """A new role, user or instance profile is not found by some calls."""
    LATE_PERMISSIONS = "late_permissions"
    """A permission that was given to a principal does not yet allow some of its calls."""
    NEW_KEYS = "new_keys"
    """An access key that was created or activated is not yet known to some calls."""
    ASSOCIATIONS = "associations"
    """An association that was replaced is not the active one."""
    NEW_PROFILES = "new_profiles"
    """EC2 does not know a new instance profile, or its role."""
    UNAUTHORIZED_ROLES = "unauthorized_roles"
    """An instance that was associated with a new role has no credentials until the next refresh or association."""
    TOO_MANY_UPDATES = "too_many_updates"
    """Parameter Store rejects a second write of a parameter within a second."""
    PARAMETER_RATE = "parameter_rate"
    """Parameter Store throttles more than three PutParameter calls a second."""
    PARAMETER_LIMITS = "parameter_limits"
    """Parameter Store rejects ``{{``, too long values and invalid names."""
    CONCURRENT_MODIFICATION = "concurrent_modification"
    """IAM rejects some writes, because another change is in progress."""
    UNMODIFIABLE_USERS = "unmodifiable_users"
    """IAM rejects some changes of the credentials of a new user."""
    DELETED_SECRETS = "deleted_secrets"
    """The name of a deleted secret is not free at once."""
    OPT_IN_REGIONS = "opt_in_regions"
    """Opt-in regions reject tokens of the global endpoint of STS."""
    LATE_INVOCATIONS = "late_invocations"
    """Systems Manager does not know a new command."""
    LATE_DELIVERIES = "late_deliveries"
    """A command reaches its instances late."""
    AWAY_AGENTS = "away_agents"
    """The SSM agent is offline after another instance profile was associated, or a hybrid server was registered."""
    LASTING_SESSIONS = "lasting_sessions"
    """Credentials of a hybrid server outlive its registration, and the trust that gave them, until they expire."""


AS_AWS = tuple(Behaviour)


@dataclass(frozen=True)
class Answer:
    """An answer of the backend."""

    body: bytes
    status: int
    content_type: str


@dataclass
class Dice:
    """Random events. :param chance: the probability of an event. By default, each behaviour has its own."""

    random: Random
    seconds: float
    chance: float | None
    now: Callable[[], float]

    def happens(self, chance: float) -> bool:
        return self.random.random() < (chance if self.chance is None else self.chance)

    def until(self, scale: float = 1.0) -> float:
        """The end of a delay that begins now."""
        return self.now() + self.random.uniform(0.5, 1.0) * self.seconds * scale


@dataclass
class Rule:
    """One behaviour. ``refuse`` gets each call before the backend does. ``observe`` gets the backend's answer."""

    dice: Dice

    def refuse(self, call: Call, params: Params, /) -> ErrorAnswer | Answer | None:
        """The answer that the caller gets instead; ``None`` when the backend answers."""

    def observe(self, call: Call, params: Params, answer: Answer, /) -> None:
        """Record an answer of the backend."""

    def is_delayed(self, name: str, /) -> bool:
        """Whether the emulator's own work on a thing has to wait."""
        return False


@dataclass
class Delays:
    """By name, the ends of delays. :param scale: how much longer than most they are."""

    dice: Dice
    scale: float = 1.0
    ends: dict[str, float] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        self.ends[name] = self.dice.until(self.scale)

    def end(self, name: str) -> None:
        self.ends.pop(name, None)

    def is_running(self, name: object) -> bool:
        return self.ends.get(str(name), 0.0) > self.dice.now()


class StaleReads(Rule):
    """Repeats answers from before a write.

    ``fresh`` has the answers since the latest write of the same thing, ``old`` those from before it, with the ends of
    their time. So an old answer has all earlier changes whose own time has ended.
    """

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.fresh: dict[str, tuple[Call, Params, Answer]] = {}
        self.old: dict[str, list[tuple[float, Answer]]] = defaultdict(list)
        self.used: set[str] = set()

    def refuse(self, call: Call, params: Params) -> Answer | None:
        now, key = self.dice.now(), _key(call, params)
        self.old[key] = [(end, answer) for end, answer in self.old[key] if end > now]
        if self.old[key] and self.dice.happens(0.5):
            return self.dice.random.choice(self.old[key])[1]
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.service in ("iam", "ec2"):
            if call.write and answer.status == OK:
                self._age(call.service, call.region, _names(params))
            elif not call.write and answer.status in (OK, 404):
                self.fresh[_key(call, params)] = (call, params, answer)
        if call.access_key not in self.used:  # the first use of a key is recorded late
            self.used.add(call.access_key)
            self._age("iam", "", {f"AccessKeyId {call.access_key}"}, "GetAccessKeyLastUsed")

    def _age(self, service: str, region: str, names: set[str], action: str = "") -> None:
        """Make the answers about a changed thing old. EC2 has few writes, so all of a region are about one thing."""
        end = self.dice.until()
        for key, (call, params, answer) in list(self.fresh.items()):
            about = _names(params)
            is_same = call.region == region if service == "ec2" else not about or bool(about & names)
            if call.service == service and is_same and action in ("", call.action):
                self.old[key].append((end, answer))
                del self.fresh[key]


class NewEntities(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.new = Delays(dice)

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action == "CreateActivation" and self._is_unknown("RoleName", params["IamRole"].rpartition("/")[2]):
            reason = "Nonexistent role or missing ssm service principal in trust policy"
            return ErrorAnswer("ValidationException", f"{reason}: {params['IamRole']}")
        if call.service != "iam" or call.action in CREATIONS:
            return None
        for kind, message in NOT_FOUND.items():
            name = params.get(kind)
            if self._is_unknown(kind, name):
                return ErrorAnswer("NoSuchEntity", message.format(name), 404)
        return None

    def _is_unknown(self, kind: str, name: object) -> bool:
        return self.new.is_running(f"{kind} {name}") and self.dice.happens(0.3)

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action in CREATIONS and answer.status == OK:
            kind = CREATIONS[call.action]
            self.new.begin(f"{kind} {params[kind]}")


CREATIONS = {"CreateRole": "RoleName", "CreateUser": "UserName", "CreateInstanceProfile": "InstanceProfileName"}
NOT_FOUND = {
    "RoleName": "The role with name {} cannot be found.",
    "UserName": "The user with name {} cannot be found.",
    "InstanceProfileName": "Instance Profile {} cannot be found.",
}


class LatePermissions(Rule):
    """Denies calls that the principal did not make successfully before; after an inline policy, writes as well."""

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.written, self.replaced = Delays(dice, scale=6), Delays(dice, scale=6)
        self.allowed: set[tuple[str, str]] = set()

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        principal, action = _principal(call), f"{call.service}:{call.action}"
        was_denied = call.write and self.replaced.is_running(principal)
        is_new = self.written.is_running(principal) and (principal, action) not in self.allowed
        if call.service == "sts" or not (was_denied or is_new) or not self.dice.happens(0.7):
            return None
        denied = wire.denied(call)
        if not was_denied:
            return denied
        reason = "with an explicit deny in an identity-based policy"
        return replace(denied, message=re.sub("because no identity-based policy allows .*", reason, denied.message))

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if answer.status != OK:
            return
        self.allowed.add((_principal(call), f"{call.service}:{call.action}"))
        name = f"role {params.get('RoleName')}" if "RoleName" in params else f"user {params.get('UserName')}"
        if call.action in ("AttachRolePolicy", "AttachUserPolicy"):
            self.written.begin(name)
        elif call.action in ("PutRolePolicy", "PutUserPolicy"):
            self.replaced.begin(name)


class NewKeys(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.new = Delays(dice, scale=2)

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if self.new.is_running(call.access_key) and self.dice.happens(0.7):
            return wire.unknown_token(call)
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action == "CreateAccessKey" and answer.status == OK:
            found = re.search(rb"<AccessKeyId>(\w+)<", answer.body)
            assert found
            self.new.begin(found[1].decode())
        if call.action == "UpdateAccessKey" and params["Status"] == "Active":
            self.new.begin(params["AccessKeyId"])


class Associations(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.replaced: set[str] = set()

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action == REPLACE and params["AssociationId"] in self.replaced:
            message = f"The association {params['AssociationId']} is not the active association"
            return ErrorAnswer("IncorrectState", message)
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action == REPLACE and answer.status == OK:
            self.replaced.add(params["AssociationId"])


ASSOCIATE = "AssociateIamInstanceProfile"
REPLACE = "ReplaceIamInstanceProfileAssociation"
PROFILE = "IamInstanceProfile.Name"


class NewProfiles(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.new, self.without_role = Delays(dice, scale=2), Delays(dice, scale=2)

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action not in (ASSOCIATE, REPLACE):
            return None
        name = params.get(PROFILE)
        where = f"Value ({name}) for parameter iamInstanceProfile.name is invalid."
        if self.new.is_running(name):
            return ErrorAnswer("InvalidParameterValue", f"{where} Invalid IAM Instance Profile name")
        if self.without_role.is_running(name):
            message = f"{where} IAM Instance Profile has no associated IAM Roles"
            return ErrorAnswer("InvalidParameterValue", message)
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        delays = {"CreateInstanceProfile": self.new, "AddRoleToInstanceProfile": self.without_role}
        if call.action in delays and answer.status == OK:
            delays[call.action].begin(params["InstanceProfileName"])


class UnauthorizedRoles(Rule):
    """The role is new for some seconds. The instance has no credentials for longer, unless it is associated again."""

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.new, self.without_credentials = Delays(dice, scale=8), Delays(dice, scale=16)
        self.roles: dict[str, str] = {}

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if answer.status != OK:
            return
        if call.action == "CreateRole":
            self.new.begin(params["RoleName"])
        elif call.action == "AddRoleToInstanceProfile":
            self.roles[params["InstanceProfileName"]] = params["RoleName"]
        elif call.action in (ASSOCIATE, REPLACE):
            found = re.search(rb"<instanceId>([\w-]+)<", answer.body)
            assert found
            instance = found[1].decode()
            self.without_credentials.end(instance)
            if self.new.is_running(self.roles.get(params.get(PROFILE, ""))) and self.dice.happens(0.5):
                self.without_credentials.begin(instance)

    def is_delayed(self, name: str) -> bool:
        """Whether EC2 could not assume the role of an instance when it was associated."""
        return self.without_credentials.is_running(name)


class TooManyUpdates(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.latest: dict[tuple[str, str], float] = {}

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action != "PutParameter":
            return None
        if self.dice.now() - self.latest.get((call.region, params["Name"]), 0.0) < 1.0:
            return ErrorAnswer(
                "TooManyUpdates", "There are concurrent updates for a resource that supports one at once"
            )
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action in ("PutParameter", "DeleteParameter") and answer.status == OK:
            self.latest[call.region, params["Name"]] = self.dice.now()


class ParameterRate(Rule):
    RATE = 3

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.times: dict[str, deque[float]] = defaultdict(lambda: deque([0.0] * self.RATE, self.RATE))

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action != "PutParameter":
            return None
        if self.dice.now() - self.times[call.region][0] < 1.0:
            return ErrorAnswer("ThrottlingException", "Rate exceeded")
        self.times[call.region].append(self.dice.now())
        return None


class ParameterLimits(Rule):
    """https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html"""

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action == "PutParameter":
            for message in _parameter_problems(call, params):
                return ErrorAnswer("ValidationException", message)
        return None


ARN_LENGTH = 1011
STANDARD_BYTES, ADVANCED_BYTES = 4096, 8192


def _parameter_problems(call: Call, params: Params) -> Iterator[str]:
    name, size = params["Name"], len(params["Value"].encode())
    partition, account = (call.principal.split(":") * 5)[1:5:3]
    arn = f"arn:{partition}:ssm:{call.region}:{account}:parameter/{name.lstrip('/')}"
    if not re.fullmatch(r"[\w.\-/]+", name, re.ASCII):
        yield "Parameter name: can't contain other characters than letters, digits and .-_/"
    if len(arn) > ARN_LENGTH or name.strip("/").count("/") >= 15:
        yield "Parameter name: the name, or its hierarchy, is too long"
    if "{{" in params["Value"]:
        yield 'Parameter value: {{...}} can\'t nest another parameter. Do not use "{{}}" in the value.'
    standard = params.get("Tier", "Standard") == "Standard"
    if size > (STANDARD_BYTES if standard else ADVANCED_BYTES):
        more = "To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
        tier, limit = ("Standard", STANDARD_BYTES) if standard else ("Advanced", ADVANCED_BYTES)
        problem = f"{tier} tier parameters support a maximum parameter value of {limit} characters."
        yield f"{problem} {more}" if standard else problem


class ConcurrentModification(Rule):
    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.service == "iam" and call.write and self.dice.happens(0.1):
            message = "The request was rejected because multiple requests to change this object were submitted at once."
            return ErrorAnswer("ConcurrentModification", message, 409)
        return None


class UnmodifiableUsers(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.new = Delays(dice)

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.action not in CREDENTIAL_WRITES or not self.new.is_running(params.get("UserName")):
            return None
        if self.dice.happens(0.5):
            return ErrorAnswer(
                "EntityTemporarilyUnmodifiable", f"User {params['UserName']} cannot be modified now.", 409
            )
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action == "CreateUser" and answer.status == OK:
            self.new.begin(params["UserName"])


CREDENTIAL_WRITES = frozenset(
    f"{verb}{kind}" for verb in ("Create", "Update", "Delete") for kind in ("AccessKey", "LoginProfile")
)


class DeletedSecrets(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.deleted = Delays(dice, scale=10)

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        name = params.get("Name") if call.action == "CreateSecret" else params.get("SecretId")
        if call.service != "secretsmanager" or not self.deleted.is_running(f"{call.region} {name}"):
            return None
        if call.action == "CreateSecret":
            message = "a secret with this name is already scheduled for deletion."
            return ErrorAnswer("InvalidRequestException", f"You can't create this secret because {message}")
        message = "because it was marked for deletion."
        return ErrorAnswer("InvalidRequestException", f"You can't perform this operation on the secret {message}")

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action == "DeleteSecret" and answer.status == OK:
            self.deleted.begin(f"{call.region} {params['SecretId']}")


class OptInRegions(Rule):
    """A token is of the global endpoint when its request was signed for us-east-1."""

    REGIONS = frozenset({"af-south-1", "ap-east-1", "eu-south-1", "eu-south-2", "il-central-1", "me-south-1"})

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.tokens: set[str] = set()

    def refuse(self, call: Call, params: Params) -> ErrorAnswer | None:
        if call.region in self.REGIONS and call.access_key in self.tokens:
            return wire.unknown_token(call)
        return None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        found = re.search(rb"<AccessKeyId>(\w+)<", answer.body)
        if call.service == "sts" and call.region == "us-east-1" and found:
            self.tokens.add(found[1].decode())


class NewCommands(Rule):
    """Delays something about each new command."""

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.new = Delays(dice)

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        if call.action == "SendCommand" and answer.status == OK:
            self.new.begin(json.loads(answer.body)["Command"]["CommandId"])

    def is_delayed(self, name: str) -> bool:
        return self.new.is_running(name)


class LateInvocations(NewCommands):
    def is_delayed(self, name: str) -> bool:
        return super().is_delayed(name) and self.dice.happens(0.7)


class AwayAgents(Rule):
    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.away = Delays(dice, scale=4)

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        found = re.search(rb"<instanceId>([\w-]+)<", answer.body)
        if call.action in (ASSOCIATE, REPLACE) and answer.status == OK and found:
            self.away.begin(found[1].decode())
        if call.action == "RegisterManagedInstance" and answer.status == OK:
            self.away.begin(json.loads(answer.body)["InstanceId"])

    def is_delayed(self, name: str) -> bool:
        return self.away.is_running(name)


class LastingSessions(Rule):
    def is_delayed(self, name: str) -> bool:
        """Whether the sessions of a node last until they expire."""
        return True


RULES: dict[Behaviour, type[Rule]] = {
    Behaviour.NEW_KEYS: NewKeys,
    Behaviour.OPT_IN_REGIONS: OptInRegions,
    Behaviour.LATE_PERMISSIONS: LatePermissions,
    Behaviour.PARAMETER_RATE: ParameterRate,
    Behaviour.PARAMETER_LIMITS: ParameterLimits,
    Behaviour.TOO_MANY_UPDATES: TooManyUpdates,
    Behaviour.STALE_READS: StaleReads,
    Behaviour.NEW_ENTITIES: NewEntities,
    Behaviour.CONCURRENT_MODIFICATION: ConcurrentModification,
    Behaviour.UNMODIFIABLE_USERS: UnmodifiableUsers,
    Behaviour.DELETED_SECRETS: DeletedSecrets,
    Behaviour.NEW_PROFILES: NewProfiles,
    Behaviour.ASSOCIATIONS: Associations,
    Behaviour.UNAUTHORIZED_ROLES: UnauthorizedRoles,
    Behaviour.LATE_INVOCATIONS: LateInvocations,
    Behaviour.LATE_DELIVERIES: NewCommands,
    Behaviour.AWAY_AGENTS: AwayAgents,
    Behaviour.LASTING_SESSIONS: LastingSessions,
}
"""By behaviour, its rule, in the order in which AWS would find a reason: the caller, the rate, the thing."""


class Unkind:
    """The behaviours that are switched on.

    :param seed: the seed of all random events.
    :param seconds: the longest delay of most behaviours.
    :param chance: the probability of a random event. By default, each behaviour has its own.
    """

    def __init__(
        self,
        now: Callable[[], float],
        behaviours: Iterable[str] = (),
        seed: int = 0,
        seconds: float = DELAY_SECONDS,
        chance: float | None = None,
    ) -> None:
        dice = Dice(Random(seed), seconds, chance, now)  # noqa: S311  nothing depends on its being unpredictable
        chosen = {Behaviour(each) for each in behaviours}
        self.rules = {behaviour: rule(dice) for behaviour, rule in RULES.items() if behaviour in chosen}
        self.lock = threading.Lock()

    def refuse(self, call: Call, params: Params) -> tuple[str, Answer | None]:
        """The behaviour that answers instead of the backend, and its answer."""
        if call.identity == "root":
            return "", None
        with self.lock:
            for behaviour, rule in self.rules.items():
                answer = rule.refuse(call, params)
                if isinstance(answer, ErrorAnswer):
                    content_type, text = answer.body(call)
                    answer = Answer(text.encode(), answer.status, content_type)
                if answer is not None:
                    return behaviour, answer
        return "", None

    def observe(self, call: Call, params: Params, answer: Answer) -> None:
        """Record an answer of the backend."""
        if call.identity != "root":
            with self.lock:
                for rule in self.rules.values():
                    rule.observe(call, params, answer)

    def is_delayed(self, behaviour: Behaviour, name: str) -> bool:
        """Whether a behaviour is switched on and delays the emulator's own work on a thing."""
        with self.lock:
            rule = self.rules.get(behaviour)
            return rule is not None and rule.is_delayed(name)


def _key(call: Call, params: Params) -> str:
    return json.dumps([call.service, call.region, call.action, call.access_key, params], sort_keys=True)


def _names(params: Params) -> set[str]:
    return {f"{key} {params[key]}" for key in PASSED_AROUND if key in params}


def _principal(call: Call) -> str:
    """The role or user that makes a call, by its name."""
    if ":assumed-role/" in call.principal:
        return f"role {call.principal.split('/')[1]}"
    return f"user {call.principal.rpartition('/')[2]}"

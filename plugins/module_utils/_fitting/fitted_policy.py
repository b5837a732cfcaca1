# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted policies of the module cwagent_fitted_policy, which follow the stored configurations.

It has the options, the reads from IAM and Parameter Store, and the execution of the steps.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._accounts.covered_versions import (
    WAY_OUT,
    Read,
    Text,
    covered_texts,
    is_ignored,
    known_grants,
    to_sources,
    with_applied,
)
from .._accounts.inventory import read_versions
from .._accounts.model import History
from .._configuration.parameter_plan import ENCRYPTED_TYPE
from .._configuration.policy import Scope, grants_of, needed_statements, take_apart, width_notices
from .._ground import names
from .._ground.call import aws_gateway, gateways
from .._ground.converge import Resource
from .._ground.errors import DENIED_CODES, AwsApiError, InvalidInput
from .._ground.names import FITTED_PATH, FITTED_POLICIES, PARAMETER_PREFIX, tags_as_text
from .._ground.plan import EXISTS_CODES, run_in_parallel
from .._ground.planned import PLANNED_SPEC, Planned
from .._ground.text import join_first
from .._ground.wait import WAIT_SPEC
from .._keys.parameter_store import list_parameters
from .._principals.principal import tags
from .._servers.find_servers import enabled_regions
from .._storing.comparison import read_earlier, validate
from .._storing.options import CONFIGS_SPEC, GivenConfigs
from . import fitted_plan as policy_plan
from .fitted_plan import (
    CHANGED,
    CREATE_POLICY,
    GONE_CODES,
    INVISIBLE,
    NAME_USED,
    SET_DEFAULT,
    STORING_LIFETIME,
    STORING_TAG,
    Check,
    Covered,
    DesiredPolicies,
    FittedPolicy,
    PolicyVersion,
    State,
    names_for,
    not_stored,
    storing_statements,
    storing_times,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._ground.aws import Aws
    from .._ground.call import Call
    from .._ground.plan import Plan, Step


# With these answers, a step has changed nothing, and a retry would not help.
_REFUSED = DENIED_CODES | {"LimitExceeded", "MalformedPolicyDocument", NAME_USED}
_KINDS = {"Role": "role", "User": "user", "Group": "group"}


class FittedPolicies(Resource[State]):
    """The fitted policies of an account.

    :param notices: sentences about permissions that are wider than they seem.
    :param planned: results of earlier tasks. A principal that loses a policy in one of them does not have it.
    """

    _aws: Aws

    def __init__(
        self,
        aws: Aws,
        desired: DesiredPolicies,
        notices: Iterable[str] = (),
        *,
        is_absent: bool = False,
        planned: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(aws)
        self._desired = desired
        self._notices = list(notices)
        self._is_absent = is_absent
        self._detached = Planned(planned).detached

    def read(self) -> State:
        """Read the policies with their tags and all their versions."""
        description = "list the fitted policies"
        pages = self._aws.pages("iam:ListPolicies", description, Scope="Local", PathPrefix=FITTED_PATH)
        listed = {each["PolicyName"]: each["Arn"] for page in pages for each in page["Policies"]}
        names = [name for access in FITTED_POLICIES for name in names_for(access) if name in listed]
        policies = run_in_parallel(lambda name: self._read_policy(name, listed[name]), names)
        return State({name: each for name, each in zip(names, policies) if each}, self._aws.now)

    def _read_policy(self, name: str, arn: str) -> FittedPolicy | None:
        try:
            described = self._aws.call("iam:GetPolicy", f"read policy '{name}'", PolicyArn=arn)["Policy"]
            versions = tuple(self._read_version(arn, *each) for each in self._version_ids(arn))
            holders = self._read_holders(name, arn) if self._is_absent else ()
        except AwsApiError as error:
            if error.code not in GONE_CODES:
                raise
            return None  # it was deleted after the listing
        return FittedPolicy(name, arn, tags(described), versions, holders)

    def _version_ids(self, arn: str) -> list[tuple[str, bool]]:
        pages = self._aws.pages("iam:ListPolicyVersions", f"list the versions of policy {arn}", PolicyArn=arn)
        return [(each["VersionId"], each["IsDefaultVersion"]) for page in pages for each in page["Versions"]]

    def _read_version(self, arn: str, version: str, is_default: bool = False) -> PolicyVersion:
        description = f"read version {version} of policy {arn}"
        answer = self._aws.call("iam:GetPolicyVersion", description, PolicyArn=arn, VersionId=version)
        return PolicyVersion(version, is_default, answer["PolicyVersion"]["Document"], arn)

    def _read_holders(self, name: str, arn: str) -> tuple[tuple[str, str], ...]:
        pages = self._aws.pages("iam:ListEntitiesForPolicy", f"list what has policy '{name}'", PolicyArn=arn)
        return tuple(
            (kind, each[f"{noun}Name"])
            for page in pages
            for noun, kind in _KINDS.items()
            for each in page[f"Policy{noun}s"]
            if (kind, each[f"{noun}Name"], arn) not in self._detached
        )

    def check_preconditions(self, current: State) -> None:
        """Refuse policies that others created."""
        if not self._is_absent:
            policy_plan.check_is_ours(current)

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps to the desired policies."""
        if self._is_absent:
            return policy_plan.plan_absent(current)
        policy_plan.check_is_ours(current)  # another run can have met them first
        return policy_plan.plan(current, self._desired)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes that IAM does not show yet."""
        return policy_plan.remaining(plan, state)

    def is_propagation_error(self, error: AwsApiError) -> bool:
        """Whether a read fails only because one host of AWS does not know about a write yet."""
        return error.code in GONE_CODES

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of permissions that are wide, and of policies that were not narrowed or not deleted."""
        if self._is_absent:
            return [f"not deleted: {each}" for each in policy_plan.blockers(plan.current)]
        reasons = policy_plan.wide_reasons(plan.current, self._desired) if self._desired.narrow else []
        return [
            *self._notices,
            *policy_plan.foreign_warnings(plan, self._desired),
            *(f"The fitted policies were not narrowed: {each}" for each in reasons),
        ]

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the policies for the diff."""
        return policy_plan.to_diff(state, self._desired.covered.known)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the ARNs by access, or why policies are kept."""
        if self._is_absent:
            return {"blockers": policy_plan.blockers(plan.current)}
        return {
            "server_policies": policy_plan.arns_for("server", final),
            "admin_policies": policy_plan.arns_for("admin", final),
        }

    def execute(self, step: Step) -> None:
        """Execute a step. A run that AWS refuses stores nothing, so it removes its tags again."""
        check = step.context or Check()
        try:
            self._execute(step, check)
        except AwsApiError as error:
            if check.undo is None or error.code not in _REFUSED - step.stale_when:
                raise
            try:
                self._aws.execute(check.undo)
                outcome = "The tags of this run were removed again."
            except AwsApiError as second:
                outcome = f"{second} Until then, or for a day, no run narrows the policies."
            raise AwsApiError(f"{error} {outcome}", error.code, error.action, error.explicit_deny) from error

    def _execute(self, step: Step, check: Check) -> None:
        """Execute a step, and with some of them check that no other run was faster."""
        if step.action == CREATE_POLICY:
            self._create(step)
        elif step.action == SET_DEFAULT:
            version = self._aws.retry(lambda: self._find_version(step, check), frozenset({INVISIBLE}))
            self._aws.execute(replace(step, arguments={**step.arguments, "version_id": version}))
        else:
            self._aws.execute(step)
            if check.tags:
                self._aws.retry(lambda: self._check_tags(check), frozenset({INVISIBLE}))
                for arn, known in check.versions.items():
                    if known != {each for each, _is_default in self._version_ids(arn)}:
                        raise _stale()

    def _create(self, step: Step) -> None:
        """Create a policy. :raises AwsApiError: another run was faster, or the name is used with another path."""
        try:
            self._aws.execute(step)
        except AwsApiError as error:
            if error.code not in EXISTS_CODES:
                raise
            name = step.arguments["policy_name"]
            pages = self._aws.pages("iam:ListPolicies", f"find policy '{name}'", Scope="Local")
            arns = [each["Arn"] for page in pages for each in page["Policies"] if each["PolicyName"] == name]
            others = [arn for arn in arns if f":policy{FITTED_PATH}" not in arn]
            if not others:
                raise
            raise AwsApiError(
                f"Could not {step.summary}: policy {others[0]} has this name, and another path than {FITTED_PATH}. A "
                "name can exist once in an account, whatever its path is. Delete this policy, or set "
                "cwagent_server_policy to aws.",
                NAME_USED,
                step.action,
            ) from error

    def _find_version(self, step: Step, check: Check) -> str:
        """Return the version that becomes the default. :raises AwsApiError: another run was faster."""
        arn = step.arguments["policy_arn"]
        ids = {each for each, _is_default in self._version_ids(arn)}
        new = ids - check.versions[arn]
        if not check.versions[arn] <= ids or len(new) > (0 if check.version else 1):
            raise _stale()
        if not check.version and not new:
            raise AwsApiError(f"Could not {step.summary}: IAM does not show the version.", INVISIBLE)
        version = check.version or next(iter(new))
        if grants_of(self._read_version(arn, version).statements) != grants_of(check.statements):
            raise _stale()
        if check.record and check.tags != self._storing_tags(check.record):
            raise _stale()
        return version

    def _storing_tags(self, arn: str) -> dict[str, str]:
        policy = self._aws.call("iam:GetPolicy", f"read the tags of policy {arn}", PolicyArn=arn)["Policy"]
        return {key: value for key, value in tags(policy).items() if key.startswith(STORING_TAG)}

    def _check_tags(self, check: Check) -> None:
        if not (check.tags or {}).items() <= self._storing_tags(check.record).items():
            raise AwsApiError("IAM does not show the tags yet.", INVISIBLE)


def _stale() -> AwsApiError:
    return AwsApiError("Another run changed the fitted policies at the same time.", CHANGED)


@dataclass(frozen=True)
class Stored:
    """A stored configuration, or a part of one. :param history: its versions with their texts."""

    history: History
    is_encrypted: bool


def read_stored(aws_in: Mapping[str, Aws], ignored: Collection[str]) -> list[Stored]:
    """Read all configurations of some regions.

    :param aws_in: by region, the gateway to it.
    :param ignored: the parameters to leave out.
    :raises InvalidInput: a region or a parameter cannot be read. The message lists all of them.
    """
    for aws in aws_in.values():
        aws.client("ssm")  # not in the threads: amazon.aws ends the module if it cannot make a client

    def list_in(region: str) -> list[tuple[str, str, str]] | str:
        try:
            found = list_parameters(aws_in[region], [PARAMETER_PREFIX], f"list the configurations in {region}")
        except AwsApiError as error:
            return f"{error} Or leave this region out with read_regions."
        return [(region, each["Name"], each["Type"]) for each in found if not is_ignored(region, each["Name"], ignored)]

    def read(parameter: tuple[str, str, str]) -> Stored | str:
        region, name, kind = parameter
        try:
            versions = read_versions(aws_in[region], name, decrypt=kind == ENCRYPTED_TYPE)
        except AwsApiError as error:
            return f"Parameter '{name}' in {region}: {error} {WAY_OUT}"
        return Stored(History(name, region, versions), kind == ENCRYPTED_TYPE)

    listed = run_in_parallel(list_in, aws_in)
    parameters = [each for found in listed if not isinstance(found, str) for each in found]
    stored = run_in_parallel(read, parameters)
    problems = [each for each in [*listed, *stored] if isinstance(each, str)]
    if problems:
        raise InvalidInput(f"No fitted policy is possible. {' '.join(problems)}")
    return [each for each in stored if not isinstance(each, str)]


SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **CONFIGS_SPEC,
    "read_regions": {"type": "list", "elements": "str", "default": []},
    "ignored_parameters": {"type": "list", "elements": "str", "default": []},
    "narrow": {"type": "bool", "default": False},
    "create": {"type": "bool", "default": True},
    "tags": {"type": "dict", "default": {}},
    **PLANNED_SPEC,
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {}
_MAX_LISTED = 5
_NOTHING = (
    "No fitted policy is possible: neither configs nor Parameter Store in {} has a configuration whose name begins "
    f"with {names.PARAMETER_PREFIX} and that ignored_parameters does not list. Store one first, or use AWS's policy."
)


def resource(call: Call) -> FittedPolicies:
    """Return the policies of the account with their desired state, for which this reads Parameter Store.

    :raises InvalidInput: an option is not valid, or there is no fitted policy for the configurations.
    """
    params, aws = call.params, aws_gateway(call)
    tags = tags_as_text(params["tags"])
    names.check_tags(tags)
    identity = aws.call("sts:GetCallerIdentity", "read which account this is")
    partition, account = identity["Arn"].split(":")[1], identity["Account"]
    if params["state"] == "absent":
        return FittedPolicies(aws, DesiredPolicies(partition, account), is_absent=True, planned=params["planned"])
    unwanted = FittedPolicies(aws, DesiredPolicies(partition, account))
    if params["narrow"] and not unwanted.read().policies:
        return unwanted  # the principals still have AWS's policies
    for region in params["read_regions"]:
        names.check_region(region)
    given = GivenConfigs.of(params)
    read: Read = {}
    new = _new_texts(given, call, aws.region, read)
    regions = params["read_regions"] or enabled_regions(aws)
    applied = Planned(params["planned"]).applied_versions
    stored = [
        replace(each, history=with_applied(each.history, applied.get((each.history.region, each.history.name))))
        for each in read_stored(gateways(call, regions), params["ignored_parameters"])
    ]
    histories = [each.history for each in stored]
    texts = [*(text for each in stored for text in covered_texts(each.history, is_encrypted=each.is_encrypted)), *new]
    if not texts:
        raise InvalidInput(_NOTHING.format(join_first(regions, _MAX_LISTED)))
    scope = Scope(partition, account, tuple(params["emf_log_groups"]))
    all_regions = () if params["read_regions"] else regions
    sources = to_sources(texts, all_regions, read)
    needed = needed_statements(sources, scope)
    kept = [
        Text(each.history.name, each.history.region, one.value, "", each.is_encrypted)
        for each in stored
        for one in each.history.versions
        if one.value
    ]
    known = known_grants([*texts, *kept], all_regions, scope, read)
    desired = DesiredPolicies(
        partition,
        account,
        {"server": take_apart(needed), "admin": take_apart(storing_statements(texts, all_regions, scope))},
        not_stored(new, histories),
        f"{identity['Arn']} {socket.gethostname()}",
        storing_times(histories, aws.now - STORING_LIFETIME),
        narrow=params["narrow"],
        create=params["create"],
        tags=tags,
        covered=Covered(
            frozenset({*((each.region, each.name) for each in histories), *((each.region, each.name) for each in new)}),
            frozenset(regions),
            frozenset(params["ignored_parameters"]),
            has_all_regions=not params["read_regions"],
            known=known,
        ),
    )
    return FittedPolicies(aws, desired, notices=[*width_notices(needed, sources, known.shown)])


def _new_texts(given: GivenConfigs, call: Call, own_region: str, read: Read) -> list[Text]:
    """Return the texts of the parameters that are to be stored.

    :param read: receives their configurations.
    :raises InvalidInput: a configuration is refused.
    """

    def aws_in(region: str | None) -> Aws:
        return next(iter(gateways(call, [region or ""]).values()))

    earlier = read_earlier(given, aws_in)
    validated = validate(given, earlier=earlier, known=given.compared)
    validated.check()
    for _each, desired in validated.valid:
        read.update({parameter.value: (config, "") for parameter, config in zip(desired.parameters, desired.configs)})
    return [
        Text(parameter.name, region or own_region, parameter.value, each.name)
        for each, desired in validated.valid
        for region in each.regions
        for parameter in desired.parameters
    ]

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted policies of an account: their state in IAM, and the steps that bring them to the desired state. Pure.

IAM has no conditional write. So a run creates a version that does not apply yet, looks for versions of other runs, and
makes its own the default only if there are none. Otherwise it plans again, with the statements of all versions. A run
deletes the versions of others that do not apply, so that they plan again too. ``test_interleavings.py`` plays such runs
in drawn orders. It relies on IAM showing a run no older state than its own writes, once it was shown them.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .._accounts.covered_versions import Unread, find_unexplained, readable_parameters, regions_of
from .._configuration.parts import part_names, to_canonical
from .._configuration.policy import (
    ANY,
    MAX_POLICIES,
    MAX_POLICY,
    PUT,
    Statement,
    check_number,
    covers_encrypted,
    describe_each,
    grants_of,
    join,
    read_document,
    size_of,
    to_document,
    to_shown,
)
from .._ground.errors import MISSING_POLICY, TOO_MANY_VERSIONS, InvalidInput
from .._ground.names import CREATED, FITTED_PATH, FITTED_POLICIES, MARK_TAG, TAG_PREFIX, is_created
from .._ground.plan import DELETE_RETRY_CODES, EXISTS_CODES, NOT_FOUND_CODES, Kind, Plan, Step
from .._ground.text import join_first

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .._accounts.covered_versions import Known, Text
    from .._accounts.model import History
    from .._configuration.policy import Grant, Scope


# The beginning of the keys of tags that list the parameters that a run is about to store.
STORING_TAG = f"{TAG_PREFIX}storing-"
# A run stores soon after it has set such a tag. Until then, no other run narrows a policy.
STORING_LIFETIME = timedelta(days=1)
# How long such a tag stays at least, so that a run that began before it still sees it.
STORING_MINIMUM = timedelta(hours=1)
# A tag of a later time was set by a controller with a wrong clock, or by hand.
STORING_AHEAD = timedelta(hours=1)
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_TAGS = 50
_TIME = "%Y-%m-%dT%H:%M:%SZ"
# Base64 needs so many characters for 30 bits. A tag has 256, and the time needs 21.
_DIGEST, _DIGESTS = 5, 45


@dataclass(frozen=True)
class PolicyVersion:
    """A version of a managed policy that IAM keeps. :param arn: of the policy."""

    id: str
    is_default: bool
    document: Mapping[str, Any]
    arn: str

    @property
    def statements(self) -> list[Statement]:
        """Its statements, each with one name, without those that this collection never writes."""
        return read_document(self.document, self.arn)[0]

    def allows_exactly(self, statements: Iterable[Statement]) -> bool:
        """Return whether it allows the same as statements, and has no statement that this collection never writes."""
        own, others = read_document(self.document, self.arn)
        return not others and grants_of(own) == grants_of(statements)

    @property
    def foreign(self) -> list[str]:
        """Everything in it that this collection never writes, in words."""
        return read_document(self.document, self.arn)[1]


@dataclass(frozen=True)
class FittedPolicy:
    """A fitted policy in IAM.

    :param versions: all that IAM keeps. One of them is the default, which applies.
    :param holders: the principals that have it, by kind and name. They are read before deletions only.
    """

    name: str
    arn: str
    tags: Mapping[str, str]
    versions: tuple[PolicyVersion, ...]
    holders: tuple[tuple[str, str], ...] = ()

    @property
    def default(self) -> PolicyVersion:
        """The version that applies."""
        return next(each for each in self.versions if each.is_default)

    @property
    def others(self) -> list[PolicyVersion]:
        """The versions that do not apply: another run is about to apply one of them, or a run was interrupted."""
        return [each for each in self.versions if not each.is_default]

    @property
    def statements(self) -> list[Statement]:
        """The statements of all versions. The default comes first."""
        versions = (self.default, *self.others)
        return list(dict.fromkeys(statement for version in versions for statement in version.statements))


@dataclass(frozen=True)
class State:
    """The fitted policies of an account, by name in their order. :param read_at: the time in AWS."""

    policies: Mapping[str, FittedPolicy]
    read_at: datetime


@dataclass(frozen=True)
class Covered:
    """The parameters that the fitted policies of an account should cover.

    :param parameters: by region and name, those that exist or are about to be stored.
    :param regions: the regions whose parameters this run reads.
    :param has_all_regions: whether these are all enabled regions of the account.
    :param known: the needs of their texts, in all versions that Parameter Store keeps. ``None`` if none were read.
    :param ignored: the names that the user leaves out. With a region, as in ``eu-central-1:NAME``, it counts there.
    """

    parameters: frozenset[tuple[str, str]] = frozenset()
    regions: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    has_all_regions: bool = False
    known: Known | None = None


@dataclass(frozen=True)
class DesiredPolicies:
    """The permissions that the fitted policies of an account should contain.

    :param needed: by access, the statements for agents and admin principals, each with one name.
    :param storing: digests of the parameters that this run is about to store.
    :param run: the host of the controller and its credentials. Runs with the same follow one another.
    :param stored: by digest, when a text was stored in its parameter.
    :param narrow: whether to remove everything that is not needed.
    :param create: whether something attaches the policies to all servers afterwards, so that several can be needed.
    :param covered: the parameters from which ``needed`` comes. Nothing is narrowed while agents can run another one.
    """

    partition: str
    account: str
    needed: Mapping[str, Sequence[Statement]] = field(default_factory=dict)
    storing: frozenset[str] = frozenset()
    run: str = ""
    stored: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    narrow: bool = False
    create: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    covered: Covered = Covered()

    def arn(self, name: str) -> str:
        """Return the ARN of a fitted policy."""
        return f"arn:{self.partition}:iam::{self.account}:policy{FITTED_PATH}{name}"


def names_for(access: str) -> list[str]:
    """Return the names that the fitted policies for an access can have, in their order."""
    return part_names(FITTED_POLICIES[access], MAX_POLICIES)


@dataclass(frozen=True)
class Storing:
    """A tag that lists the parameters that a run is about to store, or has stored.

    :param digests: of the parameters.
    """

    key: str
    at: datetime
    digests: frozenset[str]


def read_storing(tags: Mapping[str, str]) -> list[Storing]:
    """Return the tags of runs that store. A tag that is not of this form has no time, so it counts as old."""
    found = []
    for key, value in sorted(tags.items()):
        if key.startswith(STORING_TAG):
            time, _space, digests = value.partition(" ")
            try:
                at = datetime.strptime(time, _TIME).replace(tzinfo=timezone.utc)
            except ValueError:
                at = datetime.fromtimestamp(0, timezone.utc)
            parts = (digests[first : first + _DIGEST] for first in range(0, len(digests), _DIGEST))
            found.append(Storing(key, at, frozenset(parts)))
    return found


def open_storing(tags: Mapping[str, str], stored: Mapping[str, Sequence[datetime]], now: datetime) -> list[Storing]:
    """Return the tags of the runs that may still store something.

    A run that is done has stored each of its texts after its tag. Two runs with one text have both stored it. A tag
    of the future counts as old.

    :param stored: by digest, when it was stored.
    """
    found = [each for each in read_storing(tags) if each.at - now <= STORING_AHEAD]

    def has_stored(tag: Storing, digest: str) -> bool:
        runs = [each for each in found if digest in each.digests and each.at >= tag.at]
        return len([at for at in stored.get(digest, ()) if at >= tag.at]) >= len(runs)

    return [
        tag
        for tag in found
        if now - tag.at < STORING_LIFETIME and not all(has_stored(tag, digest) for digest in tag.digests)
    ]


def storing_tags(run: str, digests: Iterable[str], now: datetime) -> dict[str, str]:
    """Return the tags for a run that is about to store.

    :param run: a controller and its credentials. It has the same keys for the same texts, so that it replaces the tags
        of a run that was interrupted. A pod has another name each time: such tags of its runs stay for a day.
    """
    listed = sorted(digests)
    parts = ("".join(listed[first : first + _DIGESTS]) for first in range(0, len(listed), _DIGESTS))
    return {f"{STORING_TAG}{_digest(f'{run} {part}')}": f"{now:{_TIME}} {part}" for part in parts}


def digest_of(name: str, region: str, value: str) -> str:
    """Return the digest of a text in a parameter. Spaces and the order of keys do not change it."""
    return _digest(f"{region} {name} {to_canonical(value)}")


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()[:_DIGEST]


def storing_statements(texts: Iterable[Text], all_regions: Collection[str], scope: Scope) -> list[Statement]:
    """Return what admin principals need besides: storing the parameters, whichever inventory they belong to."""
    by_name: dict[str, list[Text]] = defaultdict(list)
    for each in texts:
        by_name[each.name].append(each)
    names = [
        f"arn:{scope.partition}:ssm:{region}:{scope.account}:parameter/{name}"
        for name, same in sorted(by_name.items())
        for region in regions_of(same, all_regions) or (ANY,)
    ]
    return [Statement("storing the configuration", (PUT,), (), tuple(names))]


def not_stored(new: Iterable[Text], stored: Iterable[History]) -> frozenset[str]:
    """Return the digests of the texts that differ from the current version of their parameter."""
    current = {digest_of(each.name, each.region, each.versions[0].value or "") for each in stored if each.versions}
    return frozenset(digest_of(each.name, each.region, each.value) for each in new) - current


def storing_times(stored: Iterable[History], since: datetime) -> Mapping[str, Sequence[datetime]]:
    """Return by digest when a text was stored in its parameter. :param since: earlier times make no difference."""
    found: dict[str, list[datetime]] = defaultdict(list)
    for history in stored:
        for version in (each for each in history.versions if each.modified >= since):
            found[digest_of(history.name, history.region, version.value or "")].append(version.modified)
    return found


ITEM = "fitted policies"
CREATE_POLICY, CREATE, SET_DEFAULT = "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"
DESCRIPTION = "The permissions for the stored configurations of the CloudWatch agent. Managed by cwagent.iam."
# Stands for an error code if another run has changed the policies since they were read.
CHANGED = "another run changed the policies"
GONE_CODES = NOT_FOUND_CODES | {MISSING_POLICY}
# Stands for an error code if IAM does not show what was written. Another run may have deleted it.
INVISIBLE = "not visible"
# Stands for the error code of a name that exists, if the policy with it has another path.
NAME_USED = "name used with another path"
_STALE = GONE_CODES | {CHANGED, INVISIBLE}
# A planned version has no id yet.
_PLANNED = "planned"
_MAX_LISTED = 5
IGNORED = "ignored_parameters (in the playbooks cwagent_ignored_parameters)"


@dataclass(frozen=True)
class Check:
    """The state in which a step may take effect, or a run may rely on a tag. In any other, another run was faster.

    :param versions: by ARN, the ids of the versions that the plan knows.
    :param statements: of the version that becomes the default.
    :param version: its id. It is empty if the plan creates it.
    :param record: the ARN of the policy with the tags of runs that store. It is empty if they make no difference.
    :param tags: these tags, as the plan knows them.
    :param undo: removes the tags of this run, which stores nothing if AWS refuses the step.
    """

    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    version: str = ""
    record: str = ""
    tags: Mapping[str, str] | None = None
    undo: Step | None = None


def check_is_ours(current: State) -> None:
    """Check that this collection created the policies. :raises InvalidInput: others created one."""
    for each in current.policies.values():
        if not is_created(each.tags):
            raise InvalidInput(
                f"policy {each.arn} exists and does not have the tag {MARK_TAG}={CREATED}, so this collection did not "
                "create it, and does not change it. Delete or rename it, or set cwagent_server_policy to aws."
            )


def wide_reasons(current: State, desired: DesiredPolicies) -> list[str]:
    """Return why the policies cannot be narrowed now, in sentences."""
    found = [
        f"policy '{each.name}' has several versions. Another run is at work or was interrupted, or somebody added one"
        for each in current.policies.values()
        if each.others
    ]
    for each in current.policies.values():
        found += [
            f"a run said at {tag.at:%Y-%m-%d %H:%M} UTC that it would store configurations, and has not stored them"
            for tag in open_storing(each.tags, desired.stored, current.read_at)
        ]
    if any(_missing(access, current, desired) for access in FITTED_POLICIES) and current.policies:
        found.append("the policies lacked something that is needed")
    return [*(f"{each}. Run again later." for each in found), *_unknown_readers(current, desired.covered)]


def _unknown_readers(current: State, covered: Covered) -> Iterator[str]:
    """Return a sentence for each region in which agents may read a parameter that is not covered."""
    names: dict[str, set[str]] = defaultdict(set)
    for region, name in sorted(_readable(current, covered)):
        if not _is_ignored(region, name, covered):
            names[region].add(name)
    for region, found in names.items():
        listed = ", ".join(sorted(found))
        if region == ANY:
            what = f"agents may read {listed} in any region, and this run does not read all. Leave read_regions empty"
        elif region in covered.regions:
            what = f"agents may still run {listed} in {region}, which no longer exists. Store it again"
        else:
            what = f"agents may read {listed} in {region}, which this run does not read. Add it to read_regions"
        entries = ", ".join(f"{region}:{name}" for name in sorted(found))
        yield f"{what}, or if no server there runs it, list {entries} in {IGNORED}."


def _is_ignored(region: str, name: str, covered: Covered) -> bool:
    return bool({name, f"{region}:{name}"} & covered.ignored)


def _readable(current: State, covered: Covered) -> Iterator[tuple[str, str]]:
    """Return by region and name the parameters that the policies allow reading, and that are not covered."""
    statements = [each for policy in current.policies.values() for each in policy.statements]
    for region, name in readable_parameters(statements):
        if region == ANY and covered.has_all_regions:
            yield from ((each, name) for each in covered.regions if (each, name) not in covered.parameters)
        elif (region, name) not in covered.parameters:
            yield region, name


def plan(current: State, desired: DesiredPolicies) -> Plan[State]:
    """Plan the way to policies that allow everything needed, and nothing else if they are to be narrowed.

    :raises InvalidInput: too many policies or tags would be needed, or a policy that principals can lack.
    """
    if desired.narrow and not current.policies:
        return Plan(current, current, {})  # the principals still have AWS's policies
    allowed = _planned_statements(current, desired)
    _check_attached(current, desired, allowed)
    record = next((name for name in allowed if name in current.policies), None)
    with_record = record or next(iter(allowed), None)
    tags = {name: _planned_tags(current, desired, name, is_record=name == with_record) for name in allowed}
    _check_tags(tags)
    known = {each.arn: frozenset(version.id for version in each.versions) for each in current.policies.values()}
    storing = [*_storing_steps(current.policies[record], tags[record], known)] if record else []
    steps: list[Step] = []
    planned: dict[str, FittedPolicy] = {}
    for name, statements in allowed.items():
        old = current.policies.get(name)
        if old is None:
            steps.append(_create(name, statements, tags[name]))
        else:
            check = Check(known, tuple(statements))
            if record and (desired.narrow or _unexplained(current, desired)):
                check = replace(check, record=current.policies[record].arn, tags=_storing_tags(tags[record]))
            if desired.storing or desired.narrow or not old.default.allows_exactly(statements):
                steps += _version_steps(old, statements, check)
            changed = {key: value for key, value in sorted(desired.tags.items()) if old.tags.get(key) != value}
            if changed:
                arguments = {"policy_arn": old.arn, "tags": changed}
                summary = f"tag policy '{name}' with {', '.join(changed)}"
                steps.append(Step(Kind.UPDATE, "iam:TagPolicy", arguments, summary))
        if old and old.default.allows_exactly(statements):
            version = old.default
        else:
            document = to_document(join(statements))
            version = PolicyVersion(old.default.id if old else _PLANNED, True, document, desired.arn(name))
        planned[name] = FittedPolicy(name, desired.arn(name), tags[name], (version,))
    steps = [*storing, *_with_undo(steps, desired, current, with_record or "")]
    return Plan(current, replace(current, policies=planned), {ITEM: steps})


def _check_attached(current: State, desired: DesiredPolicies, names: Collection[str]) -> None:
    """Refuse to store where nothing attaches the policies, unless there is one for servers, which all have."""
    if desired.create or not desired.storing:
        return
    is_further = bool(current.policies) and not current.policies.keys() >= {*names}
    if is_further or len([each for each in names if each in names_for("server")]) > 1:
        raise InvalidInput(
            "The servers need several fitted policies, and can lack one. Run the playbook cwagent.iam.site, which "
            "attaches all of them, and stores the configurations."
        )


def _check_tags(planned: Mapping[str, Mapping[str, str]]) -> None:
    for name, tags in planned.items():
        if len(tags) > MAX_TAGS:
            raise InvalidInput(
                f"Policy '{name}' would have {len(tags)} tags, and IAM allows {MAX_TAGS}. {len(read_storing(tags))} of "
                "them list parameters that runs are about to store. Remove other tags from the policy or from the tags "
                "of this run, or run again after the other runs."
            )


def _planned_tags(current: State, desired: DesiredPolicies, name: str, *, is_record: bool) -> dict[str, str]:
    """Return the tags of a policy after all steps. :param is_record: whether it has the tags of runs that store."""
    old = current.policies.get(name)
    tags = {**(old.tags if old else {MARK_TAG: CREATED}), **desired.tags}
    storing = storing_tags(desired.run, desired.storing, current.read_at) if is_record else {}
    known = open_storing(tags, desired.stored, current.read_at)
    recent = {each.key for each in known if current.read_at - each.at < STORING_LIFETIME / 2}
    new = {key: value for key, value in storing.items() if key not in recent}
    if not new:  # so that a run that stores nothing changes nothing
        return tags
    outdated = _outdated_tags(current, desired, old) if old else []
    return {**{key: value for key, value in tags.items() if key not in outdated}, **new}


def _storing_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {each.key: tags[each.key] for each in read_storing(tags)}


# -- Statements --


def _planned_statements(current: State, desired: DesiredPolicies) -> dict[str, list[Statement]]:
    """Return by name the statements of each policy after all steps.

    Statements never move: in the time until IAM has the change everywhere, an agent could have neither.
    """
    is_narrowed = desired.narrow and not wide_reasons(current, desired)
    added = grants_of(_unexplained(current, desired))
    found: dict[str, list[Statement]] = {}
    for access in FITTED_POLICIES:
        needed = desired.needed.get(access, ())
        policies = {name: current.policies[name] for name in names_for(access) if name in current.policies}
        kept = {name: _without(each.statements, added) for name, each in policies.items()}
        if needed:
            # IAM has no policy without statements.
            kept = {name: each or [needed[0]] for name, each in kept.items()}
        if is_narrowed and needed:
            # A policy that others may be about to widen stays, with something that is needed in any case.
            allowed = {name: grants_of(each) for name, each in kept.items()}
            kept = {name: [each for each in needed if each.grants <= allowed[name]] or [needed[0]] for name in kept}
        sizes = {name: size_of(join(each)) for name, each in kept.items()}
        for statement in _missing(access, current, desired):
            _add(statement, kept, sizes, names_for(access))
        found.update(kept)
    check_number(len(found))
    return found


def _unexplained(current: State, desired: DesiredPolicies) -> list[Statement]:
    """Return what no configuration of the account needs, and no other run is about to store."""
    known = desired.covered.known
    if known is None:
        return []
    needed = grants_of(each for listed in desired.needed.values() for each in listed)
    statements = [each for policy in current.policies.values() for each in policy.statements]
    return find_unexplained(statements, known.grants | needed, _unread(current, desired, known))


def _unread(current: State, desired: DesiredPolicies, known: Known) -> Unread:
    tags = [
        tag
        for policy in current.policies.values()
        for tag in open_storing(policy.tags, desired.stored, current.read_at)
        if not tag.digests <= desired.storing
    ]
    covered = desired.covered
    others = [*_readable(current, covered)]
    elsewhere = [each for each in others if each[0] not in covered.regions and not _is_ignored(*each, covered)]
    if tags or (elsewhere and not covered.has_all_regions):
        return Unread.STORED
    return Unread.EARLIER if others or not known.is_complete else Unread.NOTHING


def _without(statements: Sequence[Statement], added: Collection[Grant]) -> list[Statement]:
    """Return statements, each with one name, without some of what they allow."""
    parts = (
        replace(each, actions=tuple(one for one in each.actions if (one, each.condition, each.names[0]) not in added))
        for each in statements
    )
    return [each for each in parts if each.actions]


def _missing(access: str, current: State, desired: DesiredPolicies) -> list[Statement]:
    """Return the needed statements that no policy has as a whole."""
    policies = [current.policies[name] for name in names_for(access) if name in current.policies]
    allowed = [grants_of(each.statements) for each in policies]
    return [each for each in desired.needed.get(access, ()) if not any(each.grants <= grants for grants in allowed)]


def _add(
    statement: Statement, policies: dict[str, list[Statement]], sizes: dict[str, int], names: Sequence[str]
) -> None:
    """Add a statement to the first policy that has room for it, or to a new one. :param sizes: of the policies."""
    least = len(statement.names[0]) + len('""')
    for name in [each for each, size in sizes.items() if size + least <= MAX_POLICY]:
        longer = [*policies[name], statement]
        size = size_of(join(longer))
        if size <= MAX_POLICY:
            policies[name], sizes[name] = longer, size
            return
    check_number(len(policies) + 1)
    name = next(each for each in names if each not in policies)
    policies[name], sizes[name] = [statement], size_of([statement])


# -- Steps --


def _create(name: str, statements: Sequence[Statement], tags: Mapping[str, str]) -> Step:
    arguments = {
        "policy_name": name,
        "path": FITTED_PATH,
        "policy_document": to_document(join(statements)),
        "description": DESCRIPTION,
        "tags": tags,
    }
    return Step(Kind.CREATE, CREATE_POLICY, arguments, f"create policy '{name}'", stale_when=EXISTS_CODES)


def _version_steps(policy: FittedPolicy, statements: Sequence[Statement], check: Check) -> Iterator[Step]:
    """Return the steps that make a version with these statements the only one."""
    if policy.default.allows_exactly(statements):
        yield from (_delete_version(policy, each) for each in policy.others)
        return
    existing = next((each for each in policy.others if each.allows_exactly(statements)), None)
    yield from (_delete_version(policy, each) for each in policy.others if each is not existing)
    removed = {each.id for each in policy.others if each is not existing}
    check = replace(
        check,
        versions={**check.versions, policy.arn: check.versions[policy.arn] - removed},
        version=existing.id if existing else "",
    )
    before, after = grants_of(policy.default.statements), grants_of(statements)
    verb = "widen" if before <= after else "narrow" if after <= before else "change"
    if existing is None:
        arguments = {
            "policy_arn": policy.arn,
            "policy_document": to_document(join(statements)),
            "set_as_default": False,
        }
        summary = f"create a version of policy '{policy.name}'"
        yield Step(Kind.UPDATE, CREATE, arguments, summary, stale_when=_STALE | {TOO_MANY_VERSIONS})
    summary = f"{verb} policy '{policy.name}' to the new version"
    arguments = {"policy_arn": policy.arn, "version_id": check.version}
    yield Step(Kind.UPDATE, SET_DEFAULT, arguments, summary, stale_when=_STALE, context=check)
    yield _delete_version(policy, policy.default)


def _delete_version(policy: FittedPolicy, version: PolicyVersion) -> Step:
    arguments = {"policy_arn": policy.arn, "version_id": version.id}
    summary = f"delete version {version.id} of policy '{policy.name}'"
    # The other run may have made it the default.
    stale = frozenset({"DeleteConflict"})
    return Step(Kind.UPDATE, "iam:DeletePolicyVersion", arguments, summary, done_when=GONE_CODES, stale_when=stale)


def _outdated_tags(current: State, desired: DesiredPolicies, record: FittedPolicy) -> list[str]:
    """Return the keys of the tags of runs that are done, or were interrupted long ago."""
    still_open = open_storing(record.tags, desired.stored, current.read_at)
    ages = {each: current.read_at - each.at for each in read_storing(record.tags) if each not in still_open}
    return [each.key for each, age in ages.items() if age > STORING_MINIMUM or age < -STORING_AHEAD]


def _storing_steps(
    record: FittedPolicy, tags: Mapping[str, str], known: Mapping[str, frozenset[str]]
) -> Iterator[Step]:
    """Return the steps for the tags of runs that store. :param tags: all tags after these steps."""
    before, after = _storing_tags(record.tags), _storing_tags(tags)
    removed = sorted(before.keys() - after.keys())
    new = {key: value for key, value in sorted(after.items()) if before.get(key) != value}
    if removed:
        untag = {"policy_arn": record.arn, "tag_keys": removed}
        summary = f"remove the tags of earlier runs from policy '{record.name}'"
        yield Step(Kind.UPDATE, "iam:UntagPolicy", untag, summary, stale_when=GONE_CODES)
    if new:
        summary = f"tag policy '{record.name}' with the parameters that this run will store"
        arguments = {"policy_arn": record.arn, "tags": new}
        check = Check(known, record=record.arn, tags=new)
        yield Step(Kind.UPDATE, "iam:TagPolicy", arguments, summary, stale_when=_STALE, context=check)


def _with_undo(steps: Iterable[Step], desired: DesiredPolicies, current: State, record: str) -> Iterator[Step]:
    """Return steps that remove the tags of this run if AWS refuses them. It cannot store then."""
    keys = sorted(storing_tags(desired.run, desired.storing, current.read_at))
    arguments = {"policy_arn": desired.arn(record), "tag_keys": keys}
    summary = f"remove the tags of this run from policy '{record}'"
    undo = Step(Kind.UPDATE, "iam:UntagPolicy", arguments, summary, done_when=GONE_CODES)
    for each in steps:
        creates_record = each.arguments.get("policy_name") == record
        yield each if creates_record or not keys else replace(each, context=replace(each.context or Check(), undo=undo))


# -- Deletion --


def plan_absent(current: State) -> Plan[State]:
    """Plan the deletion of the policies of this collection that no principal has."""
    unused = [each for each in current.policies.values() if is_created(each.tags) and not each.holders]
    steps: list[Step] = []
    for each in unused:
        steps += [_delete_version(each, version) for version in each.others]
        steps.append(
            Step(
                Kind.DELETE,
                "iam:DeletePolicy",
                {"policy_arn": each.arn},
                f"delete policy '{each.name}'",
                done_when=GONE_CODES,
                retry_when=DELETE_RETRY_CODES,
            )
        )
    kept = {name: each for name, each in current.policies.items() if each not in unused}
    return Plan(current, replace(current, policies=kept), {ITEM: steps})


def blockers(current: State) -> list[str]:
    """Return why policies are not deleted."""
    found = []
    for each in current.policies.values():
        if not is_created(each.tags):
            found.append(f"policy {each.arn} was not created by this collection")
        elif each.holders:
            holders = join_first([f"{kind} '{name}'" for kind, name in each.holders], _MAX_LISTED)
            found.append(f"policy {each.arn} is attached to {holders}")
    return found


# -- Results --


def remaining(plan: Plan[State], state: State) -> list[str]:
    """Return the changes that IAM does not show yet. Other runs may have changed the policies since.

    They widen what this run has made, narrow what it has narrowed, and remove the tags of runs that are done.
    """
    deleted = plan.current.policies.keys() - plan.planned.policies.keys()
    found = [f"delete policy '{name}'" for name in sorted(deleted & state.policies.keys())]
    for name, planned in plan.planned.policies.items():
        old, shown = plan.current.policies.get(name), state.policies.get(name)
        if shown is None:
            found.append(f"create policy '{name}'")
            continue
        is_kept = old is None or old.default.allows_exactly(planned.statements)
        has_changed = is_kept or (old and shown.default.id != old.default.id)
        grants = grants_of(planned.statements)
        is_narrowed = old and grants < grants_of(old.default.statements)
        if not has_changed or not (is_narrowed or grants <= grants_of(shown.default.statements)):
            found.append(f"change policy '{name}'")
        if not planned.tags.items() - (old.tags.items() if old else set()) <= shown.tags.items():
            found.append(f"tag policy '{name}'")
    return found


def foreign_warnings(plan: Plan[State], desired: DesiredPolicies) -> list[str]:
    """Return a sentence for each policy that loses something that no configuration needs."""
    added = grants_of(_unexplained(plan.current, desired))
    shown = _shown(plan.current, desired.covered.known)
    found = []
    for name, each in plan.current.policies.items():
        if plan.planned.policies[name].default != each.default:
            grants = grants_of(each.default.statements) & added
            parts = [*each.default.foreign, *describe_each(grants, shown)]
            if parts:
                lost = join_first(parts, _MAX_LISTED)
                found.append(
                    f"the new version of policy '{name}' leaves out something that no stored configuration needs: "
                    f"{lost}"
                )
    return found


def to_diff(state: State, known: Known | None) -> dict[str, object]:
    """Render the policies for the diff, with their statements. :param known: decides about the names that are shown."""
    shown = _shown(state, known)
    return {
        name: {"statements": to_shown(each.default.document, shown), "tags": dict(each.tags)}
        for name, each in state.policies.items()
    }


def _shown(state: State, known: Known | None) -> Collection[str] | None:
    """Return the names that output may contain; ``None`` for all, where no policy covers an encrypted configuration."""
    documents = (version.document for each in state.policies.values() for version in each.versions)
    if not covers_encrypted(documents):
        return None
    return known.shown if known else frozenset()


def arns_for(access: str, state: State) -> list[str]:
    """Return the ARNs of the policies for an access."""
    return [state.policies[name].arn for name in names_for(access) if name in state.policies]

# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted policies of an account: their state in IAM, and what they should allow because of its texts. Pure."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import regions_of
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.parts import part_names, to_canonical
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import (
    ANY,
    MAX_POLICIES,
    PUT,
    Statement,
    grants_of,
    read_document,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import FITTED_PATH, FITTED_POLICIES, TAG_PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import Known, Text
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import Scope

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

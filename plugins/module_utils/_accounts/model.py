# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of an account: principals with their policies, instances, and what is read and could not be read. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._ground.names import ADOPTED, CREATED, MARK_TAG, WINDOW_POLICY, aws_policy_arn, fitted_access, is_fitted_policy
from .._principals.policies import ACCESS_POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


ROLE, USER = "role", "user"
# The part of the account that is unread where the nodes are.
NODES = "the nodes of Systems Manager"
# The part of the account that is unread where the stored configurations are.
PARAMETERS = "the configuration parameters"
CONTENT = "the content of configuration parameters"
# The part of the account that is unread where access keys are saved.
SAVED = "where access keys are saved"


@dataclass(frozen=True)
class Policy:
    """A policy of a principal.

    :param document: ``None`` if it could not be read.
    :param arn: ``None`` for an inline policy.
    :param group: the group that gives a user the policy, if one does.
    """

    name: str
    document: Mapping[str, Any] | None
    arn: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Key:
    """An access key.

    :param used: when a request was last signed with it; ``None`` if never, or if the time could not be read.
    :param saved: whether it is saved somewhere; ``None`` if that is not known.
    :param saved_at: where it is saved, in words.
    """

    id: str
    active: bool
    created: datetime
    used: datetime | None = None
    used_known: bool = True
    saved: bool | None = None
    saved_at: str | None = None


@dataclass(frozen=True)
class Principal:
    """A role or user.

    :param id: the unique ID. The IDs of its sessions begin with it.
    :param policies: the attached and inline policies, including the groups' policies.
    :param boundary: the policy of the permissions boundary.
    :param trust: the trust policy of a role.
    :param profiles: the names of the instance profiles that contain a role.
    :param keys: the access keys of one of our users; ``None`` if they were not read.
    """

    kind: str
    name: str
    arn: str
    id: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    trust: Mapping[str, Any] | None = None
    profiles: tuple[str, ...] = ()
    keys: tuple[Key, ...] | None = None

    @property
    def partition(self) -> str:
        """The partition of the account."""
        return self.arn.split(":")[1]

    @property
    def account_id(self) -> str:
        """The id of the account."""
        return self.arn.split(":")[4]

    @property
    def attached(self) -> frozenset[str]:
        """The ARNs of the managed policies, including the groups' policies."""
        return frozenset(policy.arn for policy in self.policies if policy.arn)

    @property
    def window_policy(self) -> Policy | None:
        """The inline policy of the admin window."""
        own = (policy for policy in self.policies if not policy.arn and not policy.group)
        return next((policy for policy in own if policy.name == WINDOW_POLICY), None)

    @property
    def managed(self) -> str | None:
        """``created`` or ``adopted``, if this collection created or adopted it."""
        mark = self.tags.get(MARK_TAG)
        return mark if mark in (CREATED, ADOPTED) else None

    @property
    def access(self) -> str | None:
        """The access that its policies are meant for; ``None`` if it has none of the agent's policies."""
        if self.window_policy or self.policies_of("admin"):
            return "admin"
        return "server" if self.policies_of("server") else None

    @property
    def has_fitted_policy(self) -> bool:
        """Whether it has a fitted policy instead of the policy that AWS manages."""
        return any(map(is_fitted_policy, self.attached))

    @property
    def is_ours(self) -> bool:
        """Whether it is there for the agent."""
        return self.access is not None or self.managed is not None

    @property
    def label(self) -> str:
        """Its kind and name, for a message."""
        return f"{self.kind} '{self.name}'"

    @property
    def title(self) -> str:
        """Its kind and name, at the beginning of a message."""
        return f"{self.kind.title()} '{self.name}'"

    def policy_command(self, verb: str, arn: str) -> str:
        """Return the command that attaches or detaches a managed policy."""
        return f"aws iam {verb}-{self.kind}-policy --{self.kind}-name {self.name} --policy-arn {arn}"

    def policies_of(self, access: str) -> list[str]:
        """Return the ARNs of its policies that are meant for an access: AWS's, or fitted ones."""
        of_aws = aws_policy_arn(ACCESS_POLICIES[access], self.partition)
        return sorted(each for each in self.attached if each == of_aws or fitted_access(each) == access)

    def has_policy(self, name: str) -> bool:
        """Whether it has a policy that AWS manages. :param name: the name with its path."""
        return aws_policy_arn(name, self.partition) in self.attached


@dataclass(frozen=True)
class Profile:
    """An instance profile. :param role: the name of the role in it."""

    name: str
    arn: str
    role: str | None = None


@dataclass(frozen=True)
class Machine:
    """The properties of an instance in EC2, from which its agent names its data. A value is empty if there is none.

    :param launched: when it was started, in Unix seconds.
    :param hostname: its private DNS name.
    """

    launched: int
    hostname: str
    ip_address: str
    image_id: str
    instance_type: str
    auto_scaling_group: str


@dataclass(frozen=True)
class InstanceUse:
    """An instance that has one of the profiles, is in the inventory or has a restore tag.

    :param name: the tag ``Name``.
    :param profile: the name of its instance profile.
    :param state: the state that EC2 reports; ``None`` if it could not be read.
    :param restore_tag: the value of the restore tag.
    :param is_windows: whether EC2 reports that it runs Windows.
    :param machine: the properties of the machine itself; ``None`` if they could not be read.
    """

    id: str
    region: str
    name: str | None = None
    state: str | None = None
    profile: str | None = None
    in_inventory: bool = False
    restore_tag: str | None = None
    is_windows: bool = False
    machine: Machine | None = None


@dataclass(frozen=True)
class NodeUse:
    """A server that is registered with Systems Manager.

    :param name: the name that its activation gave it.
    :param role: the name of its role.
    :param ping: whether its SSM agent answers: ``Online``, ``ConnectionLost`` or ``Inactive``.
    :param is_ours: whether its tags show that an activation of this collection registered it.
    """

    id: str
    region: str
    name: str
    role: str
    ping: str
    is_windows: bool = False
    is_ours: bool = False


@dataclass(frozen=True)
class ActivationUse:
    """An activation of Systems Manager.

    :param name: the name of the nodes that it registers.
    :param role: the name of their role.
    :param remaining: how many more servers it can register until it expires.
    :param is_ours: whether its tags show that this collection created it.
    """

    id: str
    region: str
    name: str
    role: str
    expires: datetime
    remaining: int
    is_ours: bool = False


@dataclass(frozen=True)
class ConfigParameter:
    """A parameter with an agent configuration.

    :param value: ``None`` if it was not read, because reading is denied or the parameter has another type.
    :param kms_key: the ID, ARN or alias of its KMS key. Empty if it is not encrypted.
    """

    name: str
    region: str
    tier: str
    type: str
    version: int
    modified: datetime
    value: str | None = None
    kms_key: str = ""


@dataclass(frozen=True)
class Version:
    """A version of a configuration.

    :param writer: the ARN of the user that wrote it, or of the session of a role.
    :param value: ``None`` if it was not read, because it is encrypted or has another type.
    :param description: the text that was stored with it, or with an earlier version if it was stored without one.
    """

    number: int
    modified: datetime
    writer: str
    tier: str
    value: str | None
    labels: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class History:
    """The versions of a configuration that Parameter Store keeps.

    :param versions: with the newest first. There are none if there is no such parameter.
    """

    name: str
    region: str
    versions: tuple[Version, ...] = ()


@dataclass(frozen=True)
class SavedKeyWithoutUser:
    """A saved access key whose user does not exist.

    :param store: a key store in AWS.
    :param place: where it is saved, in words.
    """

    user: str
    region: str
    store: str
    place: str


@dataclass(frozen=True)
class Unread:
    """A part that is unknown because a read was denied."""

    what: str
    action: str
    region: str | None
    why: str

    @property
    def denial(self) -> str:
        """The denied action and its place, as a sentence without its full stop."""
        return f"{self.action} in {self.region} is denied" if self.region else f"{self.action} is denied"


@dataclass(frozen=True)
class Account:
    """An account and its regions, as they were read.

    :param label: the user's name for the account.
    :param read_at: the time according to the clock of AWS.
    :param principals: all principals that were read, including principals without the agent's policies.
    :param parameters: by region and name.
    :param keys_without_user: by region and user.
    :param caller: the ARN of the session or user that read it.
    :param histories: by region and name, the versions of the inventory's configurations.
    :param policy_tags: by ARN, the tags of fitted policies.
    :param enabled_regions: the regions that the account has. They are ``None`` if nothing needed them, or if they could
        not be read.
    """

    id: str
    partition: str
    label: str
    read_at: datetime
    regions: tuple[str, ...]
    alias: str | None = None
    principals: tuple[Principal, ...] = ()
    profiles: tuple[Profile, ...] = ()
    instances: tuple[InstanceUse, ...] = ()
    nodes: tuple[NodeUse, ...] = ()
    activations: tuple[ActivationUse, ...] = ()
    parameters: tuple[ConfigParameter, ...] = ()
    keys_without_user: tuple[SavedKeyWithoutUser, ...] = ()
    unread: tuple[Unread, ...] = ()
    caller: str = ""
    histories: tuple[History, ...] = ()
    policy_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    enabled_regions: frozenset[str] | None = None


# The parts of an account that can be read by themselves.
ACCESS, HISTORY = PARTS = ("access", "history")


@dataclass(frozen=True)
class Scope:
    """The parts of an account to read.

    :param label: the user's name for the account.
    :param names: by kind, the only principals to read; ``None`` for all principals.
    :param instances: by region, the ids of the instances in the inventory.
    :param key_stores: where access keys may be saved.
    :param key_prefix: the beginning of the names of the parameters and secrets with access keys.
    :param account_id: the only account that may be read; ``None`` for whichever account the credentials belong to.
    :param has_nodes: whether to read the nodes of Systems Manager. :param has_activations: and its activations.
    :param has_access: whether to read anything besides the versions of configurations.
    :param configurations: by region, the names of the configurations whose versions are read.
    """

    label: str
    regions: tuple[str, ...]
    names: Mapping[str, Sequence[str]] | None = None
    instances: Mapping[str, Sequence[str]] | None = None
    key_stores: tuple[str, ...] = ()
    key_prefix: str = ""
    account_id: str | None = None
    has_nodes: bool = False
    has_activations: bool = False
    has_access: bool = True
    configurations: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Region:
    """The data of a region that was read in bulk.

    :param histories: the versions of the inventory's configurations.
    :param profiles: by instance, the name of its instance profile.
    :param restore_tags: by instance, the value of its restore tag.
    :param saved_keys: by id of an access key, where it is saved.
    :param saved_users: by user and store, where the access key of the user is saved.
    """

    name: str
    histories: tuple[History, ...] = ()
    profiles: Mapping[str, str] = field(default_factory=dict)
    restore_tags: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[NodeUse, ...] = ()
    activations: tuple[ActivationUse, ...] = ()
    parameters: tuple[ConfigParameter, ...] = ()
    saved_keys: Mapping[str, str] = field(default_factory=dict)
    saved_users: Mapping[tuple[str, str], str] = field(default_factory=dict)

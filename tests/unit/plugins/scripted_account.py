"""An AWS account in a few dictionaries, which answers the reading calls of the real gateway instead of boto3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import closed_policy
from ansible_collections.cwagent.iam.plugins.module_utils._names import CREATED, MARK_TAG

ARN = "arn:aws:iam::123456789012"
CLOSED_WINDOW = closed_policy()


def api_error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


@dataclass
class Role:
    """A role that the collection created.

    :param window: its admin window's policy.
    """

    window: dict[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=lambda: {MARK_TAG: CREATED})


@dataclass
class Region:
    """The instances of a region, and the keys that are saved there.

    :param profiles: by instance, its instance profile and that profile's id.
    :param descriptions: by name, the descriptions of parameters and secrets.
    :param deleted: the names of secrets that are scheduled for deletion.
    """

    profiles: dict[str, tuple[str, str]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)


@dataclass
class Account:
    """Answers calls by the method that is named like the operation.

    :param users: by name, the tags of the users.
    :param other_users: how many other users a bulk read shows before those.
    :param calls: the region, operation and arguments of each call, in snake case.
    :param errors: by operation, or by region and operation, the error instead of an answer.
    """

    roles: dict[str, Role] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    users: dict[str, dict[str, str]] = field(default_factory=dict)
    other_users: int = 0
    errors: dict[str | tuple[str, str], ClientError | BotoCoreError] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def client(self, service: str, config: Any = None, region: str = "") -> Any:
        """A boto3 client, as ``AnsibleAWSModule.client`` makes it."""
        return Client(self, region)

    @property
    def operations(self) -> list[str]:
        return [operation for _region, operation, _arguments in self.calls]

    # IAM

    def get_account_authorization_details(
        self, region: str, *, max_items: int, marker: str = "0", **kinds: Any
    ) -> dict[str, Any]:
        after = int(marker) + max_items
        if after < self.other_users + len(self.users):
            return {"UserDetailList": [], "IsTruncated": True, "Marker": str(after)}
        return {"UserDetailList": [self._user(name) for name in self.users], "IsTruncated": False}

    def get_role(self, region: str, role_name: str) -> dict[str, Any]:
        role = self._role(role_name)
        tags = [{"Key": key, "Value": value} for key, value in role.tags.items()]
        arn = f"{ARN}:role/{role_name}"
        return {"Role": {"RoleName": role_name, "Arn": arn, "Path": "/", "Tags": tags}}

    def get_user(self, region: str, user_name: str) -> dict[str, Any]:
        if user_name not in self.users:
            raise api_error("NoSuchEntity")
        return {"User": self._user(user_name)}

    def _user(self, name: str) -> dict[str, Any]:
        tags = [{"Key": key, "Value": value} for key, value in self.users[name].items()]
        return {"UserName": name, "Arn": f"{ARN}:user/{name}", "Path": "/", "Tags": tags}

    def get_role_policy(self, region: str, role_name: str, policy_name: str) -> dict[str, Any]:
        window = self._role(role_name).window
        if window is None:
            raise api_error("NoSuchEntity")
        return {"PolicyDocument": window}

    def _role(self, name: str) -> Role:
        if name not in self.roles:
            raise api_error("NoSuchEntity")
        return self.roles[name]

    # EC2

    def describe_regions(self, region: str) -> dict[str, Any]:
        return {"Regions": [{"RegionName": name} for name in self.regions if name]}

    def describe_iam_instance_profile_associations(self, region: str, **arguments: Any) -> dict[str, Any]:
        return {
            "IamInstanceProfileAssociations": [
                {
                    "AssociationId": f"assoc-{instance}",
                    "InstanceId": instance,
                    "IamInstanceProfile": {"Arn": f"{ARN}:instance-profile/{profile}", "Id": profile_id},
                    "State": "associated",
                }
                for instance, (profile, profile_id) in self.regions[region].profiles.items()
            ]
        }

    def describe_instances(self, region: str, filters: list[dict[str, Any]], **arguments: Any) -> dict[str, Any]:
        states = self.regions[region].states
        found = [
            {"InstanceId": name, "State": {"Name": states[name]}} for name in filters[0]["Values"] if name in states
        ]
        return {"Reservations": [{"Instances": found}]}

    # SSM and Secrets Manager

    def describe_parameters(
        self, region: str, parameter_filters: Sequence[dict[str, Any]] = (), **page: Any
    ) -> dict[str, Any]:
        return self._page_of_descriptions("Parameters", region, parameter_filters, **page)

    def list_secrets(self, region: str, filters: Sequence[dict[str, Any]] = (), **page: Any) -> dict[str, Any]:
        return self._page_of_descriptions("SecretList", region, filters, **page)

    def _page_of_descriptions(
        self, key: str, region: str, filters: Sequence[dict[str, Any]], max_results: int, **page: str
    ) -> dict[str, Any]:
        prefixes = tuple(value for each in filters for value in each["Values"])
        if "" in prefixes:
            raise api_error("ValidationException")
        of_region = self.regions[region]
        found: list[dict[str, Any]] = [
            {"Name": name, "Description": text, **({"DeletedDate": 1} if name in of_region.deleted else {})}
            for name, text in of_region.descriptions.items()
            if name.startswith(prefixes or "")
        ]
        first = int(page.get("next_token", 0))
        after = first + max_results
        return {key: found[first:after], **({"NextToken": str(after)} if after < len(found) else {})}

    # STS

    def get_caller_identity(self, region: str) -> dict[str, Any]:
        return {"Arn": f"{ARN}:user/ops"}


class Client:
    def __init__(self, account: Account, region: str) -> None:
        self._account = account
        self._region = region

    @property
    def meta(self) -> SimpleNamespace:
        return SimpleNamespace(region_name=self._region or "eu-central-1")

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        return partial(self._answer, operation)

    def _answer(self, operation: str, **arguments: Any) -> dict[str, Any]:
        account = self._account
        arguments = {xform_name(name): value for name, value in arguments.items()}
        account.calls.append((self._region, operation, arguments))
        for key in (operation, (self._region, operation)):
            if key in account.errors:
                raise account.errors[key]
        answer = getattr(account, operation)(self._region, **arguments)
        return {**answer, "ResponseMetadata": {"HTTPHeaders": {}}}

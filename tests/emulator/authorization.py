"""The parts of IAM authorization that ministack lacks.

It does not know the ARNs of instance profiles, paths in ARNs, the instances of associations and tags, the owner of an
access key, the principal of a simulation, or the resources of new policies, of log streams, of ssm:GetParameters, of
Run Command, of hybrid servers and of an organization.
It ignores the conditions iam:PolicyARN, iam:PermissionsBoundary, ec2:NewInstanceProfile and cloudwatch:namespace, and
those for the tags of hybrid servers and of the instances of a command. It allows everyone to pass every role.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from .backend import TAG_ACTIONS, internals, is_answered_here

Params = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[Params], Answer]

# Parameter that names the resource, its kind in ARNs, and the dictionary in which ministack keeps it.
NAMED = (
    ("InstanceProfileName", "instance-profile", "_instance_profiles"),
    ("RoleName", "role", "_roles"),
    ("UserName", "user", "_users"),
)

# The actions that have iam:PermissionsBoundary, of those for roles and users:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
WITH_BOUNDARY = re.compile(
    "iam:(Create(Role|User)|(Attach|Detach|Put|Delete)(Role|User)Policy|(Put|Delete)(Role|User)PermissionsBoundary"
    "|(Delete|Get|Update)Role|UpdateAssumeRolePolicy)"
)
WITH_NEW_PROFILE = ("ec2:AssociateIamInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation")


class Authorization:
    """Wraps functions of ministack. Each wrapper gets the original function as its first argument."""

    def __init__(self) -> None:
        self._ec2, self._iam, self._organizations = (
            internals(f"ministack.services.{name}") for name in ("ec2", "iam", "organizations")
        )
        self._evaluator, self._actions = (internals(f"ministack.core.iam_{name}") for name in ("evaluator", "actions"))
        self.access_key = internals("ministack.core.router").extract_access_key_id
        self.node_tags: Callable[[str], dict[str, str]] = lambda node: {}
        self._caller: ContextVar[str] = ContextVar("caller", default="")
        self._actions.extract_resource_arn = partial(self._resource, self._actions.extract_resource_arn)
        self._actions.request_tag_context = partial(self._context, self._actions.request_tag_context)
        self._enforce_one = self._evaluator.enforce
        self._evaluator.enforce = partial(self._enforce, self._enforce_one)
        passing = {
            "AddRoleToInstanceProfile": self._iam._IAM_HANDLERS,
            "AssociateIamInstanceProfile": self._ec2._ACTION_MAP,
            "ReplaceIamInstanceProfileAssociation": self._ec2._ACTION_MAP,
        }
        for action, handlers in passing.items():
            handlers[action] = partial(self._pass_role, handlers[action])

    def _enforce(self, enforce: Callable[..., Any], access_key: str, *others: Any, **more: Any) -> Any:
        self._caller.set(access_key)
        return enforce(access_key, *others, **more)

    def _resource(self, extract: Callable[..., str], service: str, *others: Any) -> str:
        *_, headers, body, params, region, _account = others
        found = ""
        if service == "iam":
            found = self._iam_resource(params)
        elif service == "ec2":
            found = self._ec2_resource(region, params)
        elif service == "ssm" and b'"Names"' in body:
            # Only the first name is checked; AWS checks each.
            found = self._parameter("ssm:GetParameters", headers, json.loads(body)["Names"][0], region)
        elif service == "ssm":
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            found = self._ssm_resource(action, self.access_key(headers), json.loads(body or b"{}"), region)
            if action == "GetParameter":
                found = self._parameter("ssm:GetParameter", headers, json.loads(body)["Name"], region)
        elif service == "organizations":
            found = self._organizations_resource(json.loads(body))
        elif service == "logs":
            found = _log_stream(json.loads(body or b"{}"), region)
        return found or extract(service, *others)

    def _parameter(self, action: str, headers: Any, name: str, region: str) -> str:
        """The resource of reading a parameter, perhaps with a version or a label after a colon.

        AWS does not document whether that is a part of the resource. So a denied resource counts.
        """
        whole = f"arn:aws:ssm:{region}:{_own_account()}:parameter/{name.lstrip('/')}"
        if ":" not in name:
            return whole
        rest = (self.access_key(headers), action, "ssm", region)
        resources = (whole.rpartition(":")[0], whole)
        return next((each for each in resources if self._enforce_one(*rest, each, {})), whole)

    def _ssm_resource(self, action: str, access_key: str, params: Params, region: str) -> str:
        """The resource of an action that is not ministack's. Of SendCommand, a denied one, because AWS checks each."""
        if not is_answered_here(action, params):
            return ""
        if action != "SendCommand" and (node := _node(action, params)):
            return _instance(region, node)
        if action != "SendCommand":
            # AWS has no resource for these actions, so a policy that names any ARN denies them there. The simulator and
            # the linter in tests/unit/policies know that.
            return f"arn:aws:ssm:{region}:{_own_account()}:*"
        name = params.get("DocumentName", "")
        owner = "" if name.startswith(("AWS-", "Amazon")) else _own_account()
        document = name if name.startswith("arn:") else f"arn:aws:ssm:{region}:{owner}:document/{name}"
        resources = [document, *(_instance(region, each) for each in params.get("InstanceIds", []))]
        tags = {each: self._tags(each.rpartition("/")[2]) for each in resources}
        rest = ("ssm:SendCommand", "ssm", region)
        return next((each for each in resources if self._enforce_one(access_key, *rest, each, tags[each])), document)

    def _tags(self, instance: str) -> dict[str, str]:
        """The tags of an instance or hybrid server, as the keys of a request's context."""
        tags = self.node_tags(instance) or {each["Key"]: each["Value"] for each in self._ec2._tags.get(instance) or ()}
        return {f"{prefix}/{key}": tags[key] for prefix in ("aws:ResourceTag", "ssm:resourceTag") for key in tags}

    def _iam_resource(self, params: Params) -> str:
        for parameter, kind, place in NAMED:
            if name := self._iam._p(params, parameter):
                record = getattr(self._iam, place).get_scoped(_own_account(), None, name)
                path = self._iam._p(params, "Path") or "/"
                return str(record["Arn"]) if record else f"arn:aws:iam::{_own_account()}:{kind}{path}{name}"
        if source := self._iam._p(params, "PolicySourceArn"):
            return str(source)
        if self._iam._p(params, "Action") == "CreatePolicy":
            name, path = (self._iam._p(params, each) for each in ("PolicyName", "Path"))
            return f"arn:aws:iam::{_own_account()}:policy{path or '/'}{name}"
        key = self._iam._access_keys.get(self._iam._p(params, "AccessKeyId"))
        return self._iam_resource({"UserName": [key["UserName"]]}) if key else ""

    def _organizations_resource(self, params: Params) -> str:
        name = params.get("ParentId") or params.get("ResourceId") or ""
        for place in ("_accounts", "_ous", "_roots"):
            if record := getattr(self._organizations, place).get_scoped(_own_account(), None, name):
                return str(record["Arn"])
        return ""

    def _ec2_resource(self, region: str, params: Params) -> str:
        association = self._ec2._iam_instance_profile_associations.get(self._ec2._p(params, "AssociationId")) or {}
        instance = association.get("InstanceId") or self._ec2._p(params, "ResourceId.1")
        return _instance(region, instance) if instance.startswith("i-") else ""

    def _context(
        self, context: Callable[..., Params], service: str, action: str, body: bytes, params: Params
    ) -> Params:
        keys = {
            "iam:PolicyARN": self._iam._p(params, "PolicyArn") if service == "iam" else "",
            "iam:PermissionsBoundary": self._boundary(action, params) if WITH_BOUNDARY.fullmatch(action) else "",
            "ec2:NewInstanceProfile": self._new_profile(params) if action in WITH_NEW_PROFILE else "",
            "cloudwatch:namespace": self._namespace(body, params) if action == "cloudwatch:PutMetricData" else "",
        }
        if service == "ssm" and (node := _node(action.rpartition(":")[2], json.loads(body or b"{}"))):
            keys |= self._tags(node)
        return {**context(service, action, body, params), **{key: value for key, value in keys.items() if value}}

    def _boundary(self, action: str, params: Params) -> str:
        """The permissions boundary that a call sets, or that its role or user has."""
        if action.startswith(("iam:Create", "iam:Put")) and action.endswith(("Role", "User", "Boundary")):
            return str(self._iam._p(params, "PermissionsBoundary"))
        [place, name] = next(
            (place, name) for parameter, _, place in NAMED if (name := self._iam._p(params, parameter))
        )
        record = getattr(self._iam, place).get_scoped(_own_account(), None, name) or {}
        return str(record.get("PermissionsBoundary") or "")

    def _namespace(self, body: bytes, params: Params) -> str:
        """The namespace in the query of earlier clients, or in the JSON of later ones."""
        return str(self._iam._p(params, "Namespace") or json.loads(body)["Namespace"])

    def _new_profile(self, params: Params) -> str:
        name, arn = (self._ec2._p(params, f"IamInstanceProfile.{each}") for each in ("Name", "Arn"))
        return str(arn or (name and self._iam_resource({"InstanceProfileName": [name]})))

    def _pass_role(self, handler: Handler, params: Params) -> Answer:
        """Require iam:PassRole of callers who add a role to an instance profile or associate the profile."""
        associated = self._new_profile(params)
        profile = self._iam._instance_profiles.get_scoped(_own_account(), None, associated.rpartition("/")[2])
        roles = [self._iam._p(params, "RoleName")] if not profile else profile["Roles"]
        for role in filter(None, roles):
            arn = self._iam_resource({"RoleName": [role]})
            if message := self._deny("iam:PassRole", arn, {"iam:PassedToService": "ec2.amazonaws.com"}):
                return self._error_answer(bool(associated), message)
        return handler(params)

    def deny_activation(self, params: Params) -> str:
        """Require iam:PassRole of callers of CreateActivation, and for tags ssm:AddTagsToResource on the same role.

        AWS does not document iam:PassedToService for it. It is the service that assumes the role. The resource of the
        tags is from AWS's https://github.com/aws-samples/sagemaker-ssh-helper/blob/main/FAQ.md

        :returns: the message of a denial.
        """
        arn = f"arn:aws:iam::{_own_account()}:role/{params.get('IamRole')}"
        denied = self._deny("iam:PassRole", arn, {"iam:PassedToService": "ssm.amazonaws.com"})
        return denied or (self._deny("ssm:AddTagsToResource", arn, {}) if params.get("Tags") else "")

    def _deny(self, action: str, arn: str, context: Params) -> str:
        denied = self._evaluator.enforce(self._caller.get(), action, action.partition(":")[0], "", arn, context)
        if not denied:
            return ""
        is_explicit = denied.decision == "Deny"
        return str(self._actions.identity_denial_message(action, denied.principal_arn, arn, is_explicit))

    def _error_answer(self, by_ec2: bool, message: str) -> Answer:
        if by_ec2:
            words = f"You are not authorized to perform this operation. {message}"
            answer: Answer = self._ec2._error("UnauthorizedOperation", words, 403)
        else:
            answer = self._iam._error(403, "AccessDenied", message, ns="iam")
        return answer


def _own_account() -> str:
    """The account in which the call is made."""
    return str(internals("ministack.core.responses").get_account_id())


def _node(action: str, params: Params) -> str:
    """The hybrid server that is the resource of an action, if one is."""
    name = params.get("InstanceId") if action == "DeregisterManagedInstance" else ""
    name = params.get("ResourceId") if action in TAG_ACTIONS else name
    return name if name and name.startswith("mi-") else ""


def _log_stream(params: Params, region: str) -> str:
    """The resource of a call for a log group or a stream. In AWS's denials, each ends with the name of a stream."""
    group, stream = (params.get(each, "") for each in ("logGroupName", "logStreamName"))
    return f"arn:aws:logs:{region}:{_own_account()}:log-group:{group}:log-stream:{stream}" if group else ""


def _instance(region: str, instance: str) -> str:
    if instance.startswith("mi-"):
        return f"arn:aws:ssm:{region}:{_own_account()}:managed-instance/{instance}"
    return f"arn:aws:ec2:{region}:{_own_account()}:instance/{instance}"

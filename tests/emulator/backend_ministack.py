"""ministack: enforces IAM policies, from version 1.5 on. Its root keys are test/test.

It differs from AWS as follows, and is corrected here:

- Most AWS managed policies are missing, and attaching an unknown policy succeeds without an effect.
- A user may have any number of access keys, and a principal any number of managed policies.
- The last use of a key is not recorded, and GetAccessKeyLastUsed of an unknown key is not denied.
- GetAccountAuthorizationDetails omits permissions boundaries and AWS managed policies.
- SetDefaultPolicyVersion is missing.
- An association is replaced on stopped instances too, and keeps its id.
- Root has written every version of a parameter, at the time of the computer, and all versions stay. Parameter Store
  keeps 100, and writes no other while the oldest has a label.
- Nearly every text is a valid label, and a version can have any number of them.

authorization.py corrects how it enforces policies.
"""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import json
import logging
import os
import re
import runpy
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request, Response

from .authorization import Authorization
from .backend import (
    ACCOUNT,
    ATTACHED_POLICIES,
    LABELS,
    NOT_ACTIVE,
    PARAMETER_VERSIONS,
    SESSION_SECONDS,
    Credentials,
    Instance,
    Profile,
    Role,
    account_of,
    internals,
    is_answered_here,
    is_label,
    oldest_has_label,
    trusts_ec2,
)

Params = dict[str, Any]
Handler = Callable[[Params], Any]


class Ministack:
    def __init__(self, region: str) -> None:
        # Settings are read on import. PERSIST_STATE is off by default: nothing is written to disk.
        os.environ.update(AUTH="true", MINISTACK_ACCOUNT_ID=ACCOUNT, MINISTACK_REGION=region, LOG_LEVEL="WARNING")
        logging.getLogger("ministack").setLevel(logging.WARNING)
        self._app = internals("ministack.app")
        self._evaluator, self._responses = (
            internals(f"ministack.core.{name}") for name in ("iam_evaluator", "responses")
        )
        services = (internals(f"ministack.services.{name}") for name in ("ec2", "iam", "ssm", "sts"))
        self._ec2, self._iam, self._ssm, self._sts = services
        self._clock_shift = 0.0
        self._last_used: dict[str, tuple[datetime, str, str]] = {}
        self._managed = {record["Arn"]: record for record in self._missing_managed_policies()}
        self._repair()
        # ministack's own start-up is not used: it opens further ports (SFTP, MQTT) on all interfaces.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def _repair(self) -> None:
        """Wrap functions of ministack. Each wrapper gets the original function as its first argument."""
        repairs: dict[str, Callable[..., Any]] = {
            "AttachRolePolicy": self._attach,
            "AttachUserPolicy": self._attach,
            "CreateAccessKey": self._create_access_key,
            "GetAccessKeyLastUsed": self._get_access_key_last_used,
            "GetAccountAuthorizationDetails": self._get_account_details,
        }
        for action, repair in repairs.items():
            self._iam._IAM_HANDLERS[action] = partial(repair, self._iam._IAM_HANDLERS[action])
        self._iam._IAM_HANDLERS["SetDefaultPolicyVersion"] = self._set_default_policy_version
        replace = "ReplaceIamInstanceProfileAssociation"
        self._ec2._ACTION_MAP[replace] = partial(self._replace_association, self._ec2._ACTION_MAP[replace])
        self._ec2._matches_filters = partial(self._matches_filters, self._ec2._matches_filters)
        seed = partial(self._seed_managed_policies, self._iam._seed_aws_managed_policies)
        self._iam._seed_aws_managed_policies = seed  # ministack's reset calls this again
        self._iam._now = lambda: self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        seed()
        self._caller: ContextVar[str] = ContextVar("caller", default="")
        self._ssm._put_parameter = partial(self._put_parameter, self._ssm._put_parameter)
        label = partial(self._label_parameter_version, self._ssm._label_parameter_version)
        self._ssm._label_parameter_version = label
        self._ssm._now_epoch = lambda: self.now().timestamp()
        self._ssm.handle_request = partial(self._handle_ssm, self._ssm.handle_request)
        resolve = partial(self._resolve_condition_key, self._evaluator._resolve_condition_key)
        self._evaluator._resolve_condition_key = resolve
        self._authorization = Authorization()

    def _set_default_policy_version(self, params: Params) -> Any:
        arn, chosen = (self._iam._p(params, name) for name in ("PolicyArn", "VersionId"))
        policy = self._iam._policies.get(arn)
        if not policy or chosen not in policy["Versions"]:
            message = f"Policy {arn} version {chosen} does not exist or is not attachable."
            return self._iam._error(404, "NoSuchEntity", message, ns="iam")
        for version in policy["Versions"].values():
            version["IsDefaultVersion"] = version["VersionId"] == chosen
        policy["DefaultVersionId"] = chosen
        return self._iam._xml(200, "SetDefaultPolicyVersionResponse", "", ns="iam")

    @property
    def node_tags(self) -> Callable[[str], dict[str, str]]:
        return self._authorization.node_tags

    @node_tags.setter
    def node_tags(self, node_tags: Callable[[str], dict[str, str]]) -> None:
        self._authorization.node_tags = node_tags

    def respond(self, request: Request, body: bytes) -> Response:
        return asyncio.run_coroutine_threadsafe(self._ask(request, body), self._loop).result()

    def authorize(self, request: Request, body: bytes) -> Response | None:
        answer = self.respond(request, body)
        return answer if answer.status_code >= 400 else None

    async def _handle_ssm(self, handle: Callable[..., Any], method: str, path: str, headers: Any, *others: Any) -> Any:
        """Do nothing for an action that is not ministack's, which got here because it is allowed."""
        action, params = headers.get("x-amz-target", "").rpartition(".")[2], json.loads(others[0] or b"{}")
        if is_answered_here(action, params):
            denied = self._authorization.deny_activation(params) if action == "CreateActivation" else ""
            answer = {"__type": "AccessDeniedException", "Message": denied} if denied else {}
            return 400 if denied else 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()
        self._caller.set(self._authorization.access_key(headers))
        return await handle(method, path, headers, *others)

    def _put_parameter(self, handler: Handler, params: Params) -> Any:
        history = self._ssm._parameter_history.get(params.get("Name")) or []
        if len(history) >= PARAMETER_VERSIONS and history[0]["Labels"]:
            return self._responses.error_response_json(*oldest_has_label(params["Name"], history[0]["Version"]), 400)
        answer = handler(params)
        if answer[0] == 200:
            history = self._ssm._parameter_history[params["Name"]]
            history[-1]["LastModifiedUser"] = self.principal(self._caller.get(), "")
            del history[:-PARAMETER_VERSIONS]
        return answer

    def _label_parameter_version(self, handler: Handler, params: Params) -> Any:
        """Label a version with the valid labels. AWS returns the others, and that is no error."""
        labels = params["Labels"]
        invalid = [each for each in labels if not is_label(each)]
        valid = [each for each in labels if each not in invalid]
        history = self._ssm._parameter_history.get(params["Name"]) or [{"Version": 0, "Labels": []}]
        version = params.get("ParameterVersion") or history[-1]["Version"]
        has = next((each["Labels"] for each in history if each["Version"] == version), [])
        if len({*has, *valid}) > LABELS:
            message = "A parameter version can have maximum 10 labels. Move one or more labels to another version."
            return self._responses.error_response_json("ParameterVersionLabelLimitExceeded", message, 400)
        status, headers, body = handler({**params, "Labels": valid})
        if status == 200:
            body = json.dumps({**json.loads(body), "InvalidLabels": invalid}).encode()
        return status, headers, body

    async def _ask(self, request: Request, body: bytes) -> Response:
        raw_path = str(request.environ["REQUEST_URI"]).partition("?")[0]
        scope = {
            "type": "http",
            "scheme": "http",
            "method": request.method,
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": request.query_string,
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers],
            "client": ("127.0.0.1", 0),
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._app.app(scope, receive, send)
        start, *parts = sent
        headers = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"] if name != b"date"]
        return Response(b"".join(part.get("body", b"") for part in parts), start["status"], headers)

    def reset(self) -> None:
        self._app._reset_all_state()
        self._last_used.clear()
        self._clock_shift = 0.0

    def save(self) -> Any:
        return self.now(), dict(self._last_used), [(store, copy.deepcopy(store)) for store in self._stores()]

    def restore(self, saved: Any) -> None:
        time_then, last_used, stores = saved
        for store, kept in stores:
            store.clear()
            store.update(copy.deepcopy(kept))
        self._last_used.update(last_used)
        self._clock_shift = (time_then - datetime.now(UTC)).total_seconds()

    def _stores(self) -> list[Any]:
        """The data that ministack keeps of all accounts."""
        scoped = (self._responses.AccountScopedDict, self._responses.AccountRegionScopedDict)
        services = [module for name, module in sys.modules.items() if name.startswith("ministack.services.")]
        found = [each for module in services for each in vars(module).values() if isinstance(each, scoped)]
        return [*found, self._sts._sessions, self._ec2._default_initialized_scopes]

    def shift_clock(self, seconds: float) -> None:
        self._clock_shift += seconds

    def principal(self, access_key: str, region: str) -> str:
        return str(getattr(self._credential(access_key), "principal_arn", ""))

    def secret(self, access_key: str, region: str) -> str:
        return str(getattr(self._credential(access_key), "secret_access_key", ""))

    def _credential(self, access_key: str) -> Any:
        of_session = self._responses._account_from_sts_session(access_key)
        account = access_key if re.fullmatch(r"\d{12}", access_key) else of_session or ACCOUNT
        return self._evaluator.resolve_credential(access_key, account)

    def used(self, access_key: str, region: str, service: str) -> None:
        self._last_used[access_key] = (self.now(), region, service)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._clock_shift)

    def instances(self) -> list[Instance]:
        profiles = {
            record["InstanceId"]: self._profile(record["IamInstanceProfile"])
            for record in self._ec2._iam_instance_profile_associations.to_dict().values()
            if record["State"] == "associated"
        }
        return [
            Instance(
                name,
                account,
                region,
                record["ImageId"],
                record["InstanceType"],
                record["State"]["Name"] == "running",
                profiles.get(name),
            )
            for (account, region, name), record in self._ec2._instances.to_dict().items()
        ]

    def _profile(self, record: dict[str, str]) -> Profile:
        account = account_of(record["Arn"])
        found = self._iam._instance_profiles.get_scoped(account, None, record["Arn"].rpartition("/")[2]) or {}
        for name in found.get("Roles", []):
            role = self._iam._roles.get_scoped(account, None, name)
            trusted = trusts_ec2(role["AssumeRolePolicyDocument"])
            return Profile(record["Arn"], record["Id"], role["Arn"], role["RoleId"], trusted)
        return Profile(record["Arn"], record["Id"])

    def role(self, arn: str) -> Role | None:
        record = self._iam._roles.get_scoped(account_of(arn), None, arn.rpartition("/")[2])
        if not record or record["Arn"] != arn:
            return None
        return Role(arn, record["RoleId"], record["AssumeRolePolicyDocument"])

    def allows(self, profile: Profile, action: str) -> bool:
        account = account_of(profile.role_arn)
        context = self._evaluator.EvalContext(
            principal_arn=profile.role_arn,
            principal_type="AssumedRole",
            principal_account=account,
            action=action,
            resource_arn="*",
            region="",
            source_ip="127.0.0.1",
            secure_transport=True,
        )
        policies = self._evaluator._gather_role_policies(profile.role, account)
        limits = self._evaluator._permissions_boundary(self._iam._roles, profile.role, account)
        return bool(self._evaluator.evaluate(context, policies, *limits).decision == "Allow")

    def session(self, instance: Instance, profile: Profile) -> Credentials:
        issued = Credentials(
            self._iam._gen_session_access_key(), self._iam._gen_secret(), self._iam._gen_session_token()
        )
        session = {
            "Arn": f"arn:aws:sts::{instance.account}:assumed-role/{profile.role}/{instance.id}",
            "UserId": f"{profile.role_id}:{instance.id}",
            "SecretAccessKey": issued.secret,
            "SessionToken": issued.token,
            "Expiration": time.time() + SESSION_SECONDS,
            "AccountId": instance.account,
            "PrincipalType": "AssumedRole",
        }
        self._sts.register_session(issued.access_key, session)
        return issued

    def _missing_managed_policies(self) -> list[dict[str, Any]]:
        """Records of the AWS managed policies that ministack lacks, from moto's copy of AWS's list."""
        package = importlib.util.find_spec("moto")
        assert package
        assert package.origin
        # Only this file, because importing moto takes a second.
        module = runpy.run_path(str(Path(package.origin).with_name("iam") / "aws_managed_policies.py"))
        records = []
        for name, policy in json.loads(module["aws_managed_policies_data"]).items():
            resource = policy["Path"].lstrip("/") + name
            if not self._iam._policy_exists(f"arn:aws:iam::aws:policy/{resource}"):
                records.append(self._iam._make_aws_managed_record(resource, json.dumps(policy["Document"])))
        return records

    def _seed_managed_policies(self, seed: Callable[[], None]) -> None:
        seed()
        self._iam._aws_managed_policies.update(self._managed)

    def _attach(self, handler: Handler, params: Params) -> Any:
        arn = self._iam._p(params, "PolicyArn")
        if self._iam._policy_exists(arn):
            role, user = self._iam._p(params, "RoleName"), self._iam._p(params, "UserName")
            principal = (self._iam._roles.get(role) if role else self._iam._users.get(user)) or {}
            attached = principal.get("AttachedPolicies", [])
            if len(attached) < ATTACHED_POLICIES or arn in attached:
                return handler(params)
            kind = "Role" if role else "User"
            message = f"Cannot exceed quota for PoliciesPer{kind}: {ATTACHED_POLICIES}"
            return self._iam._error(409, "LimitExceeded", message, ns="iam")
        return self._iam._error(404, "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", ns="iam")

    def _create_access_key(self, handler: Handler, params: Params) -> Any:
        user = self._iam._p(params, "UserName")
        if sum(key["UserName"] == user for key in self._iam._access_keys.values()) < 2:
            return handler(params)
        return self._iam._error(409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2", ns="iam")

    def _get_access_key_last_used(self, handler: Handler, params: Params) -> Any:
        status, headers, body = handler(params)
        key = self._iam._p(params, "AccessKeyId")
        if status != 200:
            message = "User is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key " + key
            return self._iam._error(403, "AccessDenied", message)
        if key in self._last_used:
            when, region, service = self._last_used[key]
            date = f"<LastUsedDate>{when:%Y-%m-%dT%H:%M:%SZ}</LastUsedDate>"
            use = f"{date}<Region>{region}</Region><ServiceName>{service}</ServiceName>"
            body = body.replace(b"<Region>N/A</Region><ServiceName>N/A</ServiceName>", use.encode())
        return status, headers, body

    def _get_account_details(self, handler: Handler, params: Params) -> Any:
        status, headers, body = handler(params)
        for principal in (*self._iam._users.values(), *self._iam._roles.values()):
            if arn := principal.get("PermissionsBoundary"):
                own = f"<Arn>{principal['Arn']}</Arn>"
                kind = "<PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>"
                boundary = f"{kind}<PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn>"
                both = f"{own}<PermissionsBoundary>{boundary}</PermissionsBoundary>"
                body = body.replace(own.encode(), both.encode())
        if "AWSManagedPolicy" in {value[0] for key, value in params.items() if key.startswith("Filter.member.")}:
            policies = "".join(map(self._managed_policy_xml, self._attached_managed_policies()))
            body = body.replace(b"</Policies>", f"{policies}</Policies>".encode())
        return status, headers, body

    def _attached_managed_policies(self) -> list[str]:
        holders = (*self._iam._users.values(), *self._iam._roles.values(), *self._iam._groups.values())
        attached = {arn for holder in holders for arn in holder.get("AttachedPolicies", [])}
        return sorted(arn for arn in attached if self._iam._is_aws_managed_arn(arn))

    def _managed_policy_xml(self, arn: str) -> str:
        policy = self._iam._lookup_policy(arn)
        version = policy["DefaultVersionId"]
        document = quote(policy["Versions"][version]["Document"], safe="")
        return (
            f"<member><PolicyName>{policy['PolicyName']}</PolicyName><Arn>{arn}</Arn>"
            f"<DefaultVersionId>{version}</DefaultVersionId><PolicyVersionList><member><Document>{document}</Document>"
            f"<VersionId>{version}</VersionId><IsDefaultVersion>true</IsDefaultVersion></member></PolicyVersionList>"
            "</member>"
        )

    def _replace_association(self, handler: Handler, params: Params) -> Any:
        record = self._ec2._iam_instance_profile_associations.get(self._ec2._p(params, "AssociationId"))
        if record and self._ec2._instances[record["InstanceId"]]["State"]["Name"] in ("stopping", "stopped"):
            code, message = NOT_ACTIVE
            return self._ec2._error(code, message.format(record["AssociationId"]), 400)
        status, headers, body = handler(params)
        if status == 200:
            old, new = self._ec2._p(params, "AssociationId"), f"iip-assoc-{secrets.token_hex(9)[:17]}"
            record = self._ec2._iam_instance_profile_associations.pop(old)
            upsert = self._ec2._upsert_iam_instance_profile_association
            upsert(record["InstanceId"], record["IamInstanceProfile"], new)
            body = body.replace(old.encode(), new.encode())
        return status, headers, body

    def _matches_filters(self, matches: Callable[..., bool], instance: dict[str, Any], filters: dict[str, Any]) -> bool:
        """Apply the filter instance-id of DescribeInstances, which ministack ignores."""
        instance_id = instance["InstanceId"]
        return instance_id in filters.get("instance-id", [instance_id]) and matches(instance, filters)

    def _resolve_condition_key(self, resolve: Callable[[str, Any], Any], key: str, context: Any) -> Any:
        if key.lower() == "aws:currenttime":
            return self.now().isoformat()
        return str(int(self.now().timestamp())) if key.lower() == "aws:epochtime" else resolve(key, context)

"""A strict model of the API of AWX 24.6, which the modules of the collection awx.awx can use.

It keeps objects in memory and serves them over HTTP on this machine. It has the rules that a set-up and a launch meet.
Each is explained by the file of AWX that has it, relative to ``awx/`` in github.com/ansible/awx.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from awx.surveys import Json, Refusal, check_answers, check_survey, job_variables, refuse

FORBIDDEN = Refusal(403, {"detail": "You do not have permission to perform this action."})
NOT_FOUND = Refusal(404, {"detail": "Not found."})


@dataclass(frozen=True)
class Kind:
    """A kind of object: its type, its fields with their defaults, and its references by endpoint."""

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)


IN_ORGANIZATION = {"organization": "organizations"}
HOOKS = {f"notification_templates_{event}": "notification_templates" for event in ("started", "success", "error")}
NODES = dict.fromkeys(("success_nodes", "failure_nodes", "always_nodes"), "workflow_job_template_nodes")
LAUNCH = {"extra_data": {}, "job_type": "", "diff_mode": False, "limit": ""}
TEMPLATES = ("projects", "inventory_sources", "job_templates", "workflow_job_templates")
KINDS = {
    "organizations": Kind("organization"),
    "teams": Kind("team", links=IN_ORGANIZATION),
    "credential_types": Kind("credential_type", {"kind": "", "inputs": {}, "injectors": {}, "managed": False}),
    "credentials": Kind("credential", {}, {**IN_ORGANIZATION, "credential_type": "credential_types"}),
    "execution_environments": Kind("execution_environment", {"image": ""}, IN_ORGANIZATION),
    "instance_groups": Kind("instance_group"),
    "inventories": Kind("inventory", {}, IN_ORGANIZATION),
    "notification_templates": Kind("notification_template", {"notification_type": ""}, IN_ORGANIZATION),
    "labels": Kind("label", {}, IN_ORGANIZATION),
    "projects": Kind(
        "project",
        {
            **dict.fromkeys(("scm_type", "scm_url", "scm_branch", "scm_revision"), ""),
            **dict.fromkeys(("scm_update_on_launch", "allow_override"), False),
            **dict.fromkeys(("scm_update_cache_timeout", "timeout"), 0),
        },
        {**IN_ORGANIZATION, "credential": "credentials"},
        HOOKS,
    ),
    "inventory_sources": Kind(
        "inventory_source",
        {
            **dict.fromkeys(("source", "source_path"), ""),
            **dict.fromkeys(("update_on_launch", "overwrite", "overwrite_vars"), False),
            **dict.fromkeys(("update_cache_timeout", "timeout"), 0),
        },
        {
            "inventory": "inventories",
            "source_project": "projects",
            "credential": "credentials",
            "execution_environment": "execution_environments",
        },
        HOOKS,
    ),
    "job_templates": Kind(
        "job_template",
        {
            **dict.fromkeys(("playbook", "scm_branch", "limit", "extra_vars", "job_tags", "skip_tags"), ""),
            **dict.fromkeys(("survey_enabled", "become_enabled", "diff_mode", "allow_simultaneous"), False),
            "prevent_instance_group_fallback": False,
            **{
                f"ask_{name}_on_launch": False
                for name in (*LAUNCH, "inventory", "scm_branch", "variables", "verbosity")
            },
            **dict.fromkeys(("forks", "timeout", "verbosity"), 0),
            "job_slice_count": 1,
            "job_type": "run",
        },
        {"inventory": "inventories", "project": "projects", "execution_environment": "execution_environments"},
        {"credentials": "credentials", "labels": "labels", "instance_groups": "instance_groups", **HOOKS},
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template",
        {"extra_vars": "", "survey_enabled": False, "allow_simultaneous": False, "ask_variables_on_launch": False},
        {**IN_ORGANIZATION, "inventory": "inventories"},
        {"labels": "labels", **HOOKS},
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        {"identifier": "", "all_parents_must_converge": False, **LAUNCH},
        {"workflow_job_template": "workflow_job_templates", "unified_job_template": "unified_job_templates"},
        NODES,
    ),
    "schedules": Kind(
        "schedule", {"rrule": "", "enabled": True, **LAUNCH}, {"unified_job_template": "unified_job_templates"}
    ),
}
# The roles that can be granted on an object of each kind, as in main/models/rbac.py.
ROLES = {
    "instance_groups": ("use",),
    "job_templates": ("admin", "execute", "read"),
    "workflow_job_templates": ("admin", "execute", "read"),
}
# main/access.py, can_read: seen by everyone where they belong to no organization.
GLOBAL = ("organizations", "credential_types", "execution_environments")
LOOKUPS = ("name", "identifier", "type", "inventory", "organization", "workflow_job_template", "unified_job_template")


class AwxApi:
    """The objects of an AWX, and the answers of its API. ``writes`` has the writing requests that succeeded.

    :param playbooks: the playbooks in the repository of each project.
    :param prefix: where the API is: ``/api/controller/`` behind the gateway of Ansible Automation Platform.
    """

    def __init__(self, playbooks: Sequence[str], prefix: str = "/api/", product: str = "AWX") -> None:
        self.playbooks, self.prefix, self.product = playbooks, prefix, product
        self.objects: dict[int, Json] = {}
        self.tokens: dict[str, Json] = {}
        self.writes: list[str] = []
        self.url = ""
        self._ids = itertools.count(1)

    @contextmanager
    def served(self) -> Iterator[AwxApi]:
        """Serve the API at ``url``."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, answer = api.request(self.command, self.path, json.loads(body or b"{}"), token)
                encoded = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("X-API-Product-Name", api.product)
                self.send_header("X-API-Product-Version", "24.6.1")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  the names that the base class calls

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield self
            server.shutdown()

    def add(self, endpoint: str, name: str, **fields: Any) -> int:
        """Add an object past all rules, and return its id."""
        kind, id_ = KINDS[endpoint], next(self._ids)
        values = {**kind.fields, **dict.fromkeys(kind.links), "name": name, "description": "", **fields}
        self.objects[id_] = {"id": id_, "type": kind.type, "endpoint": endpoint, **json.loads(json.dumps(values))}
        self.objects[id_]["lists"] = {each: [] for each in kind.lists}
        self.objects[id_]["granted"] = {f"{role}_role": [] for role in ROLES.get(endpoint, ())}
        return id_

    def add_user(self, token: str, *, superuser: bool = False, admin_of: int = 0, teams: Iterable[int] = ()) -> None:
        """Add a user with a token: a system administrator, the administrator of an organization, or a team's member."""
        self.tokens[token] = {"superuser": superuser, "organization": admin_of, "teams": [*teams]}

    def all(self, endpoint: str) -> dict[str, Json]:
        """The objects of a kind by name, with the names of the objects that are associated with them."""
        return {
            self._label(each["id"]): {
                **each,
                **{name: [self._label(one) for one in ids] for name, ids in each["lists"].items()},
                **{name: self._label(each[name]) for name in KINDS[endpoint].links},
            }
            for each in self._of(endpoint)
        }

    def _label(self, id_: int | None) -> str:
        return self.objects[id_]["name"] or self.objects[id_]["identifier"] if id_ else ""

    def request(self, method: str, url: str, body: Json, token: str) -> tuple[int, Json]:
        """Answer a request with a status and a body."""
        parts = urlsplit(url)
        try:
            # settings/defaults.py, DEFAULT_AUTHENTICATION_CLASSES
            if token not in self.tokens:
                raise Refusal(401, {"detail": "Authentication credentials were not provided."})
            user = self.tokens[token]
            path = parts.path.removeprefix(f"{self.prefix}v2/")
            if path == parts.path or not path.endswith("/"):
                raise NOT_FOUND
            status, answer = self._route(method, path.strip("/").split("/"), dict(parse_qsl(parts.query)), body, user)
        except Refusal as refusal:
            return refusal.status, refusal.body
        if method != "GET":
            self.writes.append(f"{method} {path}")
        return status, answer

    def _route(
        self, method: str, path: list[str], query: Mapping[str, str], body: Json, user: Json
    ) -> tuple[int, Json]:
        endpoint, *rest = path
        if endpoint == "project_updates":
            return 200, {**self._project_update(int(rest[0])), "url": self._address(endpoint, rest[0])}
        if endpoint == "roles":
            return self._grant(method, int(rest[0]) // 10, int(rest[0]) % 10, body, user)
        if endpoint not in {*KINDS, "unified_job_templates"}:
            raise NOT_FOUND
        if not rest:
            return self._create(endpoint, body, user) if method == "POST" else self._list(endpoint, query, user)
        item = self._find(endpoint, rest[0], user)
        if len(rest) == 1:
            return self._single(method, item, body, user)
        return self._sub(method, item, rest[1], body, user)

    # Reading

    def _of(self, endpoint: str) -> list[Json]:
        endpoints = TEMPLATES if endpoint == "unified_job_templates" else (endpoint,)
        return [each for each in self.objects.values() if each["endpoint"] in endpoints]

    def _organization(self, item: Json) -> int | None:
        """The organization of an object. A job template belongs to its project's organization (main/models/jobs.py)."""
        if item["endpoint"] == "organizations":
            return int(item["id"])
        for name in ("organization", "project", "inventory", "workflow_job_template", "unified_job_template"):
            if item.get(name):
                return self._organization(self.objects[item[name]])
        return None

    def _is_admin(self, user: Json, item: Json) -> bool:
        return user["superuser"] or bool(user["organization"] and user["organization"] == self._organization(item))

    def _has_role(self, user: Json, item: Json, role: str) -> bool:
        return self._is_admin(user, item) or bool({*item["granted"].get(f"{role}_role", ())} & {*user["teams"]})

    def _is_visible(self, user: Json, item: Json) -> bool:
        is_global = item["endpoint"] in GLOBAL and not item.get("organization")
        # An organization's administrator sees an instance group only where a role on it was granted.
        is_granted = any({*teams} & {*user["teams"]} for teams in item["granted"].values())
        return is_global or self._is_admin(user, item) or is_granted

    def _find(self, endpoint: str, key: str, user: Json) -> Json:
        """An object by its id or, main/utils/named_url_graph.py, by its name and the names of what it belongs to."""
        name, *owners = unquote(key).split("++")
        for item in self._of(endpoint):
            is_named = bool(owners) and item["name"] == name and self._label(self._organization(item)) == owners[-1]
            if (str(item["id"]) == key or is_named) and self._is_visible(user, item):
                return item
        raise NOT_FOUND

    def _list(self, endpoint: str, query: Mapping[str, str], user: Json) -> tuple[int, Json]:
        found = [item for item in self._of(endpoint) if self._is_visible(user, item)]
        alternatives = {name.removeprefix("or__"): value for name, value in query.items() if name.startswith("or__")}
        if alternatives:
            found = [item for item in found if any(str(item[name]) == value for name, value in alternatives.items())]
        for name, value in query.items():
            if name == "organization__name":
                found = [item for item in found if self._label(self._organization(item)) == value]
            elif name in LOOKUPS:
                found = [item for item in found if str(self._shown(item).get(name)) == value]
            elif name != "page_size" and not name.startswith("or__"):
                raise Refusal(400, {"detail": f"{KINDS[endpoint].type} has no field named '{name}'"})
        return 200, _page([self._shown(item) for item in found])

    def _address(self, *path: object) -> str:
        return "/".join([f"{self.prefix}v2", *map(str, path), ""])

    def _shown(self, item: Json) -> Json:
        """An object as the API shows it."""
        own = self._address(item["endpoint"], item["id"])
        shown = {name: value for name, value in item.items() if name not in ("endpoint", "lists", "granted", "survey")}
        roles = {name: {"id": item["id"] * 10 + number} for number, name in enumerate(item["granted"])}
        subs = {name: f"{own}{name}/" for name in (*item["lists"], "survey_spec", "update", "launch")}
        names = {} if item["endpoint"] == "workflow_job_template_nodes" else {"organization": self._organization(item)}
        return {**shown, **names, "url": own, "related": subs, "summary_fields": {"object_roles": roles}}

    # Writing

    def _create(self, endpoint: str, body: Json, user: Json) -> tuple[int, Json]:
        # main/access.py, CredentialTypeAccess: only a system administrator can create one.
        if endpoint in ("credential_types", "instance_groups", "organizations") and not user["superuser"]:
            raise FORBIDDEN
        fields = {"name": "", **self._checked(endpoint, body, {}, user)}
        if not self._is_admin(user, {"endpoint": endpoint, **fields}):
            raise FORBIDDEN
        created = self.objects[self.add(endpoint, **fields)]
        shown = self._shown(created)
        if endpoint == "projects" and created["scm_type"]:  # main/models/projects.py, save
            shown["summary_fields"]["current_update"] = {"id": self._update(created)}
        return 201, shown

    def _single(self, method: str, item: Json, body: Json, user: Json) -> tuple[int, Json]:
        if method == "GET":
            return 200, self._shown(item)
        if not self._is_admin(user, item):
            raise FORBIDDEN
        if method == "DELETE":
            self._delete(item)
            return 204, {}
        before = {name: item[name] for name in ("scm_type", "scm_url", "scm_branch") if name in item}
        item.update(self._checked(item["endpoint"], body, item, user))
        shown = self._shown(item)
        if before != {name: item[name] for name in before}:
            shown["summary_fields"]["current_update"] = {"id": self._update(item)}
        return 200, shown

    def _delete(self, item: Json) -> None:
        """Delete an object, with the nodes of a workflow and the schedules of a template."""
        del self.objects[item["id"]]
        for other in [*self.objects.values()]:
            is_part = other.get("workflow_job_template") == item["id"] or (
                other["endpoint"] == "schedules" and other["unified_job_template"] == item["id"]
            )
            if is_part:
                self._delete(other)
            for name in KINDS[other["endpoint"]].links:
                other[name] = None if other[name] == item["id"] else other[name]
            for ids in other["lists"].values():
                ids[:] = [id_ for id_ in ids if id_ != item["id"]]

    def _checked(self, endpoint: str, body: Json, current: Json, user: Json) -> Json:
        """The fields that a request sets, if all are valid. Unknown fields are ignored, as in AWX."""
        kind = KINDS[endpoint]
        fields = {"name": "", "description": "", **kind.fields}
        given = {name: body[name] for name in fields if name in body}
        for name, value in given.items():
            if type(value) is not type(fields[name]):
                refuse(name, f"Not a valid {type(fields[name]).__name__}.")
        links = {name: body[name] or None for name in kind.links if name in body}
        for name, id_ in links.items():
            found = [each for each in self._of(kind.links[name]) if each["id"] == id_]
            if id_ and not (found and self._is_visible(user, found[0])):
                refuse(name, f'Invalid pk "{id_}" - object does not exist.')
        new = {**fields, **dict.fromkeys(kind.links), "endpoint": endpoint, **current, **given, **links}
        self._check_name(new)
        getattr(self, f"_check_{endpoint}", lambda _: None)(new)
        return {**given, **links}

    def _check_name(self, new: Json) -> None:
        # main/models/workflow.py: the nodes of a workflow have identifiers, which are unique in it
        is_node = new["endpoint"] == "workflow_job_template_nodes"
        name, owner = ("identifier", "workflow_job_template") if is_node else ("name", "organization")
        if not new[name]:
            refuse(name, "This field is required.")

        def key(item: Json) -> tuple[Any, Any]:
            return item[name], item[owner] if is_node else self._organization(item)

        if any(key(other) == key(new) and other["id"] != new.get("id") for other in self._of(new["endpoint"])):
            refuse("__all__", f"{name} and {owner} must be unique.")

    def _check_projects(self, new: Json) -> None:
        # api/serializers.py, ProjectSerializer: without an organization, only a system administrator sees it
        if not new["organization"]:
            refuse("organization", "This field is required.")

    def _check_job_templates(self, new: Json) -> None:
        # api/serializers.py, JobTemplateSerializer and JobOptionsSerializer
        if not new["project"]:
            refuse("project", "Job Templates must have a project assigned.")
        if not new["inventory"] and not new["ask_inventory_on_launch"]:
            refuse("inventory", "You must either set a default value or ask to prompt on launch.")
        project = self.objects[new["project"]]
        if new["playbook"] not in project.get("playbook_files", ()):
            refuse("playbook", "Playbook not found for project.")
        if (new["scm_branch"] or new["ask_scm_branch_on_launch"]) and not project["allow_override"]:
            refuse("scm_branch", "Project does not allow overriding branch.")
        _check_variables(new["extra_vars"])

    def _check_workflow_job_templates(self, new: Json) -> None:
        _check_variables(new["extra_vars"])

    def _check_inventory_sources(self, new: Json) -> None:
        # main/models/inventory.py, cloud_credential_validation: a cloud's source takes only that cloud's credential
        if new["credential"] and new["source"] == "ec2":
            type_ = self.objects[self.objects[new["credential"]]["credential_type"]]
            if type_["name"] != "Amazon Web Services":
                refuse(
                    "credential", "Cloud-based inventory sources require credentials for the matching cloud service."
                )
        if new["source"] == "scm" and not new["source_project"]:
            refuse("source_project", "Project required for scm type sources.")

    def _check_schedules(self, new: Json) -> None:
        check_rrule(new["rrule"])
        if not new["unified_job_template"]:
            refuse("unified_job_template", "This field is required.")
        template = self.objects[new["unified_job_template"]]
        # A schedule must have everything that a launch needs (LaunchConfigurationBaseSerializer in api/serializers.py)
        for name in ("job_type", "diff_mode", "limit"):
            if new[name] not in ("", False, template.get(name)) and not template.get(f"ask_{name}_on_launch"):
                refuse(name, "Field is not configured to prompt on launch.")
        check_answers(template, new["extra_data"], strict=True)

    # Lists, roles, surveys and launches

    def _sub(self, method: str, item: Json, name: str, body: Json, user: Json) -> tuple[int, Json]:
        if name in item["lists"]:
            return self._associate(method, item, name, body, user)
        if name == "survey_spec":
            return self._survey(method, item, body, user)
        if name == "launch" and method == "POST":
            return self._launch(item, body, user)
        if name == "update" and method == "POST":
            return 202, {"id": item["id"], "url": self._address("project_updates", self._update(item))}
        raise NOT_FOUND

    def _associate(self, method: str, item: Json, name: str, body: Json, user: Json) -> tuple[int, Json]:
        associated = item["lists"][name]
        if method == "GET":
            return 200, _page([self._shown(self.objects[id_]) for id_ in associated])
        other = self.objects[body["id"]]
        if not self._is_admin(user, item) or not self._is_visible(user, other):
            raise FORBIDDEN
        if body.get("disassociate"):
            associated.remove(other["id"])
            is_used = any(other["id"] in each["lists"].get("labels", ()) for each in self.objects.values())
            if other["endpoint"] == "labels" and not is_used:
                self._delete(other)  # api/views/labels.py: a label that nothing has is deleted
            return 204, {}
        if name == "credentials":
            self._check_credential(item, other)
        if name in NODES and other["id"] in itertools.chain(*(item["lists"][each] for each in NODES)):
            raise Refusal(400, {"Error": "Relationship not allowed."})  # api/views/__init__.py, …NodeChildrenBaseList
        associated.append(other["id"])
        return 204, {}

    def _check_credential(self, template: Json, credential: Json) -> None:
        # api/views/__init__.py, JobTemplateCredentialsList: one of each type, and of these kinds
        type_ = self.objects[credential["credential_type"]]
        if any(self.objects[id_]["credential_type"] == type_["id"] for id_ in template["lists"]["credentials"]):
            raise Refusal(400, {"error": f"Cannot assign multiple {type_['name']} credentials."})
        if type_["kind"] not in ("ssh", "vault", "cloud", "net", "kubernetes"):
            raise Refusal(400, {"error": f"Cannot assign a Credential of kind `{type_['kind']}`."})

    def _grant(self, method: str, id_: int, number: int, body: Json, user: Json) -> tuple[int, Json]:
        # The administrators of an object grant its roles (RoleAccess in main/access.py)
        item = self.objects[id_]
        granted = [*item["granted"].values()][number]
        if method == "GET":
            return 200, _page([self._shown(self.objects[team]) for team in granted])
        if not self._is_admin(user, item):
            raise FORBIDDEN
        granted.remove(body["id"]) if body.get("disassociate") else granted.append(body["id"])
        return 204, {}

    def _survey(self, method: str, item: Json, body: Json, user: Json) -> tuple[int, Json]:
        if method == "GET":
            return 200, item.get("survey", {})
        if not self._is_admin(user, item):
            raise FORBIDDEN
        if method == "POST":
            check_survey(body)
        item["survey"] = body if method == "POST" else {}
        return 200, {}

    def _launch(self, item: Json, body: Json, user: Json) -> tuple[int, Json]:
        if not self._has_role(user, item, "execute"):
            raise FORBIDDEN
        # main/models/projects.py, get_reason_if_failed
        project = self.objects.get(item.get("project") or 0, {})
        if project.get("status") == "failed" and not project["scm_update_on_launch"]:
            refuse("playbook", "Last project update failed.")
        answers = check_answers(item, body.get("extra_vars", {}))
        return 201, {"job": next(self._ids), "extra_vars": json.dumps(job_variables(item, answers))}

    def _update(self, project: Json) -> int:
        """Update a project at once, and return the id of the update."""
        project.update(status="successful", scm_revision="0" * 40, playbook_files=[*self.playbooks])
        return int(project["id"])

    def _project_update(self, id_: int) -> Json:
        revision = self.objects[id_]["scm_revision"]
        done = {"status": "successful", "finished": "2026-01-01T00:00:00Z", "failed": False, "elapsed": 1.0}
        return {"id": id_, "scm_revision": revision, "event_processing_finished": True, **done}


def _page(results: list[Json]) -> Json:
    return {"count": len(results), "next": None, "previous": None, "results": results}


def _check_variables(text: str) -> None:
    # main/validators.py, vars_validate_or_raise
    if text and not isinstance(json.loads(text), dict):
        refuse("extra_vars", "Cannot parse as JSON.")


def check_rrule(rule: str) -> None:
    """Refuse the same requests as SchedulePreviewSerializer in api/serializers.py."""
    if not re.match(r"DTSTART(;TZID=[^:]+:\d{8}T\d{6}|:\d{8}T\d{6}Z) ", rule):
        refuse("rrule", "Valid DTSTART required in rrule. Value should start with: DTSTART:YYYYMMDDTHHMMSSZ")
    if rule.count("DTSTART") > 1:
        refuse("rrule", "Multiple DTSTART is not supported.")
    if "RRULE:" not in rule:
        refuse("rrule", "One or more rule required in rrule.")
    if "INTERVAL" not in rule:
        refuse("rrule", f"INTERVAL required in rrule: {rule}")

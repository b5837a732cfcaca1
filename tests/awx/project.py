"""The example project for AWX, as its files define it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from awx.api import AwxApi
from awx.surveys import Json

PROJECT = Path(__file__).parents[2] / "examples" / "awx-project"


class _Loader(yaml.SafeLoader):
    """Reads a string with the tag !unsafe as text."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def read(name: str) -> Any:
    """A file of the project."""
    return yaml.load((PROJECT / name).read_text(), _Loader)  # noqa: S506  a subclass of SafeLoader


DEFINITIONS = read("awx/job_templates.yml")
VARIABLES = read("awx/vars.yml")
QUESTIONS: dict[str, Json] = read("awx/questions.yml")["questions"]
TEMPLATES = {each["playbook"].removesuffix(".yml"): each for each in DEFINITIONS["job_templates"]}
"""The job templates by the names of their playbooks."""


def template(playbook: str) -> Json:
    """A job template as AWX keeps it after the set-up."""
    spec = [QUESTIONS[name] for name in TEMPLATES[playbook]["survey"]]
    survey = {"name": "", "description": "", "spec": spec}
    return {"survey_enabled": bool(spec), "survey": survey, "extra_vars": json.dumps(VARIABLES["awx_settings"])}


URL = "https://git.example.com/ops/cwagent.git"
TEAMS = {"restore": ["Operations"], "rotate_keys": ["Operations"]}
EVERYTHING: dict[str, Any] = {
    "awx_teams": TEAMS,
    "awx_notifications": ["On call"],
    "awx_instance_groups": ["one at a time"],
    "awx_inventory_source": "inventory/aws_ec2.yml",
    "awx_inventory_credential": "Assumed role",
}
"""Variables of a set-up that uses everything that it can."""


def prepare_awx(**more: Any) -> AwxApi:
    """An AWX as its administrators prepare it. The organization Other has the same names as Default."""
    awx = AwxApi(sorted(path.name for path in PROJECT.glob("*.yml")), **more)
    default, other = (awx.add("organizations", name) for name in ("Default", "Other"))
    aws = awx.add("credential_types", "Amazon Web Services", kind="cloud", managed=True)
    machine = awx.add("credential_types", "Machine", kind="ssh", managed=True)
    for organization in (other, default):
        awx.add("inventories", "CloudWatch agent", organization=organization)
        for duty, name in VARIABLES["awx_credentials"].items():
            type_ = machine if duty == "machine" else aws
            awx.add("credentials", name, organization=organization, credential_type=type_)
        awx.add("notification_templates", "On call", organization=organization, notification_type="slack")
    awx.add("execution_environments", "CloudWatch agent", image="registry.example.com/cwagent", organization=default)
    assumed = awx.add("credential_types", "Assumed", kind="cloud")
    awx.add("credentials", "Assumed role", organization=default, credential_type=assumed)
    team, admins = (awx.add("teams", name, organization=default) for name in ("Operations", "Admins"))
    group = awx.add("instance_groups", "one at a time")
    awx.objects[group]["granted"]["use_role"].append(admins)
    awx.add_user("system", superuser=True)
    awx.add_user("organization", admin_of=default, teams=[admins])
    awx.add_user("operator", teams=[team])
    return awx

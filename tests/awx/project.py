"""The example project for AWX, as its files define it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

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
QUESTIONS: dict[str, Json] = DEFINITIONS["questions"]
TEMPLATES = {each["playbook"].removesuffix(".yml"): each for each in DEFINITIONS["job_templates"]}
"""The job templates by the names of their playbooks."""


def template(playbook: str) -> Json:
    """A job template as AWX keeps it after the set-up."""
    spec = [QUESTIONS[name] for name in TEMPLATES[playbook]["survey"]]
    survey = {"name": "", "description": "", "spec": spec}
    return {"survey_enabled": bool(spec), "survey": survey, "extra_vars": json.dumps(VARIABLES["awx_settings"])}

"""The surveys of AWX: which it accepts, which answers it accepts, and which variables a job gets from them.

Each rule is explained by the file of AWX that has it, relative to ``awx/`` in github.com/ansible/awx.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

Json = dict[str, Any]


class Refusal(Exception):
    """An answer of the API other than success."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(body)
        self.status, self.body = status, body


def refuse(name: str, reason: str) -> NoReturn:
    """Refuse a request because of one field."""
    raise Refusal(400, {name: [reason]})


# main/constants.py, SURVEY_TYPE_MAPPING
ANSWERS: dict[str, Any] = {
    **dict.fromkeys(("text", "textarea", "password", "multiplechoice", "multiselect"), str),
    "integer": int,
    "float": (float, int),
}


def check_survey(survey: Json) -> None:
    """Refuse the same surveys as JobTemplateSurveySpec in api/views/__init__.py."""
    for name, type_ in {"name": str, "description": str, "spec": list}.items():
        if not isinstance(survey.get(name), type_):
            raise Refusal(400, {"error": f"Field '{name}' is missing from survey spec."})
    if not survey["spec"]:
        raise Refusal(400, {"error": "'spec' doesn't contain any items."})
    variables = [question.get("variable") for question in survey["spec"]]
    if len({*variables}) < len(variables):
        raise Refusal(400, {"error": "'variable' duplicated in survey question."})
    for question in survey["spec"]:
        _check_question(question)


def _check_question(question: Json) -> None:
    for name in ("type", "question_name", "variable", "required"):
        if not isinstance(question.get(name), bool if name == "required" else str):
            raise Refusal(400, {"error": f"'{name}' missing from survey question."})
    type_, default, choices = question["type"], question.get("default", ""), question.get("choices")
    is_choice = type_ in ("multiplechoice", "multiselect")
    problems = {
        "not an allowed question type": type_ not in ANSWERS,
        "default value of another type": default != "" and not isinstance(default, ANSWERS.get(type_, object)),
        "limit expected to be integer": not all(isinstance(question.get(each), int | None) for each in ("min", "max")),
        "must specify choices": is_choice and choices is None,
        "default is not a choice": is_choice and any(each not in (choices or ()) for each in str(default).splitlines()),
    }
    for problem, found in problems.items():
        if found:
            raise Refusal(400, {"error": f"{question['variable']}: {problem}"})


def _questions(template: Json) -> list[Json]:
    return template.get("survey", {}).get("spec", []) if template.get("survey_enabled") else []


def check_answers(template: Json, answers: Json, *, strict: bool = False) -> Json:
    """The variables that a launch accepts, as main/models/mixins.py, SurveyJobTemplateMixin.

    :param strict: whether other variables are refused instead of ignored, as by a schedule.
    """
    errors = [error for question in _questions(template) for error in _answer_errors(question, answers)]
    if errors:
        raise Refusal(400, {"variables_needed_to_start": errors})
    if template.get("ask_variables_on_launch"):
        return dict(answers)
    accepted = {question["variable"] for question in _questions(template)}
    others = ", ".join(name for name in answers if name not in accepted)
    if others and strict:
        refuse("extra_data", f"Variables {others} are not allowed on launch.")
    return {name: value for name, value in answers.items() if name in accepted}


def _answer_errors(question: Json, answers: Json) -> list[str]:
    """The errors of an answer, if there is one. A choice is never blank, and an answer has the question's type."""
    variable, type_ = question["variable"], question["type"]
    if variable not in answers:
        return [f"'{variable}' value missing"] if question["required"] else []
    value = answers[variable]
    if type_ == "multiplechoice":
        is_choice = value in question["choices"]
        return [] if is_choice else [f"Value {value} for '{variable}' expected to be one of {question['choices']}."]
    if type(value) is not ANSWERS[type_]:
        return [f"Value {value} for '{variable}' expected to be of type {type_}."]
    size: Any = value if type_ == "integer" else len(value)
    if size < question.get("min", size) or size > question.get("max", size):
        return [f"'{variable}' value {value} is too small or too large."]
    return []


def job_variables(template: Json, answers: Json) -> Json:
    """The extra variables of a job: of the template, then the survey's defaults that are answers, then the answers."""
    defaults = {question["variable"]: question["default"] for question in _questions(template) if "default" in question}
    valid = {
        question["variable"]: defaults[question["variable"]]
        for question in _questions(template)
        if question["variable"] in defaults and not _answer_errors(question, defaults)
    }
    return {**json.loads(template.get("extra_vars") or "{}"), **valid, **answers}

"""The model of AWX refuses the same surveys as AWX. Each case was met with a real AWX, or is in its source."""

from __future__ import annotations

import pytest
from awx import Refusal, check_answers, check_survey, job_variables

TEXT = {"question_name": "T", "variable": "text", "type": "text", "required": False, "default": "", "min": 1, "max": 9}
NUMBER = {**TEXT, "variable": "number", "type": "integer", "max": 720}
CHOICE = {**TEXT, "variable": "choice", "type": "multiplechoice", "choices": ["false", "true"]}


def survey(*questions):
    return {"name": "", "description": "", "spec": list(questions)}


def template(*questions, **more):
    return {"survey_enabled": True, "survey": survey(*questions), **more}


@pytest.mark.parametrize(
    ("questions", "error"),
    [
        ([], "'spec' doesn't contain any items."),
        ([TEXT, TEXT], "duplicated"),
        ([{**TEXT, "required": "false"}], "'required' missing"),
        ([{**TEXT, "type": "date"}], "not an allowed question type"),
        ([{**NUMBER, "default": "15"}], "default value of another type"),
        ([{**CHOICE, "default": "yes"}], "default is not a choice"),
        ([{**CHOICE, "choices": None}], "must specify choices"),
        ([{**NUMBER, "min": "1"}], "limit expected to be integer"),
    ],
)
def test_a_survey_is_refused(questions, error):
    with pytest.raises(Refusal) as refused:
        check_survey(survey(*questions))
    assert refused.value.status == 400
    assert error in refused.value.body["error"]


def test_blank_defaults_are_accepted_for_every_type():
    check_survey(survey(TEXT, NUMBER, CHOICE))


@pytest.mark.parametrize(
    "answers",
    [{"number": "90"}, {"number": True}, {"number": 721}, {"choice": ""}, {"choice": True}, {"text": 1}, {"text": ""}],
    ids=str,
)
def test_an_answer_is_refused(answers):
    with pytest.raises(Refusal) as refused:
        check_answers(template(TEXT, NUMBER, CHOICE), answers)
    assert "variables_needed_to_start" in refused.value.body


def test_a_required_question_blocks_a_launch_without_answers():
    with pytest.raises(Refusal) as refused:
        check_answers(template({**TEXT, "required": True, "default": "x"}), {})
    assert refused.value.body == {"variables_needed_to_start": ["'text' value missing"]}


def test_other_variables_are_ignored_and_in_a_schedule_refused():
    assert check_answers(template(TEXT), {"text": "a", "other": 1}) == {"text": "a"}
    with pytest.raises(Refusal):
        check_answers(template(TEXT), {"other": 1}, strict=True)


@pytest.mark.parametrize(
    ("question", "answers", "variables"),
    [
        (TEXT, {}, {}),
        ({**TEXT, "min": 0}, {}, {"text": ""}),
        ({**TEXT, "default": "x"}, {}, {"text": "x"}),
        ({**TEXT, "default": "x"}, {"text": "y"}, {"text": "y"}),
        (NUMBER, {}, {}),
        ({**NUMBER, "default": 15}, {}, {"number": 15}),
        (CHOICE, {}, {}),
    ],
)
def test_a_default_is_passed_to_the_job_if_it_would_be_an_answer(question, answers, variables):
    """So a blank text is passed unless it is too short, and hides the value of the inventory."""
    found = job_variables(template(question, extra_vars='{"setting": 1}'), answers)
    assert found == {"setting": 1, **variables}

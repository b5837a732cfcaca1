"""A model of AWX, with which its set-up is tested."""

from __future__ import annotations

from awx.api import AwxApi
from awx.surveys import Refusal, check_answers, check_survey, job_variables

__all__ = ["AwxApi", "Refusal", "check_answers", "check_survey", "job_variables"]

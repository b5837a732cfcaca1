"""The report of an acceptance run, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Step:
    """One step of the run, and its problems. :param skipped: why it was left out."""

    title: str
    seconds: float
    problems: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def result(self) -> str:
        if self.skipped:
            return f"skipped: {self.skipped}"
        return "failed" if self.problems else "ok"


@dataclass(frozen=True)
class Answer:
    """AWS's answer to a question that its documentation leaves open."""

    question: str
    answer: str


@dataclass(frozen=True)
class Report:
    """The results of an acceptance run. They contain the account's region and partition, but no secret."""

    began: datetime
    region: str
    partition: str
    steps: Sequence[Step]
    answers: Sequence[Answer]
    left: Sequence[str]

    @property
    def passed(self) -> bool:
        return not self.left and not any(step.problems for step in self.steps)

    def markdown(self) -> str:
        """The text of the report."""
        lines = [
            "# Acceptance run of cwagent.iam",
            "",
            f"{self.began:%Y-%m-%d %H:%M} UTC, region {self.region}, partition {self.partition}: "
            + ("**passed**" if self.passed else "**failed**"),
            "",
            "| step | seconds | result |",
            "|---|--:|---|",
            *(f"| {step.title} | {step.seconds:.0f} | {step.result} |" for step in self.steps),
            "",
            "## Answers from AWS",
            "",
            "| question | answer |",
            "|---|---|",
            *(f"| {each.question} | {_cell(each.answer)} |" for each in self.answers),
        ]
        for step in self.steps:
            if step.problems:
                lines += ["", f"## Failed: {step.title}"]
                lines += [text for problem in step.problems for text in ("", "```", problem, "```")]
        lines += ["", "## Removed", ""]
        lines += [f"- Not removed: {each}" for each in self.left] or ["Everything that the run made was removed."]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

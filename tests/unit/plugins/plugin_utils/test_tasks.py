from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.cwagent.iam.plugins.module_utils._preflight.tasks import OPTIONS
from ansible_collections.cwagent.iam.plugins.plugin_utils._tasks import (
    MODULES,
    ComparedTask,
    compared_tasks,
    trust_templates,
)

OMITTED = "__omit_place_holder__1"
VARIABLES = {"name": "R", "empty": "", "regions": ["a", "b"], "by_region": {"a": [1], "b": [2]}, "omit": OMITTED}


def evaluator(variables: Mapping[str, Any]) -> Callable[[Any], Any]:
    evaluate: Callable[[Any], Any] = Templar(loader=DataLoader(), variables=dict(variables)).template
    return evaluate


def found_in(text: str, regions: str | None = None) -> list[ComparedTask]:
    return list(compared_tasks(trust_templates(yaml.safe_load(text)), VARIABLES, evaluator, regions))


ROLE = ComparedTask("cwagent_iam_role", {"name": "R"}, "")
A_ROLE = "cwagent.iam.cwagent_iam_role: {name: R}"
IN_HERE = "module_defaults: {cwagent.iam.cwagent_iam_role: '{{ {\"region\": at} }}'}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", []),
        ("- cwagent.iam.cwagent_role_inputs:", []),
        ("- {ansible.builtin.debug: {msg: '{{ undefined }}'}}", []),
        ("- {cwagent.iam.cwagent_iam_role: {name: '{{ name }}'}}", [ROLE]),
        ("- {cwagent.iam.cwagent_iam_role: {name: '{{ own }}'}, vars: {own: '{{ name }}'}}", [ROLE]),
        ("- {cwagent.iam.cwagent_iam_role: {name: R, path: '{{ empty | default(omit, true) }}'}}", [ROLE]),
        (
            "- {cwagent.iam.cwagent_iam_user: {saved_key: {a: 1, b: '{{ empty | default(omit, true) }}'}}}",
            [ComparedTask("cwagent_iam_user", {"saved_key": {"a": 1}}, "")],
        ),
        (f"- {{{A_ROLE}, when: name == 'R'}}", [ROLE]),
        (f"- {{{A_ROLE}, when: true}}", [ROLE]),
        (f"- {{{A_ROLE}, when: name == 'S' or name == 'T'}}", []),
        (f"- {{{A_ROLE}, when: [name == 'R', empty | length > 0]}}", []),
        (f"- {{block: [{{{A_ROLE}}}]}}", [ROLE]),
        (f"- {{block: [], rescue: [{{{A_ROLE}}}], always: [{{block: [{{{A_ROLE}}}]}}]}}", [ROLE, ROLE]),
        ("- {cwagent.iam.cwagent_iam_role: {name: '{{ item }}'}, loop: []}", []),
        (
            "- {cwagent.iam.cwagent_iam_role: {name: R, region: '{{ item }}'}, loop: '{{ regions }}'}",
            [ComparedTask("cwagent_iam_role", {"name": "R"}, region) for region in "ab"],
        ),
        (
            "- {cwagent.iam.cwagent_iam_role: {name: '{{ item }}'}, loop: '{{ by_region.keys() }}'}",
            [ComparedTask("cwagent_iam_role", {"name": region}, "") for region in "ab"],
        ),
        (
            f"- {{{A_ROLE}, loop: '{{{{ regions }}}}', loop_control: {{loop_var: at}}, when: at == 'b', {IN_HERE}}}",
            [ComparedTask("cwagent_iam_role", {"name": "R"}, "b")],
        ),
    ],
)
def test_the_tasks_that_run_are_found_with_their_options(text: str, found: list[ComparedTask]) -> None:
    assert found_in(text) == found


def test_a_task_can_be_for_the_regions_of_the_item_of_its_loop() -> None:
    entries = "[{name: a, in: [x, y]}, {name: b, in: [y]}]"
    looped = f"- {{block: [{{cwagent.iam.cwagent_iam_role: {{name: '{{{{ item.name }}}}'}}, loop: {entries}}}]}}"
    assert [(task.options["name"], task.region) for task in found_in(looped, "item['in']")] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "y"),
    ]


def test_the_modules_are_those_that_the_preflight_compares() -> None:
    assert set(MODULES) == set(OPTIONS)

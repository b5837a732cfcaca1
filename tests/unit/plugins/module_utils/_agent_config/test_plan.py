from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.plan import (
    APPEND,
    FETCH,
    REMOVE,
    AgentFiles,
    commands,
    plan,
)

NAMES = ["A", "A-2", "A-3", "B", "A-b", "-2"]


def calls(current, desired):
    return [(each.action, each.name, each.restart) for each in commands(current, desired)]


def after(current, calls_made, desired):
    """A model of the agent's control program: the files of an agent after calls."""
    parameters, others = dict(current.parameters), current.others
    for action, name, _restart in calls_made:
        if action == FETCH:
            parameters, others = {}, ()
        if action == REMOVE:
            del parameters[name]
        else:
            parameters[name] = desired[name]
    return AgentFiles(parameters, others)


@pytest.mark.parametrize(
    ("files", "others", "desired", "expected"),
    [
        ({}, (), {"A": "1"}, [(FETCH, "A", True)]),
        ({"A": "1"}, (), {"A": "1"}, []),
        ({"A": "0"}, (), {"A": "1"}, [(FETCH, "A", True)]),
        ({"A": "1"}, (), {"A": "1", "A-2": "2"}, [(FETCH, "A", False), (APPEND, "A-2", True)]),
        ({"A": "1", "A-2": "2"}, (), {"A": "1"}, [(FETCH, "A", True)]),
        ({"A": "0", "B": "1"}, (), {"A": "1"}, [(APPEND, "A", True)]),
        ({"A": "0"}, ("file_x.json",), {"A": "1", "A-2": "2"}, [(APPEND, "A", False), (APPEND, "A-2", True)]),
        ({"A": "1", "A-2": "2"}, ("file_x.json",), {"A": "1"}, [(REMOVE, "A-2", True)]),
        (
            {"A": "0", "A-2": "2", "A-3": "3"},
            ("file_x.json",),
            {"A": "1"},
            [(REMOVE, "A-2", False), (REMOVE, "A-3", False), (APPEND, "A", True)],
        ),
        ({"A": "1", "B": "1"}, ("file_x.json",), {"A": "1"}, []),
        ({"B": "1"}, (), {}, []),
    ],
)
def test_calls_of_the_control_program(files, others, desired, expected):
    assert calls(AgentFiles(files, others), desired) == expected


digests = st.dictionaries(st.sampled_from(NAMES), st.sampled_from("01"))


@given(digests, st.sampled_from([(), ("file_x.json",)]), digests)
def test_after_the_calls_the_agent_runs_the_desired_configurations(files, others, desired):
    current = AgentFiles(files, others)
    made = calls(current, desired)
    result = after(current, made, desired)
    assert desired.items() <= result.parameters.items()
    assert calls(result, desired) == []
    assert result.others == others
    assert [restart for _action, _name, restart in made] == [False] * (len(made) - 1) + [True] * bool(made)
    assert plan(current, desired).planned == result


def test_configurations_of_others_stay():
    current = AgentFiles({"A": "0", "B": "1"})
    assert plan(current, {"A": "1"}).planned == AgentFiles({"A": "1", "B": "1"})


def test_summaries_of_steps():
    found = plan(AgentFiles({"A-2": "2", "A": "0"}, ("file_x.json",)), {"A": "1"})
    assert found.summaries == ["remove configuration A-2", "append configuration A and restart the agent"]
    assert found.counts == {"create": 0, "update": 1, "delete": 1}

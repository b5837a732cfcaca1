from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import (
    APPEND,
    FETCH,
    REMOVE,
    RENAME,
    AgentFiles,
    Command,
    Wanted,
    commands,
    find_clash,
    find_files,
    is_numbered,
    plan,
    plan_names,
    renames,
    similar_names,
)

NAMES = ["A", "A-2", "A-3", "B", "A-b", "-2"]
OTHERS = ("file_x.json",)
A1 = [Wanted("A", "1", 7)]
PARTS = [*A1, Wanted("A-2", "2", 7)]


def calls(current, desired, **more):
    return [(each.action, each.name, each.to or each.restart) for each in commands(current, desired, **more)]


@pytest.mark.parametrize(
    ("files", "others", "desired", "expected"),
    [
        ({}, (), A1, [(FETCH, "A:7", True)]),
        ({}, (), [Wanted("A", "1")], [(FETCH, "A", True)]),
        ({}, (), [Wanted("A.yaml", "1", 7)], [(FETCH, "A.yaml", True)]),
        ({"A": "1"}, (), A1, []),
        ({"A_7": "1"}, (), A1, []),
        ({"A_6": "1"}, (), A1, []),
        ({"A_stable": "1"}, (), A1, []),
        ({"A": "0"}, (), A1, [(FETCH, "A:7", True)]),
        ({"A": "1", "A_7": "1"}, (), A1, [(FETCH, "A:7", True)]),
        ({"A": "1"}, (), PARTS, [(FETCH, "A:7", False), (APPEND, "A-2:7", True)]),
        ({"A": "1", "A-2": "2"}, (), A1, [(FETCH, "A:7", True)]),
        ({"A": "1", "A-2_7": "2"}, (), A1, [(FETCH, "A:7", True)]),
        ({"A": "0", "B": "1"}, (), A1, [(RENAME, "A", "A:7"), (APPEND, "A:7", True)]),
        ({"B": "1"}, (), A1, [(APPEND, "A:7", True)]),
        ({"A_7": "0", "B": "1"}, (), A1, [(APPEND, "A:7", True)]),
        (
            {"A": "1", "A_6": "1", "A_stable": "1", "B": "1"},
            (),
            A1,
            [(REMOVE, "A_6", False), (REMOVE, "A_stable", False), (RENAME, "A", "A:7"), (APPEND, "A:7", True)],
        ),
        ({"A": "1", "A_7": "1", "B": "1"}, (), A1, [(REMOVE, "A", False), (APPEND, "A:7", True)]),
        ({"A": "0"}, OTHERS, PARTS, [(RENAME, "A", "A:7"), (APPEND, "A:7", False), (APPEND, "A-2:7", True)]),
        ({"A": "1", "A-2": "2"}, OTHERS, A1, [(REMOVE, "A-2", True)]),
        (
            {"A": "0", "A-2_6": "2", "A-3": "3"},
            OTHERS,
            A1,
            [(REMOVE, "A-2_6", False), (REMOVE, "A-3", False), (RENAME, "A", "A:7"), (APPEND, "A:7", True)],
        ),
        ({"A": "1", "B": "1"}, OTHERS, A1, []),
        ({"B": "1"}, (), [], []),
    ],
)
def test_calls_of_the_control_program(files, others, desired, expected):
    assert calls(AgentFiles(files, others), desired) == expected


@pytest.mark.parametrize(
    ("files", "others", "expected"),
    [
        ({"A": "1"}, (), []),
        ({"A_stable": "1"}, (), []),
        ({"A_7": "1"}, (), [(FETCH, "A:7", True)]),
        ({"A_7": "1"}, OTHERS, [(APPEND, "A:7", True)]),
    ],
)
def test_an_agent_that_failed_with_a_version_begins_again(files, others, expected):
    """A version whose file has its final name has been proved, whatever the agent did later."""
    assert calls(AgentFiles(files, others), A1, is_refused=True) == expected


@pytest.mark.parametrize(
    ("file", "names", "expected"),
    [
        ("A", "A", "A"),
        ("A_12", "A", "A"),
        ("A_stable", "A", "A"),
        ("A_stable", "A A_stable", "A_stable"),
        ("A_b_c", "A", "A"),
        ("A_b_c", "A A_b", "A_b"),
        ("A_12", "A A_12", "A_12"),
        ("A_12_3", "A A_12", "A_12"),
        ("A_12_3", "A", "A_12_3"),
        ("A_7_old", "A", "A_7_old"),
        ("A_7a", "A", "A_7a"),
        ("A_aws-old", "A", "A_aws-old"),
        ("A_x.yaml", "A", "A_x.yaml"),
        ("A_old", "B", "A_old"),
        ("B_12", "A", "B_12"),
        ("A-2_12", "A", "A-2"),
        ("A-2_old", "A", "A-2"),
        ("A_b-2", "A A_b", "A_b-2"),
        ("A_", "A", "A_"),
        ("A_²", "A", "A_²"),
        ("_12", "A", "_12"),
        ("Ab_12", "A", "Ab_12"),
        ("Ab_old", "A", "Ab_old"),
    ],
)
def test_the_configuration_of_a_file(file, names, expected):
    assert find_files([file], set(names.split())) == {expected: [file]}
    assert find_files([file], set(names.split()), [file]) == {file: [file]}
    known = similar_names([file, *names.split()], set(names.split()))
    assert known == (() if expected == file else (file,))


@pytest.mark.parametrize(
    ("names", "label", "expected"),
    [
        ("A B", "stable", None),
        ("A A_stable", "stable", ("A", "A_stable")),
        ("A A_stable", "", None),
        ("A A_7", "", ("A", "A_7")),
        ("A_7", "", None),
        ("A_7 A_7_9", "", ("A_7", "A_7_9")),
    ],
)
def test_configurations_whose_files_can_have_one_name(names, label, expected):
    assert find_clash(set(names.split()), label) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [(["A"], False), (["A_7"], True), (["A", "A_7"], True), (["A_stable"], False), ([], False)],
)
def test_a_number_in_the_name_of_a_file_is_a_version_on_trial(files, expected):
    assert is_numbered("A", files) is expected


@pytest.mark.parametrize(
    ("files", "label", "expected"),
    [
        ({"A_7": "1"}, "", [("A_7", "A")]),
        ({"A_7": "1"}, "stable", [("A_7", "A:stable")]),
        ({"A": "1"}, "stable", [("A", "A:stable")]),
        ({"A_stable": "1"}, "stable", []),
        ({"A_old": "1"}, "stable", [("A_old", "A:stable")]),
        ({"A_old": "1"}, "", [("A_old", "A")]),
        ({"A": "1"}, "", []),
        ({"A_7": "0"}, "", []),
        ({"A": "1", "A_7": "1"}, "", []),
        ({"A_7": "1", "A-2_9": "2", "B_7": "1"}, "", [("A_7", "A"), ("A-2_9", "A-2")]),
    ],
)
def test_the_final_names_of_files(files, label, expected):
    found = renames(AgentFiles(files), PARTS, label)
    assert [(each.name, each.to) for each in found] == expected
    assert {each.digest for each in found} <= {"1", "2"}


def test_a_parameter_of_others_keeps_its_file():
    """Its name looks like a label."""
    current, others = AgentFiles({"A": "0", "A_old": "1"}), ["A_old"]
    assert calls(current, A1, others=others) == [(RENAME, "A", "A:7"), (APPEND, "A:7", True)]
    assert renames(AgentFiles({"A_old": "1"}), A1, "stable", others) == []


def test_a_configuration_in_yaml_keeps_the_name_that_the_agent_needs():
    assert renames(AgentFiles({"A.yaml": "1"}), [Wanted("A.yaml", "1", 7)], "stable") == []


parameters = st.dictionaries(
    st.sampled_from([*NAMES, *(f"{name}_{end}" for name in NAMES for end in ("6", "7", "stable", "old"))]),
    st.sampled_from("01"),
)
desires = st.dictionaries(st.sampled_from(NAMES), st.sampled_from("01")).map(
    lambda digests: [Wanted(name, digest, 7) for name, digest in digests.items()]
)
labels = st.sampled_from(["", "stable"])
others_of_agents = st.sampled_from([(), OTHERS])


def run_control_program(current, made, desired):
    """A model of the agent's control program, and of the module that renames files: the files of an agent then."""
    texts = {each.name: each.digest for each in desired}
    files, others = dict(current.parameters), current.others
    for each in made:
        file = each.name.replace(":", "_")
        if each.action == FETCH:
            files, others = {}, ()
        if each.action == REMOVE:
            del files[file]
        elif each.action == RENAME:
            files[each.to.replace(":", "_")] = files.pop(file)
        else:
            files[file] = texts[each.name.partition(":")[0]]
    return AgentFiles(files, others)


def texts_of(name, files, names):
    """The texts that an agent has of a configuration, whose file can have a number or a label in its name."""
    own = re.compile(rf"{name}(_([0-9]+|stable|old))?")
    return [text for file, text in files.items() if own.fullmatch(file) and (file == name or file not in names)]


def foreign_files(files, names):
    """The files that are neither of the configurations nor of parts that they had."""
    own = re.compile(rf"({'|'.join(sorted(names))})(-[0-9]+)?(_([0-9]+|stable|old))?")
    return {file: text for file, text in files.items() if not names or not own.fullmatch(file)}


@given(parameters, others_of_agents, desires, labels)
def test_after_the_calls_the_agent_runs_the_desired_configurations(files, others, desired, label):
    """When it has run them for a while, their files get their final names."""
    current, names = AgentFiles(files, others), {each.name for each in desired}
    made = commands(current, desired)
    result = run_control_program(current, made, desired)
    assert plan(current, made, desired).planned == result
    assert [texts_of(each.name, result.parameters, names) for each in desired] == [[e.digest] for e in desired]
    assert foreign_files(result.parameters, names) == foreign_files(files, names)
    assert result.others == others
    assert commands(result, desired) == []
    assert [each.restart for each in made] == [False] * (len(made) - 1) + [True] * bool(made)
    found = renames(result, desired, label)
    named = run_control_program(result, found, desired)
    assert plan_names(result, found).planned == plan_names(named, found).planned == named
    assert renames(named, desired, label) == commands(named, desired) == []
    ends = f"_{label}" if label else ""
    assert {f"{each.name}{ends}": each.digest for each in desired}.items() <= named.parameters.items()
    assert len(named.parameters) == len(result.parameters)


def test_summaries_of_steps():
    current = AgentFiles({"A-2": "2", "A": "0"}, OTHERS)
    found = plan(current, commands(current, A1), A1)
    assert found.summaries == [
        "remove configuration A-2",
        "rename the file of configuration A for A:7",
        "append configuration A:7 and restart the agent",
    ]
    assert found.counts == {"create": 0, "update": 2, "delete": 1}


def test_a_file_that_has_its_name_is_not_renamed_again():
    made = [Command(RENAME, "A_7", to="A", digest="1")]
    assert plan_names(AgentFiles({"A_7": "1"}), made).planned == AgentFiles({"A": "1"})
    assert plan_names(AgentFiles({"A": "1"}), made).steps == {"agent": []}

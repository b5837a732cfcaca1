"""The answers of a server that says anything it likes."""

from __future__ import annotations

import json
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.host_result import (
    MAX_OUTPUT,
    OF_ANY,
    OF_MODULES,
    describe_failure,
    discovered_python,
    expect_result,
    printable_errors,
    reduce_output,
)

# The keys on which Ansible acts, whichever module returned them.
ACTED_ON = ("ansible_facts", "ansible_facts_cacheable", "add_host", "add_group", "ansible_stats", "_ansible_notify")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

OF_PLANS = ("steps", "counts", "done", "not_done")
OF_ACTIONS = {
    ("cwagent_agent_config", each)
    for each in (
        *("failed_hosts", "applied_hosts", "rename_hosts", "watches", "leader"),
        *("stops", "notes", "applied_versions", "read_at"),
    )
}
"""The values that Ansible itself returns. A host that returns them is not believed."""


@given(
    st.sampled_from(sorted(OF_MODULES)),
    st.dictionaries(st.sampled_from([*ACTED_ON, *OF_ANY, "identity", "registration", "other"]), VALUES),
)
def test_an_answer_is_reduced_to_the_result_of_the_module_or_refused(module: str, answer: dict[str, Any]) -> None:
    try:
        result = expect_result(f"cwagent.iam.{module}", answer)
    except InvalidInput:
        return
    types = {**OF_ANY, **OF_MODULES[module]}
    assert result.keys() <= types.keys() & answer.keys()
    assert all(value is None or isinstance(value, types[key]) for key, value in result.items() if key != "warnings")


DEEP: Any = "inside"
for _ in range(100):
    DEEP = {"\x1b[31mkey": [DEEP]}
RED, SHOWN, KEY = "\x1b[31mred\u202e\n\tend", "[31mred\n\tend", "[31mred end"


def reduced(output: str) -> str:
    return str(reduce_output({"rc": 0, "stdout": output, "stderr": ""})["stdout"])


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"msg": RED, "path": RED}, {"msg": SHOWN, "path": SHOWN}),
        ({"exception": {"event": {"msg": RED}}}, {"exception": SHOWN}),
        ({"exception": {"event": {"msg": "x", "formatted_traceback": RED}}}, {"exception": SHOWN}),
        ({"exception": {"other": RED}, "msg": None}, {"exception": None, "msg": None}),
        ({"warnings": ["\x07bell", None, 1], "deprecations": [RED]}, {"warnings": ["bell", SHOWN]}),
        ({"warnings": [{"event": {"msg": "x", "__ansible_type": "Event"}}, {}]}, {"warnings": ["x"]}),
        ({"deprecations": [{"msg": "old", "version": "9"}]}, {"warnings": ["old"]}),
        ({"steps": ["a"], "ansible_facts": {}, "other": 1}, {"steps": ["a"]}),
        (
            {"stat": {"a": [1.5, 1e999, 2**63, -1, None], RED: True}},
            {"stat": {"a": [1.5, None, None, -1, None], KEY: True}},
        ),
        ({"registration": {"__ansible_type": "Event", "x": {"__ansible_unsafe": "y"}}}, {"registration": {"x": {}}}),
    ],
)
def test_the_output_of_a_module_has_only_keys_of_modules_and_printable_text(
    answer: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert json.loads(reduced(f"\x1b[2Jmotd\n{json.dumps(answer)}\n\x1b[2Jjunk")) == kept


@pytest.mark.parametrize("output", ["\x1b[2Jno JSON", "\x1b[2J{broken}", '\x1b["a list"]', '{"a":' * 100000])
def test_other_output_is_printable(output: str) -> None:
    assert all(each.isprintable() or each == "\n" for each in reduced(output))


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ('{\x1b"msg": "x"}', '| {"msg": "x"}'),
        ('\u00a0 \x1b{"msg": "x"\x1b}', '|  {"msg": "x"}'),
        ('\x1b[2J{"msg": "x"}', '[2J{"msg": "x"}'),
        ("{" + "x" * MAX_OUTPUT, "| {" + "x" * 1997 + "\n…\n" + "x" * 1998),
        ("[1]", "[1]"),
    ],
)
def test_text_that_was_cleaned_is_no_object(output: str, shown: str) -> None:
    assert reduced(output) == shown


def test_lines_of_a_command_are_those_of_its_output() -> None:
    raw = {"stdout_lines": ["\x1b"], "stderr_lines": ["\x1b"]}
    found = reduce_output({"rc": 0, "stdout": "{}", "stderr": "\x1ba\nb", **raw})
    assert (found["stdout_lines"], found["stderr_lines"]) == (["{}"], ["a", "b"])


@pytest.mark.parametrize(
    "answer",
    [
        *({"rc": "0"}, {"changed": "yes"}, {"warnings": "text"}, {"steps": [1]}, {"done": [{}]}, {"not_done": [None]}),
        *({"diff": [1]}, {"counts": {"create": "x"}}, {"stat": []}, {"registration": "x"}, {"marked": 1}),
    ],
)
def test_a_value_of_another_type_makes_the_module_fail(answer: dict[str, Any]) -> None:
    [key] = answer
    found = json.loads(reduced(json.dumps({"changed": True, **answer})))
    assert found.keys() == {"failed", "msg"}
    assert f"a result that a module cannot return: {key} " in found["msg"]


def test_long_texts_lose_their_middle_and_many_values_their_end() -> None:
    long = {
        "msg": "a" * 20_000_000,
        "diff": [{"before": "b" * 39_000, "after": "c" * 50_000}] * 9,
        "stdout": "d" * 190_000,
    }
    found = expect_result("cwagent_agent_config", long)
    assert (len(found["msg"]), found["msg"][:2], found["msg"][-2:]) == (3999, "aa", "aa")
    assert found["diff"][0]["before"] == "b" * 39_000
    assert len(json.dumps(found)) < 450_000
    assert found["stdout"] == long["stdout"]
    assert len(expect_result("ping", {"steps": ["x"] * 99_999})["steps"]) < 50_000


def test_the_diff_of_the_deepest_configuration_is_kept() -> None:
    config: Any = "inside"
    for _ in range(64):
        config = {"key": config}
    diff = {"before": {}, "after": {"AmazonCloudWatch-linux": {"type": "String", "config": config}}}
    assert json.loads(reduced(json.dumps({"diff": [diff]}))) == {"diff": [diff]}
    assert expect_result("cwagent_store_host", {"diff": [diff]}) == {"diff": [diff]}


@pytest.mark.parametrize("text", ["\x1b[2Jred", "x" * 9999])
@pytest.mark.parametrize("kind", [AnsibleConnectionFailure, AnsibleError, AnsibleActionFail])
def test_errors_of_ansible_are_printable_and_short(kind: type[AnsibleError], text: str) -> None:
    with pytest.raises(AnsibleError) as raised, printable_errors():
        raise kind(text)
    assert isinstance(raised.value, AnsibleConnectionFailure) == (kind is AnsibleConnectionFailure)
    assert str(raised.value) == describe_failure(kind(text))
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) <= 4000


def test_an_error_that_is_printable_stays_as_it_is() -> None:
    with pytest.raises(AnsibleActionFail), printable_errors():
        raise AnsibleActionFail("It failed.")


@pytest.mark.parametrize(
    ("python", "is_kept"), [("/bin/python", True), ("\x1b", False), ("x" * 301, False), (1, False)]
)
def test_only_a_path_is_remembered_as_the_python_of_a_host(python: Any, is_kept: bool) -> None:
    action = SimpleNamespace(_discovered_interpreter_key="p", _discovered_interpreter=python)
    assert discovered_python(action) == ({"ansible_facts": {"p": python}} if is_kept else {})


def test_a_deep_value_ends() -> None:
    text = reduced(json.dumps({"diff": DEEP}))
    assert ("inside" in text, text.count("[31mkey")) == (False, 41)


@pytest.mark.parametrize("answer", [{"warnings": "text"}, {"msg": 1}, {"rc": "0"}, {"changed": 1}, {"diff": "text"}])
def test_another_type_is_refused_with_its_key(answer: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"cannot return: {next(iter(answer))} is "):
        expect_result("cwagent_agent_config", answer)


@pytest.mark.parametrize("counts", [{"create": "many"}, {"update": {}}, {"delete": None}])
def test_counts_are_numbers(counts: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="cannot return: counts has no numbers"):
        expect_result("cwagent_store_host", {"counts": counts})


def test_the_result_of_a_module_is_unchanged() -> None:
    result = {
        "changed": True,
        "warnings": ["Careful."],
        "steps": ["write the file"],
        "diff": {"before": "a\tb\n", "after": "é\n"},
        "identity": {"instance_profile": None},
        "role_refused": False,
    }
    assert expect_result("cwagent.iam.cwagent_store_host", result) == result


def returned_by(module: str) -> dict[str, Any]:
    """The documented values, with those that are documented once for all modules with a plan."""
    found = import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}")
    values = yaml.safe_load(found.RETURN) or {}
    if "cwagent.iam.steps" in yaml.safe_load(found.DOCUMENTATION).get("extends_documentation_fragment", ()):
        values |= {key: each for key, each in returned_by("cwagent_iam_role").items() if key in OF_PLANS}
    return dict(values)


@pytest.mark.parametrize("module", [each for each in OF_MODULES if each.startswith("cwagent_")])
def test_each_documented_value_of_a_module_is_kept(module: str) -> None:
    returned = returned_by(module).items()
    documented = {key: value["type"] for key, value in returned if (module, key) not in OF_ACTIONS}
    kept = {key: types[0].__name__ for key, types in {**OF_ANY, **OF_MODULES[module]}.items()}
    assert documented.items() <= kept.items()
    assert OF_MODULES[module].keys() <= documented.keys()


@pytest.mark.parametrize(
    ("printed", "repeated"),
    [
        ({"module_stderr": "motd\nsudo: a password is required\n"}, "No result. sudo: a password is required"),
        ({"module_stdout": f"su: {'x' * 999}"}, f"No result. su: {'x' * 296}"),
        ({"module_stdout": "sh: syntax error near 'secret'", "module_stderr": None}, "No result."),
        ({}, "No result."),
    ],
)
def test_a_failure_repeats_the_error_of_sudo_and_no_other_output(printed: dict[str, Any], repeated: str) -> None:
    assert expect_result("ping", {"failed": True, "msg": "No result.", **printed})["msg"] == repeated
    assert "msg" not in expect_result("ping", {"failed": False, **printed})

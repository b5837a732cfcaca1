"""The answers of a server that says anything it likes."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._host_result import (
    OF_ANY,
    OF_MODULES,
    expect_result,
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
        *("earlier_hosts", "applied_versions"),
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
for _ in range(20):
    DEEP = {"\x1b[31mkey": [DEEP]}
RED = "\x1b[31mred\u202e\n\tend"


def reduced(output: str) -> str:
    return str(reduce_output({"rc": 0, "stdout": output, "stderr": ""})["stdout"])


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"msg": RED, "path": RED}, {"msg": "[31mred\n\tend", "path": RED}),
        ({"exception": {"event": {"msg": RED}}}, {"exception": {"event": {"msg": "[31mred\n\tend"}}}),
        ({"warnings": ["\x07bell", None, 1], "deprecations": [RED]}, {"warnings": ["bell", None, 1]}),
        ({"steps": [1, True], "ansible_facts": {}, "other": 1}, {"steps": [1, True]}),
    ],
)
def test_the_output_of_a_module_has_only_keys_of_modules_and_printable_text(
    answer: dict[str, Any], kept: dict[str, Any]
) -> None:
    found = json.loads(reduced(f"\x1b[2Jmotd\n{json.dumps(answer)}\n\x1b[2Jjunk"))
    assert (found.pop("deprecations", []), found) == (["[31mred\n\tend"] if "deprecations" in answer else [], kept)


@pytest.mark.parametrize("output", ["\x1b[2Jno JSON", "\x1b[2J{broken}", '\x1b["a list"]', '{"a":' * 100000])
def test_other_output_is_printable(output: str) -> None:
    assert all(each.isprintable() for each in reduced(output))


def test_a_deep_value_ends() -> None:
    text = reduced(json.dumps({"diff": DEEP}))
    assert ("inside" in text, text.count("[31mkey")) == (False, 5)


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

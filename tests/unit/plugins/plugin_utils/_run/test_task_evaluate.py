from __future__ import annotations

from collections import UserList

import pytest
from ansible.errors import AnsibleError

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import evaluate
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import Undefined


class Templar:
    """Raises the values that are errors, and returns the others."""

    def template(self, value):
        if isinstance(value, Exception):
            raise value
        return value


class Encrypted(UserList):
    """Like an encrypted value in ansible-core 2.18: a sequence that is not text."""

    def __str__(self):
        return "decrypted"


@pytest.mark.parametrize(
    ("value", "evaluated"),
    [
        ("x", "x"),
        (None, None),
        ([1], [1]),
        ((1,), (1,)),
        (Encrypted(), "decrypted"),
        (AnsibleError("'nope' is\n undefined."), Undefined("'nope' is undefined")),
        (ZeroDivisionError("division by zero"), Undefined("division by zero")),
        ("__omit_place_holder__1", Undefined("it is omit")),
    ],
)
def test_a_variable_is_evaluated(value, evaluated):
    variables = {"x": value, "omit": "__omit_place_holder__1"}
    assert evaluate(variables, ["x", "missing"], Templar()) == {"x": evaluated}
    if isinstance(value, str) and value.startswith("__omit"):
        return
    assert evaluate({"x": value}, ["x", "missing"], Templar()) == {"x": evaluated}

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.batches import FilterModule

batches = FilterModule().filters()["batches"]


def test_labels():
    found = batches({"x": ["a", "b", "c"], "y": ["d"], "": ["e", "f"], "z": []}, 2)
    assert [(part["key"], "".join(part["value"]), part["label"]) for part in found] == [
        ("x", "ab", "1 to 2 of 3 in x"),
        ("x", "c", "3 to 3 of 3 in x"),
        ("y", "d", "1 in y"),
        ("", "ef", "2"),
    ]


@given(st.dictionaries(st.text(), st.lists(st.text())), st.integers(1, 9))
def test_nothing_is_lost(lists, size):
    for key, items in lists.items():
        parts = [part["value"] for part in batches(lists, size) if part["key"] == key]
        assert [item for part in parts for item in part] == items
        assert all(0 < len(part) <= size for part in parts)

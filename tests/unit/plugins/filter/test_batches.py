from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.batches import FilterModule

batches = FilterModule().filters()["batches"]


def test_the_label_of_a_batch_is_its_position_in_its_list():
    found = batches({"x": ["a", "b", "c"], "y": ["d"], "": ["e", "f"], "z": []}, 2)
    assert [(batch["key"], "".join(batch["value"]), batch["label"]) for batch in found] == [
        ("x", "ab", "1 to 2 of 3 in x"),
        ("x", "c", "3 to 3 of 3 in x"),
        ("y", "d", "1 in y"),
        ("", "ef", "2"),
    ]


def test_the_label_of_a_batch_of_an_odd_size():
    assert [batch["label"] for batch in batches({"x": list("abcde")}, 3)] == ["1 to 3 of 5 in x", "4 to 5 of 5 in x"]


@given(st.dictionaries(st.text(), st.lists(st.text())), st.integers(1, 9))
def test_the_batches_have_all_items_in_order(lists, size):
    for key, items in lists.items():
        values = [batch["value"] for batch in batches(lists, size) if batch["key"] == key]
        assert [item for value in values for item in value] == items
        assert all(0 < len(value) <= size for value in values)

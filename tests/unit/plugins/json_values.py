"""Any JSON, for properties of what reads it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def json_values(keys: st.SearchStrategy[str] | None = None, max_leaves: int = 5) -> st.SearchStrategy[Any]:
    """:param keys: the keys of objects; any text by default."""
    names = st.text() if keys is None else keys
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda children: st.lists(children) | st.dictionaries(names, children),
        max_leaves=max_leaves,
    )

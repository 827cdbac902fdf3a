"""A batch that no parser reads as a whole is taken apart where its items end, whatever is in them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.api import apart

texts = st.text(st.sampled_from('"\\,[]{}: aя\0\ud83d'), max_size=8) | st.just("batch")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=5), st.dictionaries(texts, values, max_size=3), st.sampled_from([None, 1]))
def test_the_items_are_those_of_the_batch_and_the_rest_is_what_stands_around_it(
    items: list[Any], around: dict[str, Any], indent: int | None
) -> None:
    around.pop("batch", None)
    sent = {**around, "half": "\ud83d", "batch": items, "after": {"batch": [1, 2]}}
    found = apart.read(json.dumps(sent, indent=indent).encode())
    found["batch"] = [apart.item(each) for each in found["batch"]]
    assert found == sent


@given(values)
def test_what_has_no_batch_is_read_as_it_is(value: Any) -> None:
    for sent in (["\ud83d", value], {"batch": {"batch": value}, "half": "\ud83d"}, [["batch", [value, "\ud83d"]]]):
        assert apart.read(json.dumps(sent).encode()) == sent

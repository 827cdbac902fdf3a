"""One merge taken back, or some records taken out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from commands.unmerge_customers import NotAMember, UnmergeCustomers, unmerge_customers
from hub.errors import Unknown
from hub.events import Component, CustomersUnmerged
from tests.commands.stories import (
    ANN,
    BOB,
    EVE,
    ann_and_bob_were_merged,
    ann_bob,
    ann_opened,
    bob_eve,
    bob_opened,
    eve_was_merged_to_them,
    link,
    merged,
    they_were_parted,
)
from tests.support.scenario import Scenario, id_of

two = Scenario(unmerge_customers).given(ann_opened, bob_opened, ann_and_bob_were_merged)
only_ann = Scenario(unmerge_customers).given(ann_opened, ann_and_bob_were_merged, eve_was_merged_to_them)


def back(merge: str, **fields: Any) -> dict[str, Any]:
    return {"command": "unmerge_customers", "merge": merge, **fields}


def out(customer: str, *records: str, **fields: Any) -> dict[str, Any]:
    return {"command": "unmerge_customers", "customer": customer, "records": records, **fields}


def test_a_merge_taken_back_parts_them_and_says_they_are_distinct() -> None:
    decided = two.when(back(ann_bob.merge, reason="ошибка"))
    (draft,) = decided.then(they_were_parted)
    assert draft.secrets[0].content == {"reason": "ошибка"}
    assert decided.outcome is not None
    assert decided.outcome.also == {}


def test_a_channel_or_the_house_says_nothing_of_distinct() -> None:
    said = they_were_parted.model_copy(update={"distinct": ()})
    two.asked_by("house").when(back(ann_bob.merge)).then(said)


def test_a_merge_taken_back_takes_its_own_links_only() -> None:
    given = Scenario(unmerge_customers).given(ann_opened, bob_opened, ann_and_bob_were_merged, eve_was_merged_to_them)
    given.when(back(ann_bob.merge)).then(
        CustomersUnmerged(
            merge=ann_bob.merge,
            links=(ann_bob,),
            components=(Component(members=(ANN,)), Component(members=(BOB, EVE), links=(bob_eve,))),
            distinct=((ANN,), (BOB, EVE)),
        )
    )


def test_where_other_merges_hold_them_nothing_changes_and_they_are_named() -> None:
    ann_eve = link(ANN, EVE, "third")
    held = merged(ann_eve, standing=(ann_bob, bob_eve))
    given = Scenario(unmerge_customers).given(
        ann_opened, bob_opened, ann_and_bob_were_merged, eve_was_merged_to_them, held
    )
    decided = given.when(back(ann_bob.merge))
    whole = Component(members=(ANN, BOB, EVE), links=(bob_eve, ann_eve))
    decided.then(CustomersUnmerged(merge=ann_bob.merge, links=(ann_bob,), components=(whole,)))
    assert decided.outcome is not None
    assert decided.outcome.members == (ANN, BOB, EVE)
    assert decided.outcome.also == {"held_by": sorted([bob_eve.merge, ann_eve.merge])}


def test_a_merge_taken_back_twice_is_taken_back_once() -> None:
    two.given(they_were_parted).when(back(ann_bob.merge)).nothing_happened()


def test_what_is_no_merge_cannot_be_taken_back() -> None:
    Scenario(unmerge_customers).when(back(id_of("nothing"))).rejected(Unknown)
    Scenario(unmerge_customers).given(ann_opened).when(back(id_of("event 1"))).rejected(Unknown)


def test_a_record_is_cut_out_and_declared_distinct() -> None:
    only_ann.when(out(ANN, EVE)).then(
        CustomersUnmerged(
            links=(bob_eve,),
            components=(Component(members=(ANN, BOB), links=(ann_bob,)), Component(members=(EVE,))),
            distinct=((ANN, BOB), (EVE,)),
        )
    )


def test_what_a_cut_record_held_together_stays_together() -> None:
    (draft,) = only_ann.when(out(ANN, BOB)).then(CustomersUnmerged)
    assert isinstance(draft.event, CustomersUnmerged)
    rest, cut = draft.event.components
    assert (rest.members, cut) == ((ANN, EVE), Component(members=(BOB,)))
    (bridge,) = rest.links
    assert {bridge.a, bridge.b} == {ANN, EVE}
    assert set(draft.event.links) == {ann_bob, bob_eve}


def test_the_cut_fall_into_what_their_own_links_hold() -> None:
    (draft,) = only_ann.when(out(ANN, BOB, EVE)).then(CustomersUnmerged)
    assert isinstance(draft.event, CustomersUnmerged)
    assert draft.event.components == (Component(members=(ANN,)), Component(members=(BOB, EVE), links=(bob_eve,)))


def test_the_whole_cannot_be_cut_out_of_itself() -> None:
    outcome = only_ann.when(out(ANN, ANN, BOB, EVE)).nothing_happened()
    assert outcome.members == (ANN, BOB, EVE)


def test_only_members_are_cut_out() -> None:
    Scenario(unmerge_customers).given(ann_opened, ann_and_bob_were_merged).when(out(ANN, EVE)).rejected(NotAMember)


@pytest.mark.parametrize(
    "fields", [{}, {"merge": ANN, "customer": BOB}, {"customer": ANN}, {"merge": ANN, "records": (BOB,)}]
)
def test_either_a_merge_or_records_are_named(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UnmergeCustomers(command="unmerge_customers", **fields)


def test_those_apart_already_are_parted_of_nothing() -> None:
    Scenario(unmerge_customers).given(ann_opened).when(out(ANN, ANN)).nothing_happened()

"""These records are one person."""

from __future__ import annotations

from typing import Any

import pytest

from commands.merge_customers import DeclaredDistinct, merge_customers
from hub.errors import Unknown
from hub.events import Component, CustomersMerged, CustomersUnmerged
from hub.subject import MembershipChanged
from tests.commands.stories import (
    ANN,
    BOB,
    EVE,
    ann_and_bob_were_merged,
    ann_bob,
    ann_opened,
    bob_opened,
    eve_opened,
    link,
    that_was_lifted,
    they_were_parted,
)
from tests.support.scenario import Scenario

scenario = Scenario(merge_customers).given(ann_opened, bob_opened)
all_three = scenario.given(eve_opened)


def joining(*customers: str, **fields: Any) -> dict[str, Any]:
    return {"command": "merge_customers", "customers": customers, **fields}


def test_two_become_one_under_the_older() -> None:
    decided = scenario.when(joining(BOB, ANN, reason="тот же телефон"))
    (draft,) = decided.then(CustomersMerged)
    assert isinstance(draft.event, CustomersMerged)
    (made,) = draft.event.links
    assert (made.a, made.b, made.merge) == (BOB, ANN, draft.id)
    assert draft.event.components == (Component(members=(ANN, BOB), links=(made,)),)
    assert draft.secrets[0].record == ANN
    assert draft.secrets[0].content == {"reason": "тот же телефон"}
    assert decided.outcome is not None
    assert decided.outcome.members == (ANN, BOB)


def test_three_become_one_with_two_links() -> None:
    (draft,) = all_three.when(joining(EVE, ANN, BOB)).then(CustomersMerged)
    assert isinstance(draft.event, CustomersMerged)
    assert [(each.a, each.b) for each in draft.event.links] == [(EVE, ANN), (EVE, BOB)]
    assert draft.event.components[0].members == (ANN, BOB, EVE)


def test_links_that_stand_stand_on_in_the_whole() -> None:
    (draft,) = all_three.given(ann_and_bob_were_merged).when(joining(BOB, EVE)).then(CustomersMerged)
    assert isinstance(draft.event, CustomersMerged)
    assert draft.event.components == (Component(members=(ANN, BOB, EVE), links=(ann_bob, *draft.event.links)),)


def test_every_member_before_and_after_is_tagged() -> None:
    (draft,) = all_three.given(ann_and_bob_were_merged).when(joining(ANN, EVE)).then(CustomersMerged)
    assert set(draft.event.tags()) == {f"member:{record}" for record in (ANN, BOB, EVE)}


@pytest.mark.parametrize("customers", [(ANN, BOB), (BOB, ANN), (ANN, ANN), (ANN, BOB, BOB)])
def test_who_is_one_already_is_not_merged_again(customers: tuple[str, ...]) -> None:
    given = scenario if set(customers) == {ANN, BOB} else Scenario(merge_customers).given(ann_opened)
    if set(customers) == {ANN, BOB}:
        given = given.given(ann_and_bob_were_merged)
    given.when(joining(*customers)).nothing_happened()


def test_strangers_cannot_be_merged() -> None:
    Scenario(merge_customers).given(ann_opened).when(joining(ANN, BOB)).rejected(Unknown)


def test_the_distinct_stay_apart() -> None:
    scenario.given(they_were_parted).when(joining(ANN, BOB)).rejected(DeclaredDistinct)


def test_the_distinct_stay_apart_across_others() -> None:
    eve_and_bob = CustomersMerged(
        links=(link(EVE, BOB, "third"),),
        components=(Component(members=(BOB, EVE), links=(link(EVE, BOB, "third"),)),),
    )
    all_three.given(they_were_parted, eve_and_bob).when(joining(ANN, EVE)).rejected(DeclaredDistinct)


def test_once_lifted_they_may_be_merged() -> None:
    scenario.given(they_were_parted, that_was_lifted).when(joining(ANN, BOB)).then(CustomersMerged)


def test_parted_again_after_the_lifting_they_are_distinct_again() -> None:
    scenario.given(they_were_parted, that_was_lifted, they_were_parted).when(joining(ANN, BOB)).rejected(
        DeclaredDistinct
    )


def test_who_looked_at_an_older_membership_looks_again() -> None:
    given = all_three.given(ann_and_bob_were_merged)
    given.when(joining(ANN, EVE, seen=3)).rejected(MembershipChanged)
    given.when(joining(ANN, EVE, seen=4)).then(CustomersMerged)


def test_three_cannot_be_joined_when_any_two_are_distinct() -> None:
    parted = CustomersUnmerged(
        links=(), components=(Component(members=(BOB,)), Component(members=(EVE,))), distinct=((BOB,), (EVE,))
    )
    all_three.given(parted).when(joining(ANN, BOB, EVE)).rejected(DeclaredDistinct)

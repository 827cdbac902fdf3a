"""Whose touch it was could not be named, and a person can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from commands.repair_touch import RepairTouch, SingleValue, repair_touch
from hub.decider import Draft, Secret
from hub.errors import Invalid, Unknown
from hub.events import (
    FactsStated,
    IdentifierStated,
    Quarantined,
    RecordOpened,
    TouchQuarantined,
    TouchRecorded,
    TouchRepaired,
)
from hub.quarantine import NotWaiting
from tests.commands.stories import ANN, BOB, ann_opened, opened, the_shop_speaks
from tests.support.scenario import HOUSE, Happened, Scenario, at, id_of

ITEM = id_of("item")
PHONE = "+79161234567"
LONG_AGO = at(-600_000)
TOUCH = {
    "command": "record_touch",
    "id": "call-7",
    "source": "shop",
    "channel": "call",
    "kind": "complaint",
    "identifiers": {"phone": "12"},
    "facts": {"first_name": "Анна"},
    "content": {"note": "перезвонить"},
}
waits = Happened(
    Draft(
        TouchQuarantined(item=ITEM, path="identifiers.phone", reason="not_a_phone"),
        (
            Secret(HOUSE, {"touch": TOUCH}),
            Secret(HOUSE, {"names": {"correlation": "talk 1"}}, (b"talk 1 is found.",)),
        ),
    ),
    LONG_AGO,
    id_of("talk 1"),
    source="shop",
)
scenario = Scenario(repair_touch).given(the_shop_speaks, waits)


def told(**touch: Any) -> dict[str, Any]:
    return {"command": "repair_touch", "quarantined": ITEM, "touch": touch}


def test_the_touch_is_recorded_as_of_when_it_happened() -> None:
    end, opened, fact, phone, touch = scenario.when(told(identifiers={"phone": PHONE})).then(
        TouchRepaired, RecordOpened, FactsStated, IdentifierStated, TouchRecorded
    )
    assert isinstance(touch.event, TouchRecorded)
    assert (touch.event.kind, touch.event.quarantined) == ("complaint", ())
    assert touch.secrets[0].content == {"content": {"note": "перезвонить"}}
    for draft in (opened, fact, phone, touch):
        assert draft.told == {
            "occurred_at": LONG_AGO,
            "source": "shop",
            "branch": None,
            "correlation": id_of("talk 1"),
            "causation": end.id,
        }


def test_what_lay_under_the_house_moves_under_the_record() -> None:
    decided = scenario.when(told(identifiers={"phone": PHONE}))
    end, *_ = decided.then(TouchRepaired, RecordOpened, FactsStated, IdentifierStated, TouchRecorded)
    assert isinstance(end.event, TouchRepaired)
    assert end.secrets == (
        Secret(end.event.record, {"touch": TOUCH}),
        Secret(end.event.record, {"names": {"correlation": "talk 1"}}, (b"talk 1 is found.",)),
    )
    assert decided.outcome is not None
    assert decided.outcome.unsealed == end.event.unsealed == ((id_of("event 2"), 0), (id_of("event 2"), 1))
    assert end.told == {"correlation": id_of("talk 1")}


def test_a_key_or_a_customer_may_be_named_instead() -> None:
    given = scenario.given(ann_opened)
    for whose in ({"key": "ann"}, {"customer": ANN, "identifiers": None}):
        drafts = given.when(told(**whose)).outcome
        assert drafts is not None
        assert drafts.record == ANN
        assert isinstance(drafts.drafts[-1].event, TouchRecorded)
        aside = [each.path for each in drafts.drafts[-1].event.quarantined]
        assert aside == (["identifiers.phone"] if "key" in whose else [])  # Nobody mended that, so it waits.


@pytest.mark.parametrize(
    ("touch", "flaws"),
    [
        ({}, "touch.identifiers.phone: not_a_phone"),
        ({"identifiers": {"phone": "13"}}, "touch.identifiers.phone: not_a_phone"),
        ({"identifiers": {"phone": [PHONE, PHONE, "1"]}}, "touch.key: missing"),
        ({"key": "7", "identifiers": {"email": "13"}}, "touch.identifiers.email: not_an_email"),
        ({"identifiers": None}, "touch.key: missing"),
        ({"key": 7}, "touch.key: wrong_type"),
        ({"key": "7", "channel": "smoke"}, "touch.channel: not_one_of_the_allowed"),
        ({"key": "7", "customer": ANN}, "touch.customer: either_customer_or_key"),
    ],
)
def test_a_touch_that_fails_again_is_refused_and_waits(touch: dict[str, Any], flaws: str) -> None:
    decided = Scenario(repair_touch, scenario.past).when(told(**touch))
    assert isinstance(decided.error, Invalid)
    assert str(decided.error) == flaws


MESSAGE = {"channel": "call", "key": "8", "touch": {"key": "9"}, "facts": {"first_name": "Анна"}}
unread = Happened(
    Draft(TouchQuarantined(item=ITEM, path="userId", reason="missing"), (Secret(HOUSE, {"message": MESSAGE}),)),
    LONG_AGO,
    source="shop",
)


def test_of_a_message_that_was_no_touch_nothing_is_taken_over() -> None:
    aside = Scenario(repair_touch).given(the_shop_speaks, unread)
    end, _, touch = aside.when(told(channel="web", key="7")).then(TouchRepaired, RecordOpened, TouchRecorded)
    assert isinstance(end.event, TouchRepaired)
    assert end.secrets == (Secret(end.event.record, {"message": MESSAGE}),)
    assert isinstance(touch.event, TouchRecorded)
    assert (touch.event.channel, touch.secrets) == ("web", ())
    assert touch.told is not None
    assert (touch.told["occurred_at"], touch.told["source"]) == (LONG_AGO, "shop")
    for incomplete, flaw in (({"key": "7"}, "touch.channel: missing"), ({"channel": "web"}, "touch.key: missing")):
        refused = Scenario(repair_touch, aside.past).when(told(**incomplete)).error
        assert isinstance(refused, Invalid)
        assert str(refused) == flaw


@pytest.mark.parametrize("name", ["source", "occurred_at", "id", "command", "correlation", "nonsense"])
def test_who_said_it_and_when_is_not_to_be_mended(name: str) -> None:
    with pytest.raises(ValidationError):
        RepairTouch.model_validate(told(**{name: "crm"}))


def test_each_touch_is_repaired_once() -> None:
    end = TouchRepaired(record=ANN, item=ITEM)
    Scenario(repair_touch).given(waits, end).when(told(key="7")).rejected(NotWaiting)
    Scenario(repair_touch).when(told(key="7")).rejected(Unknown)


def test_a_single_value_is_no_touch() -> None:
    part = Quarantined(item=ITEM, path="facts.birth_date", reason="not_a_date")
    Scenario(repair_touch).given(FactsStated(record=ANN, quarantined=(part,))).when(told(key="7")).rejected(SingleValue)


def test_a_channels_touch_states_no_more_of_another_sources_record_for_being_repaired() -> None:
    of_crm = opened(BOB, "b", source="crm")
    by_channel = Scenario(repair_touch).given(the_shop_speaks, replace(waits, role="channel"), of_crm)
    mended = told(customer=BOB, identifiers={"phone": PHONE})
    assert str(by_channel.when(mended).rejected(Invalid)) == (
        "touch.facts: of_another_source; touch.identifiers: of_another_source"
    )
    by_channel.when(told(customer=BOB, facts=None, identifiers=None)).then(TouchRepaired, TouchRecorded)
    Scenario(repair_touch).given(the_shop_speaks, waits, of_crm).when(mended).then(
        TouchRepaired, FactsStated, IdentifierStated, TouchRecorded
    )

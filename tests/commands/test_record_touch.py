"""Something happened between a customer and the company."""

from __future__ import annotations

from typing import Any

import pytest

from commands.record_touch import record_touch
from hub.decider import Draft, Secret
from hub.errors import Invalid, Unknown
from hub.events import (
    Contact,
    FactsStated,
    IdentifierStated,
    NameGiven,
    Quarantined,
    RecordOpened,
    TouchQuarantined,
    TouchRecorded,
    TouchRepaired,
    ValueRepaired,
)
from tests.commands.stories import (
    ANN,
    BOB,
    ann_and_bob_were_merged,
    ann_opened,
    holds,
    let_go,
    opened,
    stated,
    the_shop_speaks,
)
from tests.support.scenario import HOUSE, NOW, Happened, Scenario, at, fingerprint, id_of

PHONE = "+79161234567"
bob_opened = opened(BOB)
scenario = Scenario(record_touch).given(the_shop_speaks)
known = scenario.given(ann_opened)
customer = Scenario(record_touch).given(ann_opened, ann_and_bob_were_merged)


def call(**fields: Any) -> dict[str, Any]:
    named = {} if "customer" in fields or fields.get("key", "") is None else {"key": "ann"}
    source = {} if "customer" in fields else {"source": "shop"}
    return {
        "command": "record_touch",
        "channel": "call",
        **source,
        **named,
        **{k: v for k, v in fields.items() if v is not None},
    }


def touch_in(drafts: Any) -> TouchRecorded:
    event = drafts[-1].event
    assert isinstance(event, TouchRecorded)
    return event


def made(contact: str, record: str = ANN, **fields: Any) -> TouchRecorded:
    """An outgoing touch as it was recorded before."""
    months = ("2026-02", "2026-03")
    part = Contact(contact=id_of(contact), record=record, channel="call", at=NOW, months=months, seal=0)
    return TouchRecorded(record=record, channel="call", direction="out", contact=part, **fields)


def test_a_touch_of_a_stranger_opens_a_record() -> None:
    scenario.when(call()).then(RecordOpened, TouchRecorded)


def test_a_touch_is_a_fact_however_often_it_happens() -> None:
    known.when(call()).then(TouchRecorded(record=ANN, channel="call", direction="in"))


def test_a_source_must_be_registered() -> None:
    Scenario(record_touch).when(call()).rejected(Invalid)
    nameless = call(key=None, identifiers={"phone": "12"})
    assert str(Scenario(record_touch).when(nameless).rejected(Invalid)) == "source: not_registered"


def test_a_customer_nobody_opened_is_unknown() -> None:
    Scenario(record_touch).when(call(customer=ANN)).rejected(Unknown)


def test_content_is_sealed_and_codes_stay_clear() -> None:
    data = {
        "seconds": 12,
        "vip": True,
        "share": 0.25,
        "code": "a.b",
        "note": "два слова",
        "who": PHONE,
        "tel": 79161234567,
        "float": 79161234567.0,
    }
    (draft,) = known.when(call(content={"text": "алло"}, data=data)).then(
        lambda event: (
            isinstance(event, TouchRecorded)
            and event.data == {"seconds": 12, "vip": True, "share": "0.25", "code": "a.b"}
        )
    )
    sealed = {"note": "два слова", "who": PHONE, "tel": 79161234567, "float": 79161234567.0}
    assert draft.secrets == (Secret(ANN, {"content": {"text": "алло"}, "data": sealed}),)


@pytest.mark.parametrize("field", ["kind", "purpose", "topic", "campaign", "offer"])
def test_what_must_be_a_code_is_one(field: str) -> None:
    with pytest.raises(ValueError, match="not_a_code"):
        known.when(call(**{field: "Hello world"}))
    with pytest.raises(ValueError, match="not_a_code"):
        known.when(call(**{field: "79161234567"}))


@pytest.mark.parametrize("kind", ["x-79161234567", "x-7916-123-45-67", "x-club.4509123456"])
def test_what_could_be_a_phone_is_no_kind_and_no_attribute(kind: str) -> None:
    with pytest.raises(ValueError, match="unknown_kind"):
        known.when(call(identifiers={kind: "1"}))
    with pytest.raises(ValueError, match="unknown_kind"):
        known.when(call(identifier={"kind": kind, "value": "1"}))
    with pytest.raises(ValueError, match="unknown_attribute"):
        known.when(call(facts={kind: "1"}))


def test_facts_and_identifiers_are_stated_once_with_it() -> None:
    fields = {"facts": {"first_name": "Анна"}, "identifiers": {"phone": PHONE}}
    known.when(call(**fields)).then(FactsStated, IdentifierStated, TouchRecorded)
    known.given(holds(ANN, "phone", PHONE)).when(call(identifiers={"phone": PHONE})).then(TouchRecorded)


def test_the_end_point_used_is_named_by_its_id() -> None:
    used = {"kind": "phone", "value": "8 916 123 45 67"}
    given = known.given(holds(ANN, "phone", PHONE))
    assert touch_in(given.when(call(identifier=used)).then(TouchRecorded)).identifier == id_of(f"{ANN}phone{PHONE}")
    drafts = known.when(call(identifier=used)).then(IdentifierStated, TouchRecorded)
    assert isinstance(drafts[0].event, IdentifierStated)
    assert touch_in(drafts).identifier == drafts[0].event.identifier


def test_of_a_customer_the_record_that_holds_the_end_point_is_meant() -> None:
    used = {"kind": "phone", "value": PHONE}
    held = customer.given(bob_opened, holds(BOB, "phone", PHONE))
    decided = held.when(call(customer=ANN, identifier=used))
    assert touch_in(decided.then(TouchRecorded)).record == BOB
    assert decided.outcome is not None
    assert decided.outcome.members == (ANN, BOB)
    drafts = (
        customer.given(holds(ANN, "phone", PHONE), holds(BOB, "phone", PHONE))
        .when(call(customer=ANN, identifier=used))
        .then(TouchRecorded)
    )
    assert touch_in(drafts).record == ANN
    held = customer.given(holds(BOB, "phone", PHONE))
    let_go_since = held.given(let_go(BOB, "phone", PHONE)).when(call(customer=ANN, identifier=used))
    own, touch = let_go_since.then(IdentifierStated, TouchRecorded)
    assert isinstance(own.event, IdentifierStated)
    assert own.event.identifier != id_of(f"{BOB}phone{PHONE}")  # That id is of another record's end point.
    assert (own.event.record, touch_in([touch]).record) == (ANN, ANN)


def test_of_a_customer_the_record_answered_is_meant() -> None:
    asked = Draft(TouchRecorded(record=BOB, channel="call", direction="out"), id=id_of("asked"))
    drafts = customer.given(bob_opened, asked).when(call(customer=ANN, in_reply_to=id_of("asked"))).then(TouchRecorded)
    assert touch_in(drafts).record == BOB
    assert touch_in(drafts).in_reply_to == id_of("asked")


def test_what_another_record_has_said_is_news_of_this_one() -> None:
    strangers = Draft(FactsStated(record=BOB, clear={"city": "Пермь"}), id=id_of("of a stranger"))
    given = Scenario(record_touch).given(ann_opened, strangers)
    told = call(customer=ANN, in_reply_to=id_of("of a stranger"), facts={"city": "Пермь"})
    given.when(told).then(FactsStated(record=ANN, clear={"city": "Пермь"}), TouchRecorded)


def test_a_channel_speaks_of_its_own_source() -> None:
    asked = known.asked_by("channel", "shop").when({"command": "record_touch", "channel": "call", "key": "ann"})
    asked.then(TouchRecorded(record=ANN, channel="call", direction="in"))


def test_an_incoming_touch_is_no_contact() -> None:
    assert touch_in(known.when(call()).then(TouchRecorded)).contact is None


def test_an_outgoing_touch_is_a_contact_of_its_month() -> None:
    (draft,) = known.when(call(direction="out", purpose="service")).then(TouchRecorded)
    contact = touch_in([draft]).contact
    assert contact is not None
    assert (contact.record, contact.purpose, contact.months) == (ANN, "service", ("2026-03",))
    assert set(draft.event.tags()) >= {f"contact:{contact.contact}", f"contacts:{ANN}:2026-03"}


def test_a_contact_counts_for_the_end_point_too() -> None:
    drafts = (
        known.given(holds(ANN, "phone", PHONE))
        .when(call(direction="out", identifier={"kind": "phone", "value": PHONE}))
        .then(TouchRecorded)
    )
    assert drafts[0].secrets[0].tags == (fingerprint("contacts-by", "phone", PHONE, "2026-03"),)


@pytest.mark.parametrize(
    ("field", "tag"),
    [("provider_id", fingerprint("provider", "p 1")), ("source_event", fingerprint("source_event", "shop", "p 1"))],
)
def test_two_reports_of_one_contact_are_one(field: str, tag: bytes) -> None:
    said = {field.removesuffix("_id"): id_of("p 1")}
    other = fingerprint("correlation", "c 1")  # Of the same event, but not of the contact: it is not repeated.
    first = Secret(ANN, {"names": {}}, (tag, fingerprint("contacts-by", "x")))
    before = Draft(made("once", **said), (first, Secret(ANN, {"names": {}}, (other,))))
    (draft,) = known.given(before).when(call(direction="out", **{field: "p 1"})).then(TouchRecorded)
    contact = touch_in([draft]).contact
    assert contact is not None
    assert contact.contact == id_of("once")
    assert contact.months == ("2026-02", "2026-03")
    assert contact.seal == 0
    assert set(draft.secrets[0].tags) == {tag, fingerprint("contacts-by", "x")}


def test_a_report_for_another_record_of_the_customer_is_still_of_the_first_ones_contact() -> None:
    first = Draft(
        made("once", BOB, provider=id_of("p 1")), (Secret(BOB, {"names": {}}, (fingerprint("provider", "p 1"),)),)
    )
    drafts = customer.given(first).when(call(customer=ANN, direction="out", provider_id="p 1")).then(TouchRecorded)
    touch = touch_in(drafts)
    assert touch.contact is not None
    assert (touch.record, touch.contact.record, touch.contact.contact) == (ANN, BOB, id_of("once"))
    assert f"contacts:{BOB}:2026-03" in touch.tags()


def test_a_reservation_names_the_contact() -> None:
    reserved = call(direction="out", reservation=id_of("reserved"))
    contact = touch_in(known.when(reserved).then(TouchRecorded)).contact
    assert contact is not None
    assert contact.contact == id_of("reserved")
    theirs = touch_in(known.given(made("reserved", BOB)).when(reserved).then(TouchRecorded)).contact
    assert theirs is not None
    assert theirs.contact != id_of("reserved")


def test_a_report_of_someone_elses_contact_is_another_contact() -> None:
    before = Draft(made("once", BOB, provider=id_of("p 1")), (Secret(BOB, {}, (fingerprint("provider", "p 1"),)),))
    contact = touch_in(known.given(before).when(call(direction="out", provider_id="p 1")).then(TouchRecorded)).contact
    assert contact is not None
    assert contact.contact != id_of("once")


def test_strings_from_outside_get_an_id_once() -> None:
    drafts = known.when(call(agent="Пётр", matter="дело 7", source_event="e1")).then(NameGiven, TouchRecorded)
    name, touch = drafts[0].event, touch_in(drafts)
    assert isinstance(name, NameGiven)
    assert name.name == touch.agent
    assert drafts[0].secrets == (Secret(HOUSE, {"name": "Пётр"}, (fingerprint("agent", "Пётр"),)),)
    assert drafts[1].secrets[0].content == {"names": {"matter": "дело 7", "source_event": "e1"}}
    again = known.given(drafts[0], drafts[1]).when(call(agent="Пётр", matter="дело 7", source_event="e1"))
    said = touch_in(again.then(TouchRecorded))
    assert (said.agent, said.matter, said.source_event) == (touch.agent, touch.matter, touch.source_event)


def test_a_string_is_known_though_a_later_report_repeats_its_tag_only() -> None:
    """Reports of one contact repeat the tags of the first, whatever strings they carry themselves."""
    first = known.when(call(direction="out", provider_id="p 1", source_event="e1", matter="дело")).then(TouchRecorded)
    after_first = known.given(first[0])
    second = after_first.when(call(direction="out", provider_id="p 1")).then(TouchRecorded)
    third = after_first.given(Draft(second[0].event, second[0].secrets, id_of("second"))).when(
        call(direction="out", source_event="e1", matter="дело")
    )
    said = touch_in(third.then(TouchRecorded))
    assert (said.source_event, said.matter) == (touch_in(first).source_event, touch_in(first).matter)


def test_bad_values_ride_in_a_seal_of_the_touch() -> None:
    (draft,) = known.when(call(facts={"birth_date": "31.12.1980"}, identifier={"kind": "phone", "value": "12"})).then(
        TouchRecorded
    )
    touch = touch_in([draft])
    assert [(each.path, each.reason) for each in touch.quarantined] == [
        ("facts.birth_date", "not_a_date"),
        ("identifier.value", "not_a_phone"),
    ]
    assert list(draft.secrets[0].content["quarantined"].values()) == [
        "31.12.1980",
        {"kind": "phone", "value": "12"},
    ]


FIXED = "+79161234568"
part = Quarantined(item=id_of("item"), path="facts.phone.1", reason="not_a_phone")
told_with_a_bad_phone = Draft(
    TouchRecorded(record=ANN, channel="call", direction="in", quarantined=(part,)),
    (Secret(ANN, {"quarantined": {id_of("item"): "12"}}),),
)
repaired = Draft(ValueRepaired(record=ANN, item=id_of("item")), id=id_of("repair"))
as_repaired = Happened(stated(ANN, phone=[PHONE, FIXED]), causation=id_of("repair"))
spoken = known.given(holds(ANN, "phone", PHONE), holds(ANN, "phone", FIXED), stated(ANN, phone=[PHONE]))
mended = spoken.given(told_with_a_bad_phone, repaired, as_repaired)


def test_the_same_list_again_does_not_undo_what_was_repaired_in_it() -> None:
    (again,) = mended.when(call(facts={"phone": [PHONE, "12"]}), occurred_at=at(1)).then(TouchRecorded)
    assert touch_in([again]).quarantined == ()  # It is repaired already, and need not wait again.


@pytest.mark.parametrize("phones", [[PHONE, "13"], ["12", PHONE], [FIXED, "12"], [PHONE, "12", FIXED, PHONE]])
def test_another_list_takes_the_place_of_the_one_repaired(phones: list[str]) -> None:
    fact, touch = mended.when(call(facts={"phone": phones}), occurred_at=at(1)).then(FactsStated, TouchRecorded)
    fit = [phone for phone in phones if len(phone) > 2]
    assert fact.secrets == (Secret(ANN, {"facts": {"phone": fit}}),)
    assert len(touch_in([touch]).quarantined) == len(phones) - len(fit)


def test_a_list_without_what_was_repaired_takes_its_place() -> None:
    fact, _ = spoken.given(as_repaired).when(call(facts={"phone": [PHONE]})).then(FactsStated, TouchRecorded)
    assert fact.secrets == (Secret(ANN, {"facts": {"phone": [PHONE]}}),)


def test_what_a_touch_told_that_was_repaired_as_a_whole_may_be_repaired_too() -> None:
    told = Happened(stated(ANN, phone=[PHONE]), causation=id_of("repair of the touch"))
    given = known.given(holds(ANN, "phone", PHONE), holds(ANN, "phone", FIXED), stated(ANN, phone=[FIXED]), told)
    given = given.given(told_with_a_bad_phone, repaired, as_repaired)
    given.when(call(facts={"phone": [PHONE, "12"]})).then(TouchRecorded)
    given.when(call(facts={"phone": [FIXED, "12"]})).then(FactsStated, TouchRecorded)


def test_a_list_that_a_touch_told_which_was_repaired_as_a_whole_has_no_value_repaired() -> None:
    mended_touch = Draft(TouchRepaired(record=ANN, item=id_of("item")), id=id_of("repair"))
    given = known.given(holds(ANN, "phone", PHONE), mended_touch, as_repaired)
    given.when(call(facts={"phone": [PHONE, "12"]})).then(FactsStated, TouchRecorded)


def test_a_touch_nobody_can_be_named_for_waits_whole_in_a_seal_of_the_house() -> None:
    (draft,) = scenario.when(call(key=None, identifiers={"phone": "12"}, content={"text": "алло"})).then(
        TouchQuarantined
    )
    (secret,) = draft.secrets
    assert secret.record == HOUSE
    assert secret.content["touch"]["content"] == {"text": "алло"}
    assert secret.content["touch"]["identifiers"] == {"phone": "12"}

"""What a source knows about one of its customers."""

from __future__ import annotations

from typing import Any

import pytest

from commands.identify_customer import identify_customer
from commands.merge_customers import DeclaredDistinct
from hub.decider import Draft, Secret
from hub.errors import Invalid
from hub.events import (
    CustomersMerged,
    FactConfirmed,
    FactRetracted,
    FactsStated,
    IdentifierStated,
    Quarantined,
    RecordOpened,
    TouchRecorded,
    ValueRepaired,
)
from tests.commands.stories import (
    ANN,
    BOB,
    ann_and_bob_were_merged,
    ann_opened,
    bob_opened,
    holds,
    let_go,
    opened,
    stated,
    that_was_lifted,
    the_shop_speaks,
    they_were_parted,
)
from tests.support.scenario import Happened, Scenario, at, fingerprint, id_of

scenario = Scenario(identify_customer).given(the_shop_speaks)
PHONE = "+79161234567"


def ann_is(**fields: Any) -> dict[str, Any]:
    return {"command": "identify_customer", "source": "shop", "key": "ann", **fields}


def as_bob() -> dict[str, str]:
    return {"source": "shop", "key": "bob"}


def test_the_first_time_a_record_is_opened() -> None:
    decided = scenario.when(ann_is(party="organisation"))
    (draft,) = decided.then(lambda event: isinstance(event, RecordOpened) and event.party == "organisation")
    assert decided.outcome is not None
    assert decided.outcome.record == decided.outcome.members[0] == draft.secrets[0].record
    assert draft.secrets[0].content == {"key": "ann"}
    assert draft.secrets[0].tags == (fingerprint("key", "shop", "ann"),)


def test_a_record_known_is_not_opened_again() -> None:
    outcome = scenario.given(ann_opened).when(ann_is()).nothing_happened()
    assert outcome.record == ANN


def test_a_stranger_may_not_speak() -> None:
    error = Scenario(identify_customer).when(ann_is()).rejected(Invalid)
    assert str(error) == "source: not_registered"


def test_facts_are_sealed_but_those_declared_clear() -> None:
    (draft,) = (
        scenario.given(ann_opened)
        .when(ann_is(facts={"first_name": "Анна", "city": "Тверь"}))
        .then(FactsStated(record=ANN, attributes=("first_name",), clear={"city": "Тверь"}))
    )
    assert draft.secrets == (Secret(ANN, {"facts": {"first_name": "Анна"}}),)


def test_only_what_is_new_is_said() -> None:
    (draft,) = (
        scenario.given(ann_opened, stated(ANN, first_name="Анна", last_name="Ким"))
        .when(ann_is(facts={"first_name": "Анна", "last_name": "Цой"}))
        .then(FactsStated(record=ANN, attributes=("last_name",)))
    )
    assert draft.secrets[0].content == {"facts": {"last_name": "Цой"}}


def test_the_same_facts_again_say_nothing() -> None:
    scenario.given(
        ann_opened, stated(ANN, first_name="Анна"), Draft(FactsStated(record=ANN, clear={"city": "Тверь"}))
    ).when(ann_is(facts={"first_name": "Анна", "city": "Тверь"})).nothing_happened()


def test_a_late_paper_with_another_value_is_said_though_it_changes_nothing_now() -> None:
    given = scenario.given(ann_opened, stated(ANN, first_name="Анна"))
    given.when(ann_is(facts={"first_name": "Аня"}), occurred_at=at(-60)).then(FactsStated)


def test_a_newer_word_outweighs_a_later_told_older_one() -> None:
    draft = stated(ANN, first_name="Аня")
    assert isinstance(draft.event, FactsStated)
    draft.event = draft.event.model_copy(update={"late": ("first_name",)})
    given = scenario.given(ann_opened, Happened(draft, at(-60)))
    given.when(ann_is(facts={"first_name": "Аня"})).then(FactsStated)  # It may have been Анна in between.
    given.when(ann_is(facts={"first_name": "Аня"}), occurred_at=at(-60)).nothing_happened()
    newer = scenario.given(ann_opened, Happened(stated(ANN, first_name="Анна"), at(60)))
    (drafts,) = newer.when(ann_is(facts={"first_name": "Аня"})).then(FactsStated)
    assert isinstance(drafts.event, FactsStated)
    assert drafts.event.late == ("first_name",)


def lives_in(city: str = "Тверь", late: bool = False) -> Draft:
    return Draft(FactsStated(record=ANN, clear={"city": city}, late=("city",) if late else ()))


city_confirmed = FactConfirmed(record=ANN, intervals={"city": 365})
a_year_ago, more_than_a_year_ago = at(-365 * 24 * 60), at(-365 * 24 * 60 - 1)


def test_the_same_value_is_confirmed_once_the_last_statement_has_aged() -> None:
    given = scenario.given(ann_opened, Happened(lives_in(), more_than_a_year_ago))
    (draft,) = given.when(ann_is(facts={"city": "Тверь"})).then(city_confirmed)
    assert draft.secrets == ()
    scenario.given(ann_opened, Happened(lives_in(), a_year_ago)).when(
        ann_is(facts={"city": "Тверь"})
    ).nothing_happened()


def test_several_values_are_confirmed_at_once_beside_what_is_new() -> None:
    old = Happened(stated(ANN, address="Ленина, 1", phone=PHONE, name="Анна"), more_than_a_year_ago)
    given = scenario.given(ann_opened, old, holds(ANN, "phone", PHONE))
    given.when(ann_is(facts={"phone": PHONE, "address": "Ленина, 1", "name": "Анна", "gender": "f"})).then(
        FactsStated(record=ANN, attributes=("gender",)),
        FactConfirmed(record=ANN, intervals={"phone": 365, "address": 365}),
    )


def test_a_name_does_not_age() -> None:
    scenario.given(ann_opened, Happened(stated(ANN, name="Анна", birth_date="1980-01-01"), at(-10_000_000))).when(
        ann_is(facts={"name": "Анна", "birth_date": "1980-01-01"})
    ).nothing_happened()


def test_a_confirmation_counts_as_a_statement() -> None:
    confirmed = Happened(Draft(city_confirmed), at(-60))
    given = scenario.given(ann_opened, Happened(lives_in(), at(-1_000_000)), confirmed)
    given.when(ann_is(facts={"city": "Тверь"})).nothing_happened()
    given.when(ann_is(facts={"city": "Тверь"}), occurred_at=at(-999_000)).nothing_happened()  # It stood all the time.
    (late,) = given.when(ann_is(facts={"city": "Казань"}), occurred_at=at(-120)).then(FactsStated)
    assert isinstance(late.event, FactsStated)
    assert late.event.late == ("city",)


def test_what_was_said_after_a_confirmation_is_not_confirmed_by_it() -> None:
    given = scenario.given(
        ann_opened,
        Happened(lives_in(), at(-1_200_000)),
        Happened(Draft(city_confirmed), at(-600_000)),
        Happened(lives_in("Казань"), at(-550_000)),
    )
    given.when(ann_is(facts={"city": "Казань"})).then(city_confirmed)
    given.when(ann_is(facts={"city": "Тверь"})).then(FactsStated)


def test_what_comes_after_a_late_paper_is_late_as_far_as_anybody_can_tell() -> None:
    given = scenario.given(ann_opened, lives_in(), Happened(lives_in("Казань", late=True), at(-60)))
    (draft,) = given.when(ann_is(facts={"city": "Омск"}), occurred_at=at(-30)).then(FactsStated)
    assert isinstance(draft.event, FactsStated)
    assert draft.event.late == ("city",)


def test_nothing_retracts_and_only_what_stands() -> None:
    given = scenario.given(ann_opened, stated(ANN, first_name="Анна"))
    given.when(ann_is(facts={"first_name": None})).then(FactRetracted(record=ANN, attribute="first_name"))
    scenario.given(ann_opened).when(ann_is(facts={"last_name": None})).nothing_happened()
    given.given(FactRetracted(record=ANN, attribute="first_name")).when(
        ann_is(facts={"first_name": None})
    ).nothing_happened()


def test_a_retracted_fact_may_be_said_again() -> None:
    scenario.given(ann_opened, stated(ANN, first_name="Анна"), FactRetracted(record=ANN, attribute="first_name")).when(
        ann_is(facts={"first_name": "Анна"})
    ).then(FactsStated)


def test_an_identifier_is_found_by_its_fingerprint_and_gets_an_id_of_its_own() -> None:
    (draft,) = (
        scenario.given(ann_opened)
        .when(ann_is(identifiers={"phone": "8 (916) 123-45-67"}))
        .then(lambda event: isinstance(event, IdentifierStated) and event.kind == "phone")
    )
    assert draft.secrets == (
        Secret(ANN, {"value": "8 (916) 123-45-67", "normal": PHONE}, (fingerprint("phone", PHONE),)),
    )


def test_an_identifier_known_is_not_said_again_however_it_is_written() -> None:
    scenario.given(ann_opened, holds(ANN, "phone", PHONE)).when(
        ann_is(identifiers={"phone": ["8 916 123 45 67", PHONE]})
    ).nothing_happened()


def test_an_identifier_let_go_may_be_said_again() -> None:
    scenario.given(ann_opened, holds(ANN, "phone", PHONE), let_go(ANN, "phone", PHONE)).when(
        ann_is(identifiers={"phone": PHONE})
    ).then(IdentifierStated)


def test_a_span_is_said_once() -> None:
    since = {"value": PHONE, "since": "2026-03-01T07:00:00Z"}
    scenario.given(ann_opened).when(ann_is(identifiers={"phone": [since, since]})).then(IdentifierStated)
    scenario.given(ann_opened, holds(ANN, "phone", PHONE, since=at(0))).when(
        ann_is(identifiers={"phone": [since]})
    ).nothing_happened()
    scenario.given(ann_opened, holds(ANN, "phone", PHONE)).when(ann_is(identifiers={"phone": since})).then(
        lambda event: isinstance(event, IdentifierStated) and event.since == at(0)
    )


def test_phones_told_as_facts_are_identifiers_too() -> None:
    facts, phone = (
        scenario.given(ann_opened).when(ann_is(facts={"phone": [PHONE, "12"]})).then(FactsStated, IdentifierStated)
    )
    assert facts.secrets[0].content["facts"] == {"phone": [PHONE]}
    assert list(facts.secrets[1].content["quarantined"].values()) == ["12"]
    assert phone.secrets[0].tags == (fingerprint("phone", PHONE),)


def test_a_bad_value_is_set_aside_in_a_seal_of_its_own() -> None:
    (draft,) = (
        scenario.given(ann_opened)
        .when(ann_is(facts={"birth_date": "1980-02-30"}, identifiers={"phone": "9" * 1000}))
        .then(FactsStated)
    )
    assert isinstance(draft.event, FactsStated)
    assert [(each.path, each.reason) for each in draft.event.quarantined] == [
        ("facts.birth_date", "not_a_date"),
        ("identifiers.phone", "not_a_phone"),
    ]
    kept = draft.secrets[0].content["quarantined"]
    assert [kept[each.item] for each in draft.event.quarantined] == [
        "1980-02-30",
        {"kind": "phone", "value": "9" * 1000},
    ]


FIXED = "+79161234568"
ITEM = id_of("item")
part = (Quarantined(item=ITEM, path="facts.phone.1", reason="not_a_phone"),)
aside = Secret(ANN, {"quarantined": {ITEM: "12"}})
as_a_row = FactsStated(record=ANN, attributes=("phone",), quarantined=part)
in_a_touch = TouchRecorded(record=ANN, channel="call", direction="in", quarantined=part)
spoken = scenario.given(ann_opened, holds(ANN, "phone", PHONE), holds(ANN, "phone", FIXED))
repaired = Draft(ValueRepaired(record=ANN, item=ITEM), id=id_of("repair"))
as_repaired = Happened(stated(ANN, phone=[PHONE, FIXED]), causation=id_of("repair"))
with_a_bad_phone = {
    "row": spoken.given(Draft(as_a_row, (Secret(ANN, {"facts": {"phone": [PHONE]}}), aside))),
    "touch": spoken.given(stated(ANN, phone=[PHONE]), Draft(in_a_touch, (aside,))),
}


@pytest.mark.parametrize("told", with_a_bad_phone)
def test_the_same_row_again_does_not_undo_what_was_repaired_in_it(told: str) -> None:
    mended = with_a_bad_phone[told].given(repaired, as_repaired)
    mended.when(ann_is(facts={"phone": [PHONE, "12"]})).nothing_happened()
    mended.when(ann_is(facts={"phone": [PHONE, "13"]})).then(FactsStated)


def test_what_was_repaired_goes_when_the_source_says_otherwise() -> None:
    since = stated(ANN, phone=[PHONE, FIXED])  # Said by the source itself, and not so any more.
    with_a_bad_phone["row"].given(since).when(ann_is(facts={"phone": [PHONE, "12"]})).then(FactsStated)
    spoken.given(as_repaired).when(ann_is(facts={"phone": [PHONE]})).then(FactsStated)


def test_a_value_too_long_to_be_a_phone_is_set_aside() -> None:
    scenario.given(ann_opened).when(ann_is(facts={"phone": "9" * 5000})).then(
        lambda event: isinstance(event, FactsStated) and event.quarantined[0].reason == "too_long"
    )


@pytest.mark.parametrize(
    ("fields", "flaw"),
    [
        ({"key": None}, "key: missing"),
        ({"key": None, "identifiers": {"phone": PHONE, "email": "a@b.ru"}}, "key: missing"),
        ({"key": None, "identifiers": {"phone": "12"}}, "identifiers.phone: not_a_phone"),
    ],
)
def test_what_has_no_meaning_is_told(fields: dict[str, Any], flaw: str) -> None:
    nameless = Scenario(identify_customer)
    told = (nameless if "key" in fields else scenario).when(ann_is(**fields)).error
    assert isinstance(told, Invalid)
    assert str(told) == flaw


def test_a_lone_phone_is_the_key() -> None:
    scenario.given(opened(ANN, f"phone:{PHONE}")).when(ann_is(key=None, identifiers={"phone": "89161234567"})).then(
        IdentifierStated
    )


def test_the_raw_row_is_kept_when_it_changed() -> None:
    row = Draft(FactsStated(record=ANN, raw=True), (Secret(ANN, {"raw": {"a": 1}}),))
    scenario.given(ann_opened, row).when(ann_is(raw={"a": 1})).nothing_happened()
    scenario.given(ann_opened, row).when(ann_is(raw={"a": 2})).then(FactsStated(record=ANN, raw=True))


def test_a_party_said_otherwise_later_is_a_fact() -> None:
    scenario.given(ann_opened).when(ann_is(party="person")).nothing_happened()
    scenario.given(ann_opened).when(ann_is(party="organisation")).then(
        FactsStated(record=ANN, clear={"party": "organisation"})
    )
    changed = Draft(FactsStated(record=ANN, clear={"party": "organisation"}))
    scenario.given(ann_opened, changed).when(ann_is(party="person")).then(
        FactsStated(record=ANN, clear={"party": "person"})
    )


def test_the_same_as_another_is_merged_with_it_in_order_of_opening() -> None:
    decided = scenario.given(bob_opened, ann_opened).when(ann_is(same_as=as_bob()))
    decided.then(lambda event: isinstance(event, CustomersMerged) and event.components[0].members == (BOB, ANN))
    assert decided.outcome is not None
    assert decided.outcome.members == (BOB, ANN)


def test_the_same_as_one_never_met_opens_both() -> None:
    decided = scenario.when(ann_is(same_as=as_bob()))
    first, second, merge = decided.then(RecordOpened, RecordOpened, CustomersMerged)
    assert isinstance(merge.event, CustomersMerged)
    assert merge.event.components[0].members == (first.secrets[0].record, second.secrets[0].record)


def test_the_same_as_itself_says_nothing_more() -> None:
    scenario.when(ann_is(same_as={"source": "shop", "key": "ann"})).then(RecordOpened)
    scenario.given(ann_opened).when(ann_is(same_as={"source": "shop", "key": "ann"})).nothing_happened()


def test_those_who_are_one_already_are_not_merged_again() -> None:
    scenario.given(ann_opened, bob_opened, ann_and_bob_were_merged).when(ann_is(same_as=as_bob())).nothing_happened()


def test_those_declared_distinct_are_not_merged_until_that_is_lifted() -> None:
    parted = scenario.given(ann_opened, bob_opened, they_were_parted)
    parted.when(ann_is(same_as=as_bob())).rejected(DeclaredDistinct)
    parted.given(that_was_lifted).when(ann_is(same_as=as_bob())).then(CustomersMerged)


def test_a_phone_told_as_a_fact_may_be_the_key() -> None:
    command = ann_is(facts={"phone": "8 916 123-45-67"})
    del command["key"]
    scenario.when(command).then(RecordOpened, FactsStated, IdentifierStated)

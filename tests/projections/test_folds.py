"""Folds as the pure functions they are."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.events import (
    FactConfirmed,
    FactRetracted,
    FactsStated,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Recorded,
    RecordOpened,
    SourceRegistered,
    TouchQuarantined,
)
from hub.rows import ReadModel
from projections.contacts import contacts
from projections.daily_counters import daily_counters
from projections.facts import facts
from projections.identifiers import identifiers
from projections.membership import membership
from projections.quarantine import quarantine
from projections.sources import sources
from projections.timeline import timeline
from tests.support.events import DAY, HOUR, NOON, a_contact, a_touch, aside, at, merged, new_id, unmerged

A, B, C = (new_id() for _ in range(3))


def rows(model: ReadModel[Any], *events: Recorded) -> list[Any]:
    return list(model.refold(events).values())


def opened(record: str, source: str = "shop") -> RecordOpened:
    return RecordOpened(record=record, source=source, party="person")


def test_a_record_alone_is_its_own_customer() -> None:
    (member,) = rows(membership, at(1, opened(A)))
    assert (member.customer, member.place, member.opened, member.source) == (A, 0, 1, "shop")


def test_merged_records_have_their_places_in_the_customer() -> None:
    found = rows(membership, at(1, opened(A)), at(2, opened(B)), at(3, opened(C)), at(4, merged(A, C)))
    assert [(each.record, each.customer, each.place) for each in found] == [(A, A, 0), (B, B, 0), (C, A, 1)]
    assert found[2].position == 4


def test_taken_apart_every_record_is_placed_by_the_last_word() -> None:
    events = [at(n, opened(record)) for n, record in enumerate((A, B, C), 1)]
    found = rows(membership, *events, at(4, merged(A, B, C)), at(5, unmerged(new_id(), [A], [B, C])))
    assert [(each.customer, each.place) for each in found] == [(A, 0), (B, 0), (B, 1)]


def test_the_newer_statement_stands_by_when_it_was_made() -> None:
    newer = at(1, FactsStated(record=A, attributes=("name",)), NOON + HOUR, seals=1)
    older = at(2, FactsStated(record=A, attributes=("name",)), NOON, seals=1)
    (fact,) = rows(facts, newer, older)
    assert fact.position == 1


def test_of_two_statements_made_at_once_the_one_told_later_stands() -> None:
    first, second = (at(n, FactsStated(record=A, attributes=("name",)), NOON, seals=1) for n in (1, 2))
    (fact,) = rows(facts, first, second)
    assert fact.position == 2


def test_a_fact_points_to_its_seal_or_stands_in_clear() -> None:
    clear, sealed = sorted(
        rows(facts, at(1, FactsStated(record=A, attributes=("name",), clear={"city": "Kazan"}), seals=1)),
        key=lambda fact: str(fact.attribute),
    )
    assert (clear.attribute, clear.clear, clear.seal) == ("city", True, None)
    assert (sealed.attribute, sealed.clear, sealed.seal) == ("name", False, 0)


def test_a_retraction_is_a_statement_and_may_be_older_than_what_stands() -> None:
    stated = at(1, FactsStated(record=A, attributes=("name",)), NOON, seals=1)
    for when, retracted in ((NOON - HOUR, False), (NOON + HOUR, True)):
        (fact,) = rows(facts, stated, at(2, FactRetracted(record=A, attribute="name"), when))
        assert fact.retracted is retracted


def test_a_confirmation_says_when_and_leaves_the_value_where_it_is() -> None:
    stated = at(1, FactsStated(record=A, clear={"city": "Kazan"}), NOON)
    confirmed = at(2, FactConfirmed(record=A, intervals={"city": 365}), NOON + 366 * DAY)
    (fact,) = rows(facts, stated, confirmed)
    assert (fact.position, fact.stated_at, fact.confirmed_at) == (1, NOON, NOON + 366 * DAY)
    late = at(3, FactsStated(record=A, clear={"city": "Omsk"}), NOON + 365 * DAY)
    assert rows(facts, stated, confirmed, late) == [fact]
    (newer,) = rows(facts, stated, confirmed, at(3, late.event, NOON + 367 * DAY))
    assert (newer.position, newer.confirmed_at) == (3, None)


@given(
    st.lists(st.tuples(st.sampled_from(["stated", "clear", "retracted"]), st.integers(0, 3)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_facts_do_not_depend_on_the_order_of_arrival(told: list[tuple[str, int]], chance: Any) -> None:
    events = []
    for n, (what, hour) in enumerate(told, 1):
        event: Any = {
            "stated": FactsStated(record=A, attributes=("city",)),
            "clear": FactsStated(record=A, clear={"city": "Kazan"}),
            "retracted": FactRetracted(record=A, attribute="city"),
        }[what]
        events.append(at(n, event, NOON + hour * HOUR, seals=1))
    shuffled = chance.sample(events, len(events))
    assert facts.refold(shuffled) == facts.refold(events)


def stated(**times: int) -> IdentifierStated:
    spans = {name: Instant(time) for name, time in times.items()}
    return IdentifierStated(record=A, identifier=B, kind="phone", **spans)


def test_an_identifier_leads_to_its_record_for_its_time() -> None:
    (row,) = rows(identifiers, at(1, stated(since=NOON, until=NOON + DAY), seals=1))
    assert [row.current(Instant(NOON + n)) for n in (-1, 0, DAY - 1, DAY)] == [False, True, True, False]


def test_a_released_identifier_leads_nowhere_until_it_is_stated_again() -> None:
    said = at(1, stated(), seals=1)
    released = at(2, IdentifierReleased(record=A, identifier=B, until=Instant(NOON + HOUR)), NOON + HOUR)
    (row,) = rows(identifiers, said, released)
    assert [row.current(Instant(NOON + n)) for n in (0, HOUR)] == [True, False]
    (row,) = rows(identifiers, said, released, at(3, stated(), NOON + DAY, seals=1))
    assert row.current(Instant(NOON + DAY))
    assert row.position == 3


def test_a_restatement_without_a_seal_keeps_the_pointer_to_the_value() -> None:
    (row,) = rows(identifiers, at(1, stated(), seals=1), at(2, stated(until=NOON + DAY), NOON + HOUR))
    assert (row.position, row.until) == (1, NOON + DAY)


def test_releasing_what_was_never_stated_makes_no_row() -> None:
    assert rows(identifiers, at(1, IdentifierReleased(record=A, identifier=B, until=Instant(NOON)))) == []


def test_every_touch_has_its_place_in_the_timeline() -> None:
    (touch,) = rows(timeline, at(7, a_touch(A, "email", "out", kind="newsletter", campaign="spring")))
    assert (touch.record, touch.position, touch.occurred_at) == (A, 7, NOON)
    assert (touch.channel, touch.direction, touch.kind, touch.campaign) == ("email", "out", "newsletter", "spring")


def test_touches_are_counted_by_utc_day_channel_and_direction() -> None:
    times = [NOON, NOON - HOUR, NOON + 12 * HOUR]
    found = rows(daily_counters, *(at(n, a_touch(A), when) for n, when in enumerate(times, 1)))
    assert [(each.day, each.count, each.first, each.last) for each in found] == [
        (date(2026, 3, 1), 2, NOON - HOUR, NOON),
        (date(2026, 3, 2), 1, NOON + 12 * HOUR, NOON + 12 * HOUR),
    ]


def test_a_day_before_1970_is_a_day() -> None:
    (row,) = rows(daily_counters, at(1, a_touch(A), -1))
    assert row.day == date(1969, 12, 31)


def test_counting_does_not_depend_on_the_order_of_arrival() -> None:
    events = [at(n, a_touch(A), NOON + n * HOUR) for n in range(1, 5)]
    assert len({tuple(daily_counters.refold(each).values()) for each in permutations(events)}) == 1


def test_what_one_contact_is_reported_by_makes_one_row() -> None:
    first = at(1, a_touch(A, "sms", "out", contact=a_contact(C, A, purpose="marketing", identifier=B)))
    second = at(2, a_touch(A, "sms", "out", contact=a_contact(C, A, NOON + HOUR, outcome="delivered")))
    (row,) = rows(contacts, first, second)
    assert (row.purpose, row.identifier, row.outcome, row.at) == ("marketing", B, "delivered", NOON + HOUR)
    assert (row.event, row.last_event) == (first.id, second.id)


def test_a_contact_that_happened_stays_one() -> None:
    made = at(1, a_touch(A, "sms", "out", contact=a_contact(C, A)))
    expired = at(2, a_touch(A, "sms", "out", contact=a_contact(C, A, NOON + HOUR, state="expired")))
    for events in permutations([made, expired]):
        (row,) = rows(contacts, *events)
        assert (row.state, row.at) == ("made", NOON)


def test_an_incoming_touch_is_no_contact() -> None:
    assert rows(contacts, at(1, a_touch(A))) == []


def test_the_last_registration_of_a_source_counts() -> None:
    events = [
        at(n, SourceRegistered(source="crm", trust=trust, logins=("login",)), seals=n - 1)
        for n, trust in ((1, "0.3"), (2, "0.75"))
    ]
    (row,) = rows(sources, *events)
    assert (row.trust, row.logins, row.seal) == (0.75, ["login"], 0)


def test_whatever_event_sets_a_value_aside_fills_the_quarantine() -> None:
    found = rows(
        quarantine,
        at(1, FactsStated(record=A, quarantined=(aside(B), aside(C, "facts.email", "not_an_email")))),
        at(2, TouchQuarantined(item=A, path="identifiers.phone", reason="not_a_phone")),
    )
    assert [(each.item, each.record, each.path) for each in found] == [
        (B, A, "facts.birth_date"),
        (C, A, "facts.email"),
        (A, None, "identifiers.phone"),
    ]

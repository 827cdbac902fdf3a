"""Questions: answers combine the rows of the customer's present members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection

from hub.clock import EPOCH, now
from hub.errors import Behind, Invalid, ModelFailed, Unknown
from hub.events import FactConfirmed, Instant, QuarantineExpired, SourceRegistered, TouchRepaired, ValueRepaired
from hub.projector import catch_up
from hub.settings import Periods
from hub.view import View, cursor_of
from projections import READ_MODELS
from projections.card import card_of
from projections.contacts import contacts_of
from projections.identifiers import find
from projections.quarantine import due, quarantined, waiting
from projections.sources import sources_of
from projections.timeline import timeline_of
from tests.support.events import DAY, HOUR, HOUSE, NOON, Log, a_contact, aside, new_id

Fold = Callable[[], None]
PHONE = "+79161234567"


def later(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


@pytest.fixture
def two(log: Log) -> tuple[str, str]:
    """Two records of one person: the shop's and, better trusted, the CRM's."""
    log.source("shop", "0.5", "The shop")
    log.source("crm", "0.9")
    return log.open("shop", "1"), log.open("crm", "7", NOON + 1)


def test_a_card_in_full(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    event = log.state(a, first_name="Anna", clear={"city": "Kazan"})
    log.identify(a, "phone", PHONE)
    log.touch(a)
    log.touch(a, NOON + HOUR, channel="email", direction="out")
    log.touch(b)
    fold()
    told = {"record": a, "source": "shop", "event": event, "stated_at": "2026-03-01T12:00:00Z", "trust": 0.5}
    told["confirmed_at"] = None
    assert card_of(view, a) == {
        "customer": a,
        "party": "person",
        "records": [{"record": a, "source": "shop", "opened_at": "2026-03-01T12:00:00Z"}],
        "facts": {
            "city": {"value": "Kazan", **told, "best_before": "2027-03-01T12:00:00Z", "runner_up": None},
            "first_name": {"value": "Anna", **told, "best_before": None, "runner_up": None},
        },
        "identifiers": [{"kind": "phone", "value": PHONE, "records": [a], "shared_with": []}],
        "touches": {
            "count": 2,
            "first": "2026-03-01T12:00:00Z",
            "last": "2026-03-01T13:00:00Z",
            "by_channel": {"call": 1, "email": 1},
        },
        "consents": {},
        "contact": {},
        "links": [],
        "position": 9,
    }


def test_the_most_trusted_source_is_believed_and_the_next_is_runner_up(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    a, b = two
    log.merge(a, b)
    log.state(b, first_name="Anya")
    log.state(a, NOON + DAY, first_name="Anna", last_name="Ivanova")
    fold()
    facts = card_of(view, a)["facts"]
    assert (facts["first_name"]["value"], facts["first_name"]["source"]) == ("Anya", "crm")
    assert (facts["first_name"]["runner_up"]["value"], facts["first_name"]["runner_up"]["record"]) == ("Anna", a)
    assert facts["last_name"]["value"] == "Ivanova"


def test_among_equally_trusted_sources_the_newest_is_believed(log: Log, fold: Fold, view: View) -> None:
    log.source("shop")
    a, b = log.open("shop", "1"), log.open("shop", "2")
    log.merge(a, b)
    log.state(a, NOON + HOUR, name="newer")
    log.state(b, NOON, name="older")
    fold()
    name = card_of(view, b)["facts"]["name"]
    assert (name["value"], name["runner_up"]["value"]) == ("newer", "older")


def test_a_retracted_fact_gives_way(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.merge(a, b)
    log.state(a, name="Anna")
    log.state(b, name="Anya")
    log.retract(b, "name", NOON + HOUR)
    fold()
    name = card_of(view, a)["facts"]["name"]
    assert (name["value"], name["runner_up"]) == ("Anna", None)


def test_party_stated_later_prevails(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    log.state(two[0], clear={"party": "sole_trader"})
    fold()
    card = card_of(view, two[0])
    assert card["party"] == "sole_trader"
    assert "party" not in card["facts"]


def test_party_is_what_the_most_trusted_source_says(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    firm = log.open("crm", "8", NOON + HOUR, party="organisation")
    log.merge(a, firm)
    fold()
    assert card_of(view, a)["party"] == "organisation"  # The shop opened its record as a person.
    log.state(a, NOON + DAY, clear={"party": "person"})
    fold()
    assert card_of(view, a)["party"] == "organisation"
    log.state(firm, NOON + HOUR, clear={"party": "sole_trader"})
    fold()
    assert card_of(view, a)["party"] == "sole_trader"
    assert card_of(view, b)["party"] == "person"


def test_a_merged_away_id_answers_with_its_customer_until_it_is_taken_out(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    a, b = two
    log.touch(a)
    log.touch(b, NOON + DAY)
    merge = log.merge(a, b)
    fold()
    card = card_of(view, b)
    assert card == card_of(view, a)
    assert card["customer"] == a
    assert [each["record"] for each in card["records"]] == [a, b]
    assert card["touches"]["count"] == 2
    log.unmerge(merge, [a], [b])
    fold()
    assert card_of(view, b)["customer"] == b
    assert card_of(view, b)["touches"]["count"] == 1


@pytest.mark.parametrize("id", ["00000000-0000-7000-8000-00000000abcd", "anna", ""])
def test_an_unknown_id_is_unknown(fold: Fold, view: View, id: str) -> None:
    fold()
    for question in (card_of, timeline_of, contacts_of):
        with pytest.raises(Unknown):
            question(view, id)
    with pytest.raises(Unknown):
        card_of(view, id, known_at=5)


def test_one_value_on_several_records_is_one_identifier(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.identify(a, "phone", PHONE)
    log.identify(b, "phone", "8 (916) 123-45-67")
    other = log.open("shop", "3")
    log.identify(other, "phone", PHONE)
    fold()
    assert card_of(view, a)["identifiers"][0]["shared_with"] == sorted([other, b])
    assert card_of(view, a, known_at=10**12) == card_of(view, a)
    log.merge(a, b)
    fold()
    (phone,) = card_of(view, a)["identifiers"]
    assert phone["records"] == [a, b]
    assert phone["shared_with"] == [other]


def test_a_released_identifier_leaves_the_card(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    phone = log.identify(a, "phone", PHONE)
    log.identify(b, "phone", PHONE)
    log.release(a, phone, NOON + HOUR)
    fold()
    assert card_of(view, a)["identifiers"] == []
    assert card_of(view, b)["identifiers"][0]["shared_with"] == []


def test_what_was_erased_is_left_out(
    log: Log, fold: Fold, view: View, two: tuple[str, str], connection: Connection[Any]
) -> None:
    a, _ = two
    log.state(a, name="Anna", clear={"city": "Kazan"})
    log.identify(a, "phone", PHONE)
    log.touch(a, content={"text": "hello"})
    fold()
    connection.execute("UPDATE record_key SET wrapped = NULL, destroyed_at = 1 WHERE record = %s", (a,))
    connection.execute("DELETE FROM seal WHERE record = %s", (a,))
    card = card_of(view, a)
    assert list(card["facts"]) == ["city"]
    assert card["identifiers"] == []
    assert timeline_of(view, a)["items"][0]["content"] == {}


def test_a_card_as_it_was_known(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.state(a, name="Anna")
    log.identify(a, "phone", PHONE)
    log.identify(b, "phone", PHONE)
    log.touch(a)
    fold()
    cards = {6: card_of(view, a), 7: None}
    before = card_of(view, a)
    merge = log.merge(a, b)
    log.state(b, name="Anya")
    fold()
    joined = card_of(view, b)
    log.unmerge(merge, [a], [b])
    log.state(a, NOON + DAY, name="Anna-Maria")
    fold()
    assert cards[6] == before
    assert card_of(view, a, known_at=before["position"]) == before
    assert card_of(view, b, known_at=joined["position"]) == joined
    assert card_of(view, a, known_at=10**12) == card_of(view, a)
    with pytest.raises(Unknown):
        card_of(view, b, known_at=3)


def test_a_card_as_it_was_known_at_a_time(
    log: Log, fold: Fold, view: View, two: tuple[str, str], connection: Connection[Any]
) -> None:
    a, _ = two
    log.state(a, name="Anna")
    fold()
    then = card_of(view, a)
    (recorded_at,) = connection.execute("SELECT max(recorded_at) FROM event").fetchone() or (0,)
    log.state(a, NOON + 1, name="Maria")
    fold()
    assert card_of(view, a, known_at=later(recorded_at)) == then
    assert card_of(view, a, known_at=datetime.now(UTC))["facts"]["name"]["value"] == "Maria"


def test_a_confirmed_fact_is_fresh_for_longer_and_newer_than_what_was_said_before(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    a, b = two
    log.merge(a, b)
    log.say(SourceRegistered(source="crm", trust="0.5"))
    log.state(a, clear={"city": "Kazan"})
    log.state(b, NOON + 100 * DAY, clear={"city": "Omsk"})
    log.say(FactConfirmed(record=a, intervals={"city": 365}), NOON + 400 * DAY)
    fold()
    city = card_of(view, a)["facts"]["city"]
    assert (city["value"], city["runner_up"]["value"]) == ("Kazan", "Omsk")
    assert (city["stated_at"], city["confirmed_at"]) == ("2026-03-01T12:00:00Z", "2027-04-05T12:00:00Z")
    assert city["best_before"] == "2028-04-04T12:00:00Z"
    city = card_of(view, a, as_of=later(NOON + 399 * DAY))["facts"]["city"]
    assert (city["value"], city["confirmed_at"], city["best_before"]) == ("Omsk", None, "2027-06-09T12:00:00Z")
    never = replace(view, periods=Periods(confirm_after={}))
    assert card_of(never, a)["facts"]["city"]["best_before"] is None


def test_an_identifier_is_current_or_not_at_the_time_asked_about(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    class InTwoDays(View):
        def now(self) -> Instant:
            return Instant(now() + 2 * DAY)

    then = InTwoDays(view.connection, view.reader, view.fingerprint)
    log.identify(two[0], "phone", PHONE, until=now() + DAY)
    fold()
    assert card_of(then, two[0], known_at=5)["identifiers"]  # As it was known when that was written.
    assert card_of(then, two[0], known_at=later(now() + HOUR))["identifiers"]
    assert card_of(then, two[0], known_at=later(now() + DAY + HOUR))["identifiers"] == []
    assert card_of(view, two[0], known_at=later(now() + 2 * DAY))["identifiers"]  # Nobody knows the future.


def test_how_far_a_source_was_trusted_follows_what_was_known(log: Log, fold: Fold, view: View) -> None:
    log.say(SourceRegistered(source="shop", trust="0.7"), NOON + 1000 * DAY)  # Positions tell what was known.
    a = log.open("shop", "1")
    log.state(a, clear={"city": "Kazan"})
    log.say(SourceRegistered(source="shop", trust="0.2"))
    fold()
    assert card_of(view, a, as_of=later(NOON + DAY))["facts"]["city"]["trust"] == 0.2
    assert card_of(view, a, known_at=3)["facts"]["city"]["trust"] == 0.7


def test_a_card_as_it_was(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.merge(a, b)
    log.state(a, NOON + DAY, name="later")
    log.state(a, NOON, name="earlier")
    log.identify(a, "phone", PHONE, NOON - DAY, until=NOON + DAY)
    log.touch(a, NOON)
    log.touch(b, NOON + DAY)
    fold()
    card = card_of(view, b, as_of=later(NOON))
    assert card["facts"]["name"]["value"] == "earlier"
    assert card["touches"]["count"] == 1
    assert [each["value"] for each in card["identifiers"]] == [PHONE]
    assert [each["record"] for each in card["records"]] == [a, b]  # Membership follows known_at only.
    assert card_of(view, b, as_of=later(NOON + 2 * DAY))["identifiers"] == []


def test_the_timeline_interleaves_all_records_the_newest_first(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    a, b = two
    log.merge(a, b)
    told = [log.touch(record, NOON + hour * HOUR) for record, hour in ((a, 1), (b, 3), (a, 2), (b, 0), (a, 3))]
    fold()
    expected = [told[n] for n in (4, 1, 2, 0, 3)]
    assert [each["event"] for each in timeline_of(view, b)["items"]] == expected
    paged, cursor = [], None
    for _ in range(3):
        page = timeline_of(view, a, limit=2, cursor=cursor)
        paged += [each["event"] for each in page["items"]]
        cursor = page["next"]
    assert paged == expected
    assert cursor is None


def test_the_timeline_of_a_channel_between_two_times(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    told = [log.touch(two[0], NOON + n * HOUR, channel=channel) for n, channel in enumerate(("call", "web", "call"))]
    fold()
    since, until = later(NOON + HOUR), later(NOON + 2 * HOUR)

    def events(**asked: Any) -> list[str]:
        return [each["event"] for each in timeline_of(view, two[0], **asked)["items"]]

    assert events(channel="call") == [told[2], told[0]]
    assert events(since=since) == [told[2], told[1]]
    assert events(since=since, until=until) == [told[1]]
    assert events(channel="call", until=until) == [told[0]]


def test_a_touch_tells_all_that_is_known_about_it(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    item = new_id()
    event = log.touch(
        two[1],
        NOON,
        {"text": "hello"},
        kind="question",
        topic="delivery",
        data={"amount": 3},
        quarantined=(aside(item),),
    )
    fold()
    (touch,) = timeline_of(view, two[1])["items"]
    assert touch["event"] == event
    assert (touch["record"], touch["source"], touch["position"]) == (two[1], "crm", 5)
    assert (touch["channel"], touch["direction"], touch["kind"], touch["topic"]) == (
        "call",
        "in",
        "question",
        "delivery",
    )
    assert (touch["occurred_at"], touch["content"], touch["data"]) == (
        "2026-03-01T12:00:00Z",
        {"text": "hello"},
        {"amount": 3},
    )
    assert touch["quarantined"] == [{"item": item, "path": "facts.birth_date", "reason": "not_a_date"}]


FORGED = (("9" * 26, 1), (1, 1 << 63), (1, -1), ("-" + "9" * 18, 1), (1 << 63, HOUSE), ("1\0", 1))


@pytest.mark.parametrize("cursor", ["x", "????", "MSAyIDM", "ж", *(cursor_of(*place) for place in FORGED)])
def test_a_strange_cursor_is_invalid(log: Log, fold: Fold, view: View, two: tuple[str, str], cursor: str) -> None:
    fold()
    with pytest.raises(Invalid):
        timeline_of(view, two[0], cursor=cursor)
    with pytest.raises(Invalid):
        contacts_of(view, two[0], cursor=cursor)
    with pytest.raises(Invalid):
        quarantined(view, cursor=cursor)


def test_contacts_of_all_records_the_newest_first(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.merge(a, b)
    for record, hour in ((a, 1), (b, 2), (a, 2)):
        log.touch(record, contact=a_contact(new_id(), record, NOON + hour * HOUR, purpose="marketing"))
    fold()
    found = contacts_of(view, a)["items"]
    assert [(each["record"], each["channel"], each["purpose"], each["at"], each["state"]) for each in found] == [
        (a, "sms", "marketing", "2026-03-01T14:00:00Z", "made"),
        (b, "sms", "marketing", "2026-03-01T14:00:00Z", "made"),
        (a, "sms", "marketing", "2026-03-01T13:00:00Z", "made"),
    ]
    first = contacts_of(view, b, limit=2)
    rest = contacts_of(view, b, limit=2, cursor=first["next"])
    assert first["items"] + rest["items"] == found
    assert rest["next"] is None


def test_everyone_who_holds_an_identifier_is_found(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.identify(a, "phone", PHONE)
    log.identify(b, "phone", PHONE, NOON + HOUR, until=NOON + DAY)
    log.identify(b, "email", "Anna@Example.com", NOON - HOUR)
    fold()
    found = find(view, {"phone": "8 916 123 45 67"})
    assert [(each["customer"], each["record"], each["current"]) for each in found] == [(b, b, False), (a, a, True)]
    log.merge(a, b)
    fold()
    assert {each["customer"] for each in find(view, {"phone": [PHONE], "email": "anna@example.com"})} == {a}
    assert len(find(view, {"phone": [PHONE], "email": "anna@example.com"})) == 3
    assert find(view, {"phone": "+79160000000"}) == []
    with pytest.raises(Invalid):
        find(view, {"phone": "none"})
    with pytest.raises(Invalid):
        find(view)


def test_a_record_is_found_by_its_sources_key(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    a, b = two
    log.merge(a, b)
    fold()
    (found,) = find(view, source="crm", key="7")
    assert (found["customer"], found["record"]) == (a, b)
    assert find(view, source="shop", key="7") == []


def test_the_quarantine_is_paged_the_newest_first(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    first, second = new_id(), new_id()
    log.touch(two[0], quarantined=(aside(first), aside(second)))
    last = log.quarantine("identifiers.phone", "not_a_phone")
    fold()
    page = quarantined(view, limit=2)
    rest = quarantined(view, limit=2, cursor=page["next"])
    assert [each["item"] for each in page["items"] + rest["items"]] == [last, *sorted([first, second])]
    assert rest["next"] is None
    assert (page["items"][0]["record"], page["items"][0]["reason"]) == (None, "not_a_phone")


def test_the_quarantine_tells_age_and_whose_it_is_and_leaves_out_what_has_ended(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    repaired, expired, waits = new_id(), new_id(), new_id()
    log.touch(two[0], quarantined=(aside(repaired), aside(expired), aside(waits)))
    whose, gone = log.quarantine("identifiers.phone", "not_a_phone"), log.quarantine("identifiers.phone", "not_a_phone")
    log.say(ValueRepaired(record=two[0], item=repaired))
    log.say(TouchRepaired(record=two[0], item=gone))
    log.say(QuarantineExpired(items=(expired,), after=90))
    fold()
    assert [each["item"] for each in quarantined(view)["items"]] == [whose, waits]
    assert [each["item"] for each in quarantined(view, reason="not_a_date")["items"]] == [waits]
    assert quarantined(view, reason="not_a_date", source="shop")["items"] == []  # Told by nobody's channel.
    assert waiting(view)["by_reason"] == {"not_a_date": 1, "not_a_phone": 1}
    assert waiting(view)["count"] == 2


def test_what_has_waited_long_enough_is_due_however_old_it_is(
    log: Log, fold: Fold, view: View, two: tuple[str, str]
) -> None:
    class Later(View):
        def now(self) -> Instant:
            return Instant(now() + 90 * DAY)

    first, second = log.quarantine(when=NOON - 1000 * DAY), log.quarantine(when=NOON)
    fold()
    assert due(view, now()) == []
    assert due(view, Instant(now() + 89 * DAY)) == []
    assert due(view, Instant(now() + 90 * DAY)) == [first, second]
    assert due(view, Instant(now() + 90 * DAY), limit=1) == [first]
    assert [each["age_days"] for each in quarantined(view)["items"]] == [0, 0]
    later_view = Later(view.connection, view.reader, view.fingerprint)
    assert [each["age_days"] for each in quarantined(later_view)["items"]] == [90, 90]


def test_sources_with_their_titles(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    fold()
    assert [(each["source"], each["title"], each["trust"]) for each in sources_of(view)] == [
        ("crm", None, 0.9),
        ("shop", "The shop", 0.5),
    ]


def test_a_question_that_needs_a_failed_model_names_it(
    log: Log, fold: Fold, view: View, two: tuple[str, str], connection: Connection[Any]
) -> None:
    fold()
    connection.execute(
        "UPDATE read_model SET state = 'failed', failed_event = %s, failed_position = 1, error = 'x'"
        " WHERE name = 'facts'",
        (new_id(),),
    )
    with pytest.raises(ModelFailed, match="facts"):
        card_of(view, two[0])
    assert timeline_of(view, two[0])["items"] == []


def test_a_model_being_folded_anew_is_waited_for(
    log: Log, fold: Fold, view: View, two: tuple[str, str], connection: Connection[Any]
) -> None:
    fold()
    connection.execute("UPDATE read_model SET position = 0 WHERE name = 'timeline'")
    with pytest.raises(Behind, match="timeline"):
        timeline_of(view, two[0])


def test_a_card_is_one_snapshot(log: Log, fold: Fold, view: View, two: tuple[str, str]) -> None:
    fold()
    with view.snapshot():
        before = card_of(view, two[0])
        log.touch(two[0])
        with log.connect() as other:
            catch_up(other, log.reader, READ_MODELS)
        assert card_of(view, two[0]) == before
    assert card_of(view, two[0])["touches"]["count"] == 1

"""What was set aside is said as it should have been."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commands.repair_value import WholeTouch, repair_value
from hub.decider import Draft, Secret
from hub.errors import Invalid, Unknown
from hub.events import (
    FactsStated,
    IdentifierStated,
    Quarantined,
    QuarantineExpired,
    TouchQuarantined,
    TouchRecorded,
    ValueRepaired,
)
from hub.quarantine import NotWaiting
from tests.commands.stories import ANN, ann_opened, stated
from tests.support.scenario import HOUSE, Happened, Scenario, at, fingerprint, id_of

ITEM, OTHER = id_of("item"), id_of("other item")
PHONE = "+79161234567"
LONG_AGO = at(-600_000)
scenario = Scenario(repair_value).given(ann_opened)
repaired = ValueRepaired(record=ANN, item=ITEM)


def set_aside(path: str, kept: Any, *, facts: dict[str, Any] | None = None, in_touch: bool = False) -> Happened:
    """Said long ago, with a value that failed its check."""
    part = (Quarantined(item=ITEM, path=path, reason="not_a_phone"),)
    own = Secret(ANN, {"quarantined": {ITEM: kept}})
    if in_touch:
        event: Any = TouchRecorded(record=ANN, channel="call", direction="in", quarantined=part)
        return Happened(Draft(event, (own,)), LONG_AGO, source="shop")
    said = (Secret(ANN, {"facts": facts}),) if facts else ()
    event = FactsStated(record=ANN, attributes=tuple(sorted(facts or ())), quarantined=part)
    return Happened(Draft(event, (*said, own)), LONG_AGO, source="shop")


def told(value: Any) -> dict[str, Any]:
    return {"command": "repair_value", "quarantined": ITEM, "value": value}


def test_a_repaired_fact_is_stated_when_and_by_whom_it_was_said() -> None:
    given = scenario.given(set_aside("facts.birth_date", "1980-02-30"))
    end, fact = given.when(told("1980-02-28")).then(repaired, FactsStated(record=ANN, attributes=("birth_date",)))
    assert fact.secrets == (Secret(ANN, {"facts": {"birth_date": "1980-02-28"}}),)
    assert fact.told is not None
    assert (fact.told["occurred_at"], fact.told["source"], fact.told["causation"]) == (LONG_AGO, "shop", end.id)
    assert end.told is None  # The repair itself happened now.


def test_a_repaired_identifier_is_stated_for_the_time_it_was_told_for() -> None:
    kept = {"kind": "phone", "value": "12", "since": "2025-03-01T07:00:00Z"}
    given = scenario.given(set_aside("identifiers.phone.0", kept, in_touch=True))
    _, said = given.when(told("8 916 123-45-67")).then(
        repaired, lambda event: isinstance(event, IdentifierStated) and event.since == at(-365 * 24 * 60)
    )
    assert said.secrets[0].tags == (fingerprint("phone", PHONE),)
    given.when(told({"value": PHONE})).then(
        repaired, lambda event: isinstance(event, IdentifierStated) and event.since is None
    )


@pytest.mark.parametrize(("path", "kind"), [("identifiers.email", "email"), ("identifiers.x-club.3", "x-club")])
def test_of_older_items_the_path_tells_the_kind(path: str, kind: str) -> None:
    given = scenario.given(set_aside(path, "nonsense"))
    given.when(told("ann@example.org")).then(
        repaired, lambda event: isinstance(event, IdentifierStated) and event.kind == kind
    )


def test_where_nothing_tells_the_kind_the_repair_must() -> None:
    given = scenario.given(set_aside("identifier.value", "nonsense", in_touch=True))
    assert str(given.when(told("ann@example.org")).rejected(Invalid)) == "value.kind: missing"
    given.when(told({"kind": "email", "value": "ann@example.org"})).then(repaired, IdentifierStated)


def test_a_value_from_a_list_takes_its_place_beside_the_others() -> None:
    given = scenario.given(set_aside("facts.phone.1", "12", facts={"phone": [PHONE]}))
    _, fact, _ = given.when(told("+79161234568")).then(repaired, FactsStated, IdentifierStated)
    assert fact.secrets[0].content == {"facts": {"phone": [PHONE, "+79161234568"]}}


def test_a_value_from_a_list_takes_its_place_beside_others_that_were_told_before_it() -> None:
    before = Happened(stated(ANN, phone=[PHONE]), at(-700_000))
    given = scenario.given(before, set_aside("facts.phone.1", "12", in_touch=True))
    _, fact, _ = given.when(told("+79161234568")).then(repaired, FactsStated, IdentifierStated)
    assert fact.secrets[0].content == {"facts": {"phone": [PHONE, "+79161234568"]}}


def test_a_value_told_alone_takes_the_place_of_what_was_told_before_it() -> None:
    before = Happened(stated(ANN, phone=[PHONE]), at(-700_000))
    given = scenario.given(before, set_aside("facts.phone", "12", in_touch=True))
    _, fact, _ = given.when(told("+79161234568")).then(repaired, FactsStated, IdentifierStated)
    assert fact.secrets[0].content == {"facts": {"phone": "+79161234568"}}


def test_a_value_said_since_is_not_said_again() -> None:
    since = Draft(
        FactsStated(record=ANN, attributes=("birth_date",)), (Secret(ANN, {"facts": {"birth_date": "1980-02-28"}}),)
    )
    given = scenario.given(set_aside("facts.birth_date", "1980-02-30"), Happened(since, LONG_AGO))
    given.when(told("1980-02-28")).then(repaired)


def test_an_old_word_is_late_where_a_newer_one_stands() -> None:
    since = Draft(
        FactsStated(record=ANN, attributes=("birth_date",)), (Secret(ANN, {"facts": {"birth_date": "1981-01-01"}}),)
    )
    given = scenario.given(set_aside("facts.birth_date", "1980-02-30"), since)
    _, fact = given.when(told("1980-02-28")).then(repaired, FactsStated)
    assert isinstance(fact.event, FactsStated)
    assert fact.event.late == ("birth_date",)


@pytest.mark.parametrize(
    ("path", "value", "flaw"),
    [
        ("facts.birth_date", "1980-02-31", "value: not_a_date"),
        ("facts.birth_date", {"kind": "phone", "value": PHONE}, "value: wrong_type"),
        ("facts.phone", "12", "value: not_a_phone"),
        ("identifiers.phone", "12", "value: not_a_phone"),
        ("identifiers.phone", {"kind": "email", "value": "ann@example.org"}, "value.kind: another_kind"),
    ],
)
def test_a_value_that_fails_again_is_refused_and_the_item_waits(path: str, value: Any, flaw: str) -> None:
    given = scenario.given(set_aside(path, "12"))
    assert str(given.when(told(value)).rejected(Invalid)) == flaw


def test_what_is_not_there_is_unknown() -> None:
    Scenario(repair_value).when(told("1980-02-28")).rejected(Unknown)


def used_by(source: str, role: str) -> Scenario:
    """An end point that failed its check was used of the shop's record."""
    used = set_aside("identifier.value", {"kind": "phone", "value": "12"}, in_touch=True)
    return scenario.given(replace(used, source=source, role=role))


@pytest.mark.parametrize(("source", "role"), [("crm", "operator"), ("shop", "channel")])
def test_an_end_point_used_is_stated_where_its_teller_may_speak_for_the_record(source: str, role: str) -> None:
    used_by(source, role).when(told(PHONE)).then(repaired, IdentifierStated)


@pytest.mark.parametrize("role", ["local", "operator", "steward"])
def test_a_channels_word_ends_stating_no_more_of_another_sources_record_for_being_repaired(role: str) -> None:
    (end,) = used_by("crm", "channel").asked_by(role).when(told(PHONE)).then(repaired)
    assert end.secrets == (Secret(ANN, {"identifier": {"kind": "phone", "value": PHONE}}),)


def test_a_channels_word_about_another_sources_record_must_be_right_to_end() -> None:
    assert str(used_by("crm", "channel").when(told("13")).rejected(Invalid)) == "value: not_a_phone"


def test_each_item_is_repaired_once_and_not_after_its_time() -> None:
    given = scenario.given(set_aside("facts.birth_date", "1980-02-30"))
    for end in (repaired, QuarantineExpired(items=(ITEM,), after=90)):
        Scenario(repair_value, given.past[1:]).given(end).when(told("1980-02-28")).rejected(NotWaiting)


def test_a_whole_touch_is_no_value() -> None:
    waiting = Draft(TouchQuarantined(item=ITEM, path="identifiers.phone", reason="not_a_phone"), (Secret(HOUSE, {}),))
    Scenario(repair_value).given(waiting).when(told(PHONE)).rejected(WholeTouch)

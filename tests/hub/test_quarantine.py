"""Nothing that was sent is ever dropped silently: it is refused with a path, or it waits, is repaired, or expires."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from commands import CAPABILITIES
from hub import clock
from hub.clock import DAY
from hub.decider import Principal
from hub.errors import Forbidden, Invalid, Unknown
from hub.events import Instant
from hub.identity.normalise import Unfit, birth_date, identifier
from hub.quarantine import NotWaiting, kept_aside
from hub.settings import Periods
from hub.wiring import Hub
from projections.quarantine import due, quarantined, told_of
from projections.timeline import timeline_of
from tests.support.hubs import identify, source, touch, types

PHONE = "+79161234567"


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub.open(database_url, tmp_path) as opened:
        opened.do(source())
        yield opened


def waits(hub: Hub) -> list[dict[str, Any]]:
    hub.wait(hub.head())
    with hub.view() as view:
        items: list[dict[str, Any]] = quarantined(view)["items"]
        return items


def told(hub: Hub, item: dict[str, Any]) -> Any:
    with hub.view() as view:
        return told_of(view, item["item"])["told"]


def repair(item: str, value: Any, **fields: Any) -> dict[str, Any]:
    return {"command": "repair_value", "quarantined": item, "value": value, **fields}


def expire(hub: Hub, *items: str, after: int) -> Any:
    """The house's own act, so many days later."""
    hub.intake._now = lambda: Instant(clock.now() + after * DAY)
    house = Principal(hub.installation.house, "house")
    try:
        asked = hub.intake.accept(house, {"command": "expire_quarantined", "items": list(items)})
        return hub.counter.submit(asked).result()
    finally:
        hub.intake._now = clock.now


def seals(connection: Connection[Any], event: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM seal s JOIN event e USING (log, position) WHERE e.id = %s", (event,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_value_is_repaired_as_of_when_it_was_said(hub: Hub) -> None:
    said = hub.do(identify("1", facts={"birth_date": "1980-02-30"}, occurred_at="2025-03-01T12:00:00Z"))
    (item,) = waits(hub)
    assert (item["path"], item["reason"], item["record"]) == ("facts.birth_date", "not_a_date", said["record"])
    answer = hub.do(repair(item["item"], "1980-02-28", id="r"))
    assert types(answer) == ["value_repaired", "facts_stated"]
    assert (answer["record"], answer["members"]) == (said["record"], said["members"])
    assert waits(hub) == []
    fact = hub.card(said["record"])["facts"]["birth_date"]
    assert (fact["value"], fact["stated_at"]) == ("1980-02-28", "2025-03-01T12:00:00Z")
    assert hub.do(repair(item["item"], "1980-02-28", id="r")) == answer | {"replayed": True}
    with pytest.raises(NotWaiting):
        hub.do(repair(item["item"], "1980-02-28"))


def test_a_value_that_fails_again_goes_on_waiting(hub: Hub) -> None:
    hub.do(touch("1", identifiers={"phone": "12"}))
    (item,) = waits(hub)
    with pytest.raises(Invalid, match="value: not_a_phone"):
        hub.do(repair(item["item"], "13"))
    assert waits(hub)
    assert types(hub.do(repair(item["item"], PHONE))) == ["value_repaired", "identifier_stated"]


def test_two_who_repair_at_once_repair_once(hub: Hub) -> None:
    hub.do(touch("1", identifiers={"phone": "12"}))
    (item,) = waits(hub)
    answers = list(hub.do_many([repair(item["item"], PHONE), repair(item["item"], "+79161234568")]))
    assert isinstance(answers[0], dict)
    assert isinstance(answers[1], NotWaiting)


def test_a_touch_nobody_could_be_named_for_is_repaired(hub: Hub, connection: Connection[Any]) -> None:
    sent = touch(
        source="shop",
        identifiers={"phone": "12"},
        content={"note": "перезвонить"},
        correlation="talk 1",
        occurred_at="2025-03-01T12:00:00Z",
    )
    lost = hub.do(sent)
    (item,) = waits(hub)
    assert (item["record"], item["source"], item["path"]) == (None, "shop", "identifiers.phone")
    mend = {"command": "repair_touch", "quarantined": item["item"]}
    with pytest.raises(Invalid, match=r"touch\.identifiers\.phone: not_a_phone"):
        hub.do({**mend, "touch": {"identifiers": {"phone": "13"}}})
    answer = hub.do({**mend, "touch": {"identifiers": {"phone": PHONE}}})
    assert types(answer) == ["touch_repaired", "record_opened", "identifier_stated", "touch_recorded"]
    assert waits(hub) == []
    with hub.view() as view:
        (told,) = timeline_of(view, answer["record"])["items"]
    assert (told["occurred_at"], told["source"]) == ("2025-03-01T12:00:00Z", "shop")
    assert told["content"] == {"note": "перезвонить"}
    assert seals(connection, lost["events"][0]["event"]) == 0  # Under the record now, and dying with it.
    follows = hub.do(touch(source="shop", identifiers={"phone": PHONE}, correlation="talk 1"))
    assert follows["record"] == answer["record"]
    with hub.view() as view:
        events = view.opened([answer["position"], follows["position"]])
    assert len({each.envelope.correlation for each in events.values()}) == 1
    with pytest.raises(NotWaiting):
        hub.do({**mend, "touch": {"key": "7"}})


def test_a_message_that_is_no_touch_is_shown_and_becomes_the_touch_a_person_makes_of_it(
    hub: Hub, connection: Connection[Any]
) -> None:
    message = {"event": "Просмотр", "userId": None, "when": [2025, {"month": 3}]}
    aside = {"command": "quarantine_touch", "id": "m-1", "source": "shop", "path": "userId", "reason": "missing"}
    lost = hub.do({**aside, "message": message, "occurred_at": "2025-03-01T12:00:00Z"})
    assert hub.do({**aside, "message": message, "occurred_at": "2025-03-01T12:00:00Z"})["replayed"]
    (item,) = waits(hub)
    assert (item["record"], item["source"], item["path"], item["reason"]) == (None, "shop", "userId", "missing")
    assert told(hub, item) == {"message": message}
    assert seals(connection, lost["events"][0]["event"]) == 1
    answer = hub.do({"command": "repair_touch", "quarantined": item["item"], "touch": {"key": "7", "channel": "web"}})
    assert types(answer) == ["touch_repaired", "record_opened", "touch_recorded"]
    assert waits(hub) == []
    with hub.view() as view:
        (made,) = timeline_of(view, answer["record"])["items"]
    assert (made["occurred_at"], made["source"], made["content"]) == ("2025-03-01T12:00:00Z", "shop", {})
    with pytest.raises(Unknown):
        told(hub, item)
    assert seals(connection, lost["events"][0]["event"]) == 0


def test_who_repairs_sees_what_was_told(hub: Hub) -> None:
    hub.do(identify("1", facts={"birth_date": "1985-02-30"}, identifiers={"phone": "12"}))
    hub.do(touch(source="shop", identifiers={"phone": "13"}))
    values = {item["path"]: told(hub, item) for item in waits(hub) if item["record"]}
    assert values == {"facts.birth_date": "1985-02-30", "identifiers.phone": {"kind": "phone", "value": "12"}}
    (lost,) = [told(hub, item) for item in waits(hub) if not item["record"]]
    assert lost["touch"]["identifiers"] == {"phone": "13"}


def test_a_list_told_with_a_touch_again_keeps_what_was_repaired_in_it(hub: Hub) -> None:
    other, fixed = "+79161234560", "+79161234568"
    profile = {"facts": {"phone": [PHONE, "12"]}}
    first, second = (hub.do(touch("1", **profile)) for _ in range(2))
    assert types(second) == ["touch_recorded"]
    items = [answer["quarantined"][0]["item"] for answer in (first, second)]  # Nobody has repaired it yet: it waits.
    repaired, again = hub.do_many([repair(items[0], fixed), touch("1", **profile)])
    assert isinstance(repaired, dict)
    assert isinstance(again, dict)
    assert types(repaired) == ["value_repaired", "facts_stated", "identifier_stated"]
    assert types(hub.do(repair(items[1], fixed))) == ["value_repaired"]
    for answer in (again, hub.do(touch("1", **profile)), hub.do(identify("1", **profile))):
        assert set(types(answer)) <= {"touch_recorded"}
        assert answer["quarantined"] == []
    assert waits(hub) == []
    assert hub.card(first["record"])["facts"]["phone"]["value"] == [PHONE, fixed]
    hub.do(touch("1", facts={"phone": [other, "12"]}))
    assert [each["path"] for each in waits(hub)] == ["facts.phone.1"]
    assert hub.card(first["record"])["facts"]["phone"]["value"] == [other]


def test_what_nobody_repairs_expires_with_what_it_held(hub: Hub, connection: Connection[Any]) -> None:
    named = hub.do(identify("1", facts={"name": "Анна", "birth_date": "1980-02-30"}, identifiers={"phone": "12"}))
    lost = hub.do(touch(source="shop", identifiers={"phone": "12"}))
    stated = named["events"][1]["event"]
    assert (seals(connection, stated), seals(connection, lost["events"][0]["event"])) == (2, 1)
    hub.wait(hub.head())
    with hub.view() as view:
        items = due(view, Instant(clock.now() + 91 * DAY))
        assert due(view, clock.now()) == []
    assert set(items) == {each["item"] for each in named["quarantined"] + lost["quarantined"]}
    assert expire(hub, *items, after=89)["events"] == []
    assert types(expire(hub, *items, after=91)) == ["quarantine_expired"]
    assert expire(hub, *items, after=91)["events"] == []
    assert waits(hub) == []
    assert (seals(connection, stated), seals(connection, lost["events"][0]["event"])) == (1, 0)
    assert hub.card(named["record"])["facts"]["name"]["value"] == "Анна"
    with hub.view() as view:
        (event,) = view.opened([named["events"][1]["position"]]).values()
    assert kept_aside(event) == {}
    with pytest.raises(NotWaiting):
        hub.do(repair(items[0], "1980-02-28"))
    again = hub.do(identify("1", facts={"birth_date": "1980-02-30"}))  # Said again, it is not dropped.
    assert [each["path"] for each in again["quarantined"]] == ["facts.birth_date"]


def test_how_long_things_wait_is_a_setting_and_told_in_the_event(database_url: str, tmp_path: Path) -> None:
    with Hub(database_url, tmp_path, periods=Periods(quarantine=7)) as hub:
        hub.do(source())
        lost = hub.do(touch(source="shop", identifiers={"phone": "12"}))
        item = lost["quarantined"][0]["item"]
        assert expire(hub, item, after=6)["events"] == []
        answer = expire(hub, item, after=8)
        with hub.view() as view:
            (event,) = view.opened([answer["position"]]).values()
        assert event.event.model_dump() == {
            "items": (item,),
            "after": 7,
            "unsealed": ((lost["events"][0]["event"], 0),),
        }


def test_only_the_house_lets_go(hub: Hub) -> None:
    item = hub.do(touch("1", identifiers={"phone": "12"}))["quarantined"][0]["item"]
    with pytest.raises(Forbidden):
        hub.do({"command": "expire_quarantined", "items": [item]})


# One of every kind of value that is wrong, and where it may be told.
UNFIT: Mapping[str, Any] = {
    "phone": "12",
    "email": "nonsense",
    "inn": "1",
    "snils": "112-233-445 00",
    "telegram": "@",
    "card": "-",
    "passport": "-",
    "x-club": " ",
}
WRONG: list[Any] = [None, True, 7, 1.5, "", " ", "x" * 20_000, [], ["", 7], [[]], {}, {"value": 7}, {"since": "x"}]
FACTS: Mapping[str, Any] = {
    "birth_date": "1980-02-30",
    "phone": ["12", PHONE],
    "email": "nonsense",
    "city": "x" * 201,
    "nonsense": "Анна",
}


def bad_fields() -> Iterator[dict[str, Any]]:
    for kind, value in UNFIT.items():
        yield {"identifiers": {kind: value}}
        yield {"identifiers": {kind: [value, value]}}
        yield {"identifiers": {kind: [{"value": value, "until": "2030-01-01T00:00:00Z"}]}}
        yield {"identifier": {"kind": kind, "value": value}}
    for attribute, value in FACTS.items():
        yield {"facts": {attribute: value}}
    for value in WRONG:
        yield {"identifiers": {"phone": value}}
        yield {"facts": {"phone": value}}
        yield {"facts": {"birth_date": value}}
        yield {"facts": {"city": value}}
        yield {"facts": value}
        yield {"identifiers": value}
        yield {"nonsense": value}
        yield {"data": {"amount": value}}
        yield {"occurred_at": value}


COMMANDS = [
    lambda **fields: identify("1", **fields),
    lambda **fields: identify(None, **fields),
    lambda **fields: touch("1", **fields),
    lambda **fields: touch(source="shop", **fields),
    lambda **fields: touch("1", direction="out", **fields),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_sent_is_dropped_silently(hub: Hub, command: Any) -> None:
    """Whatever was wrong is refused with its path, or listed as set aside and kept; else it was said, and stands."""
    sent = [command(**fields) for fields in bad_fields()]
    answers = list(hub.do_many(sent))
    hub.wait(hub.head())
    with hub.view() as view:
        found = view.opened(
            event["position"] for answer in answers if isinstance(answer, dict) for event in answer["events"]
        )
    kept: dict[str, Any] = {}
    for recorded in found.values():
        kept |= kept_aside(recorded)
        if touched := recorded.opened.get(0, {}).get("touch"):
            kept |= {part.item: touched for part in recorded.event.set_aside()}
    aside = 0
    for asked, answer in zip(sent, answers, strict=True):
        if isinstance(answer, Invalid):
            assert all(flaw.path for flaw in answer.flaws), asked
            continue
        assert isinstance(answer, dict), (asked, answer)
        for item in answer["quarantined"]:
            assert item["item"] in kept, asked
            aside += 1
        for unfit in unfit_in(asked):  # The same said again need not wait twice.
            assert json.dumps(unfit) in json.dumps(list(kept.values())), asked
    with hub.view() as view:
        assert {each["item"] for each in quarantined(view, limit=1000)["items"]} == set(kept)
    assert aside > 10 or all(isinstance(answer, Invalid) for answer in answers)


def unfit_in(asked: Mapping[str, Any]) -> Iterator[Any]:
    """Of what was told all that cannot be what it claims."""
    told: list[tuple[str, Any]] = []
    for table in ("identifiers", "facts"):
        told.extend((kind, value) for kind, value in (asked.get(table) or {}).items() if kind in (*UNFIT, "birth_date"))
    if "identifier" in asked:
        told.append((asked["identifier"]["kind"], asked["identifier"]["value"]))
    for kind, values in told:
        for each in values if isinstance(values, list) else [values]:
            value = each["value"] if isinstance(each, dict) else each
            if value is None:  # That takes back.
                continue
            try:
                if kind == "birth_date":
                    birth_date(str(value), date(2026, 3, 1))
                else:
                    identifier(kind, str(value))
            except Unfit:
                yield value


def test_every_command_that_takes_facts_or_identifiers_is_tried_here() -> None:
    taking = {each.name for each in CAPABILITIES if {"facts", "identifiers"} & each.command.model_fields.keys()}
    assert taking == {"identify_customer", "record_touch"}

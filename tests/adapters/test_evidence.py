"""The log over HTTP: whole for compliance, as evidence for auditors."""

from __future__ import annotations

import struct
from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest

from adapters.api import answers, evidence
from hub.clock import instant
from tests.adapters.conftest import Served, touch

ANNA = {"facts": {"first_name": "Аннушка", "city": "Тверь"}, "content": {"text": "алло"}}


def read(shop: Served, role: str = "compliance", **asked: Any) -> dict[str, Any]:
    answer = shop.get("/v1/log", role=role, params=asked)
    assert answer.status_code == 200, answer.text
    answers.Page[answers.Logged].model_validate(answer.json())
    found: dict[str, Any] = answer.json()
    return found


def test_events_come_in_order_with_their_bodies_and_what_was_sealed(shop: Served) -> None:
    said = shop.done(touch("1", **ANNA))
    found = read(shop)
    assert [each["position"] for each in found["items"]] == list(range(1, said["position"] + 1))
    assert found["next"] is None
    last = found["items"][-1]
    assert (last["type"], last["event"]) == ("touch_recorded", said["events"][-1]["event"])
    assert last["body"]["record"] == said["record"]
    assert {"content": {"text": "алло"}} in [seal["content"] for seal in last["seals"]]


def test_an_auditor_gets_what_proves_an_event_and_nothing_that_was_said(shop: Served) -> None:
    shop.done(touch("1", **ANNA))
    answer = shop.get("/v1/log", role="auditor")
    for value in ("Аннушка", "Тверь", "алло"):
        assert value not in answer.text
        assert value in shop.get("/v1/log", role="compliance").text
    for each in read(shop, "auditor")["items"]:
        assert each["body"] is each["principal"] is each["occurred_at"] is None
        assert all(seal["content"] is None and len(seal["digest"]) == 64 for seal in each["seals"])
        recorded_at = instant(datetime.fromisoformat(each["recorded_at"]))
        place = struct.pack(">2sQq", b"\x00\x01", each["position"], recorded_at)
        assert sha256(place + bytes.fromhex(each["rest"])).hexdigest() == each["leaf"]


def test_pages_follow_each_other(shop: Served) -> None:
    last = shop.done(touch("1", **ANNA))["position"]
    places, after = list[int](), "0"
    while after:
        page = read(shop, limit=2, after=after)
        places += [each["position"] for each in page["items"]]
        after = page["next"]
    assert places == list(range(1, last + 1))


def test_one_record_and_one_type_can_be_asked_for(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = shop.done(touch("1", **ANNA)), shop.done(touch("2"))
    of_first = read(shop, record=first["record"])["items"]
    assert {each["position"] for each in of_first} == {each["position"] for each in first["events"]}
    (opened,) = read(shop, record=second["record"].upper(), type="record_opened")["items"]
    assert opened["body"]["record"] == second["record"]
    assert read(shop, type="nothing_such") == {"items": [], "next": None}
    monkeypatch.setattr(evidence, "WINDOW", 1)
    assert read(shop, type="nothing_such") == {"items": [], "next": "1"}


def test_what_was_erased_is_told_without_content(shop: Served) -> None:
    said = shop.done(touch("1", **ANNA))
    with shop.hub.pool.connection() as connection:
        connection.execute("DELETE FROM seal WHERE record = %s", (said["record"],))
    for each in read(shop, record=said["record"])["items"]:
        assert all(seal["content"] is None for seal in each["seals"])


@pytest.mark.parametrize("damage", ["set_byte(box, 20, get_byte(box, 20) # 1)", "''::bytea"])
def test_what_was_damaged_is_told_without_content_and_the_rest_with_it(shop: Served, damage: str) -> None:
    said = shop.done(touch("1", **ANNA))
    with shop.hub.pool.connection() as connection:
        columns = "log, position, seal, record, class, key"
        connection.execute(
            "WITH gone AS (DELETE FROM seal"
            " WHERE (position, seal) IN (SELECT position, seal FROM seal LIMIT 1) RETURNING *) "
            f"INSERT INTO seal ({columns}, box) SELECT {columns}, {damage} FROM gone"
        )
    seals = [seal for each in read(shop, record=said["record"])["items"] for seal in each["seals"]]
    assert [seal["content"] is None for seal in seals].count(True) == 1
    assert len(seals) > 1


@pytest.mark.parametrize("asked", [{"after": "x"}, {"after": -1}, {"limit": 501}])
def test_a_page_that_cannot_be_is_refused(shop: Served, asked: dict[str, Any]) -> None:
    assert shop.get("/v1/log", role="auditor", params=asked).status_code == 422

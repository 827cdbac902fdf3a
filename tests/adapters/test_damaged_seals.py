"""A record whose key is damaged is read as far as it can be, written no further, and named by the verification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.audit import KINDS
from adapters.cli import app
from tests.adapters.conftest import Served, touch

ANNA = {
    "facts": {"first_name": "Аннушка", "city": "Тверь"},
    "identifiers": {"phone": "+79161234567"},
    "content": {"text": "алло"},
}


@dataclass(frozen=True)
class Damaged:
    shop: Served
    record: str

    def get(self, path: str, role: str = "operator", **asked: Any) -> Any:
        answer = self.shop.get(path, role=role, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def damaged(shop: Served) -> Damaged:
    said = [shop.done(touch(key, **ANNA)) for key in ("1", "2")]
    shop.hub.wait(said[1]["position"])
    record = said[0]["record"]
    with shop.hub.pool.connection() as connection:
        connection.execute(
            "UPDATE record_key SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE record = %s",
            (record,),
        )
    shop.hub.vault._cache.clear()  # As after a start.
    return Damaged(shop, record)


def test_the_log_is_read_with_the_content_of_all_others(damaged: Damaged, caplog: pytest.LogCaptureFixture) -> None:
    mine, others = set[bool](), set[bool]()
    for each in damaged.get("/v1/log", role="compliance")["items"]:
        for seal in each["seals"]:
            (mine if seal["record"] == damaged.record else others).add(seal["content"] is None)
    assert (mine, others) == ({True}, {False})
    told = [each.getMessage() for each in caplog.records if each.name == "hub.vault"]
    assert told == [f"key 1 of record {damaged.record} in class 0 is damaged"]


@pytest.mark.parametrize("past", [{}, {"known_at": 1_000_000}])
def test_the_card_shows_what_is_not_sealed_under_it(damaged: Damaged, past: dict[str, Any]) -> None:
    card = damaged.get(f"/v1/customers/{damaged.record}", **past)
    assert list(card["facts"]) == ["city"]
    assert card["identifiers"] == []
    assert card["touches"]["count"] == 1


def test_timeline_and_quarantine_are_answered(damaged: Damaged) -> None:
    (shown,) = damaged.get(f"/v1/customers/{damaged.record}/timeline")["items"]
    assert shown["content"] == {}
    assert damaged.get("/v1/quarantine")["items"] == []


@pytest.mark.parametrize(("language", "words"), [("en", "is damaged"), ("ru", "повреждены")])
def test_who_writes_is_told_in_words(damaged: Damaged, language: str, words: str) -> None:
    command = touch("1", facts={"first_name": "Анна"})
    answer = damaged.shop.do(command, headers={"Accept-Language": language})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/refusals/seal-damaged"
    assert words in answer.json()["detail"]
    assert damaged.shop.do(touch("2", facts={"first_name": "Анна"})).status_code == 200


def test_the_verification_names_it(damaged: Damaged) -> None:
    hub = damaged.shop.hub
    place = {"HUB_DATABASE_URL": hub.url, "HUB_DATA": str(hub.data)}
    told = CliRunner().invoke(app, ["audit", "verify"], env=place)
    assert told.exit_code == 1
    assert f"{KINDS['key_damaged'][0]} (record {damaged.record}, class 0, key 1)" in told.stdout


def test_so_it_is_when_not_the_key_but_what_is_sealed_is_damaged(shop: Served) -> None:
    record = shop.done(touch("1", **ANNA))["record"]
    shop.hub.wait(shop.hub.head())
    with shop.hub.pool.connection() as connection:
        connection.execute(
            "WITH whole AS (DELETE FROM seal WHERE record = %s RETURNING *)"
            " INSERT INTO seal SELECT log, position, seal, record, class, key, set_byte(box, 20, get_byte(box, 20) # 1)"
            " FROM whole",
            (record,),
        )
    damaged = Damaged(shop, record)
    assert list(damaged.get(f"/v1/customers/{record}")["facts"]) == ["city"]
    (shown,) = damaged.get(f"/v1/customers/{record}/timeline")["items"]
    assert shown["content"] == {}
    seals = [each for event in damaged.get("/v1/log", role="compliance")["items"] for each in event["seals"]]
    assert {each["content"] is None for each in seals if each["record"] == record} == {True}
    answer = shop.do({"command": "retract_fact", "source": "shop", "key": "1", "attribute": "first_name"})
    assert answer.json()["type"] == "/problems/refusals/seal-damaged"

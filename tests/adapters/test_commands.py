"""Single commands: what is answered, and that asking again is answered the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.adapters.conftest import Served, touch


def test_an_answer_has_the_shape_of_the_contract(shop: Served) -> None:
    answer = shop.done(touch("1", id="a-1", occurred_at="2026-03-01T10:00:00+03:00"))
    assert list(answer) == ["id", "position", "record", "customer", "members", "events", "quarantined", "replayed"]
    assert answer["id"] == "a-1"
    assert answer["record"] == answer["customer"] == answer["members"][0]
    assert [event["type"] for event in answer["events"]] == ["record_opened", "touch_recorded"]
    assert answer["position"] == answer["events"][-1]["position"]
    assert answer["quarantined"] == []
    assert answer["replayed"] is False


def test_the_same_id_and_body_is_answered_the_same_and_writes_nothing(shop: Served) -> None:
    first = shop.done(touch("1", id="a-1"))
    head = shop.hub.head()
    assert shop.done(touch("1", id="a-1")) == {**first, "replayed": True}
    assert shop.hub.head() == head


def test_the_same_id_with_another_body_is_refused(shop: Served) -> None:
    shop.done(touch("1", id="a-1"))
    answer = shop.do(touch("2", id="a-1"))
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("/id-reused")
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_id_belongs_to_the_source_whatever_key_it_uses(shop: Served) -> None:
    first = shop.done(touch("1", id="a-1"))
    another = shop.hub.principals.make("channel", source="shop")[1]
    again = shop.do(touch("1", id="a-1"), headers={"Authorization": f"Bearer {another}"})
    assert again.json() == {**first, "replayed": True}
    mail = shop.hub.principals.make("channel", source="mail")[1]
    other = shop.do(touch("1", id="a-1"), headers={"Authorization": f"Bearer {mail}"})
    assert other.status_code == 200
    assert other.json()["replayed"] is False


def test_without_an_id_the_hub_makes_one_and_a_retry_is_a_new_command(shop: Served) -> None:
    first, second = shop.done(touch("1")), shop.done(touch("1"))
    assert first["id"]
    assert first["id"] != second["id"]
    assert second["position"] > first["position"]


def test_duplicates_at_the_same_time_write_once(shop: Served) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: shop.do(touch(str(n % 4), id=f"a-{n % 4}")), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    told = [answer.json() for answer in answers]
    assert len({answer["position"] for answer in told}) == 4
    assert sum(not answer["replayed"] for answer in told) == 4
    assert shop.hub.head() == 2 + 8


def test_many_clients_at_once_are_all_answered(shop: Served) -> None:
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda n: shop.done(touch(str(n), id=f"a-{n}")), range(300)))
    assert len({answer["position"] for answer in answers}) == 300
    assert shop.hub.head() == 2 + 600


@pytest.mark.parametrize(
    ("command", "path", "reason"),
    [
        ({"command": "no_such"}, "command", "unknown_command"),
        ({}, "command", "missing"),
        ({"command": "record_touch", "key": "1"}, "channel", "missing"),
        (touch("1", nonsense=1), "nonsense", "unknown_field"),
        (touch("1", id=""), "id", "too_short"),
        (touch("1", id="x" * 201), "id", "too_long"),
        (touch("1", id=5), "id", "wrong_type"),
        (touch("1", kind=5), "kind", "wrong_type"),
        (touch("1", kind="ПОКУПКА"), "kind", "not_a_code"),
        (touch("1\0"), "key", "nul_character"),
        (touch("1", content={"a": {"b": ["x\0"]}}), "content.a.b.0", "nul_character"),
        (touch("1", channel="pigeon"), "channel", "not_one_of_the_allowed"),
        (touch("1", occurred_at="2026-03-01T10:00:00"), "occurred_at", "offset_missing"),
        (touch("1", facts={"shoe": 1}), "facts.shoe", "unknown_attribute"),
        (touch("1", facts={"city": 7}), "facts.city", "wrong_type"),
        (touch("1", facts={"name": {"a": 1}}), "facts.name", "wrong_type"),
        (touch("1", identifiers={"fax": "1"}), "identifiers.fax", "unknown_kind"),
        (touch("1", identifiers={"phone": 5}), "identifiers.phone", "wrong_type"),
        (touch("1", identifiers={"phone": [5]}), "identifiers.phone.0", "wrong_type"),
        (touch("1", identifiers={"phone": {"value": 5}}), "identifiers.phone.value", "wrong_type"),
        (touch("1", data={"a": None}), "data.a", "wrong_type"),
        (touch("1", seen=-1), "seen", "too_small"),
        (touch("1", Фамилия=1), "*", "unknown_field"),
        (touch("1", **{"x[y]": 1}), "*", "unknown_field"),
        (touch("1", facts={"n" * 41: 1}), "facts.*", "unknown_attribute"),
        (touch("1", facts={"a." * 20 + "b": 1}), "facts.*", "unknown_attribute"),
        ({"command": "retract_fact", "attribute": "name"}, "", "one_of_record_customer_key"),
        ({"command": "record_touch", "channel": "shop"}, "key", "missing"),
    ],
)
def test_what_is_wrong_is_told_with_path_and_reason(shop: Served, command: object, path: str, reason: str) -> None:
    answer = shop.client.post("/v1/commands", json=command, headers={"Authorization": f"Bearer {shop.keys['channel']}"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": path, "reason": reason}]


def test_every_flaw_is_told_at_once(shop: Served) -> None:
    facts, identifiers = {"shoe": 1, "city": 7, "name": "Anna"}, {"fax": "1", "phone": 5}
    wrong = {"channel": "pigeon", "kind": 5, "more": 1, "facts": facts, "identifiers": identifiers}
    answer = shop.do({"command": "record_touch", **wrong})
    assert sorted(flaw["path"] for flaw in answer.json()["errors"]) == [
        "channel", "facts.city", "facts.shoe", "identifiers.fax", "identifiers.phone", "kind", "more",
    ]  # fmt: skip


@pytest.mark.parametrize("half", [rb"\ud800", rb"x\udc00", b"\xed\xa0\x80"])
@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b'{"command": "record_touch", "key": "%s", "channel": "shop"}', "key"),
        (b'{"command": "record_touch", "content": {"a": ["b", "%s"]}}', "content.a.1"),
        (b'{"command": "record_touch", "raw": {"%s": 1}}', "raw"),
    ],
)
def test_half_a_character_is_named(shop: Served, sent: bytes, half: bytes, path: str) -> None:
    json = {"Content-Type": "application/json"}
    answer = shop.ask("channel", "POST", "/v1/commands", content=sent % half, headers=json)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": path, "reason": "lone_surrogate"}]
    (line,) = shop.ask("channel", "POST", "/v1/commands/batch", content=b"[" + sent % half + b"]", headers=json).json()
    assert line["errors"] == answer.json()["errors"]


def test_an_unregistered_source_is_told(served: Served) -> None:
    answer = served.do(touch("1"))
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "source", "reason": "not_registered"}]


def test_more_than_five_minutes_in_the_future_is_refused(shop: Served) -> None:
    now = datetime.now(UTC)
    assert shop.do(touch("1", occurred_at=(now + timedelta(minutes=4)).isoformat())).status_code == 200
    late = shop.do(touch("1", occurred_at=(now + timedelta(minutes=6)).isoformat()))
    assert late.json()["errors"] == [{"path": "occurred_at", "reason": "in_the_future"}]


def test_a_lone_phone_is_the_key(shop: Served) -> None:
    sent = {"command": "record_touch", "channel": "call", "identifiers": {"phone": "8 (916) 123-45-67"}}
    again = {"command": "record_touch", "channel": "call", "identifiers": {"phone": "+79161234567"}}
    assert shop.done(sent)["record"] == shop.done(again)["record"]


def test_a_value_that_fails_its_check_does_not_lose_the_touch(shop: Served) -> None:
    answer = shop.done(touch("1", identifiers={"phone": "12"}))
    (item,) = answer["quarantined"]
    assert (item["path"], item["reason"]) == ("identifiers.phone", "not_a_phone")
    assert item["event"] in {event["event"] for event in answer["events"]}
    listed = shop.get(f"/v1/quarantine?at_least={answer['position']}", role="steward").json()
    assert [each["item"] for each in listed["items"]] == [item["item"]]


def test_a_channel_speaks_for_its_own_source_only(shop: Served) -> None:
    answer = shop.do(touch("1", source="mail"))
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("/forbidden")


def test_a_rule_refuses_with_its_name_and_a_sentence(shop: Served) -> None:
    one, two = (shop.done(touch(key))["customer"] for key in "12")
    merged = shop.done({"command": "merge_customers", "customers": [one, two]}, role="steward")
    assert merged["members"] == [one, two]
    shop.done(
        {"command": "unmerge_customers", "merge": merged["events"][0]["event"], "reason": "two people"}, role="steward"
    )
    head = shop.hub.head()
    refused = shop.do({"command": "merge_customers", "customers": [one, two]}, role="steward")
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("/refusals/declared-distinct")
    assert refused.json()["detail"] == "These customers were declared distinct; lift that first."
    assert shop.hub.head() == head


def test_a_form_that_saw_an_older_membership_is_told(shop: Served) -> None:
    one, two = (shop.done(touch(key)) for key in "12")
    customers = [one["customer"], two["customer"]]
    shop.done({"command": "merge_customers", "customers": customers}, role="steward")
    sent = {"command": "record_touch", "customer": one["customer"], "channel": "call", "seen": two["position"]}
    refused = shop.do(sent, role="operator")
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("/membership-changed")


def test_nobody_is_not_found(shop: Served) -> None:
    nobody = "0198c0de-0000-7000-8000-000000000000"
    assert shop.do({"command": "record_touch", "customer": nobody, "channel": "call"}).status_code == 404


def test_a_full_queue_says_come_again(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.hub.counter, "_room", 0)
    answer = shop.do(touch("1"))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["type"].endswith("/busy")

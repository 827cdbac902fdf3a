"""The door for Segment's libraries: what can be read is kept, whatever is in it, and answered when it is durable."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from adapters.api import segment as door
from adapters.api.app import create_app
from adapters.api.rates import Rates
from adapters.inbound.segment import id_of, translate
from hub import Hub, database, receipts
from hub.clock import fresh_id
from hub.database import connect
from tests.adapters.conftest import Served, answering

DOOR = "/v1/channels/segment"
CAPTURES = Path(__file__).parent / "captures"


def basic(key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{key}:'.encode()).decode()}"}


def send(shop: Served, sent: Any, path: str = "/v1/batch", **headers: str) -> httpx2.Response:
    content = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return shop.client.post(DOOR + path, content=content, headers={**basic(shop.keys["channel"]), **headers})


def kept(shop: Served, *items: Any, **more: Any) -> None:
    answer = send(shop, {"batch": list(items), **more})
    assert (answer.status_code, answer.json()) == (200, {"success": True}), answer.text


def track(message: str, **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Order Completed", "userId": "u-1", "messageId": message, **fields}


def events(shop: Served) -> list[dict[str, Any]]:
    """What is in the log, but for the sources."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = shop.get("/v1/log", role="compliance", params={"limit": 500, "after": after}).json()
        found += page["items"]
        after = page["next"]
    return [each for each in found if each["type"] != "source_registered"]


def types(shop: Served) -> list[str]:
    return [each["type"] for each in events(shop)]


def waiting(shop: Served) -> list[dict[str, Any]]:
    """What waits in quarantine, with what was told, the oldest first."""
    page = shop.get("/v1/quarantine", params={"limit": 500, "at_least": shop.hub.head()}).json()["items"]
    return [shop.get(f"/v1/quarantine/{each['item']}").json() for each in reversed(page)]


def timeline(shop: Served, key: str) -> list[dict[str, Any]]:
    """The touches of a record, the oldest first."""
    sought = {"source": "shop", "key": key}
    found = shop.ask("operator", "POST", f"/v1/customers/find?at_least={shop.hub.head()}", json=sought).json()
    (record,) = [each["record"] for each in found["items"]]
    return list(reversed(shop.get(f"/v1/customers/{record}/timeline").json()["items"]))


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_batch_is_recorded_in_its_order(shop: Served, prefix: str) -> None:
    items = [track(f"m-{n}", userId=f"u-{n % 3}", properties={"n": n}) for n in range(700)]
    answer = send(shop, {"batch": items}, f"{prefix}/batch")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    touches = [each["body"]["data"]["n"] for each in events(shop) if each["type"] == "touch_recorded"]
    assert touches == list(range(700))


@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize("call", ["identify", "track", "page", "screen", "group", "alias"])
def test_each_call_may_come_alone(shop: Served, prefix: str, call: str) -> None:
    sent = {"userId": "u-1", "messageId": "m-1", "event": "Seen", "groupId": "g-9", "previousId": "anon-7"}
    assert send(shop, sent, f"{prefix}/{call}").status_code == 200
    assert waiting(shop) == []
    touches = [] if call == "identify" else [{"track": "seen"}.get(call, call)]
    assert [each["kind"] for each in timeline(shop, "u-1")] == touches


def test_another_call_is_not_served(shop: Served) -> None:
    assert send(shop, track("m-1"), "/v1/erase").status_code == 404


def test_the_key_may_be_in_the_body_as_well(shop: Served) -> None:
    path, body = f"{DOOR}/v1/batch", {"batch": [track("m-1")]}
    assert shop.client.post(path, json={**body, "writeKey": shop.keys["channel"]}).status_code == 200
    alone = {**track("m-2", event="Имя"), "writeKey": shop.keys["channel"]}
    assert shop.client.post(f"{DOOR}/v1/track", json=alone).status_code == 200
    assert shop.keys["channel"] not in str(events(shop))
    assert [each["kind"] for each in timeline(shop, "u-1")] == ["order_completed", "event"]


@pytest.mark.parametrize("key", ["", "WRITEKEY123", "hub_x_y", None, 5, ["hub"]])
def test_without_a_good_key_it_is_a_401_problem_and_nothing_is_kept(shop: Served, key: Any) -> None:
    before = shop.hub.head()
    body = {"batch": [track("m-1")], "writeKey": key}
    asked = [shop.client.post(f"{DOOR}/v1/batch", json=body)]
    asked += [shop.client.post(f"{DOOR}/batch", json=body, headers=basic(str(key)))]
    good = b64encode(f"{shop.keys['channel']}:password".encode()).decode()
    asked += [shop.client.post(f"{DOOR}/batch", json=body, headers={"Authorization": f"Basic {good}"})]
    for answer in asked:
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
    assert shop.hub.head() == before


def test_a_write_key_opens_no_other_route(shop: Served) -> None:
    command = {"command": "record_touch", "key": "1", "channel": "web"}
    for path in ("/v1/commands", "/v1/commands/batch"):
        for headers in (basic(shop.keys["channel"]), {}):
            body = {**command, "writeKey": shop.keys["channel"]}
            assert shop.client.post(path, json=body, headers=headers).status_code == 401


def test_gzip_is_read_whatever_the_type_says(shop: Served) -> None:
    body = json.dumps({"batch": [track("m-1")]}).encode()
    packed = gzip.compress(body[:20]) + gzip.compress(body[20:])
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    assert send(shop, packed, **headers).status_code == 200
    assert len(timeline(shop, "u-1")) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"[]", {}, 400),
        (b"{}", {}, 400),
        (b'{"batch": 5}', {}, 400),
        (b'{"batch": [}', {}, 400),
        (b'{"batch": [{"a": NaN}]}', {}, 400),
        (b"\xff", {}, 400),
        (b'{"batch": [{"\\ud83d": 1}, 5]}', {}, 200),
        (b"[" * 100_000, {}, 400),
        (b'{"batch": ' + b"[" * 900 + b"]" * 900 + b"}", {}, 200),
        (b'{"batch": [' + b" " * door.LARGEST_BATCH + b"]}", {}, 400),
        (gzip.compress(b'{"batch": [' + b" " * 30_000_000 + b"]}", mtime=0), {"Content-Encoding": "gzip"}, 400),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b'{"batch": []}', mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b'{"batch": []}', {}, 200),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_as_a_whole(
    shop: Served, body: bytes, headers: Mapping[str, str], status: int
) -> None:
    answer = send(shop, body, **headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert types(shop) == []


BAD = {
    "type": {**track("m"), "type": "charge"},
    "userId": {**track("m"), "userId": None, "anonymousId": ""},
    "event": {**track("m"), "event": None},
    "groupId": {"type": "group", "userId": "u-1", "messageId": "m"},
    "previousId": {"type": "alias", "userId": "u-1", "messageId": "m"},
    "properties": {**track("m"), "properties": ["a"]},
    "message": "no item",
}


@pytest.mark.parametrize("path", BAD)
def test_a_bad_item_is_set_aside_and_the_rest_recorded(shop: Served, path: str) -> None:
    kept(shop, track("m-1"), BAD[path], track("m-2"), sentAt="2026-01-01T00:00:00Z")
    (item,) = waiting(shop)
    assert (item["path"], item["source"], item["told"]) == (path, "shop", {"message": BAD[path]})
    assert len(timeline(shop, "u-1")) == 2
    head = shop.hub.head()
    kept(shop, track("m-1"), BAD[path], track("m-2"), sentAt="2026-01-01T00:00:01Z")
    assert shop.hub.head() == head + (path == "message"), "again, it does not wait twice, if it has an id"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"properties": {"text": "я" * 20_000}}, "too_large"),
        ({"properties": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "too_deep"),
        ({"properties": {"text": "\0"}}, "nul_character"),
        ({"properties": {"text": "\ud83d"}}, "lone_surrogate"),
        ({"userId": "u" * 2000}, "too_long"),
    ],
)
def test_what_no_command_may_hold_waits_as_it_came(shop: Served, more: dict[str, Any], reason: str) -> None:
    kept(shop, bad := track("m-1", **more), track("m-2"))
    (item,) = waiting(shop)
    assert item["reason"] == reason
    told = item["told"]["message"]
    assert (json.loads(told) if isinstance(told, str) else told) == bad
    assert len(timeline(shop, "u-1")) == 1


def test_what_the_hub_refuses_only_when_it_decides_is_set_aside_too(
    shop: Served, database_url: str, tmp_path: Path, owner: Connection[Any]
) -> None:
    kept(shop, {"type": "identify", "userId": "u-1", "messageId": "m-1", "traits": {"plan": "старт"}})
    shop.hub.wait(shop.hub.head())
    owner.execute("UPDATE record_key SET wrapped = '' WHERE record IN (SELECT record FROM membership)")
    refused, fine = track("m-2", event="Заказ"), track("m-3", userId="u-2")
    with Hub(database_url, tmp_path) as other, answering(create_app(other)) as base:  # It has no key in its memory.
        body, headers = {"batch": [refused, fine]}, basic(shop.keys["channel"])
        assert httpx2.post(f"{base}{DOOR}/v1/batch", json=body, headers=headers).status_code == 200
    (item,) = waiting(shop)
    assert (item["reason"], item["told"]) == ("seal-damaged", {"message": refused})
    assert len(timeline(shop, "u-2")) == 1


def test_a_retry_is_told_by_its_message_id_whatever_the_clock_said(shop: Served) -> None:
    items = [
        track("m-1", timestamp="2026-01-01T10:00:00Z"),
        {"type": "group", "userId": "u-1", "groupId": "g-9", "messageId": "m-2", "timestamp": "2026-01-01T10:00:00Z"},
        {"type": "identify", "userId": "u-1", "messageId": "m-3", "traits": {"city": "Москва"}},
        {"type": "page", "userId": "u-1", "name": "Without an id", "timestamp": "2026-01-01T10:00:00Z"},
    ]
    kept(shop, *items, sentAt="2026-01-01T10:00:01Z")
    before = events(shop)
    for n in range(2, 5):
        kept(shop, *items, sentAt=f"2026-01-01T10:00:0{n}Z")
    kept(shop, *items, *items)
    assert events(shop) == before
    assert waiting(shop) == []


def test_two_events_without_an_id_and_a_time_are_two(shop: Served) -> None:
    told = {"userId": "u-1", "event": "Item Purchased"}
    for _ in range(2):
        assert send(shop, told, "/v1/track").status_code == 200
    kept(shop, {**told, "type": "track"}, {**told, "type": "track"})
    assert [each["kind"] for each in timeline(shop, "u-1")] == ["item_purchased"] * 4


def test_an_id_of_another_call_or_of_a_command_is_another_id(shop: Served) -> None:
    command = {"command": "record_touch", "id": "order-1", "key": "u-1", "channel": "shop", "kind": "visit"}
    assert shop.ask("channel", "POST", "/v1/commands", json=command).status_code == 200
    identify = {"type": "identify", "userId": "u-1", "messageId": "order-1", "traits": {"city": "Москва"}}
    kept(shop, track("order-1"), identify)
    assert [each["kind"] for each in timeline(shop, "u-1")] == ["visit", "order_completed"]
    assert "facts_stated" in types(shop)


def test_of_what_is_told_twice_under_one_id_the_first_stands(shop: Served) -> None:
    kept(shop, track("m-1"))
    kept(shop, track("m-1", event="Order Refunded"))
    assert [each["kind"] for each in timeline(shop, "u-1")] == ["order_completed"]


@pytest.mark.parametrize("call", ["batch", "track"])
def test_until_its_source_is_registered_libraries_come_again(served: Served, call: str) -> None:
    sent = {"batch": [track("m-1")]} if call == "batch" else track("m-1")
    answer = send(served, sent, f"/v1/{call}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"].startswith("The source of this channel is not registered")
    served.ask("admin", "POST", "/v1/commands", json={"command": "register_source", "name": "shop"})
    assert send(served, sent, f"/v1/{call}").status_code == 200
    assert [each["kind"] for each in timeline(served, "u-1")] == ["order_completed"]


def test_a_batch_of_more_items_than_are_taken_is_refused_and_told_so(shop: Served) -> None:
    shop.app.state.rates = Rates(1_000_000)
    items = [n % 7 or track(f"m-{n}") for n in range(door.MOST)]
    kept(shop, *items)
    head = shop.hub.head()
    for more in ("m", "\ud83d"):
        answer = send(shop, {"batch": [*items, more]})
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/larger-than-a-batch")
        assert "2,500" in answer.json()["detail"]
    assert shop.hub.head() == head
    assert types(shop).count("touch_recorded") == sum(n % 7 == 0 for n in range(door.MOST))
    assert types(shop).count("touch_quarantined") == sum(n % 7 > 0 for n in range(door.MOST))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[" * 1005 + "]" * 1005, "too_deep"),
        ('{"a,]":' * 30_000 + "1" + "}" * 30_000, "too_deep"),
        ("9" * 5000, "too_large"),
        ("1e999", "too_large"),
    ],
    ids=["deep", "deeper than is read", "digits", "infinite"],
)
@pytest.mark.parametrize("half", ["\\ud83d", ""])
def test_what_no_parser_holds_is_kept_as_it_was_written_and_the_rest_recorded(
    shop: Served, value: str, reason: str, half: str
) -> None:
    bad = f'{{"type": "track", "userId": "u-1", "messageId": "m-2", "properties": {{"n": {value}}}}}'
    halved = json.dumps(track("m-3")).replace("m-3", f"m-3{half}")
    sent = f'{{"sentAt": null, "batch" : [{json.dumps(track("m-1"))}, {bad},{halved}], "context": {{}}}}'.encode()
    for _ in range(2):
        assert send(shop, sent).status_code == 200
    (item,) = [each for each in waiting(shop) if each["reason"] != "lone_surrogate"]
    assert (item["reason"], item["told"]) == (reason, {"message": bad})
    assert types(shop).count("touch_recorded") == (1 if half else 2)
    assert len(waiting(shop)) == (2 if half else 1)


def test_a_key_in_a_body_that_has_to_be_taken_apart_is_found(shop: Served) -> None:
    deep = "[" * 2000 + "]" * 2000
    body = f'{{"batch": [{deep}, {json.dumps(track("m-1"))}], "writeKey": "{shop.keys["channel"]}"}}'
    assert shop.client.post(f"{DOOR}/v1/batch", content=body.encode()).status_code == 200
    assert [each["told"] for each in waiting(shop)] == [{"message": deep}]
    assert len(timeline(shop, "u-1")) == 1


@pytest.mark.parametrize(
    "items",
    ['{"a": NaN}', "1,,2", "1,", "[" * 2000, "[" * 2000 + "]" * 1999, '"unended', '"' + '\\"' * 200_000],
    ids=["NaN", "a gap", "an end", "open", "open within", "text", "quotes"],
)  # fmt: skip
def test_what_is_no_json_is_refused_whatever_else_is_there(shop: Served, items: str) -> None:
    for before in ("", '"\\ud83d",', "[" * 2000 + "]" * 2000 + ","):
        answer = send(shop, f'{{"batch": [{before}{items}]}}'.encode())
        assert answer.status_code == 400
    assert types(shop) == []


def test_who_sends_more_than_its_rate_is_told_when_to_come_again(shop: Served) -> None:
    shop.app.state.rates = Rates(5)
    kept(shop, *(track(f"m-{n}") for n in range(40)))
    answer = send(shop, {"batch": [track("m-41")]})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_a_busy_hub_is_no_reason_to_drop_a_batch(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "WAITING", 0)
    answer = send(shop, {"batch": [track("m-1")]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_database_that_stands_still_is_no_reason_to_drop_a_batch(
    shop: Served, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(shop, track("m-0"))
    with monkeypatch.context() as patched, connect(database_url, as_writer=False) as other:
        patched.setattr(database, "SILENCE", 0.5)
        other.execute("LOCK TABLE event, api_key IN ACCESS EXCLUSIVE MODE")
        answer = send(shop, {"batch": [track("m-1"), BAD["type"]]})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    kept(shop, track("m-1"), BAD["type"])
    assert (len(timeline(shop, "u-1")), len(waiting(shop))) == (2, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
calls = st.sampled_from(["identify", "track", "page", "screen", "group", "alias"])
ids = st.none() | st.sampled_from(["u-1", "", "a b", "8 916 123-45-67"]) | json_values
names = st.sampled_from(["Order Completed", "Да"]) | json_values
times = st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"]) | json_values
inner_names = st.sampled_from(
    ["email", "phone", "birthday", "address", "city", "company", "name", "plan", "campaign", "traits"]
)
objects = json_values | st.dictionaries(inner_names, json_values, max_size=4)
items = json_values | st.fixed_dictionaries(
    {"type": calls | json_values},
    optional={
        **dict.fromkeys(("userId", "anonymousId", "groupId", "previousId", "messageId"), ids),
        **dict.fromkeys(("event", "name", "category", "channel"), names),
        **dict.fromkeys(("traits", "properties", "context"), objects),
        **dict.fromkeys(("timestamp", "originalTimestamp", "sentAt"), times),
    },
)


def test_whatever_comes_as_an_item_nothing_of_it_disappears(
    shop: Served, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each item is done, which its receipts show, or waits; and the same again, if it has an id, changes nothing."""
    channel, receipt = shop.hub.principals.channel("shop"), shop.hub.fingerprints.receipt

    def is_done(*ids: str) -> bool:
        asked = {(channel.id, receipt(channel.raw_id + each.encode())) for each in ids}
        return len(receipts.find(connection, list(asked))) == len(asked)

    drawn: list[str] = []

    def draw() -> bytes:
        drawn.append((id := fresh_id()).hex())
        return id

    monkeypatch.setattr(door, "fresh_id", draw)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(items, max_size=4), times)
    def one(sent: list[Any], at: Any) -> None:
        drawn.clear()
        answer = send(shop, {"batch": sent, "sentAt": at})
        assert answer.status_code == 200, (sent, answer.text)
        again = 0
        for item, fresh in zip(orjson.loads(json.dumps(sent)), drawn, strict=True):  # As the hub reads numbers.
            ids = [each["id"] for each in translate(item, fresh, datetime.now(UTC))]
            assert is_done(*ids) or is_done(f"segment:aside:{id_of(item, fresh)}"), item
            again += fresh in id_of(item, fresh)
        once = shop.hub.head()
        assert send(shop, {"batch": sent, "sentAt": at}).status_code == 200
        assert shop.hub.head() == once or again, sent

    one()


def test_whatever_comes_as_a_body_is_kept_or_clearly_refused(shop: Served) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(calls | st.sampled_from(["batch", "import"]), items | st.fixed_dictionaries({"batch": json_values}))
    def one(call: str, sent: Any) -> None:
        answer = send(shop, sent, f"/v1/{call}")
        readable = isinstance(sent, dict) and (call in calls_alone or isinstance(sent.get("batch"), list))
        assert answer.status_code == (200 if readable else 400), (sent, answer.text)

    calls_alone = {"identify", "track", "page", "screen", "group", "alias"}
    one()


def captured(name: str) -> list[dict[str, Any]]:
    """The requests of a file, in order."""
    text, found, at = (CAPTURES / f"{name}.json").read_text("utf-8").strip(), [], 0
    while at < len(text):
        request, end = json.JSONDecoder().raw_decode(text, at)
        found.append(request)
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found


def on_the_wire(request: dict[str, Any]) -> bytes:
    """The very bytes: Python writes spaces and escapes, JavaScript does not; what was zipped is zipped again."""
    body, python = request["body"], "python" in request["headers"].get("User-Agent", "")
    text = json.dumps(body) if python else json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    if "Content-Encoding" in request["headers"]:
        return gzip.compress(text.encode())
    assert len(text.encode()) == request["wire_bytes"]
    return text.encode()


@pytest.mark.parametrize(
    ("name", "touches", "records"),
    [
        ("segment-analytics-python-2.4.0", 11, 5),
        ("segment-analytics-node-3.1.0", 9, 4),
        ("segment-analytics-node-3.1.0-retries", 4, 1),
        ("rudder-sdk-python-2.1.9", 4, 2),
        ("rudder-sdk-node-3.0.13", 2, 1),
    ],
)
def test_what_real_libraries_sent_is_recorded_once_each(shop: Served, name: str, touches: int, records: int) -> None:
    requests = captured(name)
    for request in requests:
        own = ("host", "authorization", "content-length", "connection")
        headers = {name: value for name, value in request["headers"].items() if name.lower() not in own}
        assert send(shop, on_the_wire(request), "/v1/batch", **headers).status_code == 200
    assert waiting(shop) == []
    found = types(shop)
    assert (found.count("touch_recorded"), found.count("record_opened")) == (touches, records)
    items = {item["messageId"]: item["type"] for request in requests for item in request["body"]["batch"]}
    assert len(items) == touches + list(items.values()).count("identify")

"""Doors for foreign services over HTTP: what is signed is kept before it is answered, once, whatever it is."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.api import bodies
from adapters.api.app import create_app
from adapters.inbound.delivery import FORM
from hub import Hub
from hub.counter import Counter
from hub.errors import Busy
from tests.adapters.conftest import Served, answering, doors
from tests.adapters.inbound import senders
from tests.adapters.inbound.senders import SAMPLES, Sent, sendgrid, standard, telegram, twilio

PRIVATE = {"id": 5, "type": "private"}
NOBODY = "00000000-0000-7000-8000-000000000000"
SMS = {"MessageSid": "SM1", "SmsStatus": "received", "From": "+79161234567", "To": "+74951234567", "Body": "Привет"}


@pytest.fixture
def doored(shop: Served) -> Served:
    """A hub whose doors' sources are registered."""
    for name in ("bot", "sms", "mailer"):
        shop.done({"command": "register_source", "name": name}, role="admin")
    return shop


def deliver(served: Served, door: str, sent: Sent, query: str = "", **headers: str) -> httpx2.Response:
    path = f"/v1/channels/{door}{query}"
    return served.client.post(path, content=sent.body, headers={**sent.headers, **headers})


def kept(served: Served, door: str, sent: Sent, query: str = "") -> list[dict[str, Any]]:
    """The events that were written."""
    head = served.hub.head()
    answer = deliver(served, door, sent, query)
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    return events(served, head)


def events(served: Served, after: int) -> list[dict[str, Any]]:
    asked = {"after": after, "at_least": served.hub.head(), "limit": 500}
    found: list[dict[str, Any]] = served.get("/v1/log", role="compliance", params=asked).json()["items"]
    return found


def types(found: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in found]


def waiting(served: Served) -> list[tuple[str, str, str]]:
    items = served.get("/v1/quarantine", params={"at_least": served.hub.head()}).json()["items"]
    return [(each["source"], each["path"], each["reason"]) for each in items]


def told(served: Served) -> list[Any]:
    """What waits in quarantine, as it was told."""
    items = served.get("/v1/quarantine", params={"at_least": served.hub.head()}).json()["items"]
    return [served.get(f"/v1/quarantine/{each['item']}").json()["told"]["message"] for each in items]


def find(served: Served, **identifiers: str) -> str:
    asked = {"json": {"identifiers": identifiers}, "params": {"at_least": served.hub.head()}}
    (found,) = served.ask("operator", "POST", "/v1/customers/find", **asked).json()["items"]
    customer: str = found["customer"]
    return customer


def timeline(served: Served, customer: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.get(f"/v1/customers/{customer}/timeline").json()["items"]
    return found


def test_a_telegram_user_is_found_by_handle_and_by_number(doored: Served) -> None:
    assert types(kept(doored, "bot", telegram(SAMPLES["telegram"]["body"])))[-1] == "touch_recorded"
    customer = find(doored, telegram="@test")
    assert find(doored, telegram="1111111") == customer
    (touch,) = timeline(doored, customer)
    assert (touch["channel"], touch["kind"], touch["source"]) == ("messenger", "message", "bot")
    assert touch["content"]["text"] == "/start"
    card = doored.get(f"/v1/customers/{customer}").json()
    assert card["facts"]["last_name"]["value"] == "Test Lastname"


def test_what_becomes_of_a_message_is_one_contact(doored: Served) -> None:
    kept(doored, "sms", twilio(SMS))
    for status in ("sent", "delivered"):
        told = {"MessageSid": "SM2", "MessageStatus": status, "To": SMS["From"], "From": SMS["To"]}
        kept(doored, "sms", twilio(told))
    customer = find(doored, phone="+79161234567")
    assert [each["kind"] for each in timeline(doored, customer)] == ["delivered", "sent", "message"]
    contacts = doored.get(f"/v1/customers/{customer}/contacts").json()["items"]
    assert len(contacts) == 1


def test_a_status_is_of_the_contact_that_was_reported_with_its_id(doored: Served) -> None:
    said = {"command": "record_touch", "source": "mailer", "channel": "email", "direction": "out"}
    end_point = {"identifier": {"kind": "email", "value": "example@test.com"}, "provider_id": "sg_message_id"}
    doored.done({**said, **end_point}, role="operator")
    kept(doored, "mailer", sendgrid(SAMPLES["sendgrid"]["body"][:1]))
    customer = find(doored, email="example@test.com")
    assert len(timeline(doored, customer)) == 2
    assert len(doored.get(f"/v1/customers/{customer}/contacts").json()["items"]) == 1


def test_many_events_are_kept_together(doored: Served) -> None:
    told = [
        {"email": f"a{n % 50}@example.org", "event": "delivered", "sg_event_id": str(n), "sg_message_id": f"m{n}"}
        for n in range(1500)
    ]
    found = kept(doored, "mailer", sendgrid(told))
    answer = deliver(doored, "mailer", sendgrid(told))
    assert answer.status_code == 204
    head = doored.hub.head()
    count = 0
    for after in range(0, head, 500):
        count += types(events(doored, after)).count("touch_recorded")
    assert count == 1500
    assert len(found) == 500  # A page.


def test_a_standard_message_is_a_command_of_its_source(doored: Served) -> None:
    data = {"key": "77", "channel": "shop", "facts": {"first_name": "Аня"}}
    found = kept(doored, "partner", standard({"type": "record_touch", "data": data}))
    assert types(found)[-1] == "touch_recorded"
    again = doored.done({"command": "record_touch", "key": "77", "channel": "shop"})
    doored.hub.wait(again["position"])
    assert len(timeline(doored, again["record"])) == 2


@pytest.mark.parametrize("door", ["bot", "sms", "mailer", "partner"])
def test_what_is_told_again_changes_nothing(doored: Served, door: str) -> None:
    sent, later = {
        "bot": (telegram(SAMPLES["telegram"]["body"]), telegram({**SAMPLES["telegram"]["body"], "more": {}})),
        "sms": (twilio(SMS), twilio({**SMS, "Body": "Other"})),
        "mailer": (sendgrid(SAMPLES["sendgrid"]["body"]), sendgrid(SAMPLES["sendgrid"]["body"][::-1])),
        "partner": (
            standard({"type": "record_touch", "data": {"key": "1", "channel": "shop"}}),
            standard({"type": "record_touch", "data": {"key": "2", "channel": "shop"}}),
        ),
    }[door]
    assert kept(doored, door, sent)
    assert kept(doored, door, sent) == []
    assert door == "bot" or kept(doored, door, later) == []  # An update with two happenings is none.


SENT = {
    "bot": lambda: telegram(SAMPLES["telegram"]["body"]),
    "sms": lambda: twilio(SMS),
    "mailer": lambda: sendgrid(SAMPLES["sendgrid"]["body"]),
    "partner": lambda: standard({"type": "record_touch", "data": {"key": "1", "channel": "shop"}}),
}


@pytest.mark.parametrize("door", SENT)
def test_what_is_not_signed_is_refused_and_its_body_is_nowhere(
    doored: Served, door: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sent, head = SENT[door](), doored.hub.head()
    without = {name: value for name, value in sent.headers.items() if "ignature" not in name and "Token" not in name}
    changed = [
        Sent(sent.body, without),
        Sent(
            sent.body, {name: value if name == "Content-Type" else value + "x" for name, value in sent.headers.items()}
        ),
        Sent(b"Kanareikina", sent.headers) if door != "bot" else Sent(b"Kanareikina", without),
        *([sendgrid([], at=time.time() - 400)] if door == "mailer" else []),
        *([standard({}, at=time.time() - 400)] if door == "partner" else []),
    ]
    with structlog.testing.capture_logs() as logged:
        for each in changed:
            answer = deliver(doored, door, each)
            assert answer.status_code == 401
            assert answer.json()["type"] == "/problems/unsigned"
            assert answer.headers["www-authenticate"] == "Signature"
        assert "подписано" in deliver(doored, door, changed[0], **{"Accept-Language": "ru"}).text
    assert doored.hub.head() == head
    refused = [each for each in logged if each["event"] == "unsigned"]
    assert {each["door"] for each in refused} == {door}
    assert {each["why"] for each in refused} <= {"missing", "wrong", "stale"}
    assert "Kanareikina" not in str(logged)


def test_a_door_that_is_none_is_told_so(doored: Served) -> None:
    for name in ("nowhere", "Bot", "bot/", "%00", "segment-2"):
        assert deliver(doored, name, telegram({})).status_code == 404


def test_what_is_too_large_is_refused(doored: Served) -> None:
    answer = deliver(doored, "bot", telegram(b"x" * (bodies.LARGEST_DELIVERY + 1)))
    assert answer.status_code == 413
    assert kept(doored, "bot", telegram(b"x" * bodies.LARGEST_DELIVERY))


def test_an_address_may_have_more_to_it(doored: Served) -> None:
    query = "?a=b&a=c"
    assert kept(doored, "sms", twilio(SMS, senders.TWILIO_URL + query), query)
    assert deliver(doored, "sms", twilio(SMS, senders.TWILIO_URL + query)).status_code == 401


@pytest.mark.parametrize(
    ("door", "sent", "item"),
    [
        ("bot", telegram(b"{"), ("bot", "message", "not_json")),
        ("bot", telegram(b'"\\u0000"'), ("bot", "message", "not_an_object")),
        ("bot", telegram(b"[" * 40 + b"]" * 40), ("bot", "message", "too_deep")),
        ("bot", telegram({"update_id": 1, "message": {"chat": {"type": "group"}, "from": {"id": 5}}}),
         ("bot", "chat.type", "not_private")),
        ("bot", telegram({"update_id": 1, "m\0": {"from": {"id": 5}}}), ("bot", "message", "no_touch")),
        ("bot", telegram({"update_id": 1, "message": {"from": {"id": 5}, "chat": PRIVATE, "date": 32_000_000_000}}),
         ("bot", "occurred_at", "in_the_future")),
        ("sms", twilio({"MessageSid": "S" * 2000, "From": "x"}), ("sms", "provider_id", "too_long")),
        ("sms", twilio({"MessageSid": "1", "From": "MegaFon"}), ("sms", "identifiers.phone", "not_a_phone")),
        ("sms", twilio({"a": "\0"}), ("sms", "messagesid", "missing")),
        ("mailer", sendgrid([]), ("mailer", "message", "too_few")),
        ("mailer", sendgrid([{"email": "x", "event": "NO CODE", "sg_event_id": "x" * 300}]),
         ("mailer", "kind", "not_a_code")),
        ("partner", standard({"type": "record_touch", "data": {}}), ("shop", "channel", "missing")),
        ("partner", standard({"type": "record_touch", "data": {"source": "mail", "key": "1", "channel": "web"}}),
         ("shop", "message", "not_allowed")),
        ("partner", standard({"type": "record_touch", "data": {"customer": NOBODY, "channel": "web"}}),
         ("shop", "customer", "not_known")),
        ("partner", standard({"type": "identify_customer", "data": {"key": "1", "facts": {"no": 1}}}),
         ("shop", "facts.no", "unknown_attribute")),
        ("partner", standard({"type": "record_touch", "data": {"key": "1", "channel": "web", "79161234567": "x"}}),
         ("shop", "message", "unknown_field")),
        ("anybody", Sent(b"a=b&" * 1000, {"Content-Type": FORM}), ("shop", "message", "not_json")),
    ],
)  # fmt: skip
def test_what_can_be_no_touch_waits_in_quarantine(
    doored: Served, door: str, sent: Sent, item: tuple[str, str, str]
) -> None:
    assert types(kept(doored, door, sent)) == ["touch_quarantined"]
    assert waiting(doored) == [item]
    assert kept(doored, door, sent) == []


def test_what_is_no_text_is_kept_byte_for_byte(doored: Served) -> None:
    bodies = [b'{"message": "\xcf\xf0\xe8"}', b'{"message": "\xc0\xe1\xe2"}']
    for body in bodies:
        assert types(kept(doored, "bot", telegram(body))) == ["touch_quarantined"]
    assert {b64decode(message["base64"]) for message in told(doored)} == set(bodies)


def test_what_cannot_be_read_is_told_apart_by_the_id_of_its_delivery(doored: Served) -> None:
    paid = {"type": "order.paid", "data": {"key": "1", "amount": 5}}
    for id in ("m1", "m2"):
        assert types(kept(doored, "partner", standard(paid, id=id))) == ["touch_quarantined"]
        assert kept(doored, "partner", standard(paid, id=id)) == []
    assert [message == paid for message in told(doored)] == [True, True]


def test_a_message_put_right_under_its_id_is_taken(doored: Served) -> None:
    bad, good = ({"type": "record_touch", "data": {"key": "1", "channel": each}} for each in ("NO CODE", "web"))
    for id in ("z1", "z" * 150):
        assert types(kept(doored, "partner", standard(bad, id=id))) == ["touch_quarantined"]
        assert "touch_recorded" in types(kept(doored, "partner", standard(good, id=id)))


def test_what_is_told_otherwise_under_an_id_is_logged_and_counted(doored: Served) -> None:
    first, other = ({"type": "record_touch", "data": {"key": each, "channel": "web"}} for each in ("1", "Kanareikina"))
    assert kept(doored, "partner", standard(first))
    with structlog.testing.capture_logs() as logged:
        assert kept(doored, "partner", standard(first)) == []
        assert kept(doored, "partner", standard(other)) == []
    warned = [each for each in logged if each["event"] == "told otherwise"]
    assert warned == [{"event": "told otherwise", "door": "partner", "ids": 1, "log_level": "warning"}]
    assert 'hub_channel_told_otherwise_total{door="partner"} 1.0' in doored.get("/metrics", role="auditor").text


def test_a_source_that_is_not_registered_is_waited_for(served: Served) -> None:
    sent = twilio(SMS)
    answer = deliver(served, "sms", sent)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not registered" in answer.json()["detail"]
    served.done({"command": "register_source", "name": "sms"}, role="admin")
    assert types(kept(served, "sms", sent))[-1] == "touch_recorded"


def test_a_busy_hub_has_it_delivered_again(doored: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Busy

    with monkeypatch.context() as patched:
        patched.setattr(Counter, "submit", full)
        answer = deliver(doored, "sms", twilio(SMS))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert kept(doored, "sms", twilio(SMS))


def test_a_door_counts_for_its_source(database_url: str, tmp_path: Path) -> None:
    with Hub(database_url, tmp_path) as hub:
        hub.do({"command": "register_source", "name": "bot"})
        with answering(create_app(hub, rate=1, doors=doors(tmp_path))) as base, httpx2.Client(base_url=base) as client:

            def ask(secret: str) -> int:
                sent = telegram({"update_id": 1}, secret)
                return client.post("/v1/channels/bot", content=sent.body, headers=sent.headers).status_code

            assert [ask("wrong") for _ in range(5)] == [401] * 5  # Whoever is not believed takes nothing from it.
            assert [ask(senders.BOT_SECRET) for _ in range(5)].count(429) >= 2
            assert hub.principals.channel("bot").source == "bot"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


SELDOM = st.sampled_from([*[False] * 40, True])
IDS = st.integers(1, 1_000_000)


def somewhat(sample: Any, draw: st.DrawFn) -> Any:
    """The sample with any part of it left out, or another."""
    if draw(SELDOM):
        return draw(JSON)
    if isinstance(sample, dict):
        return {name: somewhat(each, draw) for name, each in sample.items() if not draw(SELDOM)}
    if isinstance(sample, list):
        return [somewhat(each, draw) for each in sample]
    return sample


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[str, Sent]:
    door = draw(st.sampled_from(["bot", "sms", "mailer", "partner"]))
    if draw(st.integers(0, 4)) == 0:
        body = draw(st.binary(max_size=60))
    elif door == "sms":
        values = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["queued", "+79161234567"])
        names = st.sampled_from(["MessageSid", "CallSid", "From", "To", "Timestamp", "MessageStatus", "CallDuration"])
        body = urlencode(draw(st.lists(st.tuples(names | values, values), max_size=8))).encode()
    else:
        sample = {
            "bot": {**SAMPLES["telegram"]["contact_body"], "update_id": draw(IDS)},
            "mailer": [{**each, "sg_event_id": str(draw(IDS))} for each in SAMPLES["sendgrid"]["body"]],
            "partner": {"type": "record_touch", "data": {"key": "1", "channel": "web", "facts": {"city": "Омск"}}},
        }[door]
        body = json.dumps(somewhat(sample, draw)).encode()
    if door == "sms":
        fields = httpx2.QueryParams(body.decode("latin-1").encode("ascii", "ignore").decode()).multi_items()
        return door, twilio(fields)
    if door == "partner":
        return door, standard(body.decode("latin-1").encode(), id=str(draw(IDS)))
    return door, telegram(body) if door == "bot" else sendgrid(body)


def test_whatever_verifies_is_recorded_or_waits(doored: Served, tmp_path: Path) -> None:
    doored.hub.wait(doored.hub.head())
    described = doors(tmp_path)
    told: set[tuple[str, str]] = set()  # Ids, by door: under one that was told nothing more is taken.

    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(deliveries())
    def one(delivered: tuple[str, Sent]) -> None:
        door, sent = delivered
        head = doored.hub.head()
        answer = deliver(doored, door, sent)
        assert answer.status_code == 204, (door, sent, answer.text)
        ids = {(door, each["id"]) for each in described[door].commands(sent.delivered(senders.TWILIO_URL))}
        assert doored.hub.head() > head or ids <= told  # What is set aside has another id than the touch.
        told.update(ids)
        again = doored.hub.head()
        assert deliver(doored, door, sent).status_code == 204
        assert doored.hub.head() == again

    one()
    found = [each for after in range(0, doored.hub.head(), 500) for each in types(events(doored, after))]
    assert found.count("touch_recorded") > 5
    assert found.count("touch_quarantined") > 5

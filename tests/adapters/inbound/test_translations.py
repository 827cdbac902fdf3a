"""What services deliver, in the hub's words: their own samples, and whatever else they may come to think of."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from adapters.inbound import sendgrid, standard_webhooks, telegram, twilio
from adapters.inbound.delivery import FORM, Delivery
from hub.errors import Invalid
from tests.adapters.inbound.senders import SAMPLES

ME = {"id": 1111111, "is_bot": False, "first_name": "Test", "username": "Test"}
PRIVATE = {"id": 1111111, "type": "private"}
GROUP = {"id": -5, "type": "supergroup"}


def as_json(told: Any, **headers: str) -> Delivery:
    return Delivery(json.dumps(told).encode(), {"content-type": "application/json", **headers})


def as_form(told: str | dict[str, str]) -> Delivery:
    return Delivery((told if isinstance(told, str) else urlencode(told)).encode(), {"content-type": FORM})


def update(**what: Any) -> dict[str, Any]:
    (command,) = telegram.translate(as_json({"update_id": 7, **what}))
    return command


def flaws(error: pytest.ExceptionInfo[Invalid]) -> list[tuple[str, str]]:
    return [(flaw.path, flaw.reason) for flaw in error.value.flaws]


def test_a_telegram_message_is_a_touch_of_its_user() -> None:
    told = SAMPLES["telegram"]["body"]
    assert telegram.translate(as_json(told)) == [
        {
            "command": "record_touch",
            "id": "10000",
            "key": "1111111",
            "channel": "messenger",
            "kind": "message",
            "occurred_at": "2015-09-07T17:05:32+00:00",
            "facts": {"first_name": "Test", "last_name": "Test Lastname", "language": "ru"},
            "identifiers": {"telegram": "Test"},
            "identifier": {"kind": "telegram", "value": "1111111"},
            "content": {"text": "/start", "message": told["message"]},
        }
    ]


def test_a_phone_is_theirs_who_share_their_own() -> None:
    shared = SAMPLES["telegram"]["contact_body"]["message"]
    assert update(message=shared)["identifiers"] == {"phone": "+79161234567"}
    bare = {**shared, "contact": {**shared["contact"], "phone_number": "79161234567"}}
    assert update(message=bare)["identifiers"] == {"phone": "+79161234567"}
    anothers = {**shared, "contact": {**shared["contact"], "user_id": 5}}
    assert update(message=anothers)["identifiers"] == {}


def test_what_happens_in_a_private_conversation_is_a_touch_of_its_kind() -> None:
    edited = update(edited_message={"from": ME, "chat": PRIVATE, "date": 1, "edit_date": 60, "caption": "Фото"})
    assert edited["kind"] == "edited_message"
    assert edited["occurred_at"] == "1970-01-01T00:01:00+00:00"
    assert edited["content"]["text"] == "Фото"
    pressed = update(callback_query={"id": "4", "from": ME, "message": {"chat": PRIVATE, "date": 1}, "data": "buy"})
    assert (pressed["kind"], pressed["content"]["text"]) == ("callback_query", "buy")
    assert "occurred_at" not in pressed  # The date is that of the message with the button.
    blocked = update(my_chat_member={"from": ME, "chat": PRIVATE, "date": 5, "new_chat_member": {"status": "kicked"}})
    assert blocked["kind"] == "my_chat_member"
    liked = update(message_reaction={"user": ME, "chat": PRIVATE, "date": 5})
    assert liked["key"] == "1111111"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"message": {"from": ME, "chat": GROUP, "date": 1, "text": "hi"}}, "not_private"),
        ({"callback_query": {"from": ME, "message": {"chat": GROUP}}}, "not_private"),
        ({"callback_query": {"from": ME, "inline_message_id": "x", "data": "buy"}}, "not_private"),
        ({"message": {"chat": PRIVATE, "date": 1}}, "names_nobody"),
        ({"channel_post": {"chat": {"id": -6, "type": "channel"}, "date": 1}}, "no_touch"),
        ({"poll": {"id": "1"}}, "no_touch"),
        ({"business_message": {"from": ME, "chat": PRIVATE, "date": 1, "text": "Our own answer"}}, "no_touch"),
        ({"inline_query": {"from": ME, "chat_type": "supergroup", "query": "x"}}, "no_touch"),
        ({"message": {"from": {**ME, "is_bot": True}, "chat": PRIVATE, "date": 1}}, "names_nobody"),
    ],
)
def test_what_is_nobodys_touch_is_set_aside(what: dict[str, Any], reason: str) -> None:
    command = update(**what)
    assert (command["command"], command["id"], command["reason"]) == ("quarantine_touch", "7:aside", reason)
    assert command["message"] == {"update_id": 7, **what}


@pytest.mark.parametrize(
    ("told", "flaw"),
    [
        ([], ("", "not_an_object")),
        ({"message": {}}, ("update_id", "missing")),
        ({"update_id": 1}, ("message", "missing")),
        ({"update_id": 1, "message": 5}, ("", "not_an_object")),
        ({"update_id": 1, "message": {"from": {"id": []}}}, ("from.id", "wrong_type")),
        ({"update_id": 1, "message": {"from": ME, "chat": PRIVATE, "date": 1 << 60}}, ("date", "not_a_time")),
    ],
)
def test_what_is_no_update_is_told_by_its_place(told: Any, flaw: tuple[str, str]) -> None:
    with pytest.raises(Invalid) as error:
        telegram.translate(as_json(told))
    assert flaws(error) == [flaw]


def test_an_sms_is_a_touch_of_its_sender() -> None:
    (command,) = twilio.translate(as_form(SAMPLES["twilio"]["sms_form"]))
    message = command.pop("content")
    assert (message["text"], dict(message["message"])["NumMedia"]) == ("STOP", "0")
    assert command == {
        "command": "record_touch",
        "id": "SM1:received",
        "channel": "sms",
        "direction": "in",
        "kind": "message",
        "identifier": {"kind": "phone", "value": "+79161234567"},
        "provider_id": "SM1",
        "data": {},
    }


def test_a_field_said_twice_is_kept_twice() -> None:
    (command,) = twilio.translate(as_form("MessageSid=S&From=%2B79161234567&Body=one&Body=two"))
    assert command["content"]["message"] == [
        ("MessageSid", "S"), ("From", "+79161234567"), ("Body", "one"), ("Body", "two"),
    ]  # fmt: skip


def test_the_status_of_a_message_is_a_report_about_a_contact() -> None:
    told = {"MessageSid": "SM2", "MessageStatus": "undelivered", "To": "whatsapp:+79161234567", "From": "whatsapp:+1"}
    (command,) = twilio.translate(as_form({**told, "ErrorCode": "30003"}))
    assert (command["id"], command["channel"], command["direction"]) == ("SM2:undelivered", "messenger", "out")
    assert (command["kind"], command["provider_id"]) == ("undelivered", "SM2")
    assert command["identifier"] == {"kind": "whatsapp", "value": "+79161234567"}
    assert command["data"] == {"error": "30003"}


def test_a_call_is_with_whoever_is_at_the_other_end() -> None:
    (comes_in,) = twilio.translate(as_form(SAMPLES["twilio"]["call_form"]))
    assert (comes_in["id"], comes_in["kind"], comes_in["data"]) == (
        "CA1234567890ABCDE:completed",
        "completed",
        {"seconds": 15},
    )
    assert comes_in["occurred_at"] == "2020-03-03T13:05:57+00:00"
    assert (comes_in["direction"], comes_in["identifier"]["value"]) == ("in", "+14158675309")
    out = {"CallSid": "C", "CallStatus": "no-answer", "Direction": "outbound-api", "From": "+1", "To": "+2"}
    (goes_out,) = twilio.translate(as_json(out))
    assert (goes_out["direction"], goes_out["identifier"]["value"], goes_out["provider_id"]) == ("out", "+2", "C")
    assert goes_out["correlation"] == "C"


@pytest.mark.parametrize(
    ("told", "flaw"),
    [
        ({}, ("messagesid", "missing")),
        ({"MessageSid": "S"}, ("from", "missing")),
        ({"CallSid": "S", "Direction": "outbound-dial"}, ("to", "missing")),
        ({"CallSid": "S", "From": "+1", "Timestamp": "yesterday"}, ("timestamp", "not_a_time")),
    ],
)
def test_what_twilio_tells_of_nobody_is_told_by_its_place(told: dict[str, str], flaw: tuple[str, str]) -> None:
    with pytest.raises(Invalid) as error:
        twilio.translate(as_form(told))
    assert flaws(error) == [flaw]


def test_events_of_mails_are_reports_about_contacts() -> None:
    told = SAMPLES["sendgrid"]["body"]
    processed, bounce, unsubscribe = sendgrid.translate(as_json(told))
    assert processed == {
        "command": "record_touch",
        "id": "sg_event_id",
        "channel": "email",
        "direction": "out",
        "kind": "processed",
        "occurred_at": "2017-12-15T00:59:29+00:00",
        "identifier": {"kind": "email", "value": "example@test.com"},
        "provider_id": "sg_message_id",
        "content": {"message": told[0]},
        "data": {},
    }
    assert (bounce["kind"], bounce["data"]) == ("bounce", {"type": "bounce", "status": "5.0.0"})
    assert unsubscribe["kind"] == "unsubscribe"


def test_of_many_events_only_the_bad_ones_are_set_aside() -> None:
    good = SAMPLES["sendgrid"]["body"][0]
    told = [good, 5, {"event": "open"}, {**good, "timestamp": 1e300}]
    first, *others = sendgrid.translate(as_json(told))
    assert first["command"] == "record_touch"
    assert [(each["command"], each["path"], each["reason"]) for each in others] == [
        ("quarantine_touch", "message", "not_an_object"),
        ("quarantine_touch", "email", "missing"),
        ("quarantine_touch", "timestamp", "not_a_time"),
    ]
    assert [each["message"] for each in others] == told[1:]
    assert len({each["id"] for each in (first, *others)}) == 4


def test_an_event_without_an_id_has_that_of_its_content() -> None:
    told = {"email": "a@example.org", "event": "open"}
    (one,), (other,), (again,) = (sendgrid.translate(as_json(each)) for each in ([told], [{**told, "ip": "1"}], told))
    assert one["id"] == again["id"] != other["id"]


def test_a_standard_message_is_one_of_our_commands() -> None:
    data = {"key": "77", "channel": "shop"}
    told = {"type": "record_touch", "timestamp": "2026-01-02T03:04:05Z", "data": data}
    assert standard_webhooks.translate(as_json(told, **{"webhook-id": "msg_1"})) == [
        {"command": "record_touch", "id": "msg_1", "occurred_at": "2026-01-02T03:04:05Z", **data}
    ]
    own_time = {"occurred_at": "2026-01-01T00:00:00Z", "key": "1"}
    (command,) = standard_webhooks.translate(as_json({**told, "type": "identify_customer", "data": own_time}))
    assert (command["command"], command["occurred_at"]) == ("identify_customer", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("told", "flaw"),
    [
        (SAMPLES["standard_webhooks"]["body"], ("type", "not_one_of_the_allowed")),
        ({"type": "merge_customers", "data": {}}, ("type", "not_one_of_the_allowed")),
        ({"type": "record_touch"}, ("data", "missing")),
        ({"type": "record_touch", "data": {"command": "merge_customers"}}, ("data.command", "unknown_field")),
        ({"type": "record_touch", "data": {"id": "x"}}, ("data.id", "unknown_field")),
    ],
)
def test_no_other_command_comes_by_a_standard_message(told: Any, flaw: tuple[str, str]) -> None:
    with pytest.raises(Invalid) as error:
        standard_webhooks.translate(as_json(told))
    assert flaws(error) == [flaw]

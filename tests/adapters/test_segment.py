"""What Segment's libraries send, as commands: nothing is read here, and nothing sent is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.inbound.segment import Unread, aside, id_of, translate

RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = RECEIVED.isoformat()
FRESH = "fresh"


def item(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, "userId": "u-1", "messageId": "m-1", **fields}


def one(type: str, **fields: Any) -> dict[str, Any]:
    (command,) = translate(item(type, **fields), FRESH, RECEIVED)
    return command


def said(type: str, **fields: Any) -> dict[str, Any]:
    """The command without what all of a kind have."""
    common = ("command", "id", "key", "occurred_at", "source_event", "channel", "kind")
    return {name: value for name, value in one(type, **fields).items() if name not in common}


def test_an_event_is_a_touch_of_its_user() -> None:
    assert one("track", event="Order Completed", properties={"order_id": "A-1", "total": 1999.5}) == {
        "command": "record_touch",
        "id": "segment:track:m-1",
        "source_event": "m-1",
        "key": "u-1",
        "channel": "web",
        "kind": "order_completed",
        "occurred_at": NOW,
        "data": {"order_id": "A-1", "total": 1999.5},
    }


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        (" Step: 2.1 ", "step:_2.1"),
        ("Заказ оформлен", None),
        ("Order completed!", None),
        ("Call 8 916 123 45 67", None),
        ("a" * 65, None),
    ],
)
def test_an_events_name_is_its_kind_where_it_can_be_a_code_else_it_is_sealed(event: str, kind: str | None) -> None:
    touch = one("track", event=event)
    assert touch["kind"] == (kind or "event")
    assert touch.get("content") == (None if kind else {"event": event})


def test_what_is_nested_or_empty_lies_in_the_content() -> None:
    told = said("track", event="x", properties={"n": 1, "products": [{"sku": "1"}], "coupon": None})
    assert told == {"data": {"n": 1}, "content": {"properties": {"products": [{"sku": "1"}], "coupon": None}}}
    many = said("track", event="x", properties={f"p{n}": n for n in range(203)})
    assert (len(many["data"]), len(many["content"]["properties"])) == (200, 3)


def test_a_page_and_a_screen_have_a_name_and_a_category() -> None:
    for type, channel in (("page", "web"), ("screen", "app")):
        touch = one(type, name="Home", category="Docs", properties={"url": "http://x", "category": "Docs"})
        assert (touch["kind"], touch["channel"]) == (type, channel)
        assert touch["data"] == {"url": "http://x", "category": "Docs", "name": "Home"}
    assert said("page", name="Home", properties={"name": "Other"}) == {
        "data": {"name": "Other"},
        "content": {"name": "Home"},
    }


@pytest.mark.parametrize(
    ("fields", "channel"),
    [
        ({"context": {"library": {"name": "analytics-python"}}}, "web"),
        ({"context": {"library": {"name": "axios"}}}, "web"),
        ({"context": {"library": {"name": "analytics-ios"}}}, "app"),
        ({"context": {"library": {"name": "com.rudderstack.android.sdk.core"}}}, "app"),
        ({"channel": "mobile"}, "app"),
        ({"channel": "server"}, "web"),
    ],
)
def test_what_a_mobile_library_sends_came_through_the_app(fields: dict[str, Any], channel: str) -> None:
    assert one("track", event="x", **fields)["channel"] == channel


def test_what_surrounds_it_is_kept_sealed_and_the_campaign_is_named() -> None:
    context = {"ip": "203.0.113.7", "campaign": {"name": "Spring Sale"}, "library": {"name": "x"}, "device": {}}
    assert said("track", event="x", context=context) == {
        "campaign": "spring_sale",
        "content": {"context": {"ip": "203.0.113.7", "campaign": {"name": "Spring Sale"}}},
    }


def test_whose_it_is() -> None:
    both = one("track", event="x", anonymousId="anon-7")
    assert (both["key"], both["identifiers"]) == ("u-1", {"cookie": "anon-7"})
    nobody = one("track", event="x", userId=None, anonymousId="anon-7")
    assert (nobody["key"], nobody["identifiers"]) == ("anonymous:anon-7", {"cookie": "anon-7"})
    assert one("track", event="x", userId=77, anonymousId="")["key"] == "77"


def test_traits_are_facts() -> None:
    traits = {
        "firstName": "Анна", "last_name": "Иванова", "email": "anna@example.org", "phone": ["+79161234567"],
        "birthday": "1990-05-17T00:00:00.000Z", "address": {"city": "Москва"}, "title": "Инженер",
        "company": {"name": "Initech"}, "timezone": "Europe/Moscow", "favouriteColour": "red", "logins": 3,
        "nested": {"a": [1]}, "phone_number": "", "gender": None,
    }  # fmt: skip
    identify = one("identify", traits=traits, context={"traits": {"lastName": "Петрова", "plan": "pro"}})
    assert identify["command"] == "identify_customer"
    assert identify["facts"] == {
        "first_name": "Анна", "last_name": "Петрова", "email": "anna@example.org", "phone": ["+79161234567"],
        "birth_date": "1990-05-17", "address": {"city": "Москва"}, "job_title": "Инженер", "company": "Initech",
        "time_zone": "Europe/Moscow", "x-favourite_colour": "red", "x-logins": 3, "x-nested": {"a": [1]},
        "x-plan": "pro", "gender": None,
    }  # fmt: skip
    assert identify["raw"] == {"traits": {"last_name": "Иванова"}}, "said twice, and differently"


def test_traits_that_no_fact_can_hold_are_kept_as_they_came() -> None:
    traits = {"любимый цвет": "red", "city": 5, "name": {"first": "A"}, "company": {"name": "I", "id": 1}, "tags": []}
    identify = one("identify", traits=traits)
    assert identify["facts"] == {"x-company": {"name": "I", "id": 1}}
    assert identify["raw"] == {"traits": {"любимый цвет": "red", "city": 5, "name": {"first": "A"}, "tags": []}}


def test_a_group_is_an_organisation_and_a_touch_of_the_user_that_names_it() -> None:
    organisation, touch = translate(
        item("group", groupId="g-9", traits={"name": "Initech", "plan": "a"}), FRESH, RECEIVED
    )
    assert organisation == {
        "command": "identify_customer",
        "id": "segment:organisation:group:m-1",
        "key": "group:g-9",
        "party": "organisation",
        "facts": {"organisation_name": "Initech", "x-plan": "a"},
        "occurred_at": NOW,
    }
    assert (touch["id"], touch["key"]) == ("segment:group:m-1", "u-1")
    assert (touch["kind"], touch["content"]) == ("group", {"group": "g-9"})


def test_an_alias_is_told_and_merges_nothing() -> None:
    touch = one("alias", previousId="anon-7")
    assert (touch["command"], touch["kind"], touch["content"]) == ("record_touch", "alias", {"previousId": "anon-7"})


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"timestamp": "2026-03-01T11:00:00Z"}, "2026-03-01T11:00:00+00:00"),
        ({"originalTimestamp": "2026-03-01T14:00:00+03:00"}, "2026-03-01T11:00:00+00:00"),
        ({"timestamp": "2026-03-01T11:00:00"}, "2026-03-01T11:00:00+00:00"),
        ({"timestamp": "2020-01-01T00:00:00Z", "sentAt": "2020-01-01T00:00:05Z"}, "2026-03-01T11:59:55+00:00"),
        ({"timestamp": "2033-01-01T00:00:00Z", "sentAt": "2033-01-01T01:00:00Z"}, "2026-03-01T11:00:00+00:00"),
        ({"timestamp": "2026-03-01T12:00:01Z"}, NOW),
        ({"timestamp": "2026-03-01T12:00:05Z", "sentAt": "2026-03-01T12:00:00Z"}, NOW),
        ({"timestamp": None}, NOW),
        ({"timestamp": "yesterday"}, NOW),
        ({"timestamp": 1772366400000}, NOW),
        ({"timestamp": "0900-01-01T00:00:00Z"}, NOW),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, NOW),
        ({"timestamp": "0001-01-01T00:00:00Z", "sentAt": "9999-12-31T00:00:00Z"}, NOW),
    ],
)
def test_the_clients_clock_is_put_right_by_when_it_sent(fields: dict[str, Any], at: str) -> None:
    assert one("track", event="x", **fields)["occurred_at"] == at


def test_the_batch_says_when_it_was_sent_where_the_item_does_not() -> None:
    told = item("track", event="x", timestamp="2026-03-01T10:00:00Z")
    (touch,) = translate(told, FRESH, RECEIVED, "2026-03-01T10:30:00Z")
    assert touch["occurred_at"] == "2026-03-01T11:30:00+00:00"
    (own,) = translate({**told, "sentAt": "2026-03-01T10:00:01Z"}, FRESH, RECEIVED, "2026-03-01T10:30:00Z")
    assert own["occurred_at"] == "2026-03-01T11:59:59+00:00"


def test_without_a_message_id_an_item_is_known_by_what_it_says_and_when() -> None:
    told = {"type": "track", "event": "x", "userId": "u-1", "timestamp": "2026-03-01T10:00:00Z"}
    same = [told, {**told, "sentAt": "2026-03-01T10:00:00Z"}, dict(reversed(told.items()))]
    assert len({id_of(each, str(n)) for n, each in enumerate(same)}) == 1
    assert id_of(told, FRESH) != id_of({**told, "event": "y"}, FRESH)
    assert len({id_of({**told, "messageId": each}, FRESH) for each in ("m" * 200, "m" * 201, 5, [5], "\0", None)}) == 6
    assert "source_event" not in translate(told, FRESH, RECEIVED)[0]


@pytest.mark.parametrize("told", [{"type": "track", "event": "x", "timestamp": None}, "text", 5, None, Unread("", "x")])
def test_without_an_id_and_a_time_of_its_own_nothing_is_the_same_again(told: Any) -> None:
    assert id_of(told, "a") != id_of(told, "b")


def test_ids_of_calls_and_of_the_parts_of_one_never_meet() -> None:
    types = ("identify", "track", "page", "screen", "group", "alias", "charge", "refund", None, ["track"])
    given = [{"type": each, "messageId": id} for each in types for id in ("m-1", "aside:m-1", "group:m-1")]
    ids = {id_of(each, FRESH) for each in given}
    assert len(ids) == len(given)
    full = [item(type, event="x", groupId="g", previousId="p") for type in types[:6]]
    commands = [command["id"] for each in full for command in translate(each, FRESH, RECEIVED)]
    commands += [aside(each, FRESH, "type", "missing", RECEIVED)["id"] for each in given]
    assert len(set(commands)) == len(commands)
    assert all(each.startswith("segment:") for each in commands)


def test_the_longest_message_id_leaves_an_id_that_a_command_may_have() -> None:
    for length in (150, 151):
        group = item("group", groupId="g", messageId="m" * length)
        commands = [*translate(group, FRESH, RECEIVED), aside(group, FRESH, "type", "missing", RECEIVED)]
        assert max(len(each["id"]) for each in commands) <= 200


def test_what_nothing_can_hold_is_kept_as_it_was_written() -> None:
    (command,) = translate(Unread('{"messageId": "m-1", "n": 1e999}', "too_large"), FRESH, RECEIVED)
    assert (command["reason"], command["message"]) == ("too_large", '{"messageId": "m-1", "n": 1e999}')
    assert command["id"].startswith("segment:aside:sha256:"), "sent again it does not wait twice"


def test_what_can_be_no_touch_is_set_aside_as_it_came() -> None:
    for told in ({"type": "charge"}, {"event": "x"}, "text", 5, None, ["a"]):
        (command,) = translate(told, FRESH, RECEIVED)
        assert (command["command"], command["message"]) == ("quarantine_touch", told)
    assert one("track", event=5)["path"] == "event"
    assert one("identify", traits="a")["path"] == "traits"
    assert one("track", event="x", userId=True)["path"] == "userId"


def test_where_it_failed_tells_nothing_that_was_sent() -> None:
    assert aside({}, FRESH, "facts.x-Анна", "not_a_date", RECEIVED)["path"] == "message"
    assert aside({}, FRESH, "facts.8-916-123-45-67", "no reason at all", RECEIVED)["reason"] == "invalid"

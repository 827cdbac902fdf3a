"""A hub with sources, and commands in few words."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from hub.wiring import Hub

Sent = dict[str, Any]


def source(name: str = "shop", **fields: Any) -> Sent:
    return {"command": "register_source", "name": name, **fields}


def identify(key: str | None, **fields: Any) -> Sent:
    return {"command": "identify_customer", "source": "shop", "key": key, **fields}


def touch(key: str | None = None, **fields: Any) -> Sent:
    named = {} if key is None else {"source": "shop", "key": key}
    return {"command": "record_touch", "channel": "call", **named, **fields}


def merge(*customers: str, **fields: Any) -> Sent:
    return {"command": "merge_customers", "customers": list(customers), **fields}


def unmerge(**fields: Any) -> Sent:
    return {"command": "unmerge_customers", **fields}


def many(hub: Hub, *sent: Sent) -> list[Any]:
    return list(hub.do_many(sent))


def opened(hub: Hub, *keys: str) -> list[str]:
    """The records of these keys, opened in this order."""
    return [answer["record"] for answer in many(hub, *(identify(key) for key in keys))]


def types(answer: Any) -> list[str]:
    assert isinstance(answer, dict), answer
    return [event["type"] for event in answer["events"]]


def recorded(connection: Connection[Any]) -> list[str]:
    """The types of all events, in order."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT t.name FROM event e JOIN event_type t ON t.id = e.type WHERE log = 1 ORDER BY position"
        )
    ]

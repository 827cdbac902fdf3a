"""The log as an auditor or a compliance officer reads it: events in order, as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
from psycopg import Connection

from hub.database import load_queries
from hub.errors import SealDamaged
from hub.events import Instant
from hub.events.base import uuid_text
from hub.log.read import Reader
from hub.log.wire import inner_hash, tag_of
from hub.view import View, shown

SQL = load_queries(__file__)
WINDOW = 20_000  # Positions looked through for one page, so that a rare type costs no walk through the whole log.
_ENVELOPE = ("principal", "role", "source", "on_behalf_of", "branch", "correlation", "causation", "document")

Contents = Mapping[tuple[int, int], Mapping[str, Any]]  # Position, seal -> what it holds.


def events_of(
    view: View,
    after: int,
    limit: int,
    type: str | None = None,
    record: str | None = None,
    *,
    payload: bool,
) -> dict[str, Any]:
    """Events behind `after`. Without `payload` they are evidence: what it takes to compute the leaf, no more."""
    asked = {
        "log": view.reader.log,
        "after": after,
        "until": after + WINDOW,
        "type": type,
        "tag": tag_of(f"record:{record}").hex() if record else None,
        "limit": limit + 1,
    }
    with view.snapshot():
        query = SQL["of_record" if record else "of_log"]
        rows = view.connection.execute(query, asked, binary=True).fetchall()
        (head,) = view.connection.execute(SQL["head"], asked).fetchone() or (0,)
        found = contents(view.connection, view.reader, rows[:limit]) if payload else {}
    if len(rows) > limit:
        next = rows[limit - 1][0]
    else:
        next = None if record or after + WINDOW >= head else after + WINDOW
    return {
        "items": [_shown(row, found, payload) for row in rows[:limit]],
        "next": None if next is None else str(next),
    }


def contents(connection: Connection[Any], reader: Reader, rows: Sequence[Any]) -> Contents:
    """What the seals of these events hold, of those that can still be opened: erased and damaged ones cannot.

    A row begins with the event's position and id.
    """
    asked = reader.log, [row[0] for row in rows]
    boxes = connection.execute(SQL["seals"], asked, binary=True).fetchall()
    keys = reader.vault.keys_named(connection, {row[2:5] for row in boxes})
    ids = {row[0]: row[1] for row in rows}
    found = {}
    for place, n, record, retention, number, box in boxes:
        if key := keys.get((record, retention, number)):
            with suppress(SealDamaged):
                found[place, n] = reader.vault.open(key, ids[place], n, box)
    return found


def _shown(row: Any, contents: Contents, payload: bool) -> dict[str, Any]:
    position, id, type, recorded_at, tags, data, leaf = row
    stored = orjson.loads(data)
    said = {name: stored.get(name) for name in _ENVELOPE} | {"occurred_at": shown(Instant(stored["occurred_at"]))}
    return {
        "position": position,
        "event": uuid_text(id),
        "type": type,
        "recorded_at": shown(Instant(recorded_at)),
        "tags": tags,
        "rest": inner_hash(id, type, tags, data).hex(),
        "leaf": leaf.hex(),
        "schema": stored["schema"],
        **(said if payload else dict.fromkeys(said)),
        "body": stored["body"] if payload else None,
        "seals": [{**each, "content": contents.get((position, each["n"]))} for each in stored.get("seals", ())],
    }

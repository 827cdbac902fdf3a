"""The timeline: every touch of a record in the order it happened. What was said is read from the log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.events import EventId, Instant, Recorded, RecordId, TouchRecorded
from hub.rows import Key, ReadModel
from hub.view import View, cursor_of, place, place_of, shown, time
from projections.membership import present


@dataclass(frozen=True, slots=True)
class Touch:
    """One row of timeline; the fields are its columns."""

    event: EventId
    record: RecordId
    position: int
    occurred_at: Instant
    channel: str
    direction: str
    kind: str | None
    purpose: str | None
    topic: str | None
    campaign: str | None


def owners(recorded: Recorded) -> Iterable[Key]:
    return ((recorded.id,),)


def fold(row: Touch | None, recorded: Recorded, key: Key) -> Touch:
    event = recorded.event
    assert isinstance(event, TouchRecorded)
    return Touch(
        recorded.id,
        event.record,
        recorded.position,
        recorded.envelope.occurred_at,
        event.channel,
        event.direction,
        event.kind,
        event.purpose,
        event.topic,
        event.campaign,
    )


timeline = ReadModel("timeline", Touch, ("event",), (TouchRecorded,), owners, fold, once=True)


def timeline_of(
    view: View,
    id: str,
    channel: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The touches of all the customer's records, the newest first. Raises Unknown, or Invalid for a strange cursor."""
    conditions, values = ["t.record = asked.record"], list[Any]()
    if channel is not None:
        conditions.append("t.channel = %s")
        values.append(channel)
    if since is not None:
        conditions.append("t.occurred_at >= %s")
        values.append(since)
    if until is not None:
        conditions.append("t.occurred_at < %s")
        values.append(until)
    if cursor is not None:
        conditions.append("(t.occurred_at, t.position) < (%s, %s)")
        values.extend(place_of(cursor, time, place))
    columns = ", ".join(f"t.{column}" for column in timeline.columns)
    order = "ORDER BY t.occurred_at DESC, t.position DESC LIMIT %s"
    with view.snapshot():
        members, _ = present(view, id, timeline)
        rows = view.ask(
            Touch,
            f"SELECT {columns} FROM unnest(%s::uuid[]) AS asked (record) CROSS JOIN LATERAL ("  # noqa: S608 -- names of ours
            f"SELECT {columns} FROM timeline t WHERE {' AND '.join(conditions)} {order}) AS t {order}",
            [member.record for member in members],
            *values,
            limit + 1,
            limit + 1,
        ).fetchall()
        told = view.opened(row.position for row in rows[:limit])
    source_of = {member.record: member.source for member in members}
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [_shown(row, told[row.position], source_of[row.record]) for row in rows[:limit]],
        "next": cursor_of(last.occurred_at, last.position) if last else None,
    }


def _shown(row: Touch, recorded: Recorded, source: str) -> dict[str, Any]:
    event = recorded.event
    assert isinstance(event, TouchRecorded)
    said: dict[str, Any] = {}
    for content in recorded.opened.values():
        said |= content
    return {
        "event": row.event,
        "position": row.position,
        "record": row.record,
        "source": source,
        "occurred_at": shown(row.occurred_at),
        "recorded_at": shown(recorded.recorded_at),
        "channel": row.channel,
        "direction": row.direction,
        "kind": row.kind,
        "purpose": row.purpose,
        "topic": row.topic,
        "campaign": row.campaign,
        "offer": event.offer,
        "matter": event.matter,
        "identifier": event.identifier,
        "contact": event.contact.contact if event.contact else None,
        "in_reply_to": event.in_reply_to,
        "answers": list(event.answers),
        "asks": event.asks,
        "resolved": event.resolved,
        "data": {**event.data, **said.get("data", {})},
        "content": said.get("content", {}),
        "names": said.get("names", {}),
        "quarantined": [{"item": each.item, "path": each.path, "reason": each.reason} for each in event.quarantined],
    }

"""Quarantine: what could not be accepted and waits for repair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.events import VOCABULARY, EventId, Instant, Quarantined, Recorded, RecordId, TouchQuarantined
from hub.rows import Key, ReadModel
from hub.view import View, cursor_of, place, place_of, shown


@dataclass(frozen=True, slots=True)
class QuarantineItem:
    """One row of quarantine; the fields are its columns."""

    item: str
    record: RecordId | None  # None: the touch's record could not be named.
    event: EventId
    position: int
    path: str
    reason: str
    at: Instant


def _parts(recorded: Recorded) -> Sequence[Quarantined]:
    parts: Sequence[Quarantined] = getattr(recorded.event, "quarantined", ())
    return parts


def owners(recorded: Recorded) -> Iterable[Key]:
    if isinstance(recorded.event, TouchQuarantined):
        return ((recorded.event.item,),)
    parts = _parts(recorded)
    return [(part.item,) for part in parts] if parts else ()


def fold(row: QuarantineItem | None, recorded: Recorded, key: Key) -> QuarantineItem:
    event = recorded.event
    if isinstance(event, TouchQuarantined):
        record, path, reason = None, event.path, event.reason
    else:
        part = next(each for each in _parts(recorded) if each.item == key[0])
        record, path, reason = getattr(event, "record", None), part.path, part.reason
    return QuarantineItem(key[0], record, recorded.id, recorded.position, path, reason, recorded.occurred_at)


CARRIERS = tuple(kind for kind in VOCABULARY.types.values() if "quarantined" in kind.model_fields)

quarantine = ReadModel("quarantine", QuarantineItem, ("item",), (*CARRIERS, TouchQuarantined), owners, fold)


def quarantined(view: View, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
    """What waits for repair, the newest first. Raises Invalid for a cursor that is none."""
    where, values = "true", []
    if cursor is not None:
        position, item = place_of(cursor, place, UUID)
        where = "(m.position < %s OR m.position = %s AND m.item > %s)"
        values = [position, position, item]
    with view.snapshot():
        standings = view.standings()
        rows = view.rows(
            quarantine, f"{where} ORDER BY m.position DESC, m.item LIMIT %s", *values, limit + 1
        ).fetchall()
        standings.of(quarantine)
    items = [
        {
            "item": row.item,
            "record": row.record,
            "event": row.event,
            "position": row.position,
            "path": row.path,
            "reason": row.reason,
            "at": shown(row.at),
        }
        for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    return {"items": items, "next": cursor_of(last.position, last.item) if last else None}

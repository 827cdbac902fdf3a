"""Quarantine: what could not be accepted and waits for repair, until its time is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.clock import DAY
from hub.errors import Unknown
from hub.events import (
    VOCABULARY,
    EventId,
    Instant,
    QuarantineExpired,
    Recorded,
    RecordId,
    TouchQuarantined,
    TouchRepaired,
    ValueRepaired,
)
from hub.quarantine import kept_aside
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
    source: str | None
    set_aside_at: Instant  # By the hub's own clock; old as what it tells may be, it has waited since then.


def owners(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    if isinstance(event, ValueRepaired | TouchRepaired):
        return ((event.item,),)
    if isinstance(event, QuarantineExpired):
        return [(item,) for item in event.items]
    parts = event.set_aside()
    return [(part.item,) for part in parts] if parts else ()


def fold(row: QuarantineItem | None, recorded: Recorded, key: Key) -> QuarantineItem | None:
    event = recorded.event
    if isinstance(event, ENDS):
        return None
    part = next(each for each in event.set_aside() if each.item == key[0])
    return QuarantineItem(
        item=part.item,
        record=getattr(event, "record", None),
        event=recorded.id,
        position=recorded.position,
        path=part.path,
        reason=part.reason,
        at=recorded.occurred_at,
        source=recorded.envelope.source,
        set_aside_at=recorded.recorded_at,
    )


CARRIERS = tuple(kind for kind in VOCABULARY.types.values() if "quarantined" in kind.model_fields)
ENDS = (ValueRepaired, TouchRepaired, QuarantineExpired)

quarantine = ReadModel(
    "quarantine", QuarantineItem, ("item",), (*CARRIERS, TouchQuarantined, *ENDS), owners, fold, version=2
)


def quarantined(
    view: View, limit: int = 50, cursor: str | None = None, reason: str | None = None, source: str | None = None
) -> dict[str, Any]:
    """What waits for repair, the newest first. Raises Invalid for a cursor that is none."""
    conditions, values = ["true"], list[Any]()
    for column, wanted in (("reason", reason), ("source", source)):
        if wanted is not None:
            conditions.append(f"m.{column} = %s")
            values.append(wanted)
    if cursor is not None:
        position, item = place_of(cursor, place, UUID)
        conditions.append("(m.position < %s OR m.position = %s AND m.item > %s)")
        values += [position, position, item]
    where = f"{' AND '.join(conditions)} ORDER BY m.position DESC, m.item LIMIT %s"
    with view.snapshot():
        standings = view.standings()
        rows = view.rows(quarantine, where, *values, limit + 1).fetchall()
        standings.of(quarantine)
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [_shown(row, view) for row in rows[:limit]],
        "next": cursor_of(last.position, last.item) if last else None,
    }


def told_of(view: View, item: str) -> dict[str, Any]:
    """One item that waits, and what was told, for whoever repairs it. Raises Unknown where it waits no more.

    `told` is the value; or, in an object, the `touch`, or the `message` that was no touch.
    """
    with view.snapshot():
        standings = view.standings()
        row = view.rows(quarantine, "m.item = %s", item).fetchone()
        standings.of(quarantine)
        if row is None:
            raise Unknown
        carrier = view.opened([row.position])[row.position]
    whole = isinstance(carrier.event, TouchQuarantined)
    return {**_shown(row, view), "told": carrier.opened.get(0) if whole else kept_aside(carrier).get(row.item)}


def _shown(row: QuarantineItem, view: View) -> dict[str, Any]:
    return {
        "item": row.item,
        "record": row.record,
        "source": row.source,
        "event": row.event,
        "position": row.position,
        "path": row.path,
        "reason": row.reason,
        "at": shown(row.at),
        "set_aside_at": shown(row.set_aside_at),
        "age_days": max(0, view.now() - row.set_aside_at) // DAY,
        "expires_at": shown(Instant(row.set_aside_at + view.periods.quarantine * DAY)),
    }


def due(view: View, now: Instant, limit: int = 1000) -> Sequence[str]:
    """The items that have waited longer than they are kept, for `expire_quarantined`; the oldest first."""
    with view.snapshot():
        standings = view.standings()
        rows = view.rows(
            quarantine,
            "m.set_aside_at <= to_timestamp(%s) ORDER BY m.position, m.item LIMIT %s",
            (now - view.periods.quarantine * DAY) / 1_000_000,
            limit,
        ).fetchall()
        standings.of(quarantine)
    return [row.item for row in rows]


def waiting(view: View) -> dict[str, Any]:
    """How many wait, by reason, and since when the oldest does."""
    with view.snapshot():
        standings = view.standings()
        counted = view.ask(
            lambda reason, count, oldest: (reason, count, oldest),
            "SELECT reason, count(*), min(set_aside_at) FROM quarantine GROUP BY reason ORDER BY reason",
        ).fetchall()
        standings.of(quarantine)
    return {
        "count": sum(count for _, count, _ in counted),
        "by_reason": {reason: count for reason, count, _ in counted},
        "oldest": shown(min((oldest for _, _, oldest in counted), default=None)),
    }

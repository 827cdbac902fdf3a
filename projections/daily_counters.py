"""Daily counters: touches of a record by UTC day, channel and direction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from hub.clock import EPOCH
from hub.events import Instant, Recorded, RecordId, TouchRecorded
from hub.rows import Key, ReadModel

_DAY = 86_400_000_000
_FIRST_DAY = EPOCH.toordinal()


@dataclass(frozen=True, slots=True)
class DailyCount:
    """One row of daily_counters; the fields are its columns."""

    record: RecordId
    day: date
    channel: str
    direction: str
    count: int
    first: Instant
    last: Instant


def owners(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    assert isinstance(event, TouchRecorded)
    day = date.fromordinal(_FIRST_DAY + recorded.occurred_at // _DAY)
    return ((event.record, day, event.channel, event.direction),)


def fold(row: DailyCount | None, recorded: Recorded, key: Key) -> DailyCount:
    record, day, channel, direction = key
    count, first = 1, recorded.occurred_at
    last = first
    if row is not None:
        count, first, last = row.count + 1, min(row.first, first), max(row.last, last)
    return DailyCount(record, day, channel, direction, count, first, last)


daily_counters = ReadModel(
    "daily_counters", DailyCount, ("record", "day", "channel", "direction"), (TouchRecorded,), owners, fold
)

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
    at = recorded.occurred_at
    if row is None:
        return DailyCount(*key, 1, at, at)
    return DailyCount(*key, row.count + 1, min(row.first, at), max(row.last, at))


daily_counters = ReadModel(
    "daily_counters", DailyCount, ("record", "day", "channel", "direction"), (TouchRecorded,), owners, fold
)

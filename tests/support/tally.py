"""A read model for tests: it counts touches, and adds their positions up so that repeating one shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from psycopg import Connection, sql

from hub.events import Instant, Recorded, TouchRecorded
from hub.rows import ReadModel
from tests.support.events import Log, a_touch, new_id


@dataclass(frozen=True, slots=True)
class Tally:
    """One row of tally; the fields are its columns."""

    channel: str
    count: int
    positions: int


def fold(row: Tally | None, recorded: Recorded, key: Any) -> Tally:
    if row is None:
        return Tally(key[0], 1, recorded.position)
    return replace(row, count=row.count + 1, positions=row.positions + recorded.position)


def by_channel(recorded: Recorded) -> list[tuple[str]]:
    assert isinstance(recorded.event, TouchRecorded)
    return [(recorded.event.channel,)]


tally = ReadModel("tally", Tally, ("channel",), (TouchRecorded,), by_channel, fold)
other = replace(tally, name="other_tally")


def make_tables(owner: Connection[Any]) -> None:
    for name in ("tally", "other_tally"):
        columns = "channel text PRIMARY KEY, count int NOT NULL, positions bigint CHECK (positions > 0)"
        owner.execute(f"CREATE TABLE {name} ({columns})")
        owner.execute(f"ALTER TABLE {name} OWNER TO hub_owner")
        owner.execute(f"GRANT SELECT, INSERT, DELETE, TRUNCATE ON {name} TO hub_writer")


def say(log: Log, count: int, channel: str = "call") -> int:
    """So many touches; answers the head."""
    record = new_id()
    return log.append((a_touch(record, channel), Instant(0), ()) for _ in range(count))[0].head


def rows(connection: Connection[Any], name: str = "tally") -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {name} ORDER BY channel").fetchall()


def exactly(head: int, first: int = 1) -> list[tuple[str, int, int]]:
    """The rows when every event from `first` to `head` was folded once."""
    return [("call", head - first + 1, sum(range(first, head + 1)))]


def emptied(connection: Connection[Any], *models: ReadModel[Any]) -> None:
    """Have these models folded from the first event, in step with the others."""
    for model in models:
        connection.execute("DELETE FROM read_model WHERE name = %s", (model.name,))
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(model.name)))


def until(true: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

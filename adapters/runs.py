"""The runs of jobs, as the database keeps them. They hold times, numbers and codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.types.json import Json

from hub.database import load_queries

SQL = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job. `outcome` is `running`, `done`, `failed`, or `lost`: it ended before it was done."""

    job: str
    due: datetime
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    counts: Mapping[str, int]
    error: str | None


def claim(connection: Connection[Any], job: str, due: datetime, near: timedelta) -> int | None:
    """Begin the run that was due then; None where it, or one nearer to it than `near`, was begun and not lost."""
    run = {"job": job, "due": due, "near": near}
    with connection.transaction():
        connection.execute(SQL["alone"], (job,))
        connection.execute(SQL["retake"], run)
        row = connection.execute(SQL["claim"], run).fetchone()
    return row[0] if row else None


def finish(
    connection: Connection[Any], run: int, outcome: str, counts: Mapping[str, int], error: str | None = None
) -> None:
    """Write down how it ended, unless it counts as lost by now."""
    with connection.transaction():
        connection.execute(SQL["finish"], (outcome, Json(dict(counts)), error, run))


def lose(connection: Connection[Any]) -> None:
    """Nobody is at the runs that are under way."""
    with connection.transaction():
        connection.execute(SQL["lost"])


def last_runs(connection: Connection[Any]) -> list[Run]:
    """The last run of each job, by name."""
    return [Run(*row) for row in connection.execute(SQL["last"])]


def begun(connection: Connection[Any]) -> dict[str, datetime]:
    """For when each job was begun last and not lost."""
    return dict(connection.execute(SQL["begun"]).fetchall())


def forget(connection: Connection[Any], days: int) -> int:
    """Delete runs older than that, but the last of each job; answers how many."""
    with connection.transaction():
        return connection.execute(SQL["forget"], (days,)).rowcount

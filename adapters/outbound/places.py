"""How far each destination is, and its dead letters, as the database keeps them: positions, times and codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from hub.database import load_queries
from hub.log.read import MAIN

if TYPE_CHECKING:
    from adapters.outbound.destinations import Destination

SQL = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class FeedStanding:
    """How far a destination is behind the log."""

    name: str
    position: int
    lag: int  # Events.
    lag_seconds: float  # Since the oldest of them was recorded.
    disabled: bool  # It answered 410.
    sent: int
    failures: int
    tries: int  # Of the event it does not take now.
    failing_since: datetime | None
    error: str | None
    letters: int


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that a destination did not take."""

    event: str
    position: int
    died_at: datetime
    tries: int
    error: str
    asked: bool  # It is to be sent again.


def enrol(connection: Connection[Any], destinations: Sequence[Destination]) -> None:
    """These are followed from now on, newcomers from where they start; others are not, and keep their places."""
    with connection.transaction():
        for each in destinations:
            connection.execute(SQL["enrol"], {"name": each.name, "now": each.start == "now", "log": MAIN})
        connection.execute(SQL["followed"], {"names": [each.name for each in destinations]})


def standings(connection: Connection[Any]) -> list[FeedStanding]:
    """Of all that are followed, by name."""
    return [FeedStanding(*row) for row in connection.execute(SQL["standings"])]


def letters(connection: Connection[Any], name: str, limit: int) -> list[Letter]:
    """What a destination did not take, in log order."""
    return [Letter(*row) for row in connection.execute(SQL["letters"], (name, limit))]

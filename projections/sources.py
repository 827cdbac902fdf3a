"""Sources: who may tell us about customers, and how far each is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hub.events import EventId, Recorded, SourceRegistered
from hub.rows import Key, ReadModel
from hub.view import View


@dataclass(frozen=True, slots=True)
class Source:
    """One row of sources; the fields are its columns."""

    source: str
    trust: float
    logins: list[str]
    party: str
    event: EventId
    position: int
    seal: int | None  # Of its title.


def owners(recorded: Recorded) -> Iterable[Key]:
    assert isinstance(recorded.event, SourceRegistered)
    return [(recorded.event.source,)]


def fold(row: Source | None, recorded: Recorded, key: Key) -> Source:
    event = recorded.event
    assert isinstance(event, SourceRegistered)
    return Source(
        source=event.source,
        trust=float(event.trust),
        logins=list(event.logins),
        party=event.party,
        event=recorded.id,
        position=recorded.position,
        seal=recorded.seals[0].n if recorded.seals else None,
    )


sources = ReadModel("sources", Source, ("source",), (SourceRegistered,), owners, fold)


def sources_of(view: View) -> list[dict[str, Any]]:
    """Every registered source with its title, by name."""
    with view.snapshot():
        standings = view.standings()
        rows = view.rows(sources, "true ORDER BY m.source").fetchall()
        standings.of(sources)
        told = view.opened(row.position for row in rows if row.seal is not None)
    return [
        {
            "source": row.source,
            "title": None if row.seal is None else told[row.position].opened.get(row.seal, {}).get("title"),
            "trust": row.trust,
            "logins": row.logins,
            "party": row.party,
            "event": row.event,
            "position": row.position,
        }
        for row in rows
    ]

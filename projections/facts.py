"""Facts: the newest statement of each source about each attribute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hub.events import EventId, FactConfirmed, FactRetracted, FactsStated, Instant, Recorded, RecordId
from hub.rows import Key, ReadModel


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of facts; the fields are its columns."""

    record: RecordId
    attribute: str
    event: EventId
    position: int
    stated_at: Instant
    clear: bool  # The value stands in the event itself.
    seal: int | None  # Which of the event's seals holds it otherwise.
    retracted: bool
    confirmed_at: Instant | None  # The same was said again, later and long enough after to be news.

    @property
    def latest(self) -> Instant:
        """When the source last stood by it."""
        return self.confirmed_at or self.stated_at


def owners(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    if isinstance(event, FactRetracted):
        return [(event.record, event.attribute)]
    if isinstance(event, FactConfirmed):
        return [(event.record, attribute) for attribute in event.intervals]
    assert isinstance(event, FactsStated)
    return [(event.record, attribute) for attribute in {*event.attributes, *event.clear}]


def fold(row: Fact | None, recorded: Recorded, key: Key) -> Fact | None:
    """The newer statement stands, by when it was made; of two made at once the one told later."""
    if row is not None and (row.latest, row.position) > (recorded.occurred_at, recorded.position):
        return row
    event = recorded.event
    if isinstance(event, FactConfirmed):
        return row and replace(row, confirmed_at=recorded.occurred_at)
    record, attribute = key
    clear = isinstance(event, FactsStated) and attribute in event.clear
    retracted = isinstance(event, FactRetracted)
    return Fact(
        record=record,
        attribute=attribute,
        event=recorded.id,
        position=recorded.position,
        stated_at=recorded.occurred_at,
        clear=clear,
        seal=None if clear or retracted else 0,
        retracted=retracted,
        confirmed_at=None,
    )


facts = ReadModel("facts", Fact, ("record", "attribute"), (FactsStated, FactConfirmed, FactRetracted), owners, fold)

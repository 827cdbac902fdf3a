"""How what was set aside comes to its end: repaired by a person, or let go when its time is over."""

from __future__ import annotations

from collections.abc import Iterable

from hub.events.base import Event, EventId, RecordId


class ValueRepaired(Event):
    """A person told what the value should have been. What it then says are events of their own, caused by this one."""

    record: RecordId
    item: str

    def tags(self) -> Iterable[str]:
        return (f"record:{self.record}", f"quarantined:{self.item}")


class TouchRepaired(Event):
    """A person told whose touch it was; it is recorded, caused by this. As it came it is sealed under the record."""

    record: RecordId
    item: str
    unsealed: tuple[tuple[EventId, int], ...] = ()  # The seals that were deleted with this, by event and number.

    def tags(self) -> Iterable[str]:
        return (f"record:{self.record}", f"quarantined:{self.item}")


class QuarantineExpired(Event):
    """Nobody repaired these in time: they are let go, and their seals are deleted where they held nothing else."""

    items: tuple[str, ...]
    after: int  # The days that things were kept then.
    unsealed: tuple[tuple[EventId, int], ...] = ()  # The seals that were deleted with this, by event and number.

    def tags(self) -> Iterable[str]:
        return (f"quarantined:{item}" for item in self.items)

"""Parts: what several kinds of event carry and one mechanism folds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from hub.events.base import Code, ContactId, EventId, IdentifierId, Instant, Part, RecordId


def month_of(at: Instant) -> str:
    """The UTC month of an instant, as tags name it: 2026-03."""
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m")


class Quarantined(Part):
    """A value that failed its kind's check: left out of the event, kept in its seal under `path`."""

    item: str  # Random id, by which it is listed and repaired.
    path: str
    reason: Code

    def tags(self) -> Iterable[str]:
        return (f"quarantined:{self.item}",)


class Contact(Part):
    """An outgoing touch as contact policies count it; one id whoever reports it.

    `months` are the UTC months of its planned and its actual time; every later event
    about the contact repeats those of the first, so that all of it is found under the same tags.
    """

    shape: int = 1
    contact: ContactId
    record: RecordId
    channel: str
    at: Instant
    months: tuple[str, ...]
    state: str = "made"  # reserved made cancelled expired
    outcome: str | None = None
    purpose: str | None = None
    campaign: str | None = None
    offer: str | None = None
    sender: str | None = None
    matter: str | None = None
    identifier: IdentifierId | None = None
    seal: int | None = None  # The event's seal that holds what the contact is found by, and those sealed tags only.

    def tags(self) -> Iterable[str]:
        return (f"contact:{self.contact}", *(f"contacts:{self.record}:{month}" for month in self.months))


class Link(Part):
    """Two records are one person; stands until the merge that made it is taken back or cut."""

    a: RecordId
    b: RecordId
    merge: EventId  # The event that made the link: a merge, or an un-merge that kept the rest together.


class Component(Part):
    """One customer after a membership event: its records in order of opening and the links that hold them."""

    members: tuple[RecordId, ...]
    links: tuple[Link, ...] = ()

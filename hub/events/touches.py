"""What happens between a customer and the company."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from hub.events.base import Code, Event, EventId, IdentifierId, RecordId
from hub.events.parts import Contact, Quarantined

Channel = Literal[
    "call",
    "sms",
    "email",
    "messenger",
    "chat",
    "social",
    "web",
    "app",
    "push",
    "post",
    "visit",
    "robot",
    "shop",
    "other",
]


class TouchRecorded(Event):
    """One thing that happened in a channel. What was said lies in the seal."""

    record: RecordId
    channel: Channel
    direction: Literal["in", "out"]
    kind: str | None = None
    purpose: str | None = None
    topic: str | None = None
    campaign: str | None = None
    offer: str | None = None
    sender: str | None = None  # This and the next four: random ids of strings from outside.
    matter: str | None = None
    agent: str | None = None
    source_event: str | None = None
    provider: str | None = None
    identifier: IdentifierId | None = None  # The end point used.
    in_reply_to: EventId | None = None
    answers: tuple[EventId, ...] = ()
    asks: bool | None = None
    resolved: bool | None = None
    data: Mapping[str, int | bool | str] = {}
    contact: Contact | None = None
    quarantined: tuple[Quarantined, ...] = ()

    def tags(self) -> Iterable[str]:
        yield f"record:{self.record}"
        if self.matter:
            yield f"matter:{self.matter}"
        if self.contact:
            yield from self.contact.tags()
        for value in self.quarantined:
            yield from value.tags()

    def set_aside(self) -> Sequence[Quarantined]:
        return self.quarantined


class TouchQuarantined(Event):
    """A touch whose record cannot be named, or a message that is no touch. All of it lies in a seal of the house."""

    item: str
    path: str
    reason: Code

    def tags(self) -> Iterable[str]:
        return (f"quarantined:{self.item}",)

    def set_aside(self) -> Sequence[Quarantined]:
        return (Quarantined(item=self.item, path=self.path, reason=self.reason),)

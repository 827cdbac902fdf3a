"""Quarantine, as decisions see it: what an event sets aside, one item of it that waits, and what ended it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hub.decider import Boundary, Known, Principal, Secret
from hub.errors import Rejected, Unknown
from hub.events import EventId, Quarantined, Recorded, RecordId
from hub.log.read import Scope
from hub.log.wire import tag_of


class NotWaiting(Rejected):
    """This does not wait any more: it was repaired, or let go when its time was over."""


@dataclass(frozen=True)
class Waiting:
    """An item, and the event that set it aside."""

    part: Quarantined
    carrier: Recorded

    @property
    def value(self) -> Any:
        """What was told, as far as it is kept still."""
        return kept_aside(self.carrier).get(self.part.item)

    def as_told(self, known: Known) -> Known:
        """What a decision knew when it was told: a channel's word may state no more for being repaired."""
        envelope = self.carrier.envelope
        teller = Principal(envelope.principal, envelope.role, envelope.source if envelope.role == "channel" else None)
        return replace(known, occurred_at=envelope.occurred_at, principal=teller)

    def told_then(self, cause: EventId) -> dict[str, Any]:
        """What the envelopes of the events say that are written because this was repaired."""
        envelope = self.carrier.envelope
        return {
            "occurred_at": envelope.occurred_at,
            "source": envelope.source,
            "branch": envelope.branch,
            "correlation": envelope.correlation,
            "causation": cause,
        }


def set_aside(
    record: RecordId, unfit: Sequence[tuple[str, str, Any]], known: Known
) -> tuple[tuple[Quarantined, ...], tuple[Secret, ...]]:
    """What an event says of values set aside, and the seal of their own that keeps them, so that they can be let go."""
    items = tuple(Quarantined(item=known.new_id(), path=path, reason=reason) for path, reason, _ in unfit)
    kept = {item.item: value for item, (_, _, value) in zip(items, unfit, strict=True)}
    return items, (Secret(record, {"quarantined": kept}),) if kept else ()


def kept_aside(recorded: Recorded) -> dict[str, Any]:
    """The values an event set aside, by item, as far as they are kept still; whichever seal holds them."""
    kept: dict[str, Any] = {}
    for content in recorded.opened.values():
        kept |= content.get("quarantined", {})
    return kept


def all_about(item: str) -> Scope:
    """The event that set it aside, and the one that ended it, if there is one."""
    return Scope(frozenset(), tag_of(f"quarantined:{item}"), opened=True)


def waiting(item: str) -> Boundary[Waiting]:
    """Raises Unknown, or NotWaiting."""
    (found,) = yield (all_about(item),)
    if not found:
        raise Unknown
    carrier, *ends = found
    if ends:
        raise NotWaiting
    return Waiting(next(part for part in carrier.event.set_aside() if part.item == item), carrier)

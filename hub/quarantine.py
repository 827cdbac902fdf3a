"""What waits in quarantine, as decisions see it: one item, the event that set it aside, and what ended it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hub.decider import Boundary, Known, Principal
from hub.errors import Rejected, Unknown
from hub.events import EventId, Quarantined, Recorded
from hub.log.read import Scope
from hub.log.wire import tag_of
from hub.statements import kept_aside


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

"""Expire what is quarantined: nobody repaired these in time, so they are let go. An act of the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hub.clock import DAY
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome
from hub.errors import Unknown
from hub.events import EventId, QuarantineExpired, Recorded, TouchQuarantined
from hub.fields import Uuid
from hub.quarantine import all_about

Items = frozenset[str]


class ExpireQuarantined(Command):
    """Those that are not due yet, or do not wait any more, are passed over."""

    roles: ClassVar = frozenset({"house"})

    command: Literal["expire_quarantined"]
    items: Annotated[tuple[Uuid, ...], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class Expiring:
    """The items and those beside them in one seal: the event that set each aside, and whether it still waits."""

    carriers: Mapping[str, Recorded]
    ended: Items


def boundary(command: ExpireQuarantined, known: Known) -> Boundary[Expiring]:
    items = tuple(dict.fromkeys(command.items))
    found = dict(zip(items, (yield tuple(map(all_about, items))), strict=True))
    if not all(found.values()):
        raise Unknown
    beside = {part.item for events in found.values() for part in events[0].event.set_aside()} - found.keys()
    if beside:
        found |= zip(sorted(beside), (yield tuple(map(all_about, sorted(beside)))), strict=True)
    return Expiring(
        {item: events[0] for item, events in found.items()},
        frozenset(item for item, events in found.items() if len(events) > 1),
    )


def evolve(state: Expiring, recorded: Recorded) -> Expiring:
    return state


def decide(command: ExpireQuarantined, state: Expiring, known: Known) -> Outcome:
    days = known.periods.quarantine
    due = [
        item
        for item in dict.fromkeys(command.items)
        if item not in state.ended and known.now - state.carriers[item].recorded_at >= days * DAY
    ]
    if not due:
        return Outcome(())
    carriers = {(carrier := state.carriers[item]).id: carrier for item in due}
    ended = state.ended | frozenset(due)
    unsealed = tuple(seal for carrier in carriers.values() for seal in _done_with(carrier, ended))
    return Outcome((Draft(QuarantineExpired(items=tuple(due), after=days, unsealed=unsealed)),), unsealed=unsealed)


def _done_with(carrier: Recorded, ended: Items) -> Sequence[tuple[EventId, int]]:
    """The seals that hold nothing but what has ended. A value sealed beside others stays, and is shown to nobody."""
    if isinstance(carrier.event, TouchQuarantined):
        return [(carrier.id, n) for n in carrier.opened]
    return [
        (carrier.id, n)
        for n, content in carrier.opened.items()
        if content.keys() == {"quarantined"} and content["quarantined"].keys() <= ended
    ]


expire_quarantined = Decider(ExpireQuarantined, boundary, evolve, decide)

"""Membership: which customer each record is, and its place among the customer's records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hub.errors import Unknown
from hub.events import (
    CustomersMerged,
    CustomersUnmerged,
    EventId,
    Instant,
    MembershipEvent,
    Recorded,
    RecordId,
    RecordOpened,
)
from hub.rows import Key, ReadModel
from hub.view import View, as_id


@dataclass(frozen=True, slots=True)
class Member:
    """One row of membership; the fields are its columns."""

    record: RecordId
    customer: RecordId  # The first member; the record itself when alone.
    place: int
    source: str
    party: str
    opened_at: Instant
    opened: int  # Position of record_opened.
    event: EventId  # What placed the record where it is.
    position: int


def owners(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    if isinstance(event, MembershipEvent):
        return [(record,) for component in event.components for record in component.members]
    assert isinstance(event, RecordOpened)
    return [(event.record,)]


def fold(row: Member | None, recorded: Recorded, key: Key) -> Member | None:
    event = recorded.event
    if isinstance(event, RecordOpened):
        return row or Member(
            record=event.record,
            customer=event.record,
            place=0,
            source=event.source,
            party=event.party,
            opened_at=recorded.occurred_at,
            opened=recorded.position,
            event=recorded.id,
            position=recorded.position,
        )
    assert isinstance(event, MembershipEvent)
    if row is None:
        return None
    members = next(each.members for each in event.components if key[0] in each.members)
    return replace(
        row,
        customer=members[0],
        place=members.index(row.record),
        event=recorded.id,
        position=recorded.position,
    )


membership = ReadModel(
    "membership", Member, ("record",), (RecordOpened, CustomersMerged, CustomersUnmerged), owners, fold
)


def present(view: View, id: str, *models: ReadModel[Any]) -> tuple[list[Member], int]:
    """The records of the customer this one belongs to now, in order; and the position these models answer for.

    Raises Unknown, and what `Standings.of` raises.
    """
    with view.connection.pipeline():
        standings = view.standings()
        members = view.rows(
            membership,
            "m.customer = (SELECT customer FROM membership WHERE record = %s) ORDER BY m.place",
            as_id(id),
        )
    position = standings.of(membership, *models)
    found = members.fetchall()
    if not found:
        raise Unknown
    return found, position

"""Contacts: one row each, whatever events reported it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hub.events import VOCABULARY, Contact, ContactId, EventId, IdentifierId, Instant, Recorded, RecordId
from hub.rows import Key, ReadModel
from hub.view import View, cursor_of, place, place_of, shown, time
from projections.membership import present


@dataclass(frozen=True, slots=True)
class ContactRow:
    """One row of contacts; the fields are its columns."""

    contact: ContactId
    record: RecordId
    identifier: IdentifierId | None
    channel: str
    purpose: str | None
    campaign: str | None
    offer: str | None
    sender: str | None
    matter: str | None
    at: Instant
    state: str
    outcome: str | None
    event: EventId  # The first about it.
    position: int
    last_event: EventId
    last_position: int


def _part(recorded: Recorded) -> Contact | None:
    part: Contact | None = getattr(recorded.event, "contact", None)
    return part


def owners(recorded: Recorded) -> Iterable[Key]:
    part = _part(recorded)
    return () if part is None else ((part.contact,),)


def fold(row: ContactRow | None, recorded: Recorded, key: Key) -> ContactRow:
    """Later words complete earlier ones. A contact that happened is a fact, and stays one."""
    part = _part(recorded)
    assert part is not None
    made = row is not None and row.state == "made" and part.state != "made"
    return ContactRow(
        contact=part.contact,
        record=row.record if row else part.record,
        identifier=part.identifier or (row.identifier if row else None),
        channel=part.channel,
        purpose=part.purpose or (row.purpose if row else None),
        campaign=part.campaign or (row.campaign if row else None),
        offer=part.offer or (row.offer if row else None),
        sender=part.sender or (row.sender if row else None),
        matter=part.matter or (row.matter if row else None),
        at=row.at if row and made else part.at,
        state="made" if made else part.state,
        outcome=part.outcome or (row.outcome if row else None),
        event=row.event if row else recorded.id,
        position=row.position if row else recorded.position,
        last_event=recorded.id,
        last_position=recorded.position,
    )


CARRIERS = tuple(kind for kind in VOCABULARY.types.values() if "contact" in kind.model_fields)

contacts = ReadModel("contacts", ContactRow, ("contact",), CARRIERS, owners, fold)


def contacts_of(view: View, id: str, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
    """The customer's contacts, the newest first. Raises Unknown, or Invalid for a strange cursor."""
    where, values = "m.record = ANY (%s::uuid[])", list[Any]()
    if cursor is not None:
        where += " AND (m.at, m.position) < (%s, %s)"
        values.extend(place_of(cursor, time, place))
    with view.snapshot():
        members, _ = present(view, id, contacts)
        records = [member.record for member in members]
        rows = view.rows(
            contacts, f"{where} ORDER BY m.at DESC, m.position DESC LIMIT %s", records, *values, limit + 1
        ).fetchall()
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [_shown(row) for row in rows[:limit]],
        "next": cursor_of(last.at, last.position) if last else None,
    }


def _shown(row: ContactRow) -> dict[str, Any]:
    return {
        "contact": row.contact,
        "event": row.event,
        "position": row.position,
        "record": row.record,
        "channel": row.channel,
        "purpose": row.purpose,
        "campaign": row.campaign,
        "offer": row.offer,
        "identifier": row.identifier,
        "at": shown(row.at),
        "state": row.state,
        "outcome": row.outcome,
    }

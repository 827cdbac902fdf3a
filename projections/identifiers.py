"""Identifiers: end points that lead to a record, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from hub.errors import Flaw, Invalid
from hub.events import (
    EventId,
    IdentifierId,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Recorded,
    RecordId,
)
from hub.identity.normalise import Unfit, identifier
from hub.rows import Key, ReadModel
from hub.view import View
from projections.membership import membership


@dataclass(frozen=True, slots=True)
class Identifier:
    """One row of identifiers; the fields are its columns."""

    identifier: IdentifierId
    record: RecordId
    kind: str
    event: EventId  # The newest statement that sealed the value.
    position: int
    since: Instant | None
    until: Instant | None
    released_until: Instant | None  # Released: leads to the record up to here, unless stated again later.
    stated_at: Instant

    def current(self, now: Instant) -> bool:
        """Does it lead to the record now?"""
        if (self.since is not None and now < self.since) or (self.until is not None and self.until <= now):
            return False
        return self.released_until is None or self.released_until > now or self.stated_at > self.released_until


def owners(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    assert isinstance(event, IdentifierStated | IdentifierReleased)
    return [(event.identifier,)]


def fold(row: Identifier | None, recorded: Recorded, key: Key) -> Identifier | None:
    event = recorded.event
    if isinstance(event, IdentifierReleased):
        return row and replace(row, released_until=max(event.until, row.released_until or event.until))
    assert isinstance(event, IdentifierStated)
    if row is not None and (row.stated_at, row.position) > (recorded.occurred_at, recorded.position):
        return row
    sealed = row is None or recorded.seals
    return Identifier(
        identifier=event.identifier,
        record=event.record,
        kind=event.kind,
        event=recorded.id if sealed or row is None else row.event,
        position=recorded.position if sealed or row is None else row.position,
        since=event.since,
        until=event.until,
        released_until=row.released_until if row else None,
        stated_at=recorded.occurred_at,
    )


identifiers = ReadModel(
    "identifiers", Identifier, ("identifier",), (IdentifierStated, IdentifierReleased), owners, fold
)

MODEL = identifiers  # Where a parameter bears the model's name.


class Held(NamedTuple):
    """An identifier somebody holds, the customer that is today, and which of the tags asked for led there."""

    tag: str
    customer: RecordId
    row: Identifier


def holders(view: View, tags: Iterable[bytes]) -> list[Held]:
    """Everyone who holds, or held, what has these sealed tags; who stated it last comes first."""
    columns = ", ".join(f"i.{column}" for column in identifiers.columns)
    return view.ask(
        lambda tag, customer, *rest: Held(tag, customer, Identifier(*rest)),
        # OFFSET 0 keeps the order of looking up: tags are few, however the tables are estimated.
        f"SELECT DISTINCT t.tag, m.customer, {columns} FROM tag t"  # noqa: S608 -- names of ours
        " CROSS JOIN LATERAL (SELECT * FROM identifiers WHERE position = t.position OFFSET 0) AS i"
        " CROSS JOIN LATERAL (SELECT customer FROM membership WHERE record = i.record OFFSET 0) AS m"
        " WHERE t.log = %s AND t.tag = ANY (%s::uuid[]) ORDER BY i.stated_at DESC, i.position DESC",
        view.reader.log,
        [tag.hex() for tag in tags],
    ).fetchall()


def find(
    view: View,
    identifiers: Mapping[str, Any] | None = None,
    source: str | None = None,
    key: str | None = None,
) -> list[dict[str, Any]]:
    """Everyone who holds one of these identifiers, or the record a source knows under a key; most recent first.

    Raises Invalid when a value cannot be what it claims, or nothing was asked for.
    """
    if source is not None and key is not None:
        return _by_key(view, source, key)
    if not identifiers:
        raise Invalid(Flaw("identifiers", "missing"))
    asked = {
        str(UUID(bytes=tag)): tag
        for kind, values in identifiers.items()
        for tag in _tags(view, kind, values if isinstance(values, list | tuple) else [values])
    }
    with view.snapshot():
        standings = view.standings()
        found = holders(view, asked.values())
        standings.of(MODEL, membership)
    now = view.now()
    return [
        {
            "customer": customer,
            "record": row.record,
            "kind": row.kind,
            "identifier": row.identifier,
            "current": row.current(now),
        }
        for _, customer, row in found
    ]


def _tags(view: View, kind: str, values: Iterable[Any]) -> Iterable[bytes]:
    for value in values:
        text = value["value"] if isinstance(value, Mapping) else value
        try:
            yield view.fingerprint(kind, identifier(kind, str(text), view.region))
        except Unfit as unfit:
            raise Invalid(Flaw(f"identifiers.{kind}", str(unfit))) from None


def _by_key(view: View, source: str, key: str) -> list[dict[str, Any]]:
    with view.snapshot():
        standings = view.standings()
        rows = view.rows(
            membership,
            "m.opened IN (SELECT position FROM tag WHERE log = %s AND tag = %s::uuid)",
            view.reader.log,
            view.fingerprint("key", source, key).hex(),
        ).fetchall()
        standings.of(membership)
    return [
        {"customer": row.customer, "record": row.record, "kind": "key", "identifier": None, "current": True}
        for row in rows
    ]

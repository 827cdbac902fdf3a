"""The past: rows as they were (`as_of`) or as they were known (`known_at`), folded again from the records' events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.clock import instant
from hub.errors import Unknown
from hub.events import (
    CustomersMerged,
    CustomersUnmerged,
    IdentifierStated,
    Instant,
    Recorded,
    RecordId,
    RecordOpened,
)
from hub.log.read import Scope, Snapshot
from hub.rows import ReadModel
from hub.view import View
from projections.identifiers import Held, Identifier, identifiers
from projections.membership import Member, membership
from projections.sources import sources

_EVER = Instant((1 << 63) - 1)


class Past:
    """What was known up to a position, at a moment. Membership and trust follow these only, all else `as_of` too."""

    def __init__(self, view: View, as_of: datetime | None, known_at: int | datetime | None) -> None:
        self._snapshot: Snapshot = view.reader.snapshot(view.connection)
        self._view = view
        self._as_of = _EVER if as_of is None else instant(as_of)
        if known_at is None:
            self.position = self._snapshot.head
        elif isinstance(known_at, datetime):
            self.position = self._position_at(instant(known_at))
        else:
            self.position = min(known_at, self._snapshot.head)
        if isinstance(known_at, int):
            self.moment = self._recorded_at(self.position)
        else:
            self.moment = view.now() if known_at is None else min(instant(known_at), view.now())

    def members(self, id: RecordId) -> list[Member]:
        """The records of the customer this one belonged to, in order of opening. Raises Unknown."""
        if (members := self._members([id])[id]) is None:
            raise Unknown
        return members

    def rows(self, model: ReadModel[Any], tags: Iterable[str]) -> list[Any]:
        """What the events with these tags make of a read model."""
        return self._rows(model, tags)

    def identifiers(self, records: Iterable[RecordId]) -> list[Identifier]:
        """The identifiers of these records, current or not."""
        return self._rows(identifiers, [f"identifiers:{record}" for record in records])

    def trust(self, names: Iterable[str]) -> Mapping[str, float]:
        """How far these sources were trusted."""
        rows = self._rows(sources, [f"source:{name}" for name in names], _EVER)
        return {row.source: row.trust for row in rows}

    def holders(self, tags: Iterable[bytes]) -> list[Held]:
        """Who held what has these sealed tags, and which customer they were then."""
        scopes = {Scope.of(IdentifierStated, tag=tag): tag for tag in tags}
        self._snapshot.read(scopes)
        found = [(tag, each) for scope, tag in scopes.items() for each in self._known(scope)]
        records = list(dict.fromkeys(_record(each) for _, each in found))
        members, points = self._members(records), {row.identifier: row for row in self.identifiers(records)}
        held = []
        for tag, each in found:
            assert isinstance(each.event, IdentifierStated)
            row, customer = points.get(each.event.identifier), members[_record(each)]
            if row is not None and customer is not None:
                held.append(Held(str(UUID(bytes=tag)), customer[0].record, row))
        return held

    def _members(self, ids: Sequence[RecordId]) -> dict[RecordId, list[Member] | None]:
        """The customer each record belonged to, in order of opening, by `known_at` alone; None: not opened yet."""
        joined = {id: Scope.of(CustomersMerged, CustomersUnmerged, tag=f"member:{id}") for id in ids}
        self._snapshot.read(joined.values())
        events = {each.id: each for scope in joined.values() for each in self._known(scope, _EVER)}
        companions: dict[RecordId, Sequence[RecordId]] = {}
        for id, scope in joined.items():
            for each in self._known(scope, _EVER):
                assert isinstance(each.event, CustomersMerged | CustomersUnmerged)
                companions[id] = next(part.members for part in each.event.components if id in part.members)
        everyone = {
            id: Scope.of(RecordOpened, tag=f"record:{id}")
            for id in {*ids, *(r for c in companions.values() for r in c)}
        }
        self._snapshot.read(everyone.values())
        for scope in everyone.values():
            events.update((each.id, each) for each in self._known(scope, _EVER))
        rows = membership.refold(sorted(events.values(), key=lambda each: each.position))
        return {
            id: [replace(rows[(record,)], place=place) for place, record in enumerate(companions.get(id, (id,)))]
            if (id,) in rows
            else None
            for id in ids
        }

    def _rows(self, model: ReadModel[Any], tags: Iterable[str], until: Instant | None = None) -> list[Any]:
        scopes = [Scope.of(*model.events, tag=tag) for tag in dict.fromkeys(tags)]
        self._snapshot.read(scopes)
        events = {each.position: each for scope in scopes for each in self._known(scope, until)}
        return list(model.refold(events[position] for position in sorted(events)).values())

    def _known(self, scope: Scope, until: Instant | None = None) -> Iterator[Recorded]:
        as_of = self._as_of if until is None else until
        for each in self._snapshot.of(scope):
            if each.position <= self.position and each.occurred_at <= as_of:
                yield each

    def _recorded_at(self, position: int) -> Instant:
        row = self._view.connection.execute(
            "SELECT recorded_at FROM event WHERE log = %s AND position = %s",
            (self._view.reader.log, position),
        ).fetchone()
        return Instant(row[0] if row else 0)

    def _position_at(self, at: Instant) -> int:
        """The last position recorded by then. Times ascend with positions, so a few looks find it."""
        low, high = 0, self._snapshot.head
        while low < high:
            middle = (low + high + 1) // 2
            if self._recorded_at(middle) <= at:
                low = middle
            else:
                high = middle - 1
        return low


def _record(recorded: Recorded) -> RecordId:
    assert isinstance(recorded.event, IdentifierStated)
    return recorded.event.record

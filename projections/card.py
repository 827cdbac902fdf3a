"""The card: facts, identifiers and touches of all the customer's records, combined when read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.clock import DAY, instant
from hub.errors import Unknown
from hub.events import (
    CustomersMerged,
    CustomersUnmerged,
    Event,
    FactsStated,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Recorded,
    RecordId,
    RecordOpened,
    SourceRegistered,
    TouchRecorded,
)
from hub.log.read import Scope, Snapshot
from hub.rows import ReadModel
from hub.view import View, as_id, shown
from projections.daily_counters import DailyCount, daily_counters
from projections.facts import Fact, facts
from projections.identifiers import Held, Identifier, holders, identifiers
from projections.membership import Member, membership
from projections.sources import sources

_LATEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Told:
    """Everything a card is made of: rows of the customer's present members."""

    members: Sequence[Member]  # In order of opening.
    facts: Sequence[Fact]
    identifiers: Sequence[Identifier]
    days: Sequence[DailyCount]
    trust: Mapping[str, float]  # By source.
    position: int


def card_of(
    view: View, id: str, as_of: datetime | None = None, known_at: int | datetime | None = None
) -> dict[str, Any]:
    """Who a record or customer is; as it was (`as_of`), as it was known then (`known_at`: a position or a time).

    Raises Unknown.
    """
    with view.snapshot():
        past = None if as_of is None and known_at is None else _Past(view, as_of, known_at)
        told = past.told(id) if past else _present(view, id)
        used = [row for row in told.facts if not row.retracted]
        opened = view.opened([row.position for row in used] + [row.position for row in told.identifiers])
        now = instant(as_of) if as_of else past.moment if past else view.now()
        current = [row for row in told.identifiers if row.current(now)]
        tags = _tags(view, current, opened)
        held = past.holders(tags.values(), now) if past else holders(view, tags.values())
    combined = dict(_facts(told, used, opened, view.periods.confirm_after))
    combined.pop("party", None)
    return {
        "customer": told.members[0].record,
        "party": _party(told, used, opened),
        "records": [
            {"record": member.record, "source": member.source, "opened_at": shown(member.opened_at)}
            for member in told.members
        ],
        "facts": combined,
        "identifiers": _identifiers(told, current, opened, tags, [each for each in held if each.row.current(now)]),
        "touches": _touches(told.days),
        "consents": {},
        "contact": {},
        "links": [],
        "position": told.position,
    }


def _present(view: View, id: str) -> Told:
    id = as_id(id)
    customer = "m.customer = (SELECT customer FROM membership WHERE record = %s)"
    # An array is made first, and then looked up; of IN the planner thinks otherwise.
    theirs = f"m.{{}} = ANY (ARRAY(SELECT m.{{}} FROM membership m WHERE {customer}))"  # noqa: S608 -- names of ours
    standings, (members, stated, points, days, trust) = view.gathered(
        (membership, customer, (id,)),
        (facts, theirs.format("record", "record"), (id,)),
        (identifiers, theirs.format("record", "record"), (id,)),
        (daily_counters, theirs.format("record", "record"), (id,)),
        (sources, theirs.format("source", "source"), (id,)),
    )
    position = standings.of(membership, facts, identifiers, daily_counters, sources)
    if not members:
        raise Unknown
    members.sort(key=lambda member: member.place)
    return Told(members, stated, points, days, {row.source: row.trust for row in trust}, position)


class _Past:
    """The rows as they were, folded again from the records' events by the same folds."""

    def __init__(self, view: View, as_of: datetime | None, known_at: int | datetime | None) -> None:
        self._snapshot: Snapshot = view.reader.snapshot(view.connection)
        self._view = view
        self._as_of = _LATEST if as_of is None else instant(as_of)
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

    def told(self, id: RecordId) -> Told:
        if (members := self._members([as_id(id)])[as_id(id)]) is None:
            raise Unknown
        records = [member.record for member in members]
        trust = self._rows(sources, (SourceRegistered,), [f"source:{member.source}" for member in members], _LATEST)
        return Told(
            members,
            self._rows(facts, facts.events, [f"facts:{record}" for record in records]),
            self._points(records),
            self._rows(daily_counters, (TouchRecorded,), [f"record:{record}" for record in records]),
            {row.source: row.trust for row in trust},
            self.position,
        )

    def holders(self, tags: Iterable[bytes], now: Instant) -> list[Held]:
        """Who held what has these sealed tags, and which customer they were then."""
        scopes = {Scope.of(IdentifierStated, tag=tag): tag for tag in tags}
        self._snapshot.read(scopes)
        found = [(tag, each) for scope, tag in scopes.items() for each in self._known(scope)]
        records = list(dict.fromkeys(_record(each) for _, each in found))
        members, points = self._members(records), {row.identifier: row for row in self._points(records)}
        held = []
        for tag, each in found:
            assert isinstance(each.event, IdentifierStated)
            row, customer = points.get(each.event.identifier), members[_record(each)]
            if row is not None and customer is not None:
                held.append(Held(str(UUID(bytes=tag)), customer[0].record, row))
        return held

    def _points(self, records: Iterable[RecordId]) -> list[Identifier]:
        tags = [f"identifiers:{record}" for record in records]
        return self._rows(identifiers, (IdentifierStated, IdentifierReleased), tags)

    def _members(self, ids: Sequence[RecordId]) -> dict[RecordId, list[Member] | None]:
        """The customer each record belonged to, in order of opening, by `known_at` alone; None: not opened yet."""
        joined = {id: Scope.of(CustomersMerged, CustomersUnmerged, tag=f"member:{id}") for id in ids}
        self._snapshot.read(joined.values())
        events = {each.id: each for scope in joined.values() for each in self._known(scope, _LATEST)}
        companions: dict[RecordId, Sequence[RecordId]] = {}
        for id, scope in joined.items():
            for each in self._known(scope, _LATEST):
                assert isinstance(each.event, CustomersMerged | CustomersUnmerged)
                companions[id] = next(part.members for part in each.event.components if id in part.members)
        everyone = {
            id: Scope.of(RecordOpened, tag=f"record:{id}")
            for id in {*ids, *(r for c in companions.values() for r in c)}
        }
        self._snapshot.read(everyone.values())
        for scope in everyone.values():
            events.update((each.id, each) for each in self._known(scope, _LATEST))
        rows = membership.refold(sorted(events.values(), key=lambda each: each.position))
        return {
            id: [replace(rows[(record,)], place=place) for place, record in enumerate(companions.get(id, (id,)))]
            if (id,) in rows
            else None
            for id in ids
        }

    def _rows(
        self,
        model: ReadModel[Any],
        types: Sequence[type[Event]],
        tags: Iterable[str],
        until: int | None = None,
    ) -> list[Any]:
        scopes = [Scope.of(*types, tag=tag) for tag in dict.fromkeys(tags)]
        self._snapshot.read(scopes)
        events = {each.position: each for scope in scopes for each in self._known(scope, until)}
        return list(model.refold(events[position] for position in sorted(events)).values())

    def _known(self, scope: Scope, until: int | None = None) -> Iterator[Recorded]:
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


def _facts(
    told: Told, used: Iterable[Fact], opened: Mapping[int, Recorded], confirm_after: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each attribute the newest value from the most trusted source, how long it is fresh, and who comes next."""
    source_of = {member.record: member.source for member in told.members}

    def rank(row: Fact) -> tuple[float, int, int]:
        return told.trust.get(source_of[row.record], 0.0), row.latest, row.position

    candidates: dict[str, list[dict[str, Any]]] = {}
    best_before: dict[str, Instant] = {}
    for row in sorted(used, key=rank, reverse=True):
        recorded = opened.get(row.position)
        if recorded is None:
            continue
        values = _values(row, recorded)
        if row.attribute not in values:  # Erased.
            continue
        if (days := confirm_after.get(row.attribute)) and row.attribute not in candidates:
            best_before[row.attribute] = Instant(row.latest + days * DAY)
        candidates.setdefault(row.attribute, []).append(
            {
                "value": values[row.attribute],
                "record": row.record,
                "source": source_of[row.record],
                "event": row.event,
                "stated_at": shown(row.stated_at),
                "confirmed_at": shown(row.confirmed_at),
                "trust": told.trust.get(source_of[row.record], 0.0),
            }
        )
    for attribute in sorted(candidates):
        first, *others = candidates[attribute]
        fresh_until = shown(best_before.get(attribute))
        yield attribute, {**first, "best_before": fresh_until, "runner_up": others[0] if others else None}


def _party(told: Told, used: Iterable[Fact], opened: Mapping[int, Recorded]) -> str:
    """What the most trusted source says, the newest first; of a record what was stated, else what it was opened as."""
    said = {member.record: (member.opened_at, member.opened, member.party) for member in told.members}
    for row in used:
        if row.attribute == "party" and row.position in opened:
            said[row.record] = row.stated_at, row.position, _values(row, opened[row.position])["party"]
    best = max(told.members, key=lambda member: (told.trust.get(member.source, 0.0), *said[member.record][:2]))
    return said[best.record][2]


def _values(row: Fact, recorded: Recorded) -> Mapping[str, Any]:
    if row.clear:
        assert isinstance(recorded.event, FactsStated)
        return recorded.event.clear
    values: Mapping[str, Any] = recorded.opened.get(row.seal or 0, {}).get("facts", {})
    return values


def _tags(view: View, rows: Iterable[Identifier], opened: Mapping[int, Recorded]) -> dict[str, bytes]:
    """The sealed tag of each identifier whose value can still be opened, by identifier."""
    found = {}
    for row in rows:
        sealed = opened[row.position].opened.get(0) if row.position in opened else None
        if sealed is not None:
            found[row.identifier] = view.fingerprint(row.kind, sealed["normal"])
    return found


def _identifiers(
    told: Told,
    current: Sequence[Identifier],
    opened: Mapping[int, Recorded],
    tags: Mapping[str, bytes],
    held: Iterable[Held],
) -> list[dict[str, Any]]:
    """Each value once, with the records that hold it and the other customers who do."""
    customer, place = told.members[0].record, {member.record: member.place for member in told.members}
    others: dict[str, set[RecordId]] = {}
    for each in held:
        if each.customer != customer:
            others.setdefault(each.tag, set()).add(each.customer)
    groups: dict[bytes, list[Identifier]] = {}
    for row in sorted(current, key=lambda row: (row.kind, -row.stated_at, -row.position)):
        if row.identifier in tags:
            groups.setdefault(tags[row.identifier], []).append(row)
    return [
        {
            "kind": rows[0].kind,
            "value": opened[rows[0].position].opened[0]["value"],
            "records": sorted({row.record for row in rows}, key=place.__getitem__),
            "shared_with": sorted(others.get(str(UUID(bytes=tag)), ())),
        }
        for tag, rows in groups.items()
    ]


def _touches(days: Sequence[DailyCount]) -> dict[str, Any]:
    by_channel: Counter[str] = Counter()
    for day in days:
        by_channel[day.channel] += day.count
    return {
        "count": by_channel.total(),
        "first": shown(min((day.first for day in days), default=None)),
        "last": shown(max((day.last for day in days), default=None)),
        "by_channel": dict(sorted(by_channel.items())),
    }


def _record(recorded: Recorded) -> RecordId:
    assert isinstance(recorded.event, IdentifierStated)
    return recorded.event.record

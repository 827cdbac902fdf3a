"""The card: facts, identifiers and touches of all the customer's records, combined when read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.clock import DAY, instant
from hub.errors import Unknown
from hub.events import FactsStated, Instant, Recorded, RecordId
from hub.view import View, as_id, shown
from projections.daily_counters import DailyCount, daily_counters
from projections.facts import Fact, facts
from projections.identifiers import Held, Identifier, holders, identifiers
from projections.membership import Member, membership
from projections.past import Past
from projections.sources import sources


@dataclass(frozen=True, slots=True)
class Told:
    """Everything a card is made of: rows of the customer's members, as they are or as they were."""

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
        past = None if as_of is None and known_at is None else Past(view, as_of, known_at)
        told = _once(past, id) if past else _present(view, id)
        used = [row for row in told.facts if not row.retracted]
        opened = view.opened([row.position for row in used] + [row.position for row in told.identifiers])
        now = instant(as_of) if as_of else past.moment if past else view.now()
        current = [row for row in told.identifiers if row.current(now)]
        tags = _tags(view, current, opened)
        held = past.holders(tags.values()) if past else holders(view, tags.values())
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


def _once(past: Past, id: str) -> Told:
    members = past.members(as_id(id))
    records = [member.record for member in members]
    return Told(
        members,
        past.rows(facts, [f"facts:{record}" for record in records]),
        past.identifiers(records),
        past.rows(daily_counters, [f"record:{record}" for record in records]),
        past.trust(member.source for member in members),
        past.position,
    )


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

"""What a source tells about a record, besides touches: facts and identifiers, compared with what it told before.

Shared by the commands that carry them.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

from hub.checks import Checked
from hub.clock import DAY, FUTURE_ALLOWED, instant
from hub.decider import Boundary, Draft, Known, Secret
from hub.events import (
    FactConfirmed,
    FactRetracted,
    FactsStated,
    IdentifierId,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Recorded,
    RecordId,
    TouchRecorded,
    ValueRepaired,
)
from hub.log.read import Scope
from hub.quarantine import kept_aside, set_aside

STATEMENTS = frozenset({FactsStated, FactConfirmed, FactRetracted, IdentifierStated, IdentifierReleased, TouchRecorded})

Span = tuple[Instant | None, Instant | None]  # since, until
ALWAYS: Span = (None, None)
_SORTED = orjson.OPT_SORT_KEYS


class Fact(NamedTuple):
    """What was said last of an attribute; `late`: something that happened later had been said before."""

    occurred_at: Instant
    value: Any
    latest: Instant  # Nothing said of it so far, a confirmation neither, happened after this.
    late: bool = False
    told: Any = None  # Where a repair put a value beside others: what the source itself had told of them.


class Holding(NamedTuple):
    """An end point the source named: its fingerprints, and the spans it was stated for since it was last released."""

    tags: Mapping[bytes, int]
    spans: frozenset[Span]

    def covers(self, span: Span, at: Instant) -> bool:
        """Is this said already? Of no span in particular it is while any span lasts."""
        if span != ALWAYS:
            return span in self.spans
        return any((since or at) <= at and (until is None or at < until) for since, until in self.spans)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record's source has said so far, as far as a new statement must know it."""

    facts: Mapping[str, Fact] = field(default_factory=dict)
    identifiers: Mapping[IdentifierId, Holding] = field(default_factory=dict)
    unfit: Mapping[str, Any] = field(default_factory=dict)  # path -> value set aside
    raw: Any = None


def scopes(
    record: RecordId, told: Collection[str], identifiers: bool, ageing: Container[str] = ()
) -> tuple[Scope, ...]:
    """What must be read before stating: what was said last of each attribute or path, and the record's identifiers.

    Of those that age also when they were last confirmed.
    """
    wanted = [
        Scope.of(FactsStated, FactRetracted, tag=f"facts:{record}:{name}", latest=True, opened=True) for name in told
    ]
    wanted += [Scope.of(FactConfirmed, tag=f"facts:{record}:{name}", latest=True) for name in told if name in ageing]
    if identifiers:
        wanted.append(Scope.of(IdentifierStated, IdentifierReleased, tag=f"identifiers:{record}", opened=True))
    return tuple(wanted)


def said_before(
    record: RecordId, told: Sequence[str], identifiers: bool, ageing: Container[str] = ()
) -> Boundary[None]:
    """Read these scopes; and of a list told with unfit values, whose last word is a repair, what was repaired in it.

    A touch sets aside by itself what came with it, so that is found by the repair, and what stood beside it by all that
    was said of the attribute: much to read, and seldom needed.
    """
    found = dict(zip(told, (yield scopes(record, told, identifiers, ageing)), strict=False))
    lists = [name for name in dict.fromkeys(map(list_of, told)) if name and found.get(name)]
    caused = {name: cause for name in lists if (cause := found[name][-1].envelope.causation)}
    if not caused:
        return
    causes = yield tuple(map(Scope.event, caused.values()))
    repaired = [
        scope
        for name, events in zip(caused, causes, strict=True)
        for each in events
        if isinstance(each.event, ValueRepaired)
        for scope in (
            Scope.of(TouchRecorded, tag=f"quarantined:{each.event.item}", only_read=True, opened=True),
            Scope.of(FactsStated, FactRetracted, tag=f"facts:{record}:{name}", only_read=True, opened=True),
        )
    ]
    if repaired:
        yield tuple(repaired)


def list_of(path: str) -> str | None:
    """The fact of which one of several values lies here."""
    table, _, rest = path.partition(".")
    attribute, _, place = rest.rpartition(".")
    return attribute if table == "facts" and place.isdecimal() else None


def evolve(standing: Standing, recorded: Recorded) -> Standing:
    match recorded.event:
        case FactsStated() as stated:
            content = recorded.opened.get(0, {})
            kept = kept_aside(recorded)
            values = {**content.get("facts", {}), **stated.clear}
            said = {
                name: _said(recorded, value, name in stated.late)._replace(told=_told(standing, recorded, name, value))
                for name, value in values.items()
            }
            unfit = {each.path: kept.get(each.item) for each in stated.quarantined}
            return Standing(
                {**standing.facts, **said},
                standing.identifiers,
                {**standing.unfit, **unfit},
                content.get("raw", standing.raw),
            )
        case TouchRecorded() as touch:
            kept = kept_aside(recorded)
            unfit = {each.path: kept[each.item] for each in touch.quarantined if each.item in kept}
            return replace(standing, unfit={**standing.unfit, **unfit})
        case FactRetracted(attribute=attribute):
            return replace(standing, facts={**standing.facts, attribute: _said(recorded, None)})
        case FactConfirmed(intervals=intervals):
            confirmed = {
                name: standing.facts[name]._replace(latest=max(standing.facts[name].latest, recorded.occurred_at))
                for name in intervals
                if name in standing.facts
            }
            return replace(standing, facts={**standing.facts, **confirmed})
        case IdentifierStated(identifier=id) as stated:
            spans = standing.identifiers[id].spans if id in standing.identifiers else frozenset()
            holding = Holding(recorded.sealed_tags, spans | {(stated.since, stated.until)})
            return replace(standing, identifiers={**standing.identifiers, id: holding})
        case IdentifierReleased(identifier=id) if id in standing.identifiers:
            released = standing.identifiers[id]._replace(spans=frozenset())
            return replace(standing, identifiers={**standing.identifiers, id: released})
    return standing


def _said(recorded: Recorded, value: Any, late: bool = False) -> Fact:
    at = recorded.occurred_at
    return Fact(at, value, Instant(recorded.recorded_at + FUTURE_ALLOWED) if late else at, late)


def _told(standing: Standing, recorded: Recorded, attribute: str, value: Any) -> Any:
    before = standing.facts.get(attribute)
    if recorded.envelope.causation is None or before is None or not isinstance(value, list):
        return None
    if value[:-1] != (before.value if isinstance(before.value, list) else [before.value]):
        return None  # A touch that was repaired as a whole says what it said.
    return before.value if before.told is None else before.told


def drafts(
    record: RecordId,
    standing: Standing,
    checked: Checked,
    known: Known,
    raw: Any = None,
    unfit: Sequence[tuple[str, str, Any]] = (),
) -> list[Draft]:
    """The events that say what is new, and set aside what is given as unfit; what was said before is not said again."""
    return [
        *_facts(record, standing, checked, known, raw, unfit),
        *_confirmations(record, standing, checked, known),
        *(
            Draft(FactRetracted(record=record, attribute=attribute))
            for attribute in checked.retracted
            if stands(standing, attribute)
        ),
        *identifiers_drafts(record, standing, checked, known),
    ]


def stands(standing: Standing, attribute: str) -> bool:
    """Has the source said something of this attribute and not taken it back?"""
    return attribute in standing.facts and standing.facts[attribute].value is not None


def identifiers_drafts(record: RecordId, standing: Standing, checked: Checked, known: Known) -> Iterable[Draft]:
    """What is new; an end point named before, released perhaps, keeps the id it got then."""
    said = {tag: (id, holding) for id, holding in standing.identifiers.items() for tag in holding.tags}
    for kind, normal, _, stated in checked.identifiers:
        tag = known.fingerprint(kind, normal)
        span = instant(stated.since) if stated.since else None, instant(stated.until) if stated.until else None
        id, holding = said.get(tag) or (known.new_id(), Holding({tag: 0}, frozenset()))
        if holding.covers(span, known.occurred_at):
            continue
        said[tag] = id, holding._replace(spans=holding.spans | {span})
        yield Draft(
            IdentifierStated(record=record, identifier=id, kind=kind, since=span[0], until=span[1]),
            (Secret(record, {"value": stated.value, "normal": normal}, (tag,)),),
        )


def unfit_anew(standing: Standing, checked: Checked) -> Sequence[tuple[str, str, Any]]:
    """Of what is unfit all but what was set aside before, at the same place."""
    return [each for each in checked.unfit if not _same(standing.unfit.get(each[0]), each[2])]


def unfit_still(standing: Standing, checked: Checked) -> Sequence[tuple[str, str, Any]]:
    """Of what is unfit all but what was repaired before, in the same list."""
    repaired = {name for name, value in checked.sealed.items() if _is_repaired(standing, name, value, checked)}
    return [each for each in checked.unfit if list_of(each[0]) not in repaired]


def _facts(
    record: RecordId,
    standing: Standing,
    checked: Checked,
    known: Known,
    raw: Any,
    unfit: Sequence[tuple[str, str, Any]],
) -> Iterable[Draft]:
    sealed = {name: value for name, value in checked.sealed.items() if _is_new(standing, name, value, checked, known)}
    clear = {name: value for name, value in checked.clear.items() if _is_new(standing, name, value, checked, known)}
    new_raw = raw is not None and raw != standing.raw
    if not (sealed or clear or new_raw or unfit):
        return
    items, aside = set_aside(record, unfit, known)
    content: dict[str, Any] = {}
    if sealed:
        content["facts"] = sealed
    if new_raw:
        content["raw"] = raw
    late = [
        name for name in (*sealed, *clear) if name in standing.facts and standing.facts[name].latest > known.occurred_at
    ]
    event = FactsStated(
        record=record,
        attributes=tuple(sorted(sealed)),
        clear=clear,
        late=tuple(sorted(late)),
        raw=new_raw,
        quarantined=items,
    )
    yield Draft(event, (*((Secret(record, content),) if content else ()), *aside))


def _is_new(standing: Standing, attribute: str, value: Any, checked: Checked, known: Known) -> bool:
    said = standing.facts.get(attribute)
    return (
        said is None
        or not (_same(said.value, value) or _is_repaired(standing, attribute, value, checked))
        or said.occurred_at > known.occurred_at
        or (said.late and said.occurred_at != known.occurred_at)
    )


def _is_repaired(standing: Standing, attribute: str, value: Any, checked: Checked) -> bool:
    """Is this the list told before, with the same unfit values, of which some were repaired since?"""
    said = standing.facts.get(attribute)
    if said is None or said.told is None or not _same(said.told, value):
        return False
    unfit = [(path, kept) for path, _, kept in checked.unfit if list_of(path) == attribute]
    return bool(unfit) and all(_same(standing.unfit.get(path), kept) for path, kept in unfit)


def _confirmations(record: RecordId, standing: Standing, checked: Checked, known: Known) -> Iterable[Draft]:
    """What was said before is news once more when it has aged."""
    intervals = {
        name: days
        for name, value in {**checked.sealed, **checked.clear}.items()
        if (days := known.periods.confirm_after.get(name))
        and not _is_new(standing, name, value, checked, known)
        and known.occurred_at - standing.facts[name].latest > days * DAY
    }
    if intervals:
        yield Draft(FactConfirmed(record=record, intervals=intervals))


def _same(said: Any, value: Any) -> bool:
    """Alike as JSON: to JSON, 1 and true and 1.0 are three."""
    return said == value and orjson.dumps(said, option=_SORTED) == orjson.dumps(value, option=_SORTED)

"""What a source tells about a record, besides touches: facts and identifiers, compared with what it told before.

Shared by the commands that carry them. A value that fails its kind's check is set aside, not refused.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from hub.attributes import CLEAR, fits_clear, is_attribute
from hub.clock import DAY, FUTURE_ALLOWED, instant, moment
from hub.decider import Draft, Known, Secret
from hub.events import (
    FactConfirmed,
    FactRetracted,
    FactsStated,
    IdentifierId,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Quarantined,
    Recorded,
    RecordId,
)
from hub.fields import KindName, Time
from hub.identity.normalise import Unfit, birth_date, identifier
from hub.log.read import Scope

STATEMENTS = frozenset({FactsStated, FactConfirmed, FactRetracted, IdentifierStated, IdentifierReleased})

Text = Annotated[str, StringConstraints(max_length=10_000)]


class Stated(BaseModel):
    """An identifier's value that holds for a time only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: Annotated[str, StringConstraints(max_length=1000)]
    since: Time | None = None
    until: Time | None = None


def _fit(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises pydantic's error with every unknown name, and every value of the wrong type."""
    flaws = [
        InitErrorDetails(type=_WRONG_TYPE if is_attribute(name) else _UNKNOWN, loc=(name,), input=None)
        for name, value in facts.items()
        if not (is_attribute(name) and (value is None or _is_value(value, name)))
    ]
    if flaws:
        raise ValidationError.from_exception_data("facts", flaws)
    return facts


_UNKNOWN = PydanticCustomError("value_error", "unknown_attribute")
_WRONG_TYPE = PydanticCustomError("value_error", "wrong_type")

IdentifierValue = Annotated[str, StringConstraints(max_length=1000)] | list[str | Stated] | Stated
Identifiers = Mapping[KindName, IdentifierValue]
Facts = Annotated[Mapping[str, Any], AfterValidator(_fit)]
Span = tuple[Instant | None, Instant | None]  # since, until
ALWAYS: Span = (None, None)
_SORTED = orjson.OPT_SORT_KEYS


class Fact(NamedTuple):
    """What was said last of an attribute; `late`: something that happened later had been said before."""

    occurred_at: Instant
    value: Any
    latest: Instant  # Nothing said of it so far, a confirmation neither, happened after this.
    late: bool = False


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


def evolve(standing: Standing, recorded: Recorded) -> Standing:
    match recorded.event:
        case FactsStated() as stated:
            content = recorded.opened.get(0, {})
            kept = kept_aside(recorded)
            values = {**content.get("facts", {}), **stated.clear}
            said = {name: _said(recorded, value, name in stated.late) for name, value in values.items()}
            unfit = {each.path: kept.get(each.item) for each in stated.quarantined}
            return Standing(
                {**standing.facts, **said},
                standing.identifiers,
                {**standing.unfit, **unfit},
                content.get("raw", standing.raw),
            )
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


@dataclass(slots=True)
class Checked:
    """Statements after their checks: what can be said, and what is set aside."""

    sealed: dict[str, Any] = field(default_factory=dict)
    clear: dict[str, Any] = field(default_factory=dict)
    retracted: list[str] = field(default_factory=list)
    identifiers: list[tuple[str, str, str, Stated]] = field(default_factory=list)  # kind, normal, path, as stated
    unfit: list[tuple[str, str, Any]] = field(default_factory=list)  # path, reason, value

    @property
    def told(self) -> tuple[str, ...]:
        """The attributes, and the paths of what is set aside."""
        return (*self.sealed, *self.clear, *self.retracted, *(path for path, _, _ in self.unfit))


def check(facts: Facts, identifiers: Identifiers, known: Known) -> Checked:
    """Sort statements into what can be said and what is set aside."""
    checked = Checked()
    for attribute, value in facts.items():
        path = f"facts.{attribute}"
        if value is None:
            checked.retracted.append(attribute)
        elif attribute in CLEAR and fits_clear(value):
            checked.clear[attribute] = value
        elif attribute == "birth_date":
            try:
                checked.sealed[attribute] = birth_date(str(value), moment(known.now).date())
            except Unfit as unfit:
                checked.unfit.append((path, str(unfit), value))
        else:
            if attribute not in ("phone", "email"):
                checked.sealed[attribute] = value
                continue
            several = value if isinstance(value, list) else [value]
            fit = []
            for n, each in enumerate(several):
                told = Stated.model_construct(value=str(each))  # Too long is unfit, not a mistake.
                reason = _check_identifier(checked, attribute, told, path, known)
                if reason is not None:
                    checked.unfit.append((f"{path}.{n}" if isinstance(value, list) else path, reason, each))
                fit.append(reason is None)
            if all(fit) and fit:
                checked.sealed[attribute] = value
            elif any(fit):
                checked.sealed[attribute] = [each for each, fits in zip(several, fit, strict=True) if fits]
    for kind, values in identifiers.items():
        for n, each in enumerate(values if isinstance(values, list) else [values]):
            path = f"identifiers.{kind}.{n}" if isinstance(values, list) else f"identifiers.{kind}"
            stated = each if isinstance(each, Stated) else Stated(value=each)
            if (reason := _check_identifier(checked, kind, stated, path, known)) is not None:
                checked.unfit.append((path, reason, aside(kind, stated)))
    return checked


def aside(kind: str, stated: Stated) -> dict[str, Any]:
    """What is kept of an end point that is set aside: all that was told of it."""
    return {"kind": kind, **stated.model_dump(mode="json", exclude_none=True)}


def drafts(record: RecordId, standing: Standing, checked: Checked, known: Known, raw: Any = None) -> list[Draft]:
    """The events that say what is new; what was said before is not said again."""
    return [
        *_facts(record, standing, checked, known, raw),
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


def _facts(record: RecordId, standing: Standing, checked: Checked, known: Known, raw: Any) -> Iterable[Draft]:
    sealed = {name: value for name, value in checked.sealed.items() if _is_new(standing, name, value, known)}
    clear = {name: value for name, value in checked.clear.items() if _is_new(standing, name, value, known)}
    unfit = [each for each in checked.unfit if not _same(standing.unfit.get(each[0]), each[2])]
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


def _is_new(standing: Standing, attribute: str, value: Any, known: Known) -> bool:
    said = standing.facts.get(attribute)
    return (
        said is None
        or not _same(said.value, value)
        or said.occurred_at > known.occurred_at
        or (said.late and said.occurred_at != known.occurred_at)
    )


def _confirmations(record: RecordId, standing: Standing, checked: Checked, known: Known) -> Iterable[Draft]:
    """What was said before is news once more when it has aged."""
    intervals = {
        name: days
        for name, value in {**checked.sealed, **checked.clear}.items()
        if (days := known.periods.confirm_after.get(name))
        and not _is_new(standing, name, value, known)
        and known.occurred_at - standing.facts[name].latest > days * DAY
    }
    if intervals:
        yield Draft(FactConfirmed(record=record, intervals=intervals))


def _same(said: Any, value: Any) -> bool:
    """Alike as JSON: to JSON, 1 and true and 1.0 are three."""
    return said == value and orjson.dumps(said, option=_SORTED) == orjson.dumps(value, option=_SORTED)


def _check_identifier(checked: Checked, kind: str, stated: Stated, path: str, known: Known) -> str | None:
    """Why it cannot be one; None where it can, and is one of those checked from now on."""
    try:
        normal = identifier(kind, stated.value, known.region)
    except Unfit as unfit:
        return str(unfit)
    checked.identifiers.append((kind, normal, path, stated))
    return None


def _is_value(value: Any, attribute: str) -> bool:
    if attribute in CLEAR:
        return isinstance(value, str) and 0 < len(value) <= 200
    if isinstance(value, list):
        return 0 < len(value) <= 100 and all(_is_value(each, attribute) for each in value)
    if isinstance(value, dict):
        return attribute == "address" or attribute.startswith("x-")
    return isinstance(value, str | int | float | bool)

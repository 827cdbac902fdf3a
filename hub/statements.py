"""What a source tells about a record, besides touches: facts and identifiers, compared with what it told before.

Shared by the commands that carry them. A value that fails its kind's check is set aside, not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from hub.clock import instant, moment
from hub.decider import Draft, Known, Secret
from hub.events import (
    FactRetracted,
    FactsStated,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Quarantined,
    Recorded,
    RecordId,
)
from hub.fields import KindName
from hub.identity.normalise import Unfit, birth_date, identifier, is_kind
from hub.log.read import Scope

ATTRIBUTES = frozenset(
    (
        "name",
        "first_name",
        "last_name",
        "patronymic",
        "birth_date",
        "gender",
        "phone",
        "email",
        "address",
        "city",
        "country",
        "language",
        "time_zone",
        "company",
        "job_title",
        "organisation_name",
    )
)
STATEMENTS = frozenset({FactsStated, FactRetracted, IdentifierStated, IdentifierReleased})
CLEAR = frozenset({"city", "country", "language", "time_zone", "party"})

Text = Annotated[str, StringConstraints(max_length=10_000)]


class Stated(BaseModel):
    """An identifier's value that holds for a time only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: Annotated[str, StringConstraints(max_length=1000)]
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


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


def is_attribute(name: str) -> bool:
    return name in ATTRIBUTES or (name.startswith("x-") and is_kind(name))


_UNKNOWN = PydanticCustomError("value_error", "unknown_attribute")
_WRONG_TYPE = PydanticCustomError("value_error", "wrong_type")

IdentifierValue = Annotated[str, StringConstraints(max_length=1000)] | list[str | Stated] | Stated
Identifiers = Mapping[KindName, IdentifierValue]
Facts = Annotated[Mapping[str, Any], AfterValidator(_fit)]
Span = tuple[Instant | None, Instant | None]  # since, until
ALWAYS: Span = (None, None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record's source has said so far, as far as a new statement must know it."""

    facts: Mapping[str, tuple[Instant, int, Any]] = field(default_factory=dict)  # attribute -> (when, position, value)
    identifiers: Mapping[str, tuple[frozenset[bytes], Span]] = field(default_factory=dict)  # id -> fingerprints, when
    raw: Any = None


def scopes(record: RecordId, facts: bool, identifiers: bool) -> tuple[Scope, ...]:
    """What must be read before stating: the record's own facts, its own identifiers."""
    wanted: list[Scope] = []
    if facts:
        wanted.append(Scope.of(FactsStated, FactRetracted, tag=f"facts:{record}", opened=True))
    if identifiers:
        wanted.append(Scope.of(IdentifierStated, IdentifierReleased, tag=f"identifiers:{record}", opened=True))
    return tuple(wanted)


def evolve(standing: Standing, recorded: Recorded) -> Standing:
    match recorded.event:
        case FactsStated() as stated:
            content = recorded.opened.get(0, {})
            values = {**content.get("facts", {}), **stated.clear}
            facts = dict(standing.facts)
            for attribute, value in values.items():
                _if_newer(facts, attribute, recorded, value)
            return replace(standing, facts=facts, raw=content.get("raw", standing.raw))
        case FactRetracted(attribute=attribute):
            facts = dict(standing.facts)
            _if_newer(facts, attribute, recorded, None)
            return replace(standing, facts=facts)
        case IdentifierStated() as stated:
            known = dict(standing.identifiers)
            known[stated.identifier] = (recorded.sealed_tags, (stated.since, stated.until))
            return replace(standing, identifiers=known)
        case IdentifierReleased(identifier=released):
            return replace(standing, identifiers={i: v for i, v in standing.identifiers.items() if i != released})
    return standing


@dataclass(slots=True)
class Checked:
    """Statements after their checks: what can be said, and what is set aside."""

    sealed: dict[str, Any] = field(default_factory=dict)
    clear: dict[str, Any] = field(default_factory=dict)
    retracted: list[str] = field(default_factory=list)
    identifiers: list[tuple[str, str, str, Stated]] = field(default_factory=list)  # kind, normal, path, as stated
    unfit: list[tuple[str, str, Any]] = field(default_factory=list)  # path, reason, value


def check(facts: Facts, identifiers: Identifiers, known: Known) -> Checked:
    """Sort statements into what can be said and what is set aside."""
    checked = Checked()
    for attribute, value in facts.items():
        path = f"facts.{attribute}"
        if value is None:
            checked.retracted.append(attribute)
        elif attribute in CLEAR:
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
            told = [Stated.model_construct(value=str(each)) for each in several]  # Too long is unfit, not a mistake.
            fit = [_check_identifier(checked, attribute, each, path, known) for each in told]
            if all(fit) and fit:
                checked.sealed[attribute] = value
            elif any(fit):
                checked.sealed[attribute] = [each for each, fits in zip(several, fit, strict=True) if fits]
    for kind, values in identifiers.items():
        for n, each in enumerate(values if isinstance(values, list) else [values]):
            path = f"identifiers.{kind}.{n}" if isinstance(values, list) else f"identifiers.{kind}"
            stated = each if isinstance(each, Stated) else Stated(value=each)
            _check_identifier(checked, kind, stated, path, known)
    return checked


def drafts(record: RecordId, standing: Standing, checked: Checked, known: Known, raw: Any = None) -> list[Draft]:
    """The events that say what is new; what was said before is not said again."""
    return [
        *_facts(record, standing, checked, known, raw),
        *(
            Draft(FactRetracted(record=record, attribute=attribute))
            for attribute in checked.retracted
            if standing.facts.get(attribute, (0, 0, None))[2] is not None
        ),
        *identifiers_drafts(record, standing, checked, known),
    ]


def identifiers_drafts(record: RecordId, standing: Standing, checked: Checked, known: Known) -> Iterable[Draft]:
    said = {(tag, when) for tags, span in standing.identifiers.values() for tag in tags for when in (ALWAYS, span)}
    for kind, normal, _, stated in checked.identifiers:
        tag = known.fingerprint(kind, normal)
        since = instant(stated.since) if stated.since else None
        until = instant(stated.until) if stated.until else None
        if (tag, (since, until)) in said:
            continue
        said |= {(tag, ALWAYS), (tag, (since, until))}
        yield Draft(
            IdentifierStated(
                record=record,
                identifier=known.new_id(),
                kind=kind,
                since=since,
                until=until,
            ),
            (Secret(record, {"value": stated.value, "normal": normal}, (tag,)),),
        )


def set_aside(unfit: Sequence[tuple[str, str, Any]], known: Known) -> tuple[tuple[Quarantined, ...], dict[str, Any]]:
    """What an event says of values set aside, and what its seal keeps of them, by item."""
    items = tuple(Quarantined(item=known.new_id(), path=path, reason=reason) for path, reason, _ in unfit)
    return items, {item.item: value for item, (_, _, value) in zip(items, unfit, strict=True)}


def _facts(record: RecordId, standing: Standing, checked: Checked, known: Known, raw: Any) -> Iterable[Draft]:
    def is_new(attribute: str, value: Any) -> bool:
        said = standing.facts.get(attribute)
        return said is None or said[2] != value or said[0] > known.occurred_at

    sealed = {attribute: value for attribute, value in checked.sealed.items() if is_new(attribute, value)}
    clear = {attribute: value for attribute, value in checked.clear.items() if is_new(attribute, value)}
    new_raw = raw is not None and raw != standing.raw
    if not (sealed or clear or new_raw or checked.unfit):
        return
    items, kept = set_aside(checked.unfit, known)
    content: dict[str, Any] = {}
    if sealed:
        content["facts"] = sealed
    if new_raw:
        content["raw"] = raw
    if kept:
        content["quarantined"] = kept
    event = FactsStated(record=record, attributes=tuple(sorted(sealed)), clear=clear, raw=new_raw, quarantined=items)
    yield Draft(event, (Secret(record, content),) if content else ())


def _check_identifier(checked: Checked, kind: str, stated: Stated, path: str, known: Known) -> bool:
    try:
        normal = identifier(kind, stated.value, known.region)
    except Unfit as unfit:
        checked.unfit.append((path, str(unfit), stated.value))
        return False
    checked.identifiers.append((kind, normal, path, stated))
    return True


def _if_newer(facts: dict[str, tuple[Instant, int, Any]], attribute: str, recorded: Recorded, value: Any) -> None:
    when = (recorded.occurred_at, recorded.position)
    if attribute not in facts or facts[attribute][:2] < when:
        facts[attribute] = (*when, value)


def _is_value(value: Any, attribute: str) -> bool:
    if attribute in CLEAR:
        return isinstance(value, str) and 0 < len(value) <= 200
    if isinstance(value, list):
        return len(value) <= 100 and all(_is_value(each, attribute) for each in value)
    if isinstance(value, dict):
        return attribute == "address" or attribute.startswith("x-")
    return isinstance(value, str | int | float | bool)

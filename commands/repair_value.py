"""Repair a value: what was set aside is said as it should have been, when it was said, by whom it was said.

It states what its teller's word would have stated, had it been right at once. An end point that a channel used of
another source's record would have stated nothing: repaired, it is sealed beside the repair as it would have been in the
touch, and the item has ended all the same. Who wants it stated of that record says so in a command of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from hub import statements
from hub.checks import Checked, Stated, aside, check
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.errors import Flaw, Invalid, Rejected
from hub.events import Recorded, TouchQuarantined, ValueRepaired
from hub.fields import EndPoint, Text, Uuid
from hub.quarantine import Waiting, waiting
from hub.statements import Standing
from hub.subject import Subject, by_id, is_foreign


class RepairValue(Command):
    roles: ClassVar = frozenset({"operator", "steward", "local"})

    command: Literal["repair_value"]
    quarantined: Uuid
    value: Text | Stated | EndPoint


class WholeTouch(Rejected):
    """A whole touch waits here, not a value; it is repaired with repair_touch."""


@dataclass(frozen=True)
class Repairing:
    """The item, whose it is, the value in its place, and what the source has said so far."""

    item: Waiting
    subject: Subject
    checked: Checked
    standing: Standing = Standing()


def boundary(command: RepairValue, known: Known) -> Boundary[Repairing]:
    item = yield from waiting(command.quarantined)
    if isinstance(item.carrier.event, TouchQuarantined):
        raise WholeTouch
    record = getattr(item.carrier.event, "record", None)
    assert isinstance(record, str), "every event that carries values is about a record"
    subject = yield from by_id(record, only_read=True, seen=command.seen)
    facts, identifiers = _in_place(item, command.value)
    checked = check(facts, identifiers, known)
    if checked.unfit:
        raise Invalid(*(Flaw("value", reason) for _, reason, _ in checked.unfit))
    yield statements.scopes(record, checked.told, bool(checked.identifiers), known.periods.confirm_after)
    return Repairing(item, subject, checked)


def _in_place(item: Waiting, value: str | Stated | EndPoint) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Facts and identifiers with the new value where the unfit one was."""
    kind_of_path, _, rest = item.part.path.partition(".")
    if kind_of_path == "facts":
        if not isinstance(value, str):
            raise Invalid(Flaw("value", "wrong_type"))
        return {rest.partition(".")[0]: value}, {}
    kept = item.value if isinstance(item.value, dict) else {}
    kind: str | None = kept.get("kind")
    if kind is None and kind_of_path == "identifiers":  # Set aside before the kind was kept beside the value.
        kind = rest.rpartition(".")[0] if rest.rpartition(".")[2].isdecimal() and "." in rest else rest
    if isinstance(value, EndPoint):
        if kind not in (None, value.kind):
            raise Invalid(Flaw("value.kind", "another_kind"))
        kind, value = value.kind, value.value
    if kind is None:
        raise Invalid(Flaw("value.kind", "missing"))
    if isinstance(value, str):
        span = {name: kept[name] for name in ("since", "until") if name in kept}
        value = Stated.model_validate({"value": value, **span})
    return {}, {kind: value}


def evolve(state: Repairing, recorded: Recorded) -> Repairing:
    if type(recorded.event) not in statements.STATEMENTS:
        return state
    return replace(state, standing=statements.evolve(state.standing, recorded))


def decide(command: RepairValue, state: Repairing, known: Known) -> Outcome:
    item, record = state.item, state.subject.record
    at = item.as_told(known)
    repaired = Draft(ValueRepaired(record=record, item=item.part.item), id=known.new_id())
    if is_foreign(state.subject, at):
        repaired.secrets = tuple(
            Secret(record, {"identifier": aside(kind, told)}) for kind, _, _, told in state.checked.identifiers
        )
        return Outcome([repaired], record, state.subject.members)
    said = statements.drafts(record, state.standing, _beside_the_others(state, at), at)
    for draft in said:
        draft.told = item.told_then(repaired.id)
    return Outcome([repaired, *said], record, state.subject.members)


def _beside_the_others(state: Repairing, at: Known) -> Checked:
    """Of a fact that is a list the others were fit and stand: said in the same breath, or before and not said again."""
    sealed = dict(state.checked.sealed)
    one_of_several = statements.list_of(state.item.part.path) is not None
    for attribute, value in sealed.items():
        said = state.standing.facts.get(attribute)
        if said is None or said.value is None:
            continue
        at_once = said.occurred_at == at.occurred_at
        stood = one_of_several and said.occurred_at < at.occurred_at and not said.late
        if stood or (at_once and (one_of_several or isinstance(said.value, list))):
            others = said.value if isinstance(said.value, list) else [said.value]
            sealed[attribute] = [*others, *([] if value in others else [value])]
    return replace(state.checked, sealed=sealed)


repair_value = Decider(RepairValue, boundary, evolve, decide)

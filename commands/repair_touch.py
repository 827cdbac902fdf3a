"""Repair a touch: whose it was could not be named, and a person can. It is recorded as of when it happened.

A channel's touch may turn out to be of a customer another source knows. Then it says no more than the channel could
have said of that record: with facts or identifiers in it, it is refused until they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from commands.record_touch import RecordTouch, Touched, record_touch
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.errors import Flaw, Forbidden, Invalid, Rejected
from hub.events import Recorded, TouchQuarantined, TouchRepaired
from hub.fields import Uuid
from hub.intake import flaws_of
from hub.quarantine import Waiting, waiting

SAID_ONCE = frozenset({"command", "id", "occurred_at", "seen", "source", "branch", "correlation"})
REPAIRABLE = RecordTouch.model_fields.keys() - SAID_ONCE
_UNKNOWN = PydanticCustomError("extra_forbidden", "no field that can be repaired")


def _repairable(touch: Mapping[str, Any]) -> Mapping[str, Any]:
    flaws = [InitErrorDetails(type=_UNKNOWN, loc=(name,), input=None) for name in touch if name not in REPAIRABLE]
    if flaws:
        raise ValidationError.from_exception_data("touch", flaws)
    return touch


class RepairTouch(Command):
    """`touch` has the fields that were wrong or missing, and null for those to be left out; the others stay.

    Of a message that was no touch nothing stays: `touch` is then all of it, made by a person who read the message.
    """

    roles: ClassVar = frozenset({"operator", "steward", "local"})

    command: Literal["repair_touch"]
    quarantined: Uuid
    touch: Annotated[Mapping[str, Any], AfterValidator(_repairable)]


class SingleValue(Rejected):
    """A single value waits here, not a touch; it is repaired with repair_value."""


@dataclass(frozen=True)
class Repairing:
    """The item, the touch as it should have been, and what recording it depends on."""

    item: Waiting
    touch: RecordTouch
    touched: Touched


def boundary(command: RepairTouch, known: Known) -> Boundary[Repairing]:
    item = yield from waiting(command.quarantined)
    if not isinstance(item.carrier.event, TouchQuarantined):
        raise SingleValue
    try:
        touch = _mended(item, command.touch)
        touched = yield from record_touch.boundary(touch, item.as_told(known))
    except Invalid as error:
        raise Invalid(*map(_in_touch, error.flaws)) from None
    if touched.unnameable is not None:
        raise Invalid(Flaw(f"touch.{touched.unnameable.path}", touched.unnameable.reason))
    return Repairing(item, touch, touched)


def _mended(item: Waiting, mended: Mapping[str, Any]) -> RecordTouch:
    touch = item.carrier.opened[0].get("touch", {})  # A message a door set aside lies there under a name of its own.
    told = {name: value for name, value in touch.items() if name not in SAID_ONCE}
    whole = {"command": "record_touch", "source": item.carrier.envelope.source, **told, **mended}
    try:
        return RecordTouch.model_validate_json(
            orjson.dumps({name: value for name, value in whole.items() if value is not None})
        )
    except ValidationError as error:
        raise Invalid(*flaws_of(error.errors(include_url=False, include_input=False))) from None


def _in_touch(flaw: Flaw) -> Flaw:
    return Flaw(f"touch.{flaw.path}".rstrip("."), flaw.reason)


def evolve(state: Repairing, recorded: Recorded) -> Repairing:
    return replace(state, touched=record_touch.evolve(state.touched, recorded))


def decide(command: RepairTouch, state: Repairing, known: Known) -> Outcome:
    item = state.item
    try:
        recorded = record_touch.decide(state.touch, state.touched, item.as_told(known))
    except Forbidden:  # To its teller, not to whoever repairs it.
        stated = [name for name in ("facts", "identifiers") if getattr(state.touch, name)]
        raise Invalid(*(Flaw(f"touch.{name}", "of_another_source") for name in stated)) from None
    assert recorded.record is not None
    again = [
        Flaw(f"touch.{part.path}", part.reason)
        for draft in recorded.drafts
        for part in draft.event.set_aside()
        if part.path.partition(".")[0] in command.touch
    ]
    if again:
        raise Invalid(*again)
    # What lay under the key of the house belongs to somebody now, and is to die with that one's erasure.
    moved = [Secret(recorded.record, content, _tags(item, n)) for n, content in sorted(item.carrier.opened.items())]
    unsealed = tuple((item.carrier.id, n) for n in item.carrier.opened)
    end = TouchRepaired(record=recorded.record, item=item.part.item, unsealed=unsealed)
    repaired = Draft(end, tuple(moved), known.new_id())
    if item.carrier.envelope.correlation is not None:  # Found by what moved, it tells the id the conversation has.
        repaired.told = {"correlation": item.carrier.envelope.correlation}
    for draft in recorded.drafts:
        draft.told = item.told_then(repaired.id)
    return recorded._replace(drafts=[repaired, *recorded.drafts], unsealed=unsealed)


def _tags(item: Waiting, seal: int) -> tuple[bytes, ...]:
    return tuple(tag for tag, n in item.carrier.sealed_tags.items() if n == seal)


repair_touch = Decider(RepairTouch, boundary, evolve, decide)

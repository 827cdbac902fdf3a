"""Quarantine a touch: a door got a message that it could not make a touch of, and sets it aside for a person."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator

from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.errors import Flaw, Invalid
from hub.events import Recorded, TouchQuarantined
from hub.fields import CodeText, SourceName
from hub.identity.normalise import is_code
from hub.subject import registered


def _place(value: str) -> str:
    """It stands in clear, so it is a code, but for the capitals that names of other systems have."""
    if not is_code(value.lower()):
        raise ValueError("not_a_code")
    return value


class QuarantineTouch(Command):
    """`path` is the place in the message that is to blame, `reason` a code; the message may be any JSON."""

    roles: ClassVar = frozenset({"channel", "local"})

    command: Literal["quarantine_touch"]
    source: SourceName | None = None
    path: Annotated[str, AfterValidator(_place)]
    reason: CodeText
    message: Any


def boundary(command: QuarantineTouch, known: Known) -> Boundary[None]:
    source = command.source or known.principal.source
    if source is None:
        raise Invalid(Flaw("source", "missing"))
    yield from registered(source)


def evolve(state: None, recorded: Recorded) -> None:
    return state


def decide(command: QuarantineTouch, state: None, known: Known) -> Outcome:
    event = TouchQuarantined(item=known.new_id(), path=command.path, reason=command.reason)
    return Outcome((Draft(event, (Secret(known.house, {"message": command.message}),)),))


quarantine_touch = Decider(QuarantineTouch, boundary, evolve, decide)

"""Release an identifier: this end point no longer leads to the record, or to any record of the customer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hub import statements
from hub.clock import instant
from hub.decider import Boundary, Decider, Draft, Known, Outcome, because
from hub.errors import Flaw, Invalid
from hub.events import IdentifierReleased, IdentifierStated, Recorded, RecordId
from hub.fields import EndPoint, Time
from hub.identity.normalise import Unfit, identifier
from hub.subject import Subject
from hub.taking_back import TakeBack, concerned


class ReleaseIdentifier(TakeBack):
    command: Literal["release_identifier"]
    identifier: EndPoint
    until: Time | None = None


@dataclass(frozen=True)
class Held:
    """The customer's end points with this value that are not released yet: id -> record."""

    subject: Subject
    tag: bytes
    held: Mapping[str, RecordId] = field(default_factory=dict)


def boundary(command: ReleaseIdentifier, known: Known) -> Boundary[Held]:
    try:
        normal = identifier(command.identifier.kind, command.identifier.value, known.region)
    except Unfit as unfit:
        raise Invalid(Flaw("identifier.value", str(unfit))) from None
    subject, records = yield from concerned(command, known)
    yield tuple(scope for record in records for scope in statements.scopes(record, (), identifiers=True))
    return Held(subject, known.fingerprint(command.identifier.kind, normal))


def evolve(state: Held, recorded: Recorded) -> Held:
    match recorded.event:
        case IdentifierStated(identifier=id, record=record) if state.tag in recorded.sealed_tags:
            return replace(state, held={**state.held, id: record})
        case IdentifierReleased(identifier=id):
            return replace(state, held={held: record for held, record in state.held.items() if held != id})
    return state


def decide(command: ReleaseIdentifier, state: Held, known: Known) -> Outcome:
    until = instant(command.until) if command.until else known.occurred_at
    drafts = [
        Draft(
            IdentifierReleased(record=record, identifier=id, until=until),
            because(record, command.reason),
        )
        for id, record in state.held.items()
    ]
    return Outcome(drafts, state.subject.record, state.subject.members)


release_identifier = Decider(ReleaseIdentifier, boundary, evolve, decide)

"""Release an identifier: this end point no longer leads to the record, or to any record of the customer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from hub import statements
from hub.clock import instant
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.errors import Flaw, Forbidden, Invalid, Unknown
from hub.events import IdentifierReleased, IdentifierStated, Recorded, RecordId
from hub.fields import EndPoint, Reason, SourceName, Text, Time, Uuid
from hub.identity.normalise import Unfit, identifier
from hub.opening import key_of
from hub.subject import Subject, by_id, by_key, is_foreign, registered


class ReleaseIdentifier(Command):
    roles: ClassVar = frozenset({"channel", "operator", "steward", "local"})

    command: Literal["release_identifier"]
    record: Uuid | None = None
    customer: Uuid | None = None
    source: SourceName | None = None
    key: Text | None = None
    identifier: EndPoint
    until: Time | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if sum(each is not None for each in (self.record, self.customer, self.key)) != 1:
            raise ValueError("one_of_record_customer_key")
        return self


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
    if command.key is not None:
        source, key = key_of(command.source, command.key, {}, known)
        subject = yield from by_key(known, source, key)
        if not subject.is_open:
            raise Unknown
    else:
        if command.source is not None:
            yield from registered(command.source)
        subject = yield from by_id(command.record or command.customer or "", seen=command.seen)
    if is_foreign(subject, known):
        raise Forbidden
    of_all = (
        command.customer is not None and known.principal.source is None
    )  # A channel speaks for its own record only.
    concerned = subject.members if of_all else (subject.record,)
    yield tuple(scope for record in concerned for scope in statements.scopes(record, (), identifiers=True))
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
            (Secret(record, {"reason": command.reason}),) if command.reason else (),
        )
        for id, record in state.held.items()
    ]
    return Outcome(drafts, state.subject.record, state.subject.members)


release_identifier = Decider(ReleaseIdentifier, boundary, evolve, decide)

"""Retract a fact: what was stated for an attribute no longer stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from hub import statements
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.errors import Forbidden, Unknown
from hub.events import FactRetracted, FactsStated, Recorded, RecordId
from hub.fields import Reason, SourceName, Text, Uuid
from hub.opening import key_of
from hub.statements import Standing
from hub.subject import Subject, by_id, by_key, is_foreign, registered


class RetractFact(Command):
    roles: ClassVar = frozenset({"channel", "operator", "steward", "local"})

    command: Literal["retract_fact"]
    record: Uuid | None = None
    customer: Uuid | None = None
    source: SourceName | None = None
    key: Text | None = None
    attribute: Text
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if sum(each is not None for each in (self.record, self.customer, self.key)) != 1:
            raise ValueError("one_of_record_customer_key")
        return self


@dataclass(frozen=True)
class Stated:
    """What each record concerned has stated."""

    subject: Subject
    by_record: Mapping[RecordId, Standing] = field(default_factory=dict)


def boundary(command: RetractFact, known: Known) -> Boundary[Stated]:
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
    told = (command.attribute,)
    yield tuple(scope for record in concerned for scope in statements.scopes(record, told, identifiers=False))
    return Stated(subject, {record: Standing() for record in concerned})


def evolve(state: Stated, recorded: Recorded) -> Stated:
    if not isinstance(recorded.event, FactsStated | FactRetracted):
        return state
    record = recorded.event.record
    standing = statements.evolve(state.by_record[record], recorded)
    return replace(state, by_record={**state.by_record, record: standing})


def decide(command: RetractFact, state: Stated, known: Known) -> Outcome:
    drafts = [
        Draft(
            FactRetracted(record=record, attribute=command.attribute),
            (Secret(record, {"reason": command.reason}),) if command.reason else (),
        )
        for record, standing in state.by_record.items()
        if statements.stands(standing, command.attribute)
    ]
    return Outcome(drafts, state.subject.record, state.subject.members)


retract_fact = Decider(RetractFact, boundary, evolve, decide)

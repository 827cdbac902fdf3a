"""Retract a fact: what was stated for an attribute no longer stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hub import statements
from hub.decider import Boundary, Decider, Draft, Known, Outcome, because
from hub.events import FactRetracted, FactsStated, Recorded, RecordId
from hub.fields import Text
from hub.statements import Standing
from hub.subject import Subject
from hub.taking_back import TakeBack, concerned


class RetractFact(TakeBack):
    command: Literal["retract_fact"]
    attribute: Text


@dataclass(frozen=True)
class Stated:
    """What each record concerned has stated."""

    subject: Subject
    by_record: Mapping[RecordId, Standing] = field(default_factory=dict)


def boundary(command: RetractFact, known: Known) -> Boundary[Stated]:
    subject, records = yield from concerned(command, known)
    told = (command.attribute,)
    yield tuple(scope for record in records for scope in statements.scopes(record, told, identifiers=False))
    return Stated(subject, dict.fromkeys(records, Standing()))


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
            because(record, command.reason),
        )
        for record, standing in state.by_record.items()
        if statements.stands(standing, command.attribute)
    ]
    return Outcome(drafts, state.subject.record, state.subject.members)


retract_fact = Decider(RetractFact, boundary, evolve, decide)

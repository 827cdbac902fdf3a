"""Merge customers: these records are one person. History stays where it is; only links are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, because
from hub.errors import Rejected
from hub.events import (
    Component,
    CustomersMerged,
    CustomersUnmerged,
    DistinctLifted,
    Link,
    Recorded,
    RecordId,
    RecordOpened,
)
from hub.fields import Reason, Uuid
from hub.identity.partition import joined
from hub.log.read import Scope
from hub.subject import Subject, by_id


class MergeCustomers(Command):
    roles: ClassVar = frozenset({"steward", "local"})

    command: Literal["merge_customers"]
    customers: Annotated[tuple[Uuid, ...], Field(min_length=2, max_length=1000)]
    reason: Reason | None = None


class DeclaredDistinct(Rejected):
    """These customers were declared distinct; lift that first."""


Pair = frozenset[RecordId]


@dataclass(frozen=True)
class Merging:
    """The customers to be joined, when their records were opened, and which pairs may not be."""

    subjects: tuple[Subject, ...]
    opened: Mapping[RecordId, int] = field(default_factory=dict)
    distinct: frozenset[Pair] = frozenset()


def boundary(command: MergeCustomers, known: Known) -> Boundary[Merging]:
    subjects: list[Subject] = []
    for id in dict.fromkeys(command.customers):
        subject = yield from by_id(id, seen=command.seen)
        subjects.append(subject)
    yield scopes_of(subjects)
    return Merging(tuple(subjects))


def scopes_of(subjects: Iterable[Subject]) -> tuple[Scope, ...]:
    """What joining these customers depends on besides their membership."""
    members = tuple(dict.fromkeys(member for subject in subjects for member in subject.members))
    return (
        *(Scope.opening(member) for member in members),
        *(Scope.of(CustomersUnmerged, DistinctLifted, tag=f"distinct:{member}") for member in members),
    )


def evolve(state: Merging, recorded: Recorded) -> Merging:
    match recorded.event:
        case RecordOpened(record=record):
            return replace(state, opened={**state.opened, record: recorded.position})
        case CustomersUnmerged(distinct=groups):
            return replace(state, distinct=state.distinct | pairs_across(groups))
        case DistinctLifted(groups=groups):
            return replace(state, distinct=state.distinct - pairs_across(groups))
    return state


def decide(command: MergeCustomers, state: Merging, known: Known) -> Outcome:
    first, *others = state.subjects
    merge = known.new_id()
    links = [Link(a=first.record, b=other.record, merge=merge) for other in others]
    draft, members = merged(state, links, merge, command.reason)
    return Outcome((draft,) if draft else (), first.record, members)


def merged(
    state: Merging, links: Sequence[Link], merge: str, reason: str | None
) -> tuple[Draft | None, tuple[RecordId, ...]]:
    """The event that joins these customers, and their records; no event when they are one already."""
    parts: dict[RecordId, Component] = {subject.customer: subject.component for subject in state.subjects}
    of_record = {member: part.members[0] for part in parts.values() for member in part.members}
    needed = [link for link in links if of_record[link.a] != of_record[link.b]]
    if not needed:
        return None, state.subjects[0].members
    for a, b in _pairs_between(tuple(parts.values())):
        if frozenset((a, b)) in state.distinct:
            raise DeclaredDistinct
    whole = joined(parts.values(), needed, state.opened)
    event = CustomersMerged(links=tuple(needed), components=(whole,))
    return Draft(event, because(whole.members[0], reason), merge), whole.members


def pairs_across(groups: Sequence[Sequence[RecordId]]) -> frozenset[Pair]:
    return frozenset(
        frozenset((a, b)) for n, group in enumerate(groups) for other in groups[n + 1 :] for a in group for b in other
    )


def _pairs_between(parts: Sequence[Component]) -> Iterable[tuple[RecordId, RecordId]]:
    return (
        (a, b) for n, one in enumerate(parts) for other in parts[n + 1 :] for a in one.members for b in other.members
    )


merge_customers = Decider(MergeCustomers, boundary, evolve, decide)

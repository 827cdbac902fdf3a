"""Un-merge customers: take one merge back, or take some records out. Nothing else changes; the history is untouched.

Taking a merge back takes back its own links only. Where other merges still hold the records together, the answer names
them. What a person takes apart stands as distinct until that is lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, because
from hub.errors import Rejected, Unknown
from hub.events import Component, CustomersMerged, CustomersUnmerged, EventId, Link, Recorded, RecordId
from hub.fields import Reason, Uuid
from hub.identity.partition import components
from hub.log.read import Scope
from hub.subject import Subject, by_id


class UnmergeCustomers(Command):
    roles: ClassVar = frozenset({"steward", "local"})

    command: Literal["unmerge_customers"]
    merge: Uuid | None = None
    customer: Uuid | None = None
    records: Annotated[tuple[Uuid, ...], Field(max_length=1000)] = ()
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.merge is None) == (self.customer is None) or (self.customer is None) != (not self.records):
            raise ValueError("either_merge_or_customer_and_records")
        return self


class NotAMember(Rejected):
    """One of these records does not belong to this customer."""


@dataclass(frozen=True)
class Taken:
    """The customers concerned as they stand."""

    named: RecordId
    parts: tuple[Component, ...]


def boundary(command: UnmergeCustomers, known: Known) -> Boundary[Taken]:
    if command.merge is None:
        assert command.customer is not None
        subject = yield from by_id(command.customer, seen=command.seen)
        return Taken(subject.record, (subject.component,))
    (found,) = yield (Scope.event(command.merge),)
    if not found or not isinstance(found[0].event, CustomersMerged):
        raise Unknown
    subjects: list[Subject] = []
    for record in dict.fromkeys(end for link in found[0].event.links for end in (link.a, link.b)):
        subject = yield from by_id(record, seen=command.seen)
        subjects.append(subject)
    parts = {subject.customer: subject.component for subject in subjects}
    return Taken(subjects[0].record, tuple(parts.values()))


def evolve(state: Taken, recorded: Recorded) -> Taken:
    return state


def decide(command: UnmergeCustomers, state: Taken, known: Known) -> Outcome:
    unmerge = ""
    if command.merge is not None:
        taken = [link for part in state.parts for link in part.links if link.merge == command.merge]
        kept = [link for part in state.parts for link in part.links if link.merge != command.merge]
    else:
        (whole,) = state.parts
        unmerge = known.new_id()
        taken, kept = _cut(whole, set(command.records), unmerge)
    drafts: list[Draft] = []
    resulting: list[Component] = []
    for part in state.parts:
        gone = _within(part, taken)
        pieces = components(part.members, _within(part, kept)) if gone else (part,)
        resulting.extend(pieces)
        if gone:
            drafts.append(_unmerged(command, known, gone, pieces, unmerge))
    now = next(part for part in resulting if state.named in part.members)
    apart = len(resulting) > len(state.parts)
    also = {} if apart or not drafts else {"held_by": sorted({link.merge for part in resulting for link in part.links})}
    return Outcome(drafts, state.named, now.members, also)


def _unmerged(
    command: UnmergeCustomers, known: Known, gone: Sequence[Link], pieces: Sequence[Component], unmerge: EventId
) -> Draft:
    says_distinct = len(pieces) > 1 and known.principal.role not in ("channel", "house")
    groups = [piece.members for piece in pieces]
    if command.records:  # What was taken out is distinct from the rest; what it is to each other nobody said.
        out = tuple(member for group in groups for member in group if member in command.records)
        groups = [tuple(member for group in groups for member in group if member not in command.records), out]
    event = CustomersUnmerged(
        merge=command.merge,
        links=tuple(gone),
        components=tuple(pieces),
        distinct=tuple(groups) if says_distinct else (),
    )
    return Draft(event, because(pieces[0].members[0], command.reason), unmerge)


def _cut(whole: Component, out: set[RecordId], unmerge: EventId) -> tuple[list[Link], list[Link]]:
    """Links across the cut, and what stands after it; what remains stays one customer, even across a lost bridge."""
    if not out <= set(whole.members):
        raise NotAMember
    taken = [link for link in whole.links if (link.a in out) != (link.b in out)]
    kept = [link for link in whole.links if (link.a in out) == (link.b in out)]
    rest = [member for member in whole.members if member not in out]
    pieces = components(rest, [link for link in kept if link.a not in out])
    kept += [Link(a=pieces[0].members[0], b=piece.members[0], merge=unmerge) for piece in pieces[1:]]
    return taken, kept


def _within(part: Component, links: Iterable[Link]) -> list[Link]:
    members = set(part.members)
    return [link for link in links if link.a in members]


unmerge_customers = Decider(UnmergeCustomers, boundary, evolve, decide)

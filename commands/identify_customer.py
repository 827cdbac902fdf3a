"""Identify a customer: what a source knows about one of its customers, besides touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from commands.merge_customers import MergeCustomers, Merging, merged, scopes_of
from commands.merge_customers import evolve as evolve_merging
from hub import statements
from hub.checks import Facts, Identifiers, check
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome
from hub.errors import Forbidden
from hub.events import Link, Party, Recorded, RecordOpened
from hub.fields import SourceKey, SourceName, Text
from hub.opening import key_of, opening, with_facts
from hub.statements import Standing
from hub.subject import Subject, by_key


class IdentifyCustomer(Command):
    roles: ClassVar = frozenset({"channel", "operator", "steward", "local"})

    command: Literal["identify_customer"]
    source: SourceName | None = None
    key: Text | None = None
    party: Party | None = None
    facts: Facts = Field(default_factory=dict)
    identifiers: Identifiers = Field(default_factory=dict)
    same_as: SourceKey | None = None
    raw: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Identified:
    """The record, what its source has said so far, and the record it is said to be the same as."""

    subject: Subject
    key: str
    standing: Standing = Standing()
    party: Party | None = None
    same: Subject | None = None
    merging: Merging | None = None


def boundary(command: IdentifyCustomer, known: Known) -> Boundary[Identified]:
    if command.same_as is not None and not _may_merge(known, command.same_as.source):
        raise Forbidden
    source, key = key_of(command.source, command.key, with_facts(command.identifiers, command.facts), known)
    subject = yield from by_key(known, source, key, decides_membership=command.same_as is not None)
    if subject.is_open:
        checked = check(command.facts, command.identifiers, known)
        told = [*checked.told, *(("party",) if command.party else ()), *(("raw",) if command.raw is not None else ())]
        yield from statements.said_before(subject.record, told, bool(checked.identifiers), known.periods.confirm_after)
    if command.same_as is None or (command.same_as.source, command.same_as.key) == (source, key):
        return Identified(subject, key)
    same = yield from by_key(known, command.same_as.source, command.same_as.key, decides_membership=True)
    yield scopes_of([each for each in (subject, same) if each.is_open])
    return Identified(subject, key, same=same, merging=Merging((subject, same)))


def _may_merge(known: Known, other: str) -> bool:
    """Whoever may merge by hand; and a channel, where both records are its own source's."""
    principal = known.principal
    return principal.role in MergeCustomers.roles or principal.source == other


def evolve(state: Identified, recorded: Recorded) -> Identified:
    if isinstance(recorded.event, RecordOpened) and recorded.event.record == state.subject.record:
        state = replace(state, party=recorded.event.party)
    joined = evolve_merging(state.merging, recorded) if state.merging else None
    return replace(state, standing=statements.evolve(state.standing, recorded), merging=joined)


def decide(command: IdentifyCustomer, state: Identified, known: Known) -> Outcome:
    subject = state.subject
    drafts: list[Draft] = []
    party = command.party
    if not subject.is_open:
        drafts.append(opening(subject, state.key, party))
        party = None  # Said by the opening itself.
    checked = check(command.facts, command.identifiers, known)
    if party is not None and ("party" in state.standing.facts or party != state.party):
        checked.clear["party"] = party
    unfit = statements.unfit_anew(state.standing, checked)
    drafts.extend(statements.drafts(subject.record, state.standing, checked, known, command.raw, unfit))
    members = subject.members
    if state.same is not None and command.same_as is not None and state.same.record != subject.record:
        if not state.same.is_open:
            drafts.append(opening(state.same, command.same_as.key, None))
        draft, members = _merged(state, state.same, known)
        drafts.extend((draft,) if draft else ())
    return Outcome(drafts, subject.record, members)


def _merged(state: Identified, same: Subject, known: Known) -> tuple[Draft | None, tuple[str, ...]]:
    assert state.merging is not None
    opened = dict(state.merging.opened)
    for subject in (state.subject, same):  # Opened by this very command, in this order, after all that are open.
        if not subject.is_open:
            opened[subject.record] = max(opened.values(), default=0) + 1
    merge = known.new_id()
    link = Link(a=state.subject.record, b=same.record, merge=merge)
    return merged(replace(state.merging, opened=opened), [link], merge, None)


identify_customer = Decider(IdentifyCustomer, boundary, evolve, decide)

"""Whom a command is about: from a source's key, or any record or customer id, to the record and its customer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from hub.decider import Boundary, Known
from hub.errors import Flaw, Invalid, Rejected, Unknown
from hub.events import (
    Component,
    CustomersMerged,
    CustomersUnmerged,
    IdentifierId,
    IdentifierReleased,
    IdentifierStated,
    MembershipEvent,
    Recorded,
    RecordId,
    RecordOpened,
    SourceRegistered,
)
from hub.log.read import Scope
from hub.log.wire import tag_of

_MEMBERSHIP = frozenset({CustomersMerged.stored_name, CustomersUnmerged.stored_name})
Reads = Boundary["Subject"]


class Subject(NamedTuple):
    """A record, opened or about to be, and the customer it belongs to now."""

    record: RecordId
    is_open: bool
    together: Component | None  # None: the record stands alone.
    source: SourceRegistered | None = None  # Of the command, where it named one.
    key_tag: bytes | None = None  # The fingerprint the record is found by.
    owner: str = ""  # The source whose record it is.

    @property
    def component(self) -> Component:
        """Its members in order of opening; the first is the customer."""
        return self.together or Component(members=(self.record,))

    @property
    def members(self) -> tuple[RecordId, ...]:
        return self.together.members if self.together else (self.record,)

    @property
    def customer(self) -> RecordId:
        return self.members[0]


class MembershipChanged(Rejected):
    """This customer was merged or taken apart since you looked; look again."""


def by_key(known: Known, source: str, key: str, *, decides_membership: bool = False) -> Reads:
    """The record a source knows under this key; to be opened by the command if there is none yet.

    Raises Invalid when the source is not registered.
    """
    tag = known.fingerprint("key", source, key)
    opened, registered = yield (
        Scope.of(RecordOpened, tag=tag),
        _registration(source),
    )
    if not registered:
        raise Invalid(Flaw("source", "not_registered"))
    its_source = registered[-1].event
    assert isinstance(its_source, SourceRegistered)
    if not opened:
        record = known.new_id()
        return Subject(record, False, None, its_source, tag, source)
    event = opened[0].event
    assert isinstance(event, RecordOpened)
    (membership,) = yield (membership_of(event.record, only_read=not decides_membership),)
    return Subject(event.record, True, component_of(event.record, membership), its_source, tag, source)


@lru_cache(maxsize=1000)
def _registration(source: str) -> Scope:
    return Scope.of(SourceRegistered, tag=f"source:{source}", only_read=True, latest=True)


def registered(source: str) -> Boundary[None]:
    """Raises Invalid when the source is not registered."""
    (found,) = yield (Scope.of(SourceRegistered, tag=f"source:{source}", only_read=True, latest=True),)
    if not found:
        raise Invalid(Flaw("source", "not_registered"))


def by_id(id: str, *, only_read: bool = False, seen: int | None = None) -> Reads:
    """The record with this id, and its customer as a condition unless only read.

    Raises Unknown, or MembershipChanged when the customer changed after the position the caller had seen.
    """
    opened, membership = yield (
        Scope.opening(id),
        membership_of(id, only_read=only_read),
    )
    if not opened:
        raise Unknown
    if seen is not None and membership and membership[-1].position > seen:
        raise MembershipChanged
    assert isinstance(opened[0].event, RecordOpened)
    return Subject(id, True, component_of(id, membership), owner=opened[0].event.source)


def holding(subject: Subject, known: Known, kind: str, value: str) -> Reads:
    """Of a customer's records the one that holds this identifier; the record named, where none does or it does too."""
    events = yield tuple(
        Scope.of(IdentifierStated, IdentifierReleased, tag=f"identifiers:{member}", only_read=True, opened=True)
        for member in subject.members
    )
    wanted = known.fingerprint(kind, value)
    held: dict[IdentifierId, RecordId] = {}
    for each in (each for of_member in events for each in of_member):
        if isinstance(each.event, IdentifierStated) and wanted in each.sealed_tags:
            held[each.event.identifier] = each.event.record
        elif isinstance(each.event, IdentifierReleased):
            held.pop(each.event.identifier, None)
    holders = set(held.values())
    if not holders or subject.record in holders:
        return subject
    first = next(member for member in subject.members if member in holders)
    return (yield from member_of(subject, first))


def member_of(subject: Subject, record: RecordId) -> Reads:
    """Another record of the same customer."""
    (opened,) = yield (Scope.opening(record),)
    event = opened[0].event
    assert isinstance(event, RecordOpened)
    return subject._replace(record=record, owner=event.source)


def is_foreign(subject: Subject, known: Known) -> bool:
    """A channel may not state what another source knows."""
    return known.principal.source not in (None, subject.owner)


def membership_of(record: RecordId, *, only_read: bool = False) -> Scope:
    """The last event that lists the record's customer; none while the record stands alone."""
    return Scope(_MEMBERSHIP, tag_of(f"member:{record}"), not only_read, latest=True)


def component_of(record: RecordId, membership: Sequence[Recorded]) -> Component | None:
    """Whom it was found to be one with last; None while it stands alone."""
    if membership:
        event = membership[-1].event
        assert isinstance(event, MembershipEvent)
        for component in event.components:
            if record in component.members:
                return component
    return None

"""Which records are one customer. Every such event lists the complete resulting membership of all records it touches,

so that the membership of a record is the last event with its `member:` tag.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from hub.events.base import Event, EventId, RecordId
from hub.events.parts import Component, Link


class MembershipEvent(Event):
    """What the two have in common: the components that stand afterwards."""

    stored_name: ClassVar[str]
    components: tuple[Component, ...]

    def tags(self) -> Iterable[str]:
        for component in self.components:
            for record in component.members:
                yield f"member:{record}"


class CustomersMerged(MembershipEvent):
    """These records are one customer from now on. The reason is sealed under the first."""

    links: tuple[Link, ...]  # The new ones; `components` has all that stand.


class CustomersUnmerged(MembershipEvent):
    """A merge was taken back, or records were cut out. Across `distinct` nothing is merged until a person lifts it."""

    merge: EventId | None = None  # The merge taken back; None: records were cut out.
    links: tuple[Link, ...]  # Those taken back.
    distinct: tuple[tuple[RecordId, ...], ...] = ()  # Groups declared distinct from each other.

    def tags(self) -> Iterable[str]:
        yield from super().tags()
        for group in self.distinct:
            for record in group:
                yield f"distinct:{record}"


class DistinctLifted(Event):
    """That these two groups are distinct no longer stands."""

    groups: tuple[tuple[RecordId, ...], ...]

    def tags(self) -> Iterable[str]:
        return (f"distinct:{record}" for group in self.groups for record in group)

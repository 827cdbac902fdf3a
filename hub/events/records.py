"""What sources tell about customers: records, facts, identifiers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hub.events.base import Code, Event, IdentifierId, Instant, RecordId
from hub.events.parts import Quarantined

Party = Literal["person", "organisation", "sole_trader"]


class SourceRegistered(Event):
    """A source may speak from now on, with this trust. Its title is sealed under the house."""

    source: Code
    trust: str  # Decimal from 0 to 1.
    logins: tuple[str, ...] = ()  # Identifier kinds that lead to one customer only in this source.
    party: Party = "person"

    def tags(self) -> Iterable[str]:
        return (f"source:{self.source}",)


class NameGiven(Event):
    """A name the company uses (of an agent, a sender, a branch) got a random id. The name is sealed under the house."""

    kind: str
    name: str

    def tags(self) -> Iterable[str]:
        return (f"actor:{self.name}",) if self.kind == "agent" else ()


class RecordOpened(Event):
    """A source met a customer for the first time. The key in that source is sealed."""

    record: RecordId
    source: Code
    party: Party

    def tags(self) -> Iterable[str]:
        return (f"record:{self.record}",)


class FactsStated(Event):
    """A source told facts. Values are sealed, except those of attributes declared clear."""

    record: RecordId
    attributes: tuple[str, ...] = ()  # Whose values lie in seal 0 under "facts".
    clear: Mapping[str, Any] = {}
    late: tuple[str, ...] = ()  # Of which something that happened later had been said before.
    raw: bool = False  # Seal 0 also holds the whole source row under "raw".
    quarantined: tuple[Quarantined, ...] = ()

    def tags(self) -> Iterable[str]:
        yield f"record:{self.record}"
        yield f"facts:{self.record}"
        for name in (*self.attributes, *sorted(self.clear), *(("raw",) if self.raw else ())):
            yield f"facts:{self.record}:{name}"  # So that what was said last of it is found without all the rest.
        for value in self.quarantined:
            yield f"facts:{self.record}:{value.path}"
            yield from value.tags()

    def set_aside(self) -> Sequence[Quarantined]:
        return self.quarantined


class FactConfirmed(Event):
    """A source said again what it had said so long before that this is news. The value stays where it was sealed."""

    record: RecordId
    intervals: Mapping[str, int]  # Of each attribute confirmed: the confirmation interval in force, in days.

    def tags(self) -> Iterable[str]:
        yield f"record:{self.record}"
        yield f"facts:{self.record}"
        for name in sorted(self.intervals):
            yield f"facts:{self.record}:{name}"


class FactRetracted(Event):
    """A source, or a person, no longer stands by what was stated for this attribute."""

    record: RecordId
    attribute: str

    def tags(self) -> Iterable[str]:
        return (f"record:{self.record}", f"facts:{self.record}", f"facts:{self.record}:{self.attribute}")


class IdentifierStated(Event):
    """This end point leads to the record, perhaps for a time only. Its value is sealed."""

    record: RecordId
    identifier: IdentifierId
    kind: str
    since: Instant | None = None
    until: Instant | None = None

    def tags(self) -> Iterable[str]:
        return (f"record:{self.record}", f"identifiers:{self.record}")


class IdentifierReleased(Event):
    """This end point no longer leads to the record, from `until` on."""

    record: RecordId
    identifier: IdentifierId
    until: Instant

    def tags(self) -> Iterable[str]:
        return (f"record:{self.record}", f"identifiers:{self.record}")

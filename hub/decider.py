"""How a command becomes events: read its boundary, fold its state, decide. The shell around it is `hub/desk.py`.

A decision is three small things and a name. `boundary` yields the scopes it needs, stage by stage, gets the events
they cover, and returns the first state; `evolve` folds those events into it; `decide` answers with drafts or raises
a refusal. All three are pure: what they may not make themselves (now, fresh ids, fingerprints) is in `Known`,
which draws the same values again when a decision has to be made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hub.clock import fresh_id
from hub.events.base import Envelope, Event, EventId, Instant, PrincipalId, Recorded, RecordId, uuid_bytes, uuid_text
from hub.fields import Time
from hub.log.read import Scope
from hub.settings import USUAL, Periods


@dataclass(frozen=True)
class Principal:
    """Who acts. A channel is bound to its source."""

    id: PrincipalId
    role: str
    source: str | None = None

    @cached_property
    def raw_id(self) -> bytes:
        return uuid_bytes(self.id)


class Command(BaseModel):
    """A wish, named in the imperative; it may be refused. The fields all commands share."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    roles: ClassVar[frozenset[str]]  # Who may ask for it.

    command: str
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    occurred_at: Time | None = None
    seen: Annotated[int, Field(ge=0)] | None = None
    correlation: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    branch: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None


class Secret(NamedTuple):
    """Personal data of an event: sealed under `record`, found again by its fingerprints."""

    record: RecordId
    content: Mapping[str, Any]
    tags: tuple[bytes, ...] = ()
    retention: int = 0


def because(record: RecordId, reason: str | None) -> tuple[Secret, ...]:
    """A reason in somebody's own words, sealed under this record; nothing where none was given."""
    return (Secret(record, {"reason": reason}),) if reason else ()


@dataclass(slots=True)
class Draft:
    """An event decided on, and what must be sealed beside it. The desk draws the id where the event names none."""

    event: Event
    secrets: tuple[Secret, ...] = ()
    id: EventId = ""
    told: Mapping[str, Any] | None = None  # Where it is not the command's: when it happened, its source …

    def within(self, envelope: Envelope) -> Envelope:
        """The event's own envelope in that of its command."""
        return envelope._replace(**self.told) if self.told else envelope


@dataclass(slots=True)
class Ids:
    """Fresh ids, the same ones in the same order when they are drawn again."""

    drawn: list[str] = field(default_factory=list)
    next: int = 0

    def draw(self) -> str:
        if self.next == len(self.drawn):
            self.drawn.append(uuid_text(fresh_id()))
        self.next += 1
        return self.drawn[self.next - 1]


@dataclass(slots=True)
class Known:
    """What a decision may not make itself."""

    now: Instant
    occurred_at: Instant
    principal: Principal
    fingerprint: Callable[..., bytes]  # (kind, *values) -> 16 bytes
    region: str = "RU"  # Of phone numbers told without a country.
    house: RecordId = ""
    periods: Periods = USUAL
    ids: Ids = field(default_factory=Ids)

    def new_id(self) -> str:
        """A fresh id; after `again` the same ones in the same order."""
        return self.ids.draw()

    def again(self) -> None:
        self.ids.next = 0


C = TypeVar("C", bound=Command)
S = TypeVar("S")

Boundary = Generator[tuple[Scope, ...], tuple[Sequence[Recorded], ...], S]


class Outcome(NamedTuple):
    """What was decided: events to append (perhaps none) and whom the answer names."""

    drafts: Sequence[Draft]
    record: RecordId | None = None
    members: tuple[RecordId, ...] = ()
    also: Mapping[str, Any] = MappingProxyType({})  # What this command's answer says besides; ids and codes only.
    unsealed: tuple[tuple[EventId, int], ...] = ()  # Seals of earlier events that are deleted as these are appended.


@dataclass(frozen=True)
class Decider(Generic[C, S]):
    """A capability: which command, and the three functions that decide it."""

    command: type[C]
    boundary: Callable[[C, Known], Boundary[S]]
    evolve: Callable[[S, Recorded], S]
    decide: Callable[[C, S, Known], Outcome]

    @property
    def name(self) -> str:
        """The command's name, as it is sent."""
        (name,) = get_args(self.command.model_fields["command"].annotation)
        assert isinstance(name, str)
        return name

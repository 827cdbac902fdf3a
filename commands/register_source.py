"""Register a source: from now on it may speak. Registering it again restates its trust and rules."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.events import Party, Recorded, SourceRegistered
from hub.fields import KindName, SourceName
from hub.log.read import Scope


class RegisterSource(Command):
    roles: ClassVar = frozenset({"admin", "local"})

    command: Literal["register_source"]
    name: SourceName
    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    trust: Annotated[float, Field(ge=0, le=1)] = 0.5
    logins: tuple[KindName, ...] = ()
    party: Party = "person"


@dataclass(frozen=True)
class Registered:
    event: SourceRegistered | None = None
    title: Any = None


def boundary(command: RegisterSource, known: Known) -> Boundary[Registered]:
    yield (Scope.of(SourceRegistered, tag=f"source:{command.name}", latest=True, opened=True),)
    return Registered()


def evolve(state: Registered, recorded: Recorded) -> Registered:
    if isinstance(recorded.event, SourceRegistered):
        return Registered(recorded.event, recorded.opened.get(0, {}).get("title"))
    return state


def decide(command: RegisterSource, state: Registered, known: Known) -> Outcome:
    event = SourceRegistered(
        source=command.name,
        trust=str(Decimal(repr(command.trust)).normalize()),
        logins=tuple(sorted(set(command.logins))),
        party=command.party,
    )
    if state.event == event and state.title == command.title:
        return Outcome(())
    secrets = (Secret(known.house, {"title": command.title}),) if command.title else ()
    return Outcome((Draft(event, secrets),))


register_source = Decider(RegisterSource, boundary, evolve, decide)

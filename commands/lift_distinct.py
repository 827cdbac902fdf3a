"""Lift distinct: that two customers are not one person no longer stands, so they may be merged again."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from commands.merge_customers import Merging, evolve, pairs_across, scopes_of
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, because
from hub.events import DistinctLifted
from hub.fields import Reason, Uuid
from hub.subject import by_id


class LiftDistinct(Command):
    roles: ClassVar = frozenset({"steward", "local"})

    command: Literal["lift_distinct"]
    customers: Annotated[tuple[Uuid, ...], Field(min_length=2, max_length=2)]
    reason: Reason | None = None


def boundary(command: LiftDistinct, known: Known) -> Boundary[Merging]:
    one = yield from by_id(command.customers[0], seen=command.seen)
    other = yield from by_id(command.customers[1], seen=command.seen)
    yield scopes_of((one, other))
    return Merging((one, other))


def decide(command: LiftDistinct, state: Merging, known: Known) -> Outcome:
    one, other = state.subjects
    if not state.distinct & pairs_across((one.members, other.members)):
        return Outcome((), one.record, one.members)
    event = DistinctLifted(groups=(one.members, other.members))
    return Outcome((Draft(event, because(one.record, command.reason)),), one.record, one.members)


lift_distinct = Decider(LiftDistinct, boundary, evolve, decide)

"""Given these events, when somebody asks, then this happens: decisions tested without a database.

    scenario = Scenario(unmerge_customers)
    scenario.given(a_opened, b_opened, they_were_merged).when(the_steward_takes_it_back).then(they_are_apart)

`given` takes events, or drafts where something is sealed beside one. A given event that no scope of the boundary
covers fails the test: either the boundary forgot it, or the story tells what does not matter.
`then` compares what was decided by type and by the fields it names; fresh ids may be drawn in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from hub.decider import Command, Decider, Draft, Known, Outcome, Principal
from hub.errors import HubError
from hub.events import Envelope, Event, Instant, Recorded
from hub.events.base import uuid_bytes
from hub.log.read import Scope
from hub.log.wire import tag_of

NOW = Instant(1_772_348_400_000_000)  # 2026-03-01T07:00:00Z
HOUSE = "00000000-0000-7000-8000-0000000000ff"
LOCAL = Principal(HOUSE, "local")


def id_of(name: str) -> str:
    """A readable name's id: the same in every test."""
    h = sha256(name.encode()).hexdigest()
    return f"{h[:8]}-{h[8:12]}-7{h[13:16]}-8{h[17:20]}-{h[20:32]}"


def fingerprint(kind: str, *values: str) -> bytes:
    return sha256("\x1f".join((kind, *values)).encode()).digest()[:16]


def at(minutes: int) -> Instant:
    """An instant that many minutes after the scenario's now."""
    return Instant(NOW + minutes * 60_000_000)


@dataclass(frozen=True)
class Happened:
    """An event with its circumstances, where they matter."""

    draft: Draft
    occurred_at: Instant = NOW
    correlation: str | None = None
    recorded_at: Instant = NOW
    source: str | None = None
    role: str = "local"
    causation: str | None = None


Told = Event | Draft | Happened


@dataclass(frozen=True)
class Scenario:
    """What one decider does."""

    decider: Decider[Any, Any]
    past: tuple[Recorded, ...] = ()
    principal: Principal = LOCAL

    def given(self, *told: Told) -> Scenario:
        past = list(self.past)
        for each in told:
            past.append(_recorded(each, len(past) + 1))
        return replace(self, past=tuple(past))

    def asked_by(self, role: str, source: str | None = None) -> Scenario:
        return replace(self, principal=Principal(id_of(role), role, source))

    def when(self, command: Command | dict[str, Any], *, occurred_at: Instant = NOW) -> Decided:
        if isinstance(command, dict):
            command = self.decider.command.model_validate(command, strict=False)
        known = Known(NOW, occurred_at, self.principal, fingerprint, house=HOUSE)
        walk = _Walk()
        try:
            outcome = self._decide(command, known, walk)
        except HubError as error:
            return Decided(self, None, error, walk.outside(self.past))
        known.again()
        assert self._decide(command, known, _Walk()) == outcome, "decided again, the same is decided"
        return Decided(self, outcome, None, walk.outside(self.past))

    def _decide(self, command: Any, known: Known, walk: _Walk) -> Outcome:
        steps = self.decider.boundary(command, known)
        read: dict[str, Recorded] = {}
        found: tuple[Sequence[Recorded], ...] | None = None
        while True:
            try:
                stage = next(steps) if found is None else steps.send(found)
            except StopIteration as stop:
                state = stop.value
                walk.ended = True
                break
            found = tuple(self._of(scope, walk) for scope in stage)
            for events in found:
                read.update((event.id, event) for event in events)
        for event in sorted(read.values(), key=lambda event: event.position):
            state = self.decider.evolve(state, event)
        return self.decider.decide(command, state, known)

    def _of(self, scope: Scope, walk: _Walk) -> Sequence[Recorded]:
        found = [each for each in self.past if _covers(scope, each)]
        walk.covered.update(each.id for each in found)
        if not scope.opened:
            found = [each._replace(opened={}, sealed_tags={}) for each in found]
        return found[-1:] if scope.latest else found[:1] if scope.earliest else found


@dataclass
class _Walk:
    """What a boundary asked for; a refusal may end it before it has asked for all."""

    covered: set[str] = field(default_factory=set)
    ended: bool = False

    def outside(self, past: Sequence[Recorded]) -> Sequence[Event]:
        return [each.event for each in past if self.ended and each.id not in self.covered]


@dataclass(frozen=True)
class Decided:
    """What came of it."""

    scenario: Scenario
    outcome: Outcome | None
    error: HubError | None
    outside: Sequence[Event]  # Given events that no scope of the boundary covers.

    def then(self, *expected: Event | type[Event] | Callable[[Event], bool]) -> Sequence[Draft]:
        """These events, in this order. An event is compared as a whole, a type by type, a function by its word."""
        drafts = self._drafts()
        for number, (draft, wanted) in enumerate(zip(drafts, expected, strict=False)):
            if isinstance(wanted, type):
                assert isinstance(draft.event, wanted), f"event {number} is {draft.event!r}"
            elif isinstance(wanted, Event):
                assert draft.event == wanted, f"event {number}"
            else:
                assert wanted(draft.event), f"event {number} is {draft.event!r}"
        assert len(drafts) == len(expected), [draft.event.stored_name for draft in drafts]
        return drafts

    def nothing_happened(self) -> Outcome:
        assert self._drafts() == ()
        assert self.outcome is not None
        return self.outcome

    def rejected(self, refusal: type[HubError]) -> HubError:
        assert type(self.error) is refusal, self.error or self.outcome
        self._all_was_covered()
        return self.error

    def _drafts(self) -> Sequence[Draft]:
        if self.error is not None:
            raise self.error
        self._all_was_covered()
        assert self.outcome is not None
        drafts = tuple(self.outcome.drafts)
        for draft in drafts:
            for secret in draft.secrets:
                assert not (isinstance(secret.content, dict) and None in secret.content.values())
        return drafts

    def _all_was_covered(self) -> None:
        assert not self.outside, f"outside every scope of the boundary: {self.outside}"


def _covers(scope: Scope, recorded: Recorded) -> bool:
    if scope.by_id:
        return uuid_bytes(recorded.id) == scope.tag
    tags = {*map(tag_of, recorded.event.tags()), *recorded.sealed_tags}
    return scope.tag in tags and (not scope.types or recorded.event.stored_name in scope.types)


def _recorded(told: Told, position: int) -> Recorded:
    happened = told if isinstance(told, Happened) else Happened(told if isinstance(told, Draft) else Draft(told))
    draft = happened.draft
    envelope = Envelope(
        happened.occurred_at,
        HOUSE,
        happened.role,
        happened.source,
        correlation=happened.correlation,
        causation=happened.causation,
    )
    return Recorded(
        draft.event,
        position,
        draft.id or id_of(f"event {position}"),
        happened.recorded_at,
        envelope,
        (),
        {tag: n for n, secret in enumerate(draft.secrets) for tag in secret.tags},
        {n: secret.content for n, secret in enumerate(draft.secrets)},
    )

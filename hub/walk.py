"""Walking boundaries: what a decision asks of the log, stage by stage, and what it is told.

All boundaries of a slice are walked in step over one snapshot, so that each stage is one reading of the log. Where a
line needs what was decided ahead of it and is not readable yet, its boundary is walked once more with that in view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hub.decider import Boundary, Command, Decider, Draft, Known
from hub.errors import HubError
from hub.events import Envelope, Instant, Recorded, RecordOpened
from hub.events.base import uuid_bytes
from hub.log.read import Scope, Snapshot
from hub.log.wire import tag_of
from hub.names import Name, named

OF_A_RECORD = ("record", "member", "distinct", "facts", "identifiers")
UNPLACED = 1 << 60  # Events decided but not yet appended come after all that are.


@dataclass(slots=True)
class Walk:
    """A boundary walked to its end: what was asked of the log, what came, and the state or the error it led to."""

    scopes: list[Scope] = field(default_factory=list)
    read: dict[str, Recorded] = field(default_factory=dict)  # by event id
    built_on: set[int] = field(default_factory=set)  # Lines of the same slice whose events were read.
    names: dict[str, Name] = field(default_factory=dict)
    state: Any = None
    error: HubError | None = None

    def step(self, steps: Boundary[Any], found: tuple[Sequence[Recorded], ...] | None) -> tuple[Scope, ...] | None:
        """The next stage; None at the end."""
        try:
            stage = next(steps) if found is None else steps.send(found)
        except StopIteration as stop:
            self.state = stop.value
            return None
        except HubError as error:
            self.error = error.kept()
            return None
        self.scopes.extend(stage)
        return stage


class Foreseen(NamedTuple):
    """An event decided but not readable yet."""

    line: int
    place: int
    draft: Draft
    now: Instant
    envelope: Envelope

    def recorded(self) -> Recorded:
        """How it will be read."""
        secrets = self.draft.secrets
        sealed_tags = {tag: n for n, secret in enumerate(secrets) for tag in secret.tags}
        contents = {n: secret.content for n, secret in enumerate(secrets)}
        return Recorded(self.draft.event, self.place, self.draft.id, self.now, self.envelope, (), sealed_tags, contents)


class Ahead:
    """Events decided but not readable yet: of this slice, and of the one before it that is still being written."""

    def __init__(self, before: Ahead | None = None) -> None:
        self._by_tag: dict[bytes, list[Foreseen]] = {}
        self._opened: list[str] = []
        self._fresh: set[bytes] = set()
        self.count: int = before.count if before else 0
        self.before = before

    def add(self, line: int, draft: Draft, now: Instant, envelope: Envelope, hashed: Iterable[bytes]) -> None:
        """`hashed` are the event's open tags; its sealed ones are in the draft."""
        foreseen = Foreseen(line, UNPLACED + self.count, draft, now, envelope)
        self.count += 1
        by_tag = self._by_tag
        id = uuid_bytes(draft.id)  # By which a scope may ask for this one event.
        for tag in (id, *hashed, *(tag for secret in draft.secrets for tag in secret.tags)):
            if tag in by_tag:
                by_tag[tag].append(foreseen)
            else:
                by_tag[tag] = [foreseen]
        if isinstance(draft.event, RecordOpened):
            self._opened.append(draft.event.record)

    def unread(self, scopes: Iterable[Scope]) -> Iterable[Scope]:
        """Without those about a record opened here: nothing of it can be in the log yet."""
        before = self.before._fresh_tags() if self.before else ()
        mine = self._fresh_tags()
        return [scope for scope in scopes if scope.tag not in mine and scope.tag not in before]

    def _fresh_tags(self) -> set[bytes]:
        while self._opened:
            record = self._opened.pop()
            self._fresh.update([tag_of(f"{kind}:{record}") for kind in OF_A_RECORD])
        return self._fresh

    def touches(self, scopes: Iterable[Scope]) -> bool:
        mine = self._by_tag
        before = self.before._by_tag if self.before else {}
        return any(scope.tag in mine or scope.tag in before for scope in scopes)

    def of(self, scope: Scope) -> Iterator[tuple[int, Recorded]]:
        """In order: the line (-1: in the slice before) and its event."""
        if self.before:
            for _, event in self.before.of(scope):
                yield -1, event
        for each in self._by_tag.get(scope.tag, ()):
            if not scope.types or each.draft.event.stored_name in scope.types:
                yield each.line, each.recorded()


Question = tuple[Decider[Any, Any], Any, Known]  # with its command


def in_step(snapshot: Snapshot, questions: Sequence[Question]) -> list[Walk]:
    """Walk all boundaries, one reading of the log a stage."""
    walks = []
    going: list[tuple[Walk, Boundary[Any], tuple[Scope, ...]]] = []
    for decider, command, known in questions:
        walk = Walk()
        walks.append(walk)
        steps = _boundary(decider, command, known, walk)
        if (stage := walk.step(steps, None)) is not None:
            going.append((walk, steps, stage))
    while going:
        snapshot.read([scope for _, _, stage in going for scope in stage])
        still: list[tuple[Walk, Boundary[Any], tuple[Scope, ...]]] = []
        for walk, steps, stage in going:
            found = tuple([snapshot.of(scope) for scope in stage])
            for events in found:
                for event in events:
                    walk.read[event.id] = event
            if (following := walk.step(steps, found)) is not None:
                still.append((walk, steps, following))
        going = still
    return walks


def alone(snapshot: Snapshot, question: Question, ahead: Ahead) -> Walk:
    """Walk one boundary over the snapshot and what was decided ahead of this line."""
    decider, command, known = question
    known.again()
    walk = Walk()
    steps = _boundary(decider, command, known, walk)
    stage = walk.step(steps, None)
    while stage is not None:
        snapshot.read(ahead.unread(stage))
        found = []
        for scope in stage:
            events = {event.id: event for event in snapshot.of(scope)}
            for line, event in ahead.of(scope):
                walk.built_on.add(line)
                events.setdefault(event.id, event)
            seen = list(events.values())
            if scope.latest or scope.earliest:
                seen = seen[-1:] if scope.latest else seen[:1]
            walk.read.update((event.id, event) for event in seen)
            found.append(seen)
        stage = walk.step(steps, tuple(found))
    walk.built_on.discard(-1)
    return walk


def _boundary(decider: Decider[Any, Any], command: Command, known: Known, walk: Walk) -> Boundary[Any]:
    """The command's own boundary; before it, the strings every command may carry in its envelope."""
    if command.correlation is None and command.branch is None:
        return decider.boundary(command, known)
    return _with_names(decider, command, known, walk)


def _with_names(decider: Decider[Any, Any], command: Command, known: Known, walk: Walk) -> Boundary[Any]:
    walk.names = yield from named(known, {"correlation": command.correlation, "branch": command.branch})
    return (yield from decider.boundary(command, known))

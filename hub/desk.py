"""The desk takes commands in, slice by slice, and hands answers out: the shell around every decision.

A slice is decided in order over one snapshot and its own earlier events, and appended under one union condition.
An append that fails names the items that matched, and only those lines, and what built on them, are decided again.
While a slice is being written the next is decided already, on what the one before it is about to add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import orjson
from psycopg import Connection

from hub.decider import Boundary, Decider, Draft, Known, Outcome, Principal, Secret
from hub.errors import Busy, Conflict, Erased, HubError, IdReused
from hub.events import Envelope, Recorded, RecordOpened, SealPointer, encode
from hub.events.base import uuid_bytes
from hub.keys import RecordKey, Vault
from hub.log import wire
from hub.log.append import AlreadyAnswered, Append, Appended, Receipt, Writer
from hub.log.read import MAIN, SQL, Reader, Scope, Snapshot
from hub.names import Name, house_drafts, id_of, named, new_strings

ROUNDS = 5
OF_A_RECORD = ("record", "member", "distinct", "facts", "identifiers")
UNPLACED = 1 << 60  # Events decided but not yet appended come after all that are.

Answer = dict[str, Any]


@dataclass(slots=True)
class Asked:
    """A command that passed its checks; in the end it has an answer or an error."""

    principal: Principal
    decider: Decider[Any, Any]
    command: Any
    id: str
    request: bytes  # HMAC of principal and id
    body: bytes  # HMAC of the whole command
    known: Known
    may_be_known: bool = True  # The id came from outside, so a receipt may exist.
    answer: Answer | None = None
    error: Exception | None = None
    rounds: int = 0


@dataclass(slots=True)
class _Walk:
    """A boundary walked to its end: what was asked of the log, what came, and the state or error it led to."""

    scopes: list[Scope] = field(default_factory=list)
    read: dict[str, Recorded] = field(default_factory=dict)  # by event id
    built_on: set[int] = field(default_factory=set)  # Lines of the same slice whose events were read.
    names: dict[str, Name] = field(default_factory=dict)
    state: Any = None
    error: HubError | None = None


@dataclass(slots=True)
class _Line:
    """A decided line, ready to be appended."""

    asked: Asked
    outcome: Outcome
    walk: _Walk
    drafts: Sequence[Draft]  # Each with its id.
    envelope: Envelope
    receipt: bytes
    prepared: list[wire.Prepared] = field(default_factory=list)


class _Ahead:
    """Events decided but not readable yet: of this slice, and of the one before it that is still being written."""

    def __init__(self, before: _Ahead | None = None) -> None:
        self._by_tag: dict[bytes, list[tuple[int, Recorded]]] = {}
        self._fresh: set[bytes] = set()
        self.count = before.count if before else 0
        self.before = before

    def add(self, line: int, event: Recorded, tags: Iterable[bytes]) -> None:
        self.count += 1
        entry = (line, event)
        for tag in tags:
            self._by_tag.setdefault(tag, []).append(entry)

    def opens(self, record: str) -> None:
        """Nothing about this record can be in the log yet, so nothing need be read."""
        self._fresh.update(wire.tag_of(f"{kind}:{record}") for kind in OF_A_RECORD)

    def unread(self, scopes: Iterable[Scope]) -> Iterable[Scope]:
        before = self.before._fresh if self.before else ()
        return (scope for scope in scopes if scope.tag not in self._fresh and scope.tag not in before)

    def touches(self, scopes: Iterable[Scope]) -> bool:
        mine, before = self._by_tag, self.before
        return any(scope.tag in mine or (before and scope.tag in before._by_tag) for scope in scopes)

    def of(self, scope: Scope) -> Iterator[tuple[int, Recorded]]:
        """In order: the line (-1: in the slice before) and its event."""
        if self.before:
            yield from ((-1, event) for _, event in self.before.of(scope))
        for line, event in self._by_tag.get(scope.tag, ()):
            if not scope.types or event.event.stored_name in scope.types:
                yield line, event


@dataclass(slots=True)
class Slice:
    """Lines on their way: decided and submitted, not yet answered."""

    asked: Sequence[Asked]
    ahead: _Ahead
    head: int = 0
    lines: list[_Line] = field(default_factory=list)
    append: Append | None = None
    items: list[list[int]] = field(default_factory=list)  # The lines that need each item of the condition.
    twins: list[tuple[Asked, Asked]] = field(default_factory=list)  # The same id twice in one slice.
    made: dict[str, RecordKey] = field(default_factory=dict)  # Keys of records opened here.


class Desk:
    """Decides commands; may be used from several threads."""

    def __init__(
        self,
        snapshots: Callable[[], AbstractContextManager[Connection[Any]]],  # each in one repeatable-read transaction
        writer: Writer,
        reader: Reader,
        vault: Vault,
    ) -> None:
        self._snapshots, self._writer, self._reader, self._vault = snapshots, writer, reader, vault

    def begin(self, asked: Sequence[Asked], before: Slice | None = None) -> Slice:
        """Decide these commands and submit what they write. `before` is a slice begun earlier and not yet finished."""
        if before is not None and before.append is None:
            before = None
        slice = Slice(asked, _Ahead(before.ahead if before else None))
        if before is not None:
            before.ahead.before = None  # What lies further back is in the log by now, or this slice will be redone.
        with self._snapshots() as connection:
            snapshot = self._reader.snapshot(connection)
            slice.head = snapshot.head
            fresh = self._answer_known(connection, slice)
            for each, walk in zip(fresh, self._walk_in_step(snapshot, fresh), strict=True):
                self._decide(slice, each, walk, snapshot)
            self._prepare(slice, connection, before)
        if any(line.asked.error for line in slice.lines):  # Without the erased, since others may have built on them.
            return self._without_failed(slice, before)
        self._submit(slice, before)
        return slice

    def _without_failed(self, slice: Slice, before: Slice | None) -> Slice:
        rest = [line.asked for line in slice.lines if line.asked.error is None]
        for each in rest:
            each.known.again()
        again = self.begin(rest, before)
        again.twins.extend(slice.twins)
        return again

    def finish(self, slice: Slice) -> None:
        """Wait until the slice is durable; decide lines again whose boundary moved. Then every line is answered."""
        if slice.append is not None:
            try:
                appended = slice.append.done.result()
            except Conflict as conflict:
                self._decide_again(slice, conflict)
            except AlreadyAnswered:
                for line in slice.lines:
                    line.asked.may_be_known = True
                self._again([line.asked for line in slice.lines])
            except Exception as error:
                for line in slice.lines:
                    line.asked.error = error
            else:
                self._answer(slice, appended)
        for first, twin in slice.twins:
            if first.answer is None:
                twin.error = first.error
            elif first.body != twin.body:
                twin.error = IdReused()
            else:
                twin.answer = first.answer | {"replayed": True}

    def _answer_known(self, connection: Connection[Any], slice: Slice) -> list[Asked]:
        """Answer from receipts what was asked before; the rest is new."""
        known: dict[tuple[str, bytes], tuple[bytes, int | None, int, bytes]] = {}
        if to_look_up := [each for each in slice.asked if each.may_be_known]:
            rows = connection.execute(
                SQL["receipts"],
                (
                    "{" + ",".join([each.principal.id for each in to_look_up]) + "}",
                    "{" + ",".join([f'"\\\\x{each.request.hex()}"' for each in to_look_up]) + "}",
                ),
                binary=True,
                prepare=True,
            )
            known = {(principal, request): rest for principal, request, *rest in rows}  # type: ignore[misc]
        seen: dict[tuple[str, bytes], Asked] = {}
        fresh: list[Asked] = []
        for each in slice.asked:
            asked = (each.principal.id, each.request)
            if asked in known:
                body, first, last, answer = known[asked]
                if body == each.body:
                    each.answer = _answer_of(each.id, first, last, answer) | {"replayed": True}
                else:
                    each.error = IdReused()
            elif asked in seen:
                slice.twins.append((seen[asked], each))
            else:
                seen[asked] = each
                fresh.append(each)
        return fresh

    def _walk_in_step(self, snapshot: Snapshot, asked: Sequence[Asked]) -> list[_Walk]:
        """Walk all boundaries in step, so that each stage of the whole slice is one read."""
        walks = [_Walk() for _ in asked]
        going: list[tuple[_Walk, Boundary[Any], tuple[Scope, ...]]] = []
        for walk, each in zip(walks, asked, strict=True):
            steps = _boundary(each, walk)
            if (stage := _step(walk, steps, None)) is not None:
                going.append((walk, steps, stage))
        while going:
            snapshot.read(scope for _, _, stage in going for scope in stage)
            still: list[tuple[_Walk, Boundary[Any], tuple[Scope, ...]]] = []
            for walk, steps, stage in going:
                found = tuple([snapshot.of(scope) for scope in stage])
                for events in found:
                    for event in events:
                        walk.read[event.id] = event
                if (following := _step(walk, steps, found)) is not None:
                    still.append((walk, steps, following))
            going = still
        return walks

    def _walk_alone(self, snapshot: Snapshot, asked: Asked, ahead: _Ahead) -> _Walk:
        """Walk one boundary again, over the snapshot and what was decided ahead of this line."""
        asked.known.again()
        walk = _Walk()
        steps = _boundary(asked, walk)
        stage = _step(walk, steps, None)
        while stage is not None:
            snapshot.read(ahead.unread(stage))
            found = []
            for scope in stage:
                events = {event.id: event for event in snapshot.of(scope)}
                for line, event in ahead.of(scope):
                    walk.built_on.add(line)
                    events.setdefault(event.id, event)
                last = list(events.values())[-1:] if scope.latest else list(events.values())
                walk.read.update((event.id, event) for event in last)
                found.append(last)
            stage = _step(walk, steps, tuple(found))
        walk.built_on.discard(-1)
        return walk

    def _decide(self, slice: Slice, asked: Asked, walk: _Walk, snapshot: Snapshot) -> None:
        if slice.ahead.touches(walk.scopes):
            walk = self._walk_alone(snapshot, asked, slice.ahead)
        if walk.error is not None:
            asked.error = walk.error
            return
        known, decider, state = asked.known, asked.decider, walk.state
        try:
            events = list(walk.read.values())
            if len(events) > 1:
                events.sort(key=lambda event: event.position)
            for event in events:
                state = decider.evolve(state, event)
            outcome = decider.decide(asked.command, state, known)
        except HubError as error:
            asked.error = error
            return
        drafts = _with_names(known, outcome, walk.names)
        drafts = [draft if draft.id else draft._replace(id=known.new_id()) for draft in drafts]
        number, envelope = len(slice.lines), _envelope(asked, walk.names)
        for draft in drafts:
            assert draft.id is not None
            sealed = [tag for secret in draft.secrets for tag in secret.tags]
            ahead = Recorded(
                draft.event,
                UNPLACED + slice.ahead.count,
                draft.id,
                known.now,
                envelope,
                (),
                frozenset(sealed),
                dict(enumerate(secret.content for secret in draft.secrets)),
            )
            slice.ahead.add(number, ahead, [*map(wire.tag_of, draft.event.tags()), *sealed])
            if isinstance(draft.event, RecordOpened):
                slice.made[draft.event.record] = self._vault.make(draft.event.record)
                slice.ahead.opens(draft.event.record)
        slice.lines.append(_Line(asked, outcome, walk, drafts, envelope, _receipt_answer(outcome, drafts)))

    def _prepare(self, slice: Slice, connection: Connection[Any], before: Slice | None) -> None:
        """Seal, encode and hash the drafts of every line. A line whose record has no key any more is answered so."""
        keys = (before.made if before else {}) | slice.made
        wanted = {s.record for line in slice.lines for draft in line.drafts for s in draft.secrets} - keys.keys()
        keys |= self._vault.keys_of(connection, wanted)
        for line in slice.lines:
            try:
                line.prepared = [self._prepared(draft, line.envelope, keys) for draft in line.drafts]
            except KeyError:
                line.asked.error = Erased()

    def _prepared(self, draft: Draft, envelope: Envelope, keys: dict[str, RecordKey]) -> wire.Prepared:
        assert draft.id is not None
        id, name = uuid_bytes(draft.id), draft.event.stored_name
        seals, sealed_tags = [], []
        for n, secret in enumerate(draft.secrets):
            seals.append(self._vault.seal(keys[secret.record], secret.record, id, n, secret.content, secret.retention))
            sealed_tags.extend((tag, n) for tag in secret.tags)
        pointers = [SealPointer(n, s.record, s.retention, s.digest.hex()) for n, s in enumerate(seals)]
        data = encode(draft.event, envelope, pointers)
        return wire.prepare(
            id, self._reader.types.number(name), name, tuple(draft.event.tags()), data, sealed_tags, seals
        )

    def _submit(self, slice: Slice, before: Slice | None) -> None:
        if not slice.lines:
            return
        events: list[wire.Prepared] = []
        receipts: list[Receipt] = []
        needed: dict[Scope, list[int]] = {}
        opened: list[str] = []
        for number, line in enumerate(slice.lines):
            asked = line.asked
            receipts.append(
                Receipt(
                    uuid_bytes(asked.principal.id),
                    asked.request,
                    asked.body,
                    len(events),
                    len(line.drafts),
                    line.receipt,
                )
            )
            events.extend(line.prepared)
            opened.extend(each.event.record for each in line.drafts if isinstance(each.event, RecordOpened))
            for scope in line.walk.scopes:
                if scope.condition:
                    needed.setdefault(scope, []).append(number)
        slice.items = list(needed.values())
        keys = [
            (uuid_bytes(r), 0, key.number, key.epoch, key.wrapped or b"") for r in opened for key in (slice.made[r],)
        ]
        predecessors = () if before is None or before.append is None else (before.append,)
        items = [self._reader.item(scope) for scope in needed]
        slice.append = Append(MAIN, events, items, slice.head, predecessors, keys, receipts)
        self._writer.submit(slice.append)

    def _decide_again(self, slice: Slice, conflict: Conflict) -> None:
        """Submit the lines nobody disturbed once more as they are, and decide the others anew."""
        assert slice.append is not None
        disturbed = {line for n in conflict.matched if n < len(slice.items) for line in slice.items[n]}
        if slice.append.predecessors and any(each.placed is None for each in slice.append.predecessors):
            disturbed = set(range(len(slice.lines)))
        for number, line in enumerate(slice.lines):
            if line.walk.built_on & disturbed:
                disturbed.add(number)
        kept = Slice([], slice.ahead, slice.head, made=slice.made)
        kept.lines = [line for number, line in enumerate(slice.lines) if number not in disturbed]
        if kept.lines and len(kept.lines) < len(slice.lines):
            for line in kept.lines:
                line.walk.built_on.clear()  # They stand in another slice now, all of what they built on with them.
                line.asked.rounds += 1
            kept.append = None
            before = Slice([], _Ahead())
            before.append = slice.append.predecessors[0] if slice.append.predecessors else None
            self._submit(kept, before)
            self.finish(kept)
        else:
            disturbed = set(range(len(slice.lines)))
        self._again([line.asked for number, line in enumerate(slice.lines) if number in disturbed])

    def _again(self, asked: Sequence[Asked]) -> None:
        for each in asked:
            each.rounds += 1
            each.known.again()
            if each.rounds > ROUNDS:
                each.error = Busy("others keep changing the same customer; ask again")
        if again := [each for each in asked if each.error is None]:
            self.finish(self.begin(again))

    def _answer(self, slice: Slice, appended: Appended) -> None:
        for record, key in slice.made.items():
            self._vault.remember(record, key)
        first = appended.first
        for line in slice.lines:
            last = first + len(line.drafts) - 1
            line.asked.answer = _answer_of(line.asked.id, first if line.drafts else None, last, line.receipt)
            first = last + 1


def _boundary(asked: Asked, walk: _Walk) -> Boundary[Any]:
    command = asked.command
    if command.correlation is not None or command.branch is not None:
        walk.names = yield from named(asked.known, {"correlation": command.correlation, "branch": command.branch})
    return (yield from asked.decider.boundary(command, asked.known))


def _step(walk: _Walk, steps: Boundary[Any], found: tuple[Sequence[Recorded], ...] | None) -> tuple[Scope, ...] | None:
    """The next stage of a boundary; None at its end, with state or error noted."""
    try:
        stage = next(steps) if found is None else steps.send(found)
    except StopIteration as stop:
        walk.state = stop.value
        return None
    except HubError as error:
        walk.error = error
        return None
    walk.scopes.extend(stage)
    return stage


def _envelope(asked: Asked, names: dict[str, Name]) -> Envelope:
    principal = asked.principal
    source = principal.source or getattr(asked.command, "source", None)
    return Envelope(
        asked.known.occurred_at,
        principal.id,
        principal.role,
        source,
        branch=id_of(names, "branch"),
        correlation=id_of(names, "correlation"),
    )


def _with_names(known: Known, outcome: Outcome, names: dict[str, Name]) -> Sequence[Draft]:
    """The drafts, and what gives the envelope's new strings their ids."""
    if not names or not outcome.drafts:
        return outcome.drafts
    first, *others = outcome.drafts
    said, tags = new_strings(names)
    if said:
        record = outcome.record or known.house
        first = first._replace(secrets=(*first.secrets, Secret(record, {"names": said}, tags)))
    return (*house_drafts(known, names), first, *others)


def _receipt_answer(outcome: Outcome, drafts: Sequence[Draft]) -> bytes:
    """What a receipt keeps of an answer: all but positions, which it has itself."""
    kept: dict[str, Any] = {"events": [(draft.event.stored_name, draft.id) for draft in drafts]}
    if outcome.record is not None:
        kept["record"] = outcome.record
        if outcome.members != (outcome.record,):
            kept["members"] = outcome.members
    quarantined = [
        {"item": each.item, "event": draft.id, "path": each.path, "reason": each.reason}
        for draft in drafts
        for each in draft.event.set_aside()
    ]
    if quarantined:
        kept["quarantined"] = quarantined
    if outcome.also:
        kept["also"] = dict(outcome.also)
    return orjson.dumps(kept)


def _answer_of(id: str, first: int | None, last: int, kept: bytes) -> Answer:
    stored = orjson.loads(kept)
    record = stored.get("record")
    members = stored.get("members", [record] if record else [])
    return {
        "id": id,
        "position": last,
        "record": record,
        "customer": members[0] if members else None,
        "members": members,
        "events": [
            {"position": (first or 0) + n, "type": type, "event": event}
            for n, (type, event) in enumerate(stored["events"])
        ],
        "quarantined": stored.get("quarantined", []),
        "replayed": False,
        **stored.get("also", {}),
    }

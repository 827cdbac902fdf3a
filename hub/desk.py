"""The desk takes commands in, slice by slice, and hands answers out: the shell around every decision.

A slice is decided in order over one snapshot and its own earlier events, and appended under one union condition.
An append that fails names the items that matched, and only those lines, and what built on them, are decided again.
While a slice is being written the next is decided already, on what the one before it is about to add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any

from psycopg import Connection

from hub import receipts, writing
from hub.decider import Draft, Known, Outcome, Secret
from hub.errors import Busy, Conflict, HubError, IdReused
from hub.events import Envelope, RecordOpened
from hub.log.append import AlreadyAnswered, Writer
from hub.log.read import Reader, Snapshot
from hub.log.wire import tag_of
from hub.names import Name, house_drafts, id_of, new_strings
from hub.slice import Asked, Line, Slice
from hub.texts import say
from hub.vault import RecordKey, Vault
from hub.walk import Ahead, Walk, alone, in_step

ROUNDS = 5

_position = attrgetter("position")


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
        with self._snapshots() as connection:
            snapshot = self._reader.snapshot(connection)
            if before is not None and before.append is not None and snapshot.holds(before.append.events[:1]):
                before = None  # What others did since to its customers is in the log as well, behind it.
            slice = Slice(
                Ahead(before.ahead if before else None), snapshot.head, before=None if before is None else before.append
            )
            if before is not None:
                before.ahead.before = None  # What lies further back is in the log by now, or this slice will be redone.
            fresh = self._without_twins(slice, asked)
            fresh = self._without_answered(connection, [each for each in fresh if each.look_up], fresh)
            walks = in_step(snapshot, [(each.decider, each.command, each.known) for each in fresh])
            for each, walk in zip(fresh, walks, strict=True):
                self._decide(slice, each, walk, snapshot)
            self._without_answered(connection, [each for each in fresh if each.error and not each.look_up], [])
            self._prepare(slice, connection, before)
        if any(line.asked.error for line in slice.lines):  # Others may have built on what cannot be sealed any more.
            return self._without_failed(slice, before)
        self._submit(slice)
        return slice

    def finish(self, slice: Slice) -> None:
        """Wait until the slice is durable; decide lines again whose boundary moved. Then every line is answered."""
        if slice.append is not None:
            match slice.append.done.exception():
                case None:
                    self._answer(slice, slice.append.done.result().first)
                case Conflict() as conflict:
                    self._decide_again(slice, conflict)
                case AlreadyAnswered():
                    self._again([line.asked for line in slice.lines])
                case Exception() as error:
                    for line in slice.lines:
                        line.asked.error = error
                case error:
                    raise error
        self._doubt(slice)
        self._answer_twins(slice.twins)

    def _doubt(self, slice: Slice) -> None:
        """Let refusals on what was decided ahead stand only where that was written as foreseen, and was not the answer.

        What was ahead may be the same command, sent before: its receipt could not be seen then.
        """
        refusals = [(each, each.error) for each in slice.doubtful if each.error is not None]
        if not refusals:
            return
        doubtful = [each for each, _ in refusals]
        for each in doubtful:
            each.error = None
        appends = [each for each in (slice.before, slice.append) if each is not None]
        if any(each.done.exception() is not None for each in appends):
            self._again(doubtful)
            return
        with self._snapshots() as connection:
            self._without_answered(connection, doubtful, [])
        for each, refusal in refusals:
            if each.answer is None and each.error is None:
                each.error = refusal

    def _answer_twins(self, twins: list[tuple[Asked, Asked]]) -> None:
        """Only an answer holds an id: where the first got none the next is decided itself, and is the first then."""
        while twins:
            heirs: dict[tuple[str, bytes], Asked] = {}
            left = []
            for first, twin in twins:
                if first.answer is None:
                    heir = heirs.setdefault(twin.asked, twin)
                    if heir is not twin:
                        left.append((heir, twin))
                elif first.body != twin.body:
                    twin.error = IdReused()
                else:
                    twin.answer = first.answer | {"replayed": True}
            if heirs:
                self.finish(self.begin(self._afresh(list(heirs.values()))))
            twins = left

    def _without_twins(self, slice: Slice, asked: Sequence[Asked]) -> list[Asked]:
        first_of: dict[tuple[str, bytes], Asked] = {}
        for each in asked:
            first = first_of.setdefault(each.asked, each)
            if first is not each:
                slice.twins.append((first, each))
        return list(first_of.values())

    def _without_answered(
        self, connection: Connection[Any], looked_up: Sequence[Asked], asked: list[Asked]
    ) -> list[Asked]:
        """Answer from receipts what was asked before; the rest is new."""
        given = receipts.find(connection, [each.asked for each in looked_up if each.may_be_known])
        if not given:
            return asked
        for each in looked_up:
            if (receipt := given.get(each.asked)) is not None:
                each.error = None
                if receipt.body == each.body:
                    each.answer = receipts.replayed(each.id, receipt)
                else:
                    each.error = IdReused()
        return [each for each in asked if each.asked not in given]

    def _decide(self, slice: Slice, asked: Asked, walk: Walk, snapshot: Snapshot) -> None:
        foreseen = slice.ahead.touches(walk.scopes)
        try:
            if foreseen:
                walk = alone(snapshot, (asked.decider, asked.command, asked.known), slice.ahead)
            outcome = _outcome(asked, walk)
        except Exception as error:
            if not (foreseen or isinstance(error, HubError)):
                raise
            asked.error = error.kept() if isinstance(error, HubError) else error
            if foreseen:
                slice.doubtful.append(asked)
            return
        known = asked.known
        drafts = _with_names(known, outcome, walk.names)
        number, envelope, tags = len(slice.lines), _envelope(asked, walk.names), []
        for draft in drafts:
            if not draft.id:
                draft.id = known.new_id()
            texts = tuple(draft.event.tags())
            hashed = [tag_of(text) for text in texts]
            tags.append((texts, hashed))
            slice.ahead.add(number, draft, known.now, draft.within(envelope), hashed)
            if isinstance(draft.event, RecordOpened):
                slice.made[draft.event.record] = self._vault.make(draft.event.record)
        slice.lines.append(Line(asked, outcome, walk, drafts, tags, envelope, receipts.kept(outcome, drafts)))

    def _prepare(self, slice: Slice, connection: Connection[Any], before: Slice | None) -> None:
        """Everything that can be done before the log is locked."""
        keys: dict[str, RecordKey | None] = {**(before.made if before else {}), **slice.made}
        wanted = {s.record for line in slice.lines for draft in line.drafts for s in draft.secrets}
        keys |= self._vault.keys_of(connection, wanted - keys.keys())
        for line in slice.lines:
            writing.prepare(line, keys, self._reader.types, self._vault)

    def _without_failed(self, slice: Slice, before: Slice | None) -> Slice:
        again = self.begin(self._afresh([line.asked for line in slice.lines if line.asked.error is None]), before)
        again.twins.extend(slice.twins)
        again.doubtful.extend(slice.doubtful)
        return again

    def _submit(self, slice: Slice) -> None:
        if slice.lines:
            slice.append = writing.appended(slice, self._reader)
            self._writer.submit(slice.append)

    def _decide_again(self, slice: Slice, conflict: Conflict) -> None:
        """Submit the lines nobody disturbed once more as they are, and decide the others anew."""
        assert slice.append is not None
        disturbed = {line for n in conflict.matched if n < len(slice.items) for line in slice.items[n]}
        if not disturbed or (slice.before is not None and slice.before.placed is None):
            disturbed = set(range(len(slice.lines)))
        for number, line in enumerate(slice.lines):
            if line.walk.built_on & disturbed:
                disturbed.add(number)
        if len(disturbed) < len(slice.lines):
            undisturbed = slice.without(disturbed)
            self._submit(undisturbed)
            self.finish(undisturbed)
        self._again([line.asked for number, line in enumerate(slice.lines) if number in disturbed])

    def _again(self, asked: Sequence[Asked]) -> None:
        for each in asked:
            each.rounds += 1
            if each.rounds > ROUNDS:
                each.error = Busy(say("contended"))
        if again := [each for each in asked if each.error is None]:
            self.finish(self.begin(self._afresh(again)))

    def _afresh(self, asked: Sequence[Asked]) -> Sequence[Asked]:
        for each in asked:
            each.known.again()
            each.look_up = True
        return asked

    def _answer(self, slice: Slice, first: int) -> None:
        for record, key in slice.made.items():
            self._vault.remember(record, key)
        for line in slice.lines:
            line.asked.answer = receipts.answered(line.asked.id, first, line.outcome, line.drafts, line.kept)
            first += len(line.drafts)


def _outcome(asked: Asked, walk: Walk) -> Outcome:
    if walk.error is not None:
        raise walk.error
    state = walk.state
    events = list(walk.read.values())
    if len(events) > 1:
        events.sort(key=_position)
    for event in events:
        state = asked.decider.evolve(state, event)
    return asked.decider.decide(asked.command, state, asked.known)


def _envelope(asked: Asked, names: dict[str, Name]) -> Envelope:
    principal = asked.principal
    source = principal.source or getattr(asked.command, "source", None)
    if not names:
        return Envelope(asked.known.occurred_at, principal.id, principal.role, source)
    branch, correlation = id_of(names, "branch"), id_of(names, "correlation")
    return Envelope(
        asked.known.occurred_at, principal.id, principal.role, source, branch=branch, correlation=correlation
    )


def _with_names(known: Known, outcome: Outcome, names: dict[str, Name]) -> Sequence[Draft]:
    """The drafts, and what gives the envelope's new strings their ids."""
    if not names or not outcome.drafts:
        return outcome.drafts
    first = outcome.drafts[0]
    said, tags = new_strings(names)
    if said:
        record = outcome.record or known.house
        first.secrets = (*first.secrets, Secret(record, {"names": said}, tags))
    return (*house_drafts(known, names), *outcome.drafts)

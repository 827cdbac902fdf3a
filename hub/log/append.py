"""The group-commit writer: one a process, it gathers waiting appends into one transaction and one fsync.

One row of `log`, locked FOR UPDATE, orders the writers of all processes. The head is the last event's position, read
under that lock by a statement of its own, so positions are gapless and in commit order. A condition is matched in
memory against what came after it; only what reaches further back is probed in the index.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from hub.database import load_queries
from hub.errors import Busy, Conflict, HubError
from hub.log import wire
from hub.log.recent import Chunk, Item, Recent
from hub.observer import Observers
from hub.texts import say

LOCK_TIME = 0.040  # Seconds a group may be expected to hold the lock.
SINGLE = 16  # Events of an append that may go before the parts of a load.
DELTA_READ = 20_000  # Events of other writers read under the lock at most; beyond that the window starts anew.
RECONNECT_FOR = 15.0  # Seconds before a waiting append is told that the database is away.

SQL = load_queries(__file__)


class AlreadyAnswered(HubError):
    """A command of this append has a receipt; another process, or another request, was first."""


class Receipt(NamedTuple):
    """What a command is answered. Its events are `written` of the append's, from index `first` on."""

    principal: bytes
    request: bytes
    body: bytes
    first: int
    written: int
    answer: bytes


@dataclass(slots=True)
class Append:
    """Events that go in together or not at all, on condition that nothing in `items` was recorded after `after`.

    What `predecessors` append after it is known to the decision and does not count; they were submitted before
    through the same writer, and where one of them is refused so is this, as if every item had matched. They are let
    go when the outcome is known; else each append would hold on to all that were ever before it.
    """

    log: int
    events: Sequence[wire.Prepared]
    items: Sequence[Item] = ()
    after: int | None = None
    predecessors: Sequence[Append] = ()
    keys: Sequence[tuple[bytes, int, int, int, bytes]] = ()  # record, class, number, epoch, wrapped
    receipts: Sequence[Receipt] = ()
    unsealed: Sequence[tuple[bytes, int]] = ()  # Seals that are deleted, by event id and number.
    done: Future[Appended] = field(default_factory=Future)
    placed: range | None = None  # The positions given, while the outcome is open or when it was success.


class Appended(NamedTuple):
    """Where the events went. Without events `first` is head + 1."""

    first: int
    head: int
    recorded_at: int


class Writer:
    """Takes appends from any thread; `append.done` resolves after COMMIT returned."""

    def __init__(self, connect: Callable[[], Connection[Any]], observers: Observers = ()) -> None:
        self._connect, self._observers = connect, observers
        self._connection: Connection[Any] | None = None
        self._queue: SimpleQueue[Append | None] = SimpleQueue()
        self._load_is_due = False
        self._waiting: deque[Append] = deque()
        self._recent: dict[int, Recent] = {}
        self._seconds_per_event = LOCK_TIME / 1000
        self._in_doubt = False  # Whether what was sent on a lost connection was committed.
        self._closing = False
        self._door = Lock()
        self._thread = Thread(target=self._run, name="hub-writer", daemon=True)
        self._thread.start()

    def submit(self, append: Append) -> Future[Appended]:
        with self._door:
            if self._closing:
                raise Busy(say("shutting_down"))
            self._queue.put(append)
        return append.done

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        with self._door:
            self._closing = True
            self._queue.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while (group := self._take()) is not None:
            try:
                self._commit(group)
            except BaseException as error:  # The thread must outlive whatever one group did.
                self._let_go()
                for append in group:
                    if not append.done.done():
                        _refuse(append, error)

    def _let_go(self, *, usable: bool = True) -> bool:
        """End whatever transaction is open, and with it the lock. False when the connection is no longer usable."""
        if self._connection is None or self._connection.closed:
            return False
        if usable:
            try:
                self._connection.rollback()
                return True
            except psycopg.Error:
                pass  # Broken, or in the midst of a pipeline that cannot be ended.
        self._connection.close()
        return False

    def _take(self) -> list[Append] | None:
        """The next appends to one log, up to the lock time allowed."""
        if not self._waiting:
            first = self._queue.get()
            if first is None:
                return None
            self._waiting.append(first)
        while len(self._waiting) < 2000:
            try:
                append = self._queue.get_nowait()
            except Empty:
                break
            if append is None:
                self._queue.put(None)  # Seen again when all before it is done.
                break
            self._waiting.append(append)
        most = self._singles_first()
        log, room = self._waiting[0].log, LOCK_TIME / self._seconds_per_event
        group: list[Append] = []
        others: deque[Append] = deque()
        while self._waiting:
            append = self._waiting.popleft()
            if append.log != log or len(group) == most or (group and room < len(append.events)):
                others.append(append)
                others.extend(self._waiting)
                self._waiting.clear()
                break
            group.append(append)
            room -= max(1, len(append.events))
        self._waiting = others
        return group

    def _singles_first(self) -> int:
        """Where more waits than one group takes: the single ones first and alone, in turn with the load.

        Answers how many appends the next group may have.
        """
        crowded = sum([len(append.events) for append in self._waiting]) > LOCK_TIME / self._seconds_per_event
        singles = [append for append in self._waiting if not _is_large(append)] if crowded else []
        if not singles or self._load_is_due or len(singles) == len(self._waiting):
            self._load_is_due = False
            return len(self._waiting)
        self._load_is_due = True
        self._waiting = deque(sorted(self._waiting, key=_is_large))
        return len(singles)

    def _commit(self, group: list[Append]) -> None:
        """Commit the group; when it fails as a whole, each append alone, so that only the poison fails."""
        deadline = time.monotonic() + RECONNECT_FOR
        while True:
            try:
                self._attempt(group)
                return
            except Exception as error:
                in_order = self._let_go(
                    usable=not isinstance(error, psycopg.OperationalError) or error.sqlstate is not None
                )
                lost = isinstance(error, psycopg.Error) and not in_order
                if lost or isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                    if time.monotonic() > deadline:
                        raise Busy(say("database_away")) from error
                    time.sleep(0.1)
                    continue
                if len(group) > 1:
                    for append in group:
                        if not append.done.done():
                            self._commit([append])
                elif group[0].done.done():
                    pass
                elif isinstance(error, psycopg.errors.UniqueViolation) and error.diag.table_name == "receipt":
                    _refuse(group[0], AlreadyAnswered())
                else:
                    _refuse(group[0], error)
                return

    def _attempt(self, group: list[Append]) -> None:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = self._connect()
            self._recent.clear()
            self._in_doubt = True
        connection = self._connection
        assert connection is not None
        log = group[0].log
        recent = self._recent.setdefault(log, Recent())
        pending = [append for append in group if not append.done.done()]
        for append in pending:
            append.placed = None
        self._probe_early(connection, log, recent, pending)

        started = time.monotonic()
        with connection.pipeline():
            connection.execute(SQL["lock"], (log,), prepare=True)
            found = connection.execute(SQL["head"], (log,), prepare=True, binary=True)
        head, recorded_at = found.fetchone() or (0, 0)
        self._catch_up(connection, log, recent, head, recorded_at)
        if self._in_doubt:
            self._resolve_committed(connection, pending)
            self._in_doubt = False

        now = max(time.time_ns() // 1000, recent.recorded_at)
        rows = _Rows(log, now, head)
        accepted: list[tuple[Append, Appended]] = []
        refused: list[tuple[Append, HubError]] = []  # Told after COMMIT, since what they met may not be committed.
        for append in pending:
            if append.done.done():
                continue
            matched = self._matched(connection, log, recent, rows.chunk, append)
            if matched:
                refused.append((append, Conflict(matched)))
            elif any(
                (each.principal, each.request) in rows.chunk.receipts
                or recent.knows_receipt((each.principal, each.request))
                for each in append.receipts
            ):
                refused.append((append, AlreadyAnswered()))
            else:
                accepted.append((append, rows.add(append)))
        if accepted:
            rows.copy(connection)
            _unseal(connection, [each for append, _ in accepted for each in append.unsealed])
        with connection.pipeline():
            if accepted:
                connection.execute("SELECT pg_notify(%s, %s)", (channel(log), str(rows.head)), prepare=True)
            connection.commit()

        if accepted:
            recent.add(rows.chunk, now)
        if rows.head > head:
            spent = (time.monotonic() - started) / (rows.head - head)
            self._seconds_per_event += 0.1 * (min(spent, LOCK_TIME / 200) - self._seconds_per_event)
        for append, appended in accepted:
            _accept(append, appended)
        for append, error in refused:
            _refuse(append, error)
        for each in self._observers:
            each.committed(group, rows.head - head, time.monotonic() - started)

    def _probe_early(self, connection: Connection[Any], log: int, recent: Recent, group: list[Append]) -> None:
        """Match what reaches back before the window outside the lock; it then reaches back to the head only."""
        far = [
            each
            for each in group
            if each.items
            and (each.after is None or each.after < recent.start)
            and all(before.placed is not None for before in each.predecessors)
        ]
        if not far or recent.start < 0:
            return
        found = connection.execute(SQL["head"], (log,), prepare=True, binary=True).fetchone()
        head = found[0] if found else 0
        matched = probe(connection, log, far)
        connection.commit()
        for append, items in zip(far, matched, strict=True):
            if items:  # What is in the log stays there, so this is final, however often the group is tried.
                _refuse(append, Conflict(items))
            else:
                append.after = max(append.after or 0, head)

    def _matched(
        self, connection: Connection[Any], log: int, recent: Recent, group: Chunk, append: Append
    ) -> frozenset[int]:
        if any(each.placed is None for each in append.predecessors):
            return frozenset(range(max(1, len(append.items))))
        if not append.items:
            return frozenset()
        after = append.after or 0
        own = [each.placed for each in append.predecessors if each.placed is not None]
        if append.after is None or after < recent.start:
            (matched,) = probe(connection, log, [append])
        else:
            matched = recent.matched(append.items, after, own)
        return matched.union(group.matched(append.items, after, own))

    def _catch_up(self, connection: Connection[Any], log: int, recent: Recent, head: int, recorded_at: int) -> None:
        """Read what other writers appended since, or start the window anew where that is too much."""
        if recent.head == head:
            return
        if recent.head < 0 or head - recent.head > DELTA_READ or head < recent.head:
            recent.restart(head, recorded_at)
            return
        sealed: dict[int, list[bytes]] = {}
        for position, tag in connection.execute(SQL["new_sealed"], (log, recent.head), prepare=True, binary=True):
            sealed.setdefault(position, []).append(tag)
        chunk = Chunk(recent.head + 1)
        for position, type, tags in connection.execute(SQL["new_open"], (log, recent.head), prepare=True, binary=True):
            chunk.events.append((type, (*map(wire.tag_of, tags), *sealed.get(position, ()))))
        recent.add(chunk, recorded_at)

    def _resolve_committed(self, connection: Connection[Any], group: list[Append]) -> None:
        """After a lost connection: answer what was committed after all. The lock says that transaction has ended."""
        firsts = {append.events[0].id: append for append in group if append.events}
        for id, position in connection.execute(SQL["stored"], ([id.hex() for id in firsts],), binary=True):
            append = firsts[id]
            last = position + len(append.events) - 1
            row = connection.execute(
                "SELECT recorded_at FROM event WHERE log = %s AND position = %s", (append.log, last)
            ).fetchone()
            assert row is not None
            append.placed = range(position, last + 1)
            _accept(append, Appended(position, last, row[0]))


def _unseal(connection: Connection[Any], seals: Sequence[tuple[bytes, int]]) -> None:
    """Delete these seals, and what is found by them. The events stay, and their leaves still verify."""
    if seals:
        ids, numbers = zip(*seals, strict=True)
        connection.execute(SQL["unseal"], (_array(id.hex() for id in ids), _array(numbers)))


def _accept(append: Append, appended: Appended) -> None:
    append.predecessors = ()
    append.done.set_result(appended)


def _is_large(append: Append) -> bool:
    """Part of a load, or built on what has still to be written before it."""
    return len(append.events) > SINGLE or not all(each.done.done() for each in append.predecessors)


def _refuse(append: Append, error: BaseException) -> None:
    append.placed, append.predecessors = None, ()
    append.done.set_exception(error)


def channel(log: int) -> str:
    """The notification channel of a log; the payload is its head."""
    return f"hub_log_{log}"


def probe(connection: Connection[Any], log: int, appends: Sequence[Append]) -> list[frozenset[int]]:
    """Of each append the items that match what came after it and is not its predecessors'; asked of the index."""
    matched: list[set[int]] = [set() for _ in appends]
    together: dict[tuple[range, ...], list[int]] = {}  # All without predecessors are asked at once.
    for at, append in enumerate(appends):
        together.setdefault(tuple(each.placed for each in append.predecessors if each.placed), []).append(at)
    for own, places in together.items():
        spared = [each.start for each in own], [each.stop for each in own]
        tagged = [(at, n, item) for at in places for n, item in enumerate(appends[at].items) if item.tags]
        if tagged:
            rows = connection.execute(
                SQL["matched"],
                {
                    "log": log,
                    "tag": _array(item.tags[0].hex() for _, _, item in tagged),
                    "others": _array(_nested(tag.hex() for tag in item.tags[1:]) for _, _, item in tagged),
                    "types": _array("NULL" if item.types is None else _nested(item.types) for _, _, item in tagged),
                    "after": _array(appends[at].after or 0 for at, _, _ in tagged),
                    "from": spared[0],
                    "to": spared[1],
                },
                prepare=True,
            )
            for (i,) in rows:
                matched[tagged[i - 1][0]].add(tagged[i - 1][1])
        for at in places:
            for n, item in enumerate(appends[at].items):
                if not item.tags:
                    types = None if item.types is None else sorted(item.types)
                    asked = (log, appends[at].after or 0, types, types, *spared)
                    if connection.execute(SQL["matched_untagged"], asked).fetchone() == (True,):
                        matched[at].add(n)
    return [frozenset(each) for each in matched]


def _array(elements: Iterable[object]) -> str:
    """An array as one text parameter, which costs far less to pass than a list."""
    return "{" + ",".join(map(str, elements)) + "}"


def _nested(elements: Iterable[object]) -> str:
    return f'"{_array(elements)}"'


class _Rows:
    """The rows of one commit. Those of a table are packed while the server already takes in the first of them."""

    RUN = 200  # Events packed before they are handed over.

    def __init__(self, log: int, now: int, head: int) -> None:
        self._log, self._now, self.head = log, now, head
        self.chunk = Chunk(head + 1)
        self._placed: list[tuple[int, Append]] = []

    def add(self, append: Append) -> Appended:
        """Number the append's events."""
        first = self.head + 1
        self.head += len(append.events)
        self.chunk.events.extend(
            [
                (each.type, each.tags + [tag for tag, _ in each.sealed_tags] if each.sealed_tags else each.tags)
                for each in append.events
            ]
        )
        self.chunk.receipts.update([(receipt.principal, receipt.request) for receipt in append.receipts])
        self._placed.append((first, append))
        append.placed = range(first, self.head + 1)
        return Appended(first, self.head, self._now)

    def copy(self, connection: Connection[Any]) -> None:
        for table, pieces in (
            ("event (log, position, id, type, recorded_at, tags, data, leaf)", self._events()),
            ("tag (log, tag, position, type, seal)", self._tags()),
            ("seal (log, position, seal, record, class, key, box)", self._seals()),
            ("record_key (record, class, key, epoch, wrapped)", self._keys()),
            ("receipt (principal, request, body, first, last, answer)", self._receipts()),
        ):
            filled = filter(None, pieces)
            first = next(filled, None)
            if first is not None:
                with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)".encode()) as copy:
                    copy.write(wire.COPY_HEADER + first)
                    for piece in filled:
                        copy.write(piece)
                    copy.write(wire.COPY_TRAILER)

    def _runs(self) -> Iterator[tuple[int, Sequence[wire.Prepared]]]:
        """Events in a row, with the position of the first."""
        for first, append in self._placed:
            for at in range(0, len(append.events), self.RUN):
                yield first + at, append.events[at : at + self.RUN]

    def _events(self) -> Iterator[bytes]:
        return (wire.event_rows(self._log, self._now, first, events) for first, events in self._runs())

    def _tags(self) -> Iterator[bytes]:
        return (wire.tag_rows(self._log, first, events) for first, events in self._runs())

    def _seals(self) -> Iterator[bytes]:
        return (wire.seal_rows(self._log, first, events) for first, events in self._runs())

    def _keys(self) -> Iterator[bytes]:
        return (wire.key_row(*key) for _, append in self._placed for key in append.keys)

    def _receipts(self) -> Iterator[bytes]:
        for first, append in self._placed:
            for each in append.receipts:
                start = first + each.first
                last = start + each.written - 1
                place = start if each.written else None
                yield wire.receipt_row(each.principal, each.request, each.body, place, last, each.answer)

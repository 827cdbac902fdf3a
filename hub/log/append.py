"""The group-commit writer: one a process, it gathers waiting appends into one transaction and one fsync.

One row of `log`, locked FOR UPDATE, orders the writers of all processes. The head is the last event's position, read
under that lock by a statement of its own, so positions are gapless and in commit order. A condition is matched in
memory against what came after it; only what reaches further back is probed in the index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from hub.database import load_queries
from hub.errors import Busy, Conflict, HubError
from hub.log import wire
from hub.log.packing import Rows
from hub.log.probe import array, probe
from hub.log.recent import Chunk, Item, Recent
from hub.log.waiting import Waiting
from hub.observer import Observers
from hub.texts import say

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
        self._waiting = Waiting()
        self._recent: dict[int, Recent] = {}
        self._in_doubt = False  # Whether what was sent on a lost connection was committed.
        self._away_since: float | None = None  # Nobody waits longer because somebody else did before.
        self._closing = False
        self._door = Lock()
        self._thread = Thread(target=self._run, name="hub-writer", daemon=True)
        self._thread.start()

    def submit(self, append: Append) -> Future[Appended]:
        with self._door:
            if self._closing:
                raise Busy(say("shutting_down"))
            self._waiting.put(append)
        return append.done

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        with self._door:
            self._closing = True
            self._waiting.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while (group := self._waiting.take()) is not None:
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

    def _commit(self, group: list[Append]) -> None:
        """Commit the group; when it fails as a whole, each append alone, so that only the poison fails."""
        while True:
            began = time.monotonic()
            try:
                self._attempt(group)
                self._away_since = None
                return
            except Exception as error:
                in_order = self._let_go(
                    usable=not isinstance(error, psycopg.OperationalError) or error.sqlstate is not None
                )
                lost = isinstance(error, psycopg.Error) and not in_order
                if lost or isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                    self._away_since = self._away_since or began
                    if time.monotonic() > self._away_since + RECONNECT_FOR:
                        for append in group:
                            if not append.done.done():
                                _refuse(append, Busy(say("database_away")))
                        return
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
        rows = Rows(log, now, head)
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
                first = rows.add(append)
                accepted.append((append, Appended(first, rows.head, now)))
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
            self._waiting.learn(rows.head - head, time.monotonic() - started)
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
        connection.execute(SQL["unseal"], (array(id.hex() for id in ids), array(numbers)))


def _accept(append: Append, appended: Appended) -> None:
    append.predecessors = ()
    append.done.set_result(appended)


def _refuse(append: Append, error: BaseException) -> None:
    append.placed, append.predecessors = None, ()
    if isinstance(error, psycopg.Error):  # Says where by itself; the frames it was raised through hold the append.
        error = error.with_traceback(None)
    append.done.set_exception(error)


def channel(log: int) -> str:
    """The notification channel of a log; the payload is its head."""
    return f"hub_log_{log}"

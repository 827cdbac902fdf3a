"""The group-commit writer: one a process, it gathers waiting appends into one transaction and one fsync.

One row of `log`, locked FOR UPDATE, orders the writers of all processes. The head is the last event's position, read
under that lock by a statement of its own, so positions are gapless and in commit order. A condition is matched in
memory against what came after it; only what reaches further back is probed in the index.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import psycopg
from psycopg import Connection

from hub.database import load_queries
from hub.errors import Busy, Conflict, HubError
from hub.log import wire
from hub.log.recent import Chunk, Item, Recent

LOCK_TIME = 0.040  # Seconds a group may be expected to hold the lock.
DELTA_READ = 20_000  # Events of other writers read under the lock at most; beyond that the window starts anew.
RECONNECT_FOR = 15.0  # Seconds before a waiting append is told that the database is away.

SQL = load_queries(__file__)


class AlreadyAnswered(HubError):
    """A command of this append has a receipt; another process, or another request, was first."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a command is answered. Its events are `count` of the append's, from index `first` on."""

    principal: bytes
    request: bytes
    body: bytes
    first: int
    count: int
    answer: bytes


@dataclass(slots=True)
class Append:
    """Events that go in together or not at all, on condition that nothing in `items` was recorded after `after`.

    What `predecessors` append after it is known to the decision and does not count; they were submitted before
    through the same writer, and where one of them is refused so is this, as if every item had matched.
    """

    log: int
    events: Sequence[wire.Prepared]
    items: Sequence[Item] = ()
    after: int | None = None
    predecessors: Sequence[Append] = ()
    keys: Sequence[tuple[bytes, int, int, int, bytes]] = ()  # record, class, number, epoch, wrapped
    receipts: Sequence[Receipt] = ()
    done: Future[Appended] = field(default_factory=Future)
    placed: range | None = None  # The positions given, while the outcome is open or when it was success.


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the events went. Without events `first` is head + 1."""

    first: int
    head: int
    recorded_at: int


class Writer:
    """Takes appends from any thread; `append.done` resolves after COMMIT returned."""

    def __init__(self, connect: Callable[[], Connection[Any]]) -> None:
        self._connect = connect
        self._connection: Connection[Any] | None = None
        self._queue: SimpleQueue[Append | None] = SimpleQueue()
        self._waiting: deque[Append] = deque()
        self._recent: dict[int, Recent] = {}
        self._seconds_per_event = LOCK_TIME / 1000
        self._closing = False
        self._thread = Thread(target=self._run, name="hub-writer", daemon=True)
        self._thread.start()

    def submit(self, append: Append) -> Future[Appended]:
        if self._closing:
            raise Busy("the hub is shutting down")
        self._queue.put(append)
        return append.done

    def close(self) -> None:
        """Finish what was submitted, then stop."""
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
                for append in group:
                    if not append.done.done():
                        append.done.set_exception(error)

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
        log, room = self._waiting[0].log, LOCK_TIME / self._seconds_per_event
        group: list[Append] = []
        others: deque[Append] = deque()
        while self._waiting:
            append = self._waiting.popleft()
            if append.log != log or (group and room < len(append.events)):
                others.append(append)
                others.extend(self._waiting)
                self._waiting.clear()
                break
            group.append(append)
            room -= max(1, len(append.events))
        self._waiting = others
        return group

    def _commit(self, group: list[Append]) -> None:
        """Commit the group; when it fails as a whole, each append alone, so that only the poison fails."""
        deadline = time.monotonic() + RECONNECT_FOR
        while True:
            try:
                self._attempt(group)
                return
            except psycopg.OperationalError as error:
                if self._connection is not None and not self._connection.closed and not self._connection.broken:
                    self._connection.rollback()
                    if not isinstance(error, psycopg.errors.LockNotAvailable):
                        raise
                if time.monotonic() > deadline:
                    raise Busy("the database is away; ask again with the same id") from error
                time.sleep(0.1)
            except psycopg.Error as error:
                assert self._connection is not None
                self._connection.rollback()
                if len(group) > 1:
                    for append in group:
                        if not append.done.done():
                            self._commit([append])
                elif isinstance(error, psycopg.errors.UniqueViolation) and error.diag.table_name == "receipt":
                    group[0].done.set_exception(AlreadyAnswered())
                else:
                    group[0].done.set_exception(error)
                return

    def _attempt(self, group: list[Append]) -> None:
        fresh = self._connection is None or self._connection.closed or self._connection.broken
        if fresh:
            self._connection = self._connect()
            self._recent.clear()
        connection = self._connection
        assert connection is not None
        log = group[0].log
        recent = self._recent.setdefault(log, Recent())
        pending = [append for append in group if not append.done.done()]
        for append in pending:
            append.placed = None
        early = self._probe_early(connection, log, recent, pending)

        started = time.monotonic()
        with connection.pipeline():
            connection.execute(SQL["lock"], (log,), prepare=True)
            found = connection.execute(SQL["head"], (log,), prepare=True, binary=True)
        head, recorded_at = found.fetchone() or (0, 0)
        self._catch_up(connection, log, recent, head, recorded_at)
        if fresh:
            self._resolve_committed(connection, pending)

        now = max(time.time_ns() // 1000, recent.recorded_at)
        rows = _Rows(log, now, head, Chunk(head + 1, head))
        accepted: list[tuple[Append, Appended]] = []
        for append in pending:
            if append.done.done():
                continue
            matched = early.get(id(append)) or self._matched(connection, log, recent, rows.chunk, append)
            if matched:
                append.done.set_exception(Conflict(matched))
            elif any(
                (each.principal, each.request) in rows.chunk.receipts
                or recent.knows_receipt((each.principal, each.request))
                for each in append.receipts
            ):
                append.done.set_exception(AlreadyAnswered())
            else:
                accepted.append((append, rows.add(append)))
        if accepted:
            rows.copy(connection)
        with connection.pipeline():
            if accepted:
                connection.execute("SELECT pg_notify(%s, %s)", (channel(log), str(rows.head)), prepare=True)
            connection.commit()

        recent.add(rows.chunk, now)
        if rows.head > head:
            spent = (time.monotonic() - started) / (rows.head - head)
            self._seconds_per_event += 0.1 * (min(spent, LOCK_TIME / 200) - self._seconds_per_event)
        for append, appended in accepted:
            append.done.set_result(appended)

    def _probe_early(
        self, connection: Connection[Any], log: int, recent: Recent, group: list[Append]
    ) -> dict[int, frozenset[int]]:
        """Match, outside the lock, the conditions that reach back before the window; they then reach back to the head."""
        far = [each for each in group if each.items and (each.after is None or each.after < recent.start)]
        if not far or recent.start < 0:
            return {}
        found = connection.execute(SQL["head"], (log,), prepare=True, binary=True).fetchone()
        refused = {id(append): probe(connection, log, append) for append in far}
        connection.commit()
        for append in far:
            append.after = max(append.after or 0, found[0] if found else 0)
        return refused

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
            matched = probe(connection, log, append)
        else:
            matched = recent.matched(append.items, after, own)
        return matched | frozenset(n for n, item in enumerate(append.items) if group.matches(item, after, own))

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
        chunk = Chunk(recent.head + 1, recent.head)
        for position, type, tags in connection.execute(SQL["new_open"], (log, recent.head), prepare=True, binary=True):
            chunk.add(position, type, (*map(wire.tag_of, tags), *sealed.get(position, ())))
        recent.add(chunk, recorded_at)

    def _resolve_committed(self, connection: Connection[Any], group: list[Append]) -> None:
        """After a lost connection: answer what was committed after all. The lock says the old transaction has ended."""
        firsts = {append.events[0].id: append for append in group if append.events}
        for id, position in connection.execute(SQL["stored"], ([id.hex() for id in firsts],), binary=True):
            append = firsts[id]
            last = position + len(append.events) - 1
            row = connection.execute(
                "SELECT recorded_at FROM event WHERE log = %s AND position = %s", (append.log, last)
            ).fetchone()
            assert row is not None
            append.done.set_result(Appended(position, last, row[0]))


def channel(log: int) -> str:
    """The notification channel of a log; the payload is its head."""
    return f"hub_log_{log}"


def probe(connection: Connection[Any], log: int, append: Append) -> frozenset[int]:
    """Which items match an event after `append.after`, asked of the index."""
    after = append.after or 0
    tagged = [(n, item) for n, item in enumerate(append.items) if item.tags]
    matched: set[int] = set()
    if tagged:
        rows = connection.execute(
            SQL["matched"],
            {
                "log": log,
                "n": [n for n, _ in tagged],
                "tag": [item.tags[0].hex() for _, item in tagged],
                "others": ["{" + ",".join(tag.hex() for tag in item.tags[1:]) + "}" for _, item in tagged],
                "types": [_types(item) for _, item in tagged],
                "after": [after] * len(tagged),
            },
        )
        matched.update(n for (n,) in rows)
    for n, item in enumerate(append.items):
        if not item.tags:
            types = None if item.types is None else sorted(item.types)
            found = connection.execute(SQL["matched_untagged"], (log, after, types, types)).fetchone()
            if found and found[0]:
                matched.add(n)
    return frozenset(matched)


def _types(item: Item) -> str | None:
    return None if item.types is None else "{" + ",".join(map(str, sorted(item.types))) + "}"


class _Rows:
    """The rows of one commit, packed for COPY."""

    TABLES = (
        ("event", "(log, position, id, type, recorded_at, tags, data, leaf)"),
        ("tag", "(log, tag, position, type, seal)"),
        ("seal", "(log, position, seal, record, class, key, box)"),
        ("record_key", "(record, class, key, epoch, wrapped)"),
        ("receipt", "(principal, request, body, first, last, answer)"),
    )

    def __init__(self, log: int, now: int, head: int, chunk: Chunk) -> None:
        self.log, self.now, self.head, self.chunk = log, now, head, chunk
        self._rows: dict[str, list[bytes]] = {name: [] for name, _ in self.TABLES}

    def add(self, append: Append) -> Appended:
        """Number the append's events and pack their rows."""
        log, now, first = self.log, self.now, self.head + 1
        events, tags, seals = self._rows["event"], self._rows["tag"], self._rows["seal"]
        position = self.head
        for event in append.events:
            position += 1
            type = event.type
            events.append(wire.event_row(log, position, now, event))
            for tag in event.tags:
                tags.append(wire.open_tag_row(log, tag, position, type))
            for tag, n in event.sealed_tags:
                tags.append(wire.sealed_tag_row(log, tag, position, type, n))
            for n, seal in enumerate(event.seals):
                seals.append(wire.seal_row(log, position, n, seal))
            self.chunk.add(position, type, (*event.tags, *(tag for tag, _ in event.sealed_tags)))
        self._rows["record_key"].extend(wire.key_row(*key) for key in append.keys)
        for receipt in append.receipts:
            start = first + receipt.first
            self._rows["receipt"].append(
                wire.receipt_row(
                    receipt.principal,
                    receipt.request,
                    receipt.body,
                    start if receipt.count else None,
                    start + receipt.count - 1,
                    receipt.answer,
                )
            )
            self.chunk.receipts.add((receipt.principal, receipt.request))
        self.head = position
        append.placed = range(first, position + 1)
        return Appended(first, position, now)

    def copy(self, connection: Connection[Any]) -> None:
        for name, columns in self.TABLES:
            rows = self._rows[name]
            if rows:
                with connection.cursor().copy(f"COPY {name} {columns} FROM STDIN (FORMAT binary)".encode()) as copy:
                    copy.write(b"".join((wire.COPY_HEADER, *rows, wire.COPY_TRAILER)))

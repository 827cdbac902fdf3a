"""The log behind the contract of the `eventsourcing` library: applications of it can keep their events here too.

Such an application has a log of its own name, with positions, lock and tree of its own; ids of its events are drawn
here, and their data are the caller's bytes. Its projections keep their position beside their rows. This is the only
module that knows the library; docs/library.md shows an application.

    PERSISTENCE_MODULE=hub.log.recorder  HUB_DATABASE_URL=postgresql://…
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from select import select
from threading import RLock
from typing import Any, NoReturn

import psycopg
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
    DCBSubscription,
)
from eventsourcing.dcb.persistence import DCBInfrastructureFactory
from eventsourcing.persistence import (
    InfrastructureFactory,
    IntegrityError,
    ProgrammingError,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment
from psycopg import Connection

from hub.clock import fresh_id
from hub.database import connect, is_away, load_queries, pool
from hub.errors import Conflict
from hub.log import wire
from hub.log.append import SQL as LOG_SQL
from hub.log.append import Append, Writer, channel
from hub.log.positions import Positions
from hub.log.read import EventTypes
from hub.log.recent import Item

PAGE = 500  # Events read at a time.
OWN = frozenset({"main", "reads"})  # The hub's own logs.
POLL = 1.0  # Seconds after which a subscription looks for itself, should no notification have come.

SQL = load_queries(__file__)

Connections = Callable[[], AbstractContextManager[Connection[Any]]]


class LogRecorder(DCBRecorder):
    """One log, read and appended to by the library's rules. Safe to share between threads."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        types: EventTypes,
        connections: Connections,
        connect: Callable[[], Connection[Any]],
    ) -> None:
        """`connections` lends one for a moment, as a pool does; `connect` opens one that is kept.

        Raises the library's ProgrammingError for the name of a log of the hub's own.
        """
        refuse_own(name)
        self._writer, self.types, self.connections, self.connect = writer, types, connections, connect
        with connections() as connection:
            self.log = number_of(connection, name)

    def read(self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None) -> Pages:
        with self.connections() as connection:
            return Pages(self, Wanted(self.types, query), after or 0, self.head(connection), limit, connection)

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Raises the library's IntegrityError when the condition fails."""
        if not events:
            raise ProgrammingError("there must be at least one event to append")
        append = Append(
            self.log,
            [
                wire.prepare(fresh_id(), self.types.number(event.type), event.type, event.tags, event.data)
                for event in events
            ],
            [] if condition is None else self._items(condition.fail_if_events_match),
            None if condition is None else condition.after,
        )
        try:
            return self._writer.submit(append).result().head
        except Conflict as conflict:
            raise IntegrityError(condition) from conflict

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> Subscription:
        return Subscription(self, query, after)

    def head(self, connection: Connection[Any]) -> int:
        row = connection.execute(LOG_SQL["head"], (self.log,), prepare=True, binary=True).fetchone()
        return row[0] if row else 0

    def _items(self, query: DCBQuery) -> list[Item]:
        if not query.items:
            return [Item(None, ())]  # Any event at all.
        return [
            Item(self.types.numbers(item.types) if item.types else None, tuple(map(wire.tag_of, item.tags)))
            for item in query.items
        ]


class Wanted:
    """A query as the page queries take it."""

    def __init__(self, types: EventTypes, query: DCBQuery | None) -> None:
        self._types = types
        items = query.items if query is not None else []
        self._everything = not items or any(not item.tags and not item.types for item in items)
        tagged = [item for item in items if item.tags]
        self._values = {
            "tag": [wire.tag_of(item.tags[0]).hex() for item in tagged],
            "others": [_array(wire.tag_of(tag).hex() for tag in item.tags[1:]) for item in tagged],
            "types": [self._numbers(item) for item in tagged],
            "alone": [types.number(name) for item in items if not item.tags for name in item.types],
        }

    def page(self, connection: Connection[Any], log: int, after: int, head: int, size: int) -> list[DCBSequencedEvent]:
        """The next such events in (after, head]."""
        values = self._values | {"log": log, "after": after, "head": head, "page": size}
        rows = connection.execute(SQL["page" if self._everything else "matching"], values, binary=True, prepare=True)
        return [
            DCBSequencedEvent(DCBEvent(self._types.name(type), data, tags), position)
            for position, type, tags, data in rows
        ]

    def _numbers(self, item: DCBQueryItem) -> str | None:
        return _array(str(self._types.number(name)) for name in item.types) if item.types else None


class Pages(DCBReadResponse):
    """Events page by page. The log only grows at its end, so all pages up to one head are one view of it."""

    def __init__(
        self,
        recorder: LogRecorder,
        wanted: Wanted,
        after: int,
        head: int,
        limit: int | None,
        connection: Connection[Any],
    ) -> None:
        self._recorder, self._wanted, self._after, self._last = recorder, wanted, after, head
        self._left = limit
        self._head = head or None if limit is None else None
        self._page: deque[DCBSequencedEvent] = deque()
        self._ended = False
        self._fill(connection)

    @property
    def head(self) -> int | None:
        """The log's last position; with a limit, that of the last event given, to be given included."""
        while self._left and not self._ended:
            self._more()
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        if not self._page and not self._ended:
            self._more()
        if not self._page:
            raise StopIteration
        return self._page.popleft()

    def _more(self) -> None:
        with self._recorder.connections() as connection:
            self._fill(connection)

    def _fill(self, connection: Connection[Any]) -> None:
        size = PAGE if self._left is None else min(PAGE, self._left)
        found = self._wanted.page(connection, self._recorder.log, self._after, self._last, size) if size > 0 else []
        self._page.extend(found)
        self._ended = len(found) < size or size <= 0
        if found:
            self._after = found[-1].position
        if self._left is not None:
            self._left -= len(found)
            self._head = self._after if found else self._head


class Subscription(DCBSubscription[LogRecorder]):
    """Events as they come, for one reader. A lost connection is made anew; `stop` ends a reader that waits."""

    def __init__(self, recorder: LogRecorder, query: DCBQuery | None, after: int | None) -> None:
        super().__init__(recorder, query, after)
        self._wanted = Wanted(recorder.types, query)
        self._page: deque[DCBSequencedEvent] = deque()
        self._connection: Connection[Any] | None = None
        self._woken, self._wake = socket.socketpair()
        self._reading = RLock()

    def stop(self) -> None:
        super().stop()
        with suppress(OSError):
            self._wake.send(b"!")
        with self._reading:  # Whoever waits has been woken and lets go.
            self._leave()
            self._woken.close()
            self._wake.close()

    def __next__(self) -> DCBSequencedEvent:
        with self._reading:
            while not self._page:
                if self._has_been_stopped:
                    raise StopIteration
                try:
                    if not self._read_on(self._listening()):
                        self._wait(self._listening())
                except psycopg.Error as error:
                    if not is_away(error):
                        raise
                    self._leave()
                    select([self._woken], [], [], POLL / 4)
            return self._page.popleft()

    def _listening(self) -> Connection[Any]:
        """The connection, listening before anything is read on it, so that nothing is missed in between."""
        if self._connection is None:
            self._connection = self._recorder.connect()
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {channel(self._recorder.log)}".encode())
        return self._connection

    def _read_on(self, connection: Connection[Any]) -> bool:
        """Read the next page. False when nothing is left that it could be in."""
        head = self._recorder.head(connection)
        found = self._wanted.page(connection, self._recorder.log, self._last_position, head, PAGE)
        self._page.extend(found)
        self._last_position = found[-1].position if len(found) == PAGE else max(head, self._last_position)
        return bool(found)

    def _wait(self, connection: Connection[Any]) -> None:
        """Until the log grew, the reader was stopped, or it is time to look."""
        select([connection.fileno(), self._woken.fileno()], [], [], POLL)
        for _ in connection.notifies(timeout=0):
            pass

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Factory(DCBInfrastructureFactory[TrackingRecorder]):
    """How an application of the library finds its log: by its own name, in the database HUB_DATABASE_URL names."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._url = url = url_in(self.env)
        refuse_own(self.env.name)
        self._pool = pool(url, 2)
        self._writer = Writer(lambda: connect(url))

    def dcb_recorder(self) -> LogRecorder:
        url = self._url
        types = EventTypes(lambda: connect(url))
        return LogRecorder(
            self.env.name.lower() or "dcb", self._writer, types, self._pool.connection, lambda: connect(url)
        )

    def close(self) -> None:
        self._writer.close()
        self._pool.close()


class ViewRecorder(TrackingRecorder):
    """How far a projection is, and rows in tables of its own: a subclass writes both in one `transaction`."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions

    @contextmanager
    def transaction(self, tracking: Tracking | None = None) -> Iterator[Connection[Any]]:
        """With a tracking, its position is written with whatever the caller writes; without one, for reading.

        Raises the library's IntegrityError where the view has been at that position before.
        """
        with self._positions.transaction() as connection:
            if tracking is not None and not self._positions.advance(
                connection, tracking.application_name, tracking.notification_id
            ):
                raise IntegrityError(f"{tracking.application_name} {tracking.notification_id} is in the view already")
            yield connection

    def insert_tracking(self, tracking: Tracking) -> None:
        with self.transaction(tracking):
            pass

    def max_tracking_id(self, application_name: str) -> int | None:
        return self._positions.last(application_name)


class Views(InfrastructureFactory[ViewRecorder]):
    """How a projection of the library finds its view, by the projection's name, in the same database."""

    def tracking_recorder(self, tracking_recorder_class: type[ViewRecorder] | None = None) -> ViewRecorder:
        return (tracking_recorder_class or ViewRecorder)(Positions(url_in(self.env), self.env.name))

    def aggregate_recorder(self, purpose: str = "events") -> NoReturn:
        raise ProgrammingError("this log is for applications of eventsourcing.dcb")

    def application_recorder(self) -> NoReturn:
        self.aggregate_recorder()

    def process_recorder(self) -> NoReturn:
        self.aggregate_recorder()


def url_in(env: Environment) -> str:
    """Raises the library's ProgrammingError when no database is named."""
    url = env.get("HUB_DATABASE_URL") or os.environ.get("HUB_DATABASE_URL")
    if not url:
        raise ProgrammingError("HUB_DATABASE_URL must name the database")
    return url


def refuse_own(name: str) -> None:
    """Only the hub itself appends to its own logs: their events are what it knows, and each has an envelope."""
    if name.lower() in OWN:
        raise ProgrammingError(f"the log {name} is the hub's own; give the application another name")


def number_of(connection: Connection[Any], name: str) -> int:
    """The number of the log with this name; made on first use."""
    with connection.transaction():
        if (row := connection.execute(SQL["log"], (name,)).fetchone()) is None:
            connection.execute(SQL["lock_logs"])
            connection.execute(SQL["new_log"], (name,))
            row = connection.execute(SQL["log"], (name,)).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def _array(values: Iterator[str]) -> str:
    return "{" + ",".join(values) + "}"

"""The read side: the log is folded into read models, rows and positions in one transaction a batch.

Models at different positions catch up in step: the hindmost advance to where the next are, then they go on together.
A model that fails is left at its last good event, with the offending one named; the others go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from traceback import extract_tb
from typing import Any

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool

from hub.database import load_queries
from hub.errors import Behind
from hub.events.base import Recorded
from hub.log.ahead import Ahead, collector_at_rest
from hub.log.read import Reader
from hub.rows import Key, ReadModel, Table

BATCH = 5_000  # Events a transaction.

SQL = load_queries(__file__)
_log = logging.getLogger(__name__)

Models = Sequence[ReadModel[Any]]
Touched = dict[Key, list[Recorded]]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a read model is. `state` is `live`, `catching_up` or `failed`."""

    name: str
    version: int
    position: int
    lag: int  # Events not folded yet.
    lag_seconds: float  # Since the oldest of them was recorded.
    state: str
    failed_event: str | None = None
    failed_position: int | None = None
    error: str | None = None


def catch_up(connection: Connection[Any], reader: Reader, models: Models, batch: int = BATCH) -> None:
    """Fold what the log holds by now, in this thread. `connection` is in autocommit or idle.

    A model whose rows are of another version of its fold is left alone.
    """
    enrol(connection, models)
    folding = Folding(connection, reader, models, batch)
    while folding.advance():
        pass


def wait(connection: Connection[Any] | ConnectionPool[Connection[Any]], position: int, timeout: float = 5.0) -> None:
    """Return when the read side has folded the event at `position`. Raises Behind after `timeout` seconds."""
    if isinstance(connection, ConnectionPool):
        with connection.connection() as one:
            return wait(one, position, timeout)
    deadline, pause = time.monotonic() + timeout, 0.002
    while True:
        with connection.transaction():  # Each look is a new one, whatever the connection's manners.
            row = connection.execute(SQL["reached"], prepare=True).fetchone()
        if row is not None and row[0] is not None and row[0] >= position:
            return None
        if (left := deadline - time.monotonic()) <= 0:
            raise Behind
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.05)


def status(connection: Connection[Any], log: int = 1) -> list[Standing]:
    """How far each read model is, by name."""
    return [Standing(*row) for row in connection.execute(SQL["status"], {"log": log})]


def describe(error: BaseException) -> str:
    """Which error and where; not its message, which may hold values."""
    name = type(error).__name__
    if isinstance(error, psycopg.Error):
        found = error.diag
        parts = (found.sqlstate, found.table_name, found.column_name, found.constraint_name)
        return " ".join([name, *filter(None, parts)])
    frames = extract_tb(error.__traceback__)
    return f"{name} in {frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno}" if frames else name


def _nobodys_fault(error: Exception) -> bool:
    """The database or the machine failed, not a read model: the pump starts anew."""
    if isinstance(error, psycopg.OperationalError):
        return not isinstance(error, psycopg.errors.ProgramLimitExceeded)
    return isinstance(error, MemoryError)


def enrol(connection: Connection[Any], models: Models, far: int = 1 << 62) -> list[ReadModel[Any]]:
    """Give each model its line; answers those whose rows are of an older fold, which are to be folded anew.

    A newcomer starts at the beginning. Where the others are more than `far` events on, it counts as folded by
    version 0: catching up in step, it would hold them back.
    """
    with connection.transaction():
        for model in models:
            connection.execute(SQL["enrol"], {"name": model.name, "version": model.version, "far": far})
        versions: dict[str, int] = dict(connection.execute(SQL["versions"]).fetchall())
    return [model for model in models if versions[model.name] < model.version]


class Folding:
    """Read models on one connection, batch by batch. Its tables are those that the search path leads to."""

    def __init__(
        self,
        connection: Connection[Any],
        reader: Reader,
        models: Models,
        batch: int,
        ahead: Ahead | None = None,
    ) -> None:
        self._connection, self._reader, self._batch, self._ahead = connection, reader, batch, ahead
        self._models = {model.name: model for model in models}
        self._enrolled = [*self._models], [model.version for model in models]
        self._tables = {model.name: Table(connection, model) for model in models}
        self.reached = 0  # The position of the last event folded here.
        connection.execute(SQL["session"])
        if not connection.autocommit:
            connection.commit()

    def advance(self, end: int | None = None) -> int:
        """Fold one batch, not beyond `end`, into the hindmost models; answers how many events it had."""
        with collector_at_rest(), self._connection.transaction():
            places: dict[str, int] = dict(
                self._connection.execute(SQL["places"], self._enrolled, prepare=True).fetchall()
            )
            if not places:
                return 0
            low = min(places.values())
            limit = min([self._batch, *(place - low for place in places.values() if place > low)])
            if end is not None and (limit := min(limit, end - low)) <= 0:
                return 0
            events = self._ahead.take(low, limit) if self._ahead else []
            events = events or self._reader.after(self._connection, low, limit)
            if not events:
                return 0
            if self._ahead and len(events) == self._batch:
                self._ahead.begin(events[-1].position, self._batch)
            hindmost = [name for name, place in places.items() if place == low]
            # Their lines are locked from here on: nobody empties a table that is being written.
            moved = self._connection.execute(SQL["advance"], (events[-1].position, hindmost, low), prepare=True)
            self._fold([name for (name,) in moved], events)
            self.reached = events[-1].position
            return len(events)

    def _fold(self, group: Sequence[str], events: Sequence[Recorded]) -> None:
        if self._attempt(group, events) is None:
            return
        for name in group:
            if failure := self._fold_up_to_failure(name, events):
                event, error = failure
                _log.error("read model %s failed at position %d: %s", name, event.position, describe(error))
                failed = (event.position - 1, event.id, event.position, describe(error), name)
                self._connection.execute(SQL["fail"], failed)

    def _fold_up_to_failure(self, name: str, events: Sequence[Recorded]) -> tuple[Recorded, Exception] | None:
        """Fold as many events as one model can; the first that it cannot, and why."""
        if (error := self._attempt([name], events)) is None:
            return None
        if len(events) == 1:
            return events[0], error
        half = len(events) // 2
        return self._fold_up_to_failure(name, events[:half]) or self._fold_up_to_failure(name, events[half:])

    def _attempt(self, group: Sequence[str], events: Sequence[Recorded]) -> Exception | None:
        """Fold all of it or nothing; why not, if it was the fault of a model."""
        try:
            with self._connection.transaction():
                self._apply(group, events)
        except Exception as error:
            if _nobodys_fault(error):
                raise
            return error
        return None

    def _apply(self, group: Sequence[str], events: Sequence[Recorded]) -> None:
        """Take the rows out that these events may change, fold, and put them back."""
        touched: dict[str, Touched] = {name: {} for name in group}
        folded_by: dict[type, list[tuple[Touched, Callable[[Recorded], Any]]]] = {}
        for name in group:
            for kind in self._models[name].events:
                folded_by.setdefault(kind, []).append((touched[name], self._models[name].owners))
        for recorded in events:
            for its_touched, owners in folded_by.get(type(recorded.event), ()):
                for key in owners(recorded):
                    if key in its_touched:
                        its_touched[key].append(recorded)
                    else:
                        its_touched[key] = [recorded]
        with self._connection.pipeline():
            taken = {
                name: self._tables[name].take(keys)
                for name, keys in touched.items()
                if keys and not self._models[name].once
            }
        for name, keys in touched.items():
            fold = self._models[name].fold
            before = self._tables[name].by_key(taken[name]) if name in taken else {}
            rows = []
            for key, its_events in keys.items():
                row = before.get(key)
                for recorded in its_events:
                    row = fold(row, recorded, key)
                if row is not None:
                    rows.append(row)
            if rows:
                self._tables[name].put(rows)

"""Read models folded anew beside the rows that answer meanwhile, and then put in their place.

The rows beside lie in a schema of their own, in tables of the same names, with their own lines of how far they are:
the same fold runs on them, only the search path differs. Nobody waits but for the last transaction, which folds what
is left and changes the tables.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from threading import Event as Flag
from threading import Thread
from typing import Any

import psycopg
from psycopg import Connection, errors, sql

from hub.database import load_queries
from hub.errors import Busy, Misconfigured
from hub.log.ahead import Ahead
from hub.log.read import Reader
from hub.projector import BATCH, Folding, Standing, describe, enrol, status
from hub.rows import ReadModel
from hub.texts import say

PAUSE = 0.5  # Seconds between the first two tries to change the tables; it grows by half each time,
LONGEST = 2.0  # up to this.
PATIENCE = 600.0  # Seconds of such tries; somebody may read a table for long.
LEFT = 2  # Days after which rows beside that nobody folds count as left behind.
RETRY = 5.0  # Seconds after which a renewal that was hindered begins anew.

SQL = load_queries(__file__)
_log = logging.getLogger(__name__)

Connect = Callable[[], Connection[Any]]


class BeingRebuilt(Busy):
    """This read model is being folded anew already."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rows beside are."""

    name: str
    position: int
    end: int  # As far as the live rows are; it moves.
    rate: float  # Events a second.

    @property
    def seconds_left(self) -> float:
        return (self.end - self.position) / self.rate if self.rate else 0.0


Told = Callable[[Progress], None]


def rebuild(
    connect: Connect, reader: Reader, model: ReadModel[Any], told: Told = lambda _: None, batch: int = BATCH
) -> Standing:
    """Fold a read model from the first event and change the rows; answers how it is then.

    `told` hears of each batch, and each time that somebody is waited for; what it raises ends the rebuild. Where an
    event cannot be folded, the answer says `failed`, and the rows stay as they were. Raises BeingRebuilt, Misconfigured
    when the rows are of a newer release, Busy when somebody reads them for too long.
    """
    with beside(connect, reader, model, batch) as rows:
        rows.catch_up(told)
        rows.analyse()
        given_up, pause = time.monotonic() + PATIENCE, PAUSE
        while True:
            rows.catch_up(told)
            if (failed := rows.failed_at()) is not None:
                rows.tell_failure()
                return failed
            if rows.change():
                return rows.standing()
            if time.monotonic() > given_up:
                raise Busy(say("rows_in_use", model=model.name))
            told(rows.progress())
            time.sleep(pause)  # Somebody reads the table; nothing tells when that ends.
            pause = min(pause * 1.5, LONGEST)


def clear_leftovers(connect: Connect, days: int = LEFT) -> int:
    """Take away what dead rebuilds left, and comparisons that did not go on for so many days; answers how many."""
    cleared = 0
    with closing(connect()) as connection:
        connection.autocommit = True
        for (name,) in connection.execute(SQL["leftovers"], (days,)).fetchall():
            if connection.execute(SQL["alone"], (name,)).fetchone() == (True,):
                with suppress(errors.InsufficientPrivilege):  # They are for a login that may fold.
                    _clear(connection, name)
                    cleared += 1
                connection.execute(SQL["not_alone"], (name,))
    return cleared


class Renewal:
    """Folds outdated models anew, one after the other, in a thread that goes on until they are done."""

    def __init__(self, connect: Connect, reader: Reader, outdated: Sequence[ReadModel[Any]], batch: int) -> None:
        self._connect, self._reader, self._outdated, self._batch = connect, reader, list(outdated), batch
        self._stopping = Flag()
        self._thread = Thread(target=self._run, name="hub-renewal", daemon=True)
        if outdated:
            self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        with suppress(_Stopped):
            while self._outdated:
                try:
                    rebuild(self._connect, self._reader, self._outdated[0], self._going_on, self._batch)
                    del self._outdated[0]
                except BeingRebuilt:
                    self._pause()
                except errors.InsufficientPrivilege:  # Whoever migrates folds it; the pump then goes on with its rows.
                    _log.warning("%s is to be folded anew by a login that may, see hub rebuild", self._outdated[0].name)
                    del self._outdated[0]
                except Exception as error:  # Whatever it was, the rows are as they were, and it is tried again.
                    _log.warning("the renewal of %s begins anew: %s", self._outdated[0].name, describe(error))
                    self._pause()
                self._look()

    def _going_on(self, _: Progress) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _pause(self) -> None:
        if self._stopping.wait(RETRY):
            raise _Stopped

    def _look(self) -> None:
        """Leave out what somebody else has done."""
        with suppress(psycopg.OperationalError), closing(self._connect()) as connection:
            self._outdated = enrol(connection, self._outdated)


class _Stopped(Exception):
    """The pump is told to stop."""


@contextmanager
def beside(
    connect: Connect, reader: Reader, model: ReadModel[Any], batch: int = BATCH, *, resume: bool = False
) -> Iterator[Beside]:
    """Rows beside the live ones, gone at the end unless they took their place or are to be kept.

    They are empty at first, or with `resume` those that were kept. Raises BeingRebuilt.
    """
    with closing(connect()) as connection, closing(Ahead(connect, reader)) as ahead:
        connection.autocommit = True
        if connection.execute(SQL["alone"], (model.name,)).fetchone() != (True,):
            raise BeingRebuilt(say("being_rebuilt", model=model.name))
        rows = Beside(connection, reader, model, batch, ahead, resume)
        try:
            yield rows
        finally:
            with suppress(psycopg.OperationalError):  # The next rebuild, or the clean-up, takes away what is left.
                if not rows.kept:
                    rows.clear()
                connection.execute(SQL["not_alone"], (model.name,))  # A closed connection is noticed a little later.


class Beside:
    """A read model's rows beside the live ones, on a connection that holds the lock of its rebuild."""

    def __init__(
        self,
        connection: Connection[Any],
        reader: Reader,
        model: ReadModel[Any],
        batch: int,
        ahead: Ahead,
        resume: bool,
    ) -> None:
        self.connection, self._reader, self._model = connection, reader, model
        self._started, self._folded = time.monotonic(), 0
        self.kept = False  # Left at the end, for a comparison that goes on another time.
        self._refuse_a_newer_one()
        if not (resume and self._resumable()):
            self.clear()
            with self._as_owner():
                connection.execute(self._sql("make"))
                for (statement,) in connection.execute(SQL["alike"], (model.name,)).fetchall():
                    connection.execute(statement)
        connection.execute(SQL["beside"])
        enrol(connection, [model])
        self._folding = Folding(connection, reader, [model], batch, ahead)

    def catch_up(self, told: Told, reached: Callable[[], int] | None = None) -> None:
        """Fold as far as the live rows of all models are, or as far as `reached` says, or as far as can be."""
        while count := self.advance(end := (reached or self._end)()):
            self._folded += count
            told(self.progress(end))

    def place(self) -> int:
        """The position these rows are folded to."""
        return self._place()[0]

    def progress(self, end: int | None = None) -> Progress:
        """How far these rows are on the way to `end`, which is where they are if it is not told."""
        place, _ = self._place()
        rate = self._folded / (time.monotonic() - self._started)
        return Progress(self._model.name, place, place if end is None else end, rate)

    def advance(self, end: int) -> int:
        """Fold a batch, not beyond `end`; answers how many events it had."""
        return self._folding.advance(end)

    def failed_at(self) -> Standing | None:
        """Where the fold failed, if it did."""
        return self.standing() if self._place()[1] else None

    def tell_failure(self) -> None:
        """Have the live rows say why they cannot be folded anew, unless they are live."""
        self.connection.execute(SQL["fail"], {"name": self._model.name, "version": self._model.version})

    def analyse(self) -> None:
        """Tell the planner what it knew of the rows before."""
        with self._as_owner():
            self.connection.execute(self._sql("analyse"))

    def change(self) -> bool:
        """Put these rows in place of the live ones; answers False when that is not possible now."""
        changed = False
        try:
            with self.connection.transaction():
                self.connection.execute(SQL["hold"], prepare=False)
                self._refuse_a_newer_one()
                self.advance(end := self._end())  # One batch at most, for now everybody waits.
                place, failed = self._place()
                if failed or place < end:
                    raise psycopg.Rollback
                name, version = self._model.name, self._model.version
                self.connection.execute(SQL["settle"], {"name": name, "version": version, "position": place})
                self.connection.execute(SQL["forget"], (name,))
                self.connection.execute(SQL["as_owner"], prepare=False)
                self.connection.execute(self._sql("put"), prepare=False)
                changed = True
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            return False
        except errors.DependentObjectsStillExist:
            raise Misconfigured(say("model_depended_on", model=self._model.name)) from None
        if changed:
            self.connection.execute("RESET search_path")
        return changed

    def standing(self) -> Standing:
        """How the rows are that the search path leads to: those beside, and the live ones once they are changed."""
        return next(each for each in status(self.connection, self._reader.log) if each.name == self._model.name)

    def clear(self) -> None:
        """Leave no rows beside."""
        _clear(self.connection, self._model.name)

    def _resumable(self) -> bool:
        names = {"name": self._model.name, "version": self._model.version}
        return self.connection.execute(SQL["resumable"], names).fetchone() == (True,)

    def _refuse_a_newer_one(self) -> None:
        (version,) = self.connection.execute(SQL["version"], (self._model.name,)).fetchone() or (0,)
        if version > self._model.version:
            raise Misconfigured(say("newer_model", model=self._model.name))

    def _end(self) -> int:
        (end,) = self.connection.execute(SQL["end"], (self._reader.log,), prepare=True).fetchone() or (0,)
        return int(end)

    def _place(self) -> tuple[int, bool]:
        """How far these rows are, and whether they cannot go on."""
        row = self.connection.execute(SQL["place"], (self._model.name,), prepare=True).fetchone()
        return row or (0, False)

    @contextmanager
    def _as_owner(self) -> Iterator[None]:
        """A transaction of the role that owns the tables."""
        with self.connection.transaction():
            self.connection.execute(SQL["as_owner"], prepare=False)
            yield

    def _sql(self, name: str) -> sql.Composed:
        return sql.SQL(SQL[name]).format(table=sql.Identifier(self._model.name))


def _clear(connection: Connection[Any], name: str) -> None:
    with connection.transaction():
        connection.execute(SQL["forget"], (name,))
        connection.execute(SQL["as_owner"], prepare=False)
        connection.execute(sql.SQL(SQL["drop"]).format(table=sql.Identifier(name)))

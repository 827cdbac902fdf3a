"""How far a projection has come in a log, written in one transaction with the rows it makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import psycopg
from psycopg import Connection

from hub.database import connect, is_away, load_queries

SQL = load_queries(__file__)


class Positions:
    """One projection's, on one connection; safe to share between threads, which take turns.

    The rows lie in tables of the projection's own, so it connects as whoever the URL names and sees no table of the
    hub's without its schema.
    """

    def __init__(self, url: str, projection: str) -> None:
        self._url, self._projection = url, projection
        self._connection: Connection[Any] | None = None
        self._turn = RLock()

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """Committed at its end, rolled back by any exception. A lost connection is made anew by the next one."""
        with self._turn:
            try:
                connection = self._open()
                with connection.transaction():
                    yield connection
            except psycopg.Error as error:
                if is_away(error):
                    self.close()
                raise

    def advance(self, connection: Connection[Any], log: str, position: int) -> bool:
        """Whether this position is new; it is kept when the transaction ends."""
        return connection.execute(SQL["advance"], (self._projection, log, position)).fetchone() is not None

    def last(self, log: str) -> int | None:
        with self.transaction() as connection:
            row = connection.execute(SQL["last"], (self._projection, log)).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __del__(self) -> None:
        self.close()  # The library's runner makes one and tells nobody that it is done with it.

    def _open(self) -> Connection[Any]:
        if self._connection is None or self._connection.closed:  # Perhaps broken while its user raised an error.
            self._connection = connect(self._url, as_writer=False, autocommit=True)
            self._connection.execute("SET search_path = public")
        return self._connection

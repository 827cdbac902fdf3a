"""Events in great numbers: the next are fetched and decoded while the last are being worked on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from psycopg import Connection

from hub.events.base import Recorded
from hub.log.read import Reader


class Ahead:
    """A thread with a connection of its own. What it read cannot change any more, so it is of use whenever it fits."""

    def __init__(self, connect: Callable[[], Connection[Any]], reader: Reader) -> None:
        self._connect, self._reader = connect, reader
        self._connection: Connection[Any] | None = None
        self._thread = ThreadPoolExecutor(1, "hub-ahead")
        self._coming: tuple[int, Future[list[Recorded]]] | None = None

    def begin(self, position: int, limit: int) -> None:
        """Start reading the events after this position."""
        self._coming = position, self._thread.submit(self._read, position, limit)

    def take(self, position: int, limit: int) -> list[Recorded]:
        """What was read after this position; nothing, where none was begun there."""
        coming, self._coming = self._coming, None
        return coming[1].result()[:limit] if coming and coming[0] == position else []

    def close(self) -> None:
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    def _read(self, position: int, limit: int) -> list[Recorded]:
        if self._connection is None:
            self._connection = self._connect()
            self._connection.autocommit = True
        return self._reader.after(self._connection, position, limit)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """A batch makes many objects that all end with it: walking them again and again took 40 % of the time."""
    working = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if working:
            gc.enable()

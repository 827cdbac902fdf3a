"""The one door: wires everything to everything.

`Hub` is the hub inside a Python process: the same commands and the same answers as over HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import Connection

from commands import CAPABILITIES
from hub.database import connect, pool
from hub.decider import Principal
from hub.desk import Answer, Asked, Desk, Slice
from hub.embedded import EmbeddedPostgres
from hub.errors import HubError
from hub.events import VOCABULARY
from hub.installation import installation
from hub.intake import Intake
from hub.keys import Fingerprints, Vault
from hub.log.append import Writer
from hub.log.read import EventTypes, Reader
from hub.migrate import migrate
from hub.settings import Settings

SLICE = 500  # Commands decided and appended together; some 40 ms of lock.


class Hub:
    """The hub in this process. Use as a context manager; safe to share between threads."""

    def __init__(self, url: str, data: Path, region: str = "RU", *, server: EmbeddedPostgres | None = None) -> None:
        self._server = server
        self.url = url
        migrate(url)
        self.installation = installation(url, data)
        self.fingerprints = Fingerprints(self.installation.keys)
        self.vault = Vault(self.installation.keys, self.installation.tenant)
        self.pool = pool(url, 4)
        self.types = EventTypes(lambda: connect(url))
        self.types.ensure(VOCABULARY.types)
        self.reader = Reader(VOCABULARY, self.types, self.vault)
        self.writer = Writer(lambda: connect(url))
        self.desk = Desk(self._snapshots, self.writer, self.reader, self.vault)
        self.intake = Intake(CAPABILITIES, self.fingerprints, self.installation.house, region)
        self.local = Principal(self.installation.house, "local")

    @classmethod
    def open(cls, url: str | None = None, data: str | Path | None = None) -> Self:
        """Open the hub on a database of one's own, or on the embedded one in the data folder. Raises Misconfigured."""
        settings = Settings.from_environment()
        folder = Path(data).absolute() if data is not None else settings.data
        url = url or settings.database_url
        if url is not None:
            return cls(url, folder, settings.region)
        server = EmbeddedPostgres(folder)
        try:
            return cls(server.start(), folder, settings.region, server=server)
        except BaseException:
            server.stop()
            raise

    def close(self) -> None:
        """Finish what was accepted, then stop."""
        self.writer.close()
        self.pool.close()
        if self._server is not None:
            self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(self, command: Mapping[str, Any]) -> Answer:
        """One command, answered when it is durable. Raises a HubError: Invalid, Rejected, Forbidden, Busy …"""
        asked = self.intake.accept(self.local, command)
        self.desk.finish(self.desk.begin([asked]))
        if asked.error is not None:
            raise asked.error
        assert asked.answer is not None
        return asked.answer

    def do_many(
        self, commands: Iterable[bytes | Mapping[str, Any]], principal: Principal | None = None
    ) -> Iterator[Answer | HubError]:
        """Commands in order, each answered, or refused with the error it got; never more than two slices in memory."""
        begun: deque[tuple[list[Asked | HubError], Slice]] = deque()
        for lines in _slices(commands, SLICE):
            taken = [self._accept(principal or self.local, line) for line in lines]
            before = begun[-1][1] if begun else None
            begun.append((taken, self.desk.begin([each for each in taken if isinstance(each, Asked)], before)))
            if len(begun) > 1:
                yield from self._answers(*begun.popleft())
        while begun:
            yield from self._answers(*begun.popleft())

    def _accept(self, principal: Principal, line: bytes | Mapping[str, Any]) -> Asked | HubError:
        try:
            return self.intake.accept(principal, line)
        except HubError as error:
            return error

    def _answers(self, taken: list[Asked | HubError], slice: Slice) -> Iterator[Answer | HubError]:
        self.desk.finish(slice)
        for each in taken:
            if isinstance(each, HubError):
                yield each
            elif each.answer is not None:
                yield each.answer
            else:
                assert isinstance(each.error, HubError), each.error
                yield each.error

    @contextmanager
    def _snapshots(self) -> Iterator[Connection[Any]]:
        """A connection in one repeatable-read transaction, so that all stages of a boundary see one log."""
        with self.pool.connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            try:
                yield connection
            finally:
                connection.rollback()
                connection.isolation_level = None
                connection.read_only = None


def _slices(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    taken: list[Any] = []
    for item in items:
        taken.append(item)
        if len(taken) == size:
            yield taken
            taken = []
    if taken:
        yield taken

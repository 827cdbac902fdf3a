"""The one door: wires everything to everything.

`Hub` is the hub inside a Python process: the same commands and the same answers as over HTTP.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool

from commands import CAPABILITIES
from hub.counter import Counter
from hub.database import READER, connect, explained, impatient, pool
from hub.decider import Principal
from hub.desk import Desk
from hub.embedded import EmbeddedPostgres
from hub.errors import HubError, Misconfigured
from hub.events import VOCABULARY
from hub.guards import Guards, guards
from hub.installation import installation
from hub.intake import Intake
from hub.keys import Fingerprints
from hub.log.append import Writer
from hub.log.read import EventTypes, Reader
from hub.migrate import migrate, version
from hub.observer import Observer
from hub.principals import Principals
from hub.projector import Standing, status, wait
from hub.pump import Pump
from hub.rebuild import Told, rebuild
from hub.receipts import Answer
from hub.rows import ReadModel
from hub.settings import USUAL, Periods, Settings
from hub.slice import Asked
from hub.stream import Stream
from hub.texts import say
from hub.vault import Vault
from hub.verify import Verdict, verify
from hub.view import View
from projections import READ_MODELS
from projections.card import card_of

PATIENCE = 5.0  # Seconds to get a connection; then the database counts as away.


class Hub:
    """The hub in this process. Use as a context manager; safe to share between threads."""

    def __init__(
        self,
        url: str,
        data: Path,
        region: str = "RU",
        periods: Periods = USUAL,
        *,
        server: EmbeddedPostgres | None = None,
    ) -> None:
        self._server = server
        self._pump: Pump | None = None
        self.url, self.data, self.region, self.periods = url, data, region, periods
        self.observers: list[Observer] = []  # Who is told of the work done here.
        migrate(url)
        self.installation = installation(url, data, str(server.cluster.folder) if server else "HUB_DATABASE_URL")
        self.fingerprints = Fingerprints(self.installation.keys)
        self.vault = Vault(self.installation.keys, self.installation.tenant)
        self.pool = pool(url, 4)
        self.types = EventTypes(lambda: connect(url))
        self.types.ensure(VOCABULARY.types)
        self.reader = Reader(VOCABULARY, self.types, self.vault)
        self.writer = Writer(lambda: impatient(url), self.observers)
        self.desk = Desk(self._snapshots, self.writer, self.reader, self.vault)
        self.intake = Intake(CAPABILITIES, self.fingerprints, self.installation.house, region, periods=periods)
        self.local = Principal(self.installation.house, "local")
        self.principals = Principals(self.pool)
        self.counter = Counter(self.desk, observers=self.observers)

    @classmethod
    def open(
        cls, url: str | None = None, data: str | Path | None = None, *, follow: bool = True, make: bool = True
    ) -> Self:
        """Open the hub on a database of one's own, or on the embedded one in the data folder. Raises Misconfigured.

        `follow=False` leaves the read side to another process; `make=False` makes no embedded one where there is none.
        """
        settings = Settings.from_environment()
        folder = Path(data).absolute() if data is not None else settings.data
        url = url or settings.database_url or ""
        server = None if url else EmbeddedPostgres(folder)
        with explained(folder, "HUB_DATABASE_URL" if server is None else str(folder)):
            if server and not make and not server.cluster.made():
                raise Misconfigured(say("no_hub", folder=folder))
            try:
                hub = cls(server.start() if server else url, folder, settings.region, settings.periods, server=server)
                if server is not None:
                    server.keep_running()
            except BaseException:
                if server is not None:
                    server.stop()
                raise
        if follow:
            hub.follow()
        return hub

    @property
    def cluster(self) -> Path | None:
        """The embedded database's own folder."""
        return self._server.cluster.folder if self._server else None

    @property
    def elsewhere(self) -> Path | None:
        """Where the embedded database lies, when that is not in the data folder."""
        return self.cluster if self._server and self._server.cluster.elsewhere else None

    def follow(self) -> None:
        """Run the read side in a thread, whenever nobody else leads it."""
        if self._pump is None:
            self._pump = Pump(lambda: connect(self.url), self.reader, READ_MODELS, observers=self.observers)
            self._pump.start()

    def close(self) -> None:
        """Finish what was accepted, then stop."""
        self.counter.close()
        self.writer.close()
        if self._pump is not None:
            self._pump.stop()
            self._pump = None
        self.pool.close()
        if "questions" in self.__dict__:
            self.questions.close()
        if self._server is not None:
            self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(self, principal: Principal, sent: bytes | Mapping[str, Any]) -> Asked:
        """A command that passed its checks. Raises Invalid with every flaw, or Forbidden."""
        try:
            asked = self.intake.accept(principal, sent)
        except HubError as error:
            for each in self.observers:
                each.turned_away(error)
            raise
        for each in self.observers:
            each.accepted(asked)
        return asked

    def do(self, command: Mapping[str, Any]) -> Answer:
        """One command, answered when it is durable. Raises a HubError: Invalid, Rejected, Forbidden, Busy …"""
        return self.counter.submit(self.accept(self.local, command)).result()

    def do_many(
        self, commands: Iterable[bytes | Mapping[str, Any]], principal: Principal | None = None
    ) -> Iterator[Answer | HubError]:
        """Commands in order, each answered, or refused with the error it got; never more than four slices in memory."""
        return self.stream(principal or self.local).answers(commands)

    def stream(self, principal: Principal) -> Stream:
        """Many commands of one sender."""
        return Stream(partial(self.accept, principal), self.desk, self.observers)

    def card(self, id: str) -> dict[str, Any]:
        """Who this record or customer is, as the read side knows it. Raises Unknown."""
        with self.view() as view:
            return card_of(view, id)

    def wait(self, position: int) -> None:
        """Return when the read side has caught up with this position. Raises Behind after five seconds."""
        wait(self.questions, position)

    def head(self) -> int:
        """The position of the last event."""
        with self.questions.connection(PATIENCE) as connection:
            return self.reader.snapshot(connection).head

    def migration(self) -> int:
        """The number of the newest migration the database has."""
        with self.questions.connection() as connection:
            return version(connection)[0]

    def guards(self) -> Guards:
        """Whether the append-only tables are guarded as they were left."""
        with self.questions.connection(PATIENCE) as connection:
            return guards(connection)

    def reached(self) -> int:
        """The position that questions are answered for."""
        return max((each.position for each in self.standings() if each.state == "live"), default=0)

    def standings(self) -> list[Standing]:
        """How far each read model is."""
        with self.questions.connection(PATIENCE) as connection:
            return status(connection)

    def rebuild(self, model: ReadModel[Any], told: Told = lambda _: None) -> Standing:
        """Fold a read model anew beside its rows; see `hub.rebuild.rebuild`."""
        return rebuild(lambda: connect(self.url), self.reader, model, told)

    def verify(
        self, models: Sequence[ReadModel[Any]], told: Told = lambda _: None, seconds: float | None = None
    ) -> Iterator[Verdict]:
        """Compare the rows of read models with what the log makes of them; see `hub.verify.verify`."""
        return verify(lambda: connect(self.url), self.reader, models, told, seconds)

    @contextmanager
    def view(self) -> Iterator[View]:
        """What questions are asked through."""
        with self.questions.connection(PATIENCE) as connection:
            yield View(connection, self.reader, self.fingerprints.of, self.region, self.periods)

    @cached_property
    def questions(self) -> ConnectionPool[Connection[Any]]:
        """Connections of their own for questions, so that none of them keeps a command waiting, or writes."""
        return pool(self.url, 4, READER)

    @contextmanager
    def _snapshots(self) -> Iterator[Connection[Any]]:
        """A connection in one repeatable-read transaction, so that all stages of a boundary see one log."""
        with self.pool.connection(PATIENCE) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            try:
                yield connection
            finally:
                connection.rollback()
                connection.isolation_level = None
                connection.read_only = None


def main() -> None:
    """The `hub` command."""
    from adapters.cli import main as cli

    # Commands leave no cycles behind; collecting as often as Python does costs a quarter of a busy process.
    gc.set_threshold(100_000, 50, 50)

    cli()

"""The pump: follows the log and folds it into all healthy read models; one pump leads among those of all processes.

Models whose rows are of an older fold, and newcomers to a long log, are folded beside by a thread of its own.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from contextlib import closing
from threading import Event as Flag
from threading import Thread
from typing import Any

from psycopg import Connection

from hub.database import load_queries
from hub.log.ahead import Ahead
from hub.log.append import channel
from hub.log.read import Reader
from hub.observer import Observers
from hub.projector import BATCH, Folding, Models, describe, enrol
from hub.rebuild import Renewal

POLL = 1.0  # Seconds after which the log is looked at, and the lead asked for, even if nobody rang.
BACK_OFF = 5.0  # Seconds a pump that keeps failing waits at most before it tries again.

SQL = load_queries(__file__)
_log = logging.getLogger(__name__)


class Pump:
    """Folds while it leads; of the pumps of all processes one leads, the others wait to take over.

    The lead is a session lock of the connection that writes the rows: who lost the connection can commit nothing.
    """

    def __init__(
        self,
        connect: Callable[[], Connection[Any]],
        reader: Reader,
        models: Models,
        batch: int = BATCH,
        observers: Observers = (),
    ) -> None:
        self._connect, self._reader, self._models, self._batch = connect, reader, models, batch
        self._observers = observers
        self._stopping, self._leading, self._rung = Flag(), Flag(), Flag()
        self._bell, self._ear = socket.socketpair()
        self._thread = Thread(target=self._run, name="hub-pump", daemon=True)

    @property
    def leading(self) -> bool:
        return self._leading.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch at hand, give up the lead, end the thread."""
        self._stopping.set()
        self._bell.send(b"!")
        if self._thread.ident is not None:
            self._thread.join()
        self._bell.close()
        self._ear.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                with closing(self._connect()) as connection:
                    self._serve(connection)
            except Exception as error:  # Whatever it was, the thread must outlive it.
                failures = 0 if time.monotonic() - started > BACK_OFF else failures + 1
                _log.warning("the pump starts anew: %s", describe(error))
                self._stopping.wait(min(0.05 * 2**failures, BACK_OFF))
            finally:
                self._leading.clear()

    def _serve(self, connection: Connection[Any]) -> None:
        connection.autocommit = True
        while connection.execute(SQL["lead"]).fetchone() != (True,):
            if self._idle(connection):
                return
        connection.add_notify_handler(lambda _: self._rung.set())
        connection.execute(f"LISTEN {channel(self._reader.log)}".encode())  # Before the first read: nothing is missed.
        outdated = enrol(connection, self._models, far=self._batch)
        self._leading.set()
        with (
            closing(Ahead(self._connect, self._reader)) as ahead,
            closing(Renewal(self._connect, self._reader, outdated, self._batch)),
        ):
            folding = Folding(connection, self._reader, self._models, self._batch, ahead)
            while not self._stopping.is_set():
                self._rung.clear()
                started = time.monotonic()
                if events := folding.advance():
                    for each in self._observers:
                        each.folded(events, folding.reached, time.monotonic() - started)
                elif self._idle(connection):
                    break
        connection.execute(SQL["give_up"])  # The server notices a closed connection only a little later.

    def _idle(self, connection: Connection[Any]) -> bool:
        """Wait until somebody rings, or a second; answers whether to stop."""
        if not self._rung.is_set():
            select.select([connection.fileno(), self._ear.fileno()], [], [], POLL)
            connection.execute(b"")  # Takes in what arrived, and raises when the connection is gone.
        return self._stopping.is_set()

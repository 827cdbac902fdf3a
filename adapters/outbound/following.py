"""Following the log to one destination: page by page, in order, each message until it is acknowledged or given up.

Of all processes one leads a destination. The lead is a session lock of the connection that writes the position: who
lost it can write none, so that nothing is skipped. What is not known to have arrived is sent again.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import Any

import structlog
from psycopg import Connection

from adapters.outbound.carrier import Carrier, Failure
from adapters.outbound.destinations import Destination
from adapters.outbound.envelope import Message
from adapters.outbound.places import SQL
from adapters.outbound.reading import Pages
from hub import Hub
from hub.database import connect
from hub.log.append import channel
from hub.projector import describe

POLL = 1.0  # Seconds after which the log and the letters are looked at even if nobody rang.
BACK_OFF = 5.0  # Seconds until a feed whose database failed begins anew, at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 600.0  # Seconds between two tries of a message: doubled each time.
LONGEST_ASKED = 3_600.0  # Seconds that a destination may ask to be left alone.
REFUSALS = 8  # Tries of a message that the destination finds fault with; within a minute or so.
LETTERS = 100  # Sent again between two pages.

_log = structlog.get_logger()


def carrier(destination: Destination) -> Carrier:
    if destination.kind == "nats":
        from adapters.outbound.jetstream import JetStream  # Not everybody has it.

        return JetStream(destination)
    from adapters.outbound.webhook import Webhook

    return Webhook(destination)


class Feeder:
    """Sends to one destination while it leads; the feeders of other processes wait to take over."""

    def __init__(
        self, hub: Hub, destination: Destination, carrying: Callable[[Destination], Carrier] = carrier
    ) -> None:
        self._hub, self._name, self._patience = hub, destination.name, destination.give_up_after
        self._pages, self._opens = Pages(hub, destination), bool(destination.open)
        self._carrying = partial(carrying, destination)
        self._carrier = self._carrying()
        self._failed, self._refusals = 0, 0  # Which position failed last, and how often it was itself refused.
        self._letters_failed, self._letters_from = 0, 0.0
        self._stopping, self._rung = Flag(), Flag()
        self._bell, self._ear = socket.socketpair()
        self._thread = Thread(target=self._run, name=f"hub-feed-{destination.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self) -> None:
        """Finish what is under way."""
        self._stopping.set()
        self._bell.send(b"!")

    def stop(self, patience: float | None = None) -> None:
        """The same, and wait for it; what takes longer is sent again by whoever leads next."""
        self.tell()
        self._thread.join(patience)
        if not self._thread.is_alive():
            self._bell.close()
            self._ear.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                with closing(self._connected()) as connection:
                    self._serve(connection)
            except Exception as error:  # Whatever it was, the thread must outlive it.
                failures = 0 if time.monotonic() - started > BACK_OFF else failures + 1
                _log.warning("feed", feed=self._name, error=describe(error))
                self._stopping.wait(min(0.05 * 2**failures, BACK_OFF))
        self._carrier.close()

    def _connected(self) -> Connection[Any]:
        connection = connect(self._hub.url, autocommit=True, application_name=f"hub feed {os.getpid()}")
        connection.execute("SET synchronous_commit = off")  # A position that is lost sends a message once more.
        return connection

    def _serve(self, connection: Connection[Any]) -> None:
        while connection.execute(SQL["lead"], (self._name,)).fetchone() != (True,):
            if self._rest(connection, POLL):
                return
        connection.add_notify_handler(lambda _: self._rung.set())
        connection.execute(f"LISTEN {channel(self._hub.reader.log)}".encode())  # Before the first read.
        while not self._stopping.is_set():
            self._rung.clear()
            position, disabled = connection.execute(SQL["place"], (self._name,)).fetchone() or (0, True)
            if disabled:
                self._rest(connection, POLL)
                continue
            self._send_letters(connection)
            reached, messages = self._pages.after(connection, position)
            if messages:
                self._send(connection, messages, reached)
            elif reached > position:
                connection.execute(SQL["sent"], {"name": self._name, "position": reached, "count": 0})
            elif not self._rung.is_set():
                self._rest(connection, POLL, for_the_bell=True)
        connection.execute(SQL["give_up"])  # The server notices a closed connection only a little later.

    def _send(self, connection: Connection[Any], messages: Sequence[Message], reached: int) -> None:
        done, alone = 0, messages[0].position == self._failed
        while done < len(messages) and not self._stopping.is_set():
            try:
                given = messages[done : done + 1] if alone else messages[done:]
                count = self._carry(given)
            except Failure as failure:
                if not self._gives_up(connection, messages[done], failure):
                    return  # The page is read again: meanwhile something in it may have been erased.
                done, alone = done + 1, False
                continue
            done, alone = done + count, count < len(given)  # Else what is behind it would go out with each try of it.
            position = reached if done == len(messages) else messages[done - 1].position
            connection.execute(SQL["sent"], {"name": self._name, "position": position, "count": count})
            if self._opens:
                return  # As after a failure.

    def _carry(self, messages: Sequence[Message]) -> int:
        try:
            return self._carrier.carry(messages)
        except Failure:
            raise
        except Exception as error:  # Counts as well: uncounted it would be tried for ever, and nobody be told.
            _log.error("feed", feed=self._name, position=messages[0].position, error=describe(error))
            self._carrier.close()
            self._carrier = self._carrying()
            raise Failure("broken") from None

    def _gives_up(self, connection: Connection[Any], message: Message, failure: Failure) -> bool:
        """Whether the message is a dead letter by now; else this returns when it may be tried again."""
        about = {"name": self._name, "error": failure.code, "gone": failure.gone}
        tries, seconds = connection.execute(SQL["failed"], about).fetchone() or (1, 0.0)
        _log.warning("feed", feed=self._name, position=message.position, error=failure.code, tries=tries)
        if failure.gone:
            return False
        if self._failed != message.position:
            self._failed, self._refusals = message.position, 0
        self._refusals += failure.refused
        if seconds >= self._patience or self._refusals >= REFUSALS:
            connection.execute(SQL["died"], {"name": self._name, "position": message.position, "event": message.id})
            return True
        self._rest(connection, _pause(self._refusals if failure.refused else tries, failure))
        return False

    def _send_letters(self, connection: Connection[Any]) -> None:
        """Each letter that is to be sent again is tried once; after a failure that is not its own the others wait."""
        if time.monotonic() < self._letters_from:
            return
        for _ in range(LETTERS):
            found = connection.execute(SQL["asked"], (self._name,)).fetchone()
            if found is None or self._stopping.is_set():
                return
            about = {"name": self._name, "position": found[0]}
            try:
                self._carry([self._pages.at(connection, found[0])])
            except Failure as failure:
                connection.execute(SQL["not_delivered"], about | {"error": failure.code, "gone": failure.gone})
                if not failure.refused:
                    self._letters_failed += 1
                    pause = _pause(self._letters_failed, failure)
                    self._letters_from = time.monotonic() + pause
                    if failure.wait is not None:  # Else what follows in the log need not wait for letters.
                        self._rest(connection, pause)
                    return
            else:
                connection.execute(SQL["delivered"], about)
            self._letters_failed = 0

    def _rest(self, connection: Connection[Any], seconds: float, *, for_the_bell: bool = False) -> bool:
        """Wait so long, or until somebody rings; answers whether to stop.

        Notices are taken in all the while: where nobody takes them in, the server keeps them for us, and when it can
        keep no more nobody can append.
        """
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            if for_the_bell:
                select.select([connection.fileno(), self._ear.fileno()], [], [], min(left, POLL))
            else:
                self._stopping.wait(min(left, POLL))
            connection.execute(b"")  # Raises when the connection is gone.
            if for_the_bell and self._rung.is_set():
                break
        return self._stopping.is_set()


def _pause(tries: int, failure: Failure) -> float:
    """Seconds until the next try."""
    if failure.wait is not None:
        return min(failure.wait, LONGEST_ASKED)
    longest: float = min(FIRST_PAUSE * 2.0 ** min(tries - 1, 30), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- so that not all come at once

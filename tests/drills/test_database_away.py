"""The database is restarted, stands still, or is slow: everybody is told within bounds to come again, nothing piles up,
and all goes on by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.drills.support import (
    Books,
    Caller,
    Load,
    drill,
    grows,
    postmaster,
    register,
    signalled,
    threads,
    touch,
    tree,
    works,
)
from tests.support.serving import Server

THREADS = 40  # That answer requests, at most; the framework's limit.
QUESTIONS = ("/v1/status", "/v1/read-models", "/v1/read-models?at_least=3", "/v1/quarantine")


@contextmanager
def standing_still(data: Path) -> Iterator[None]:
    """The database with all its processes does nothing, and closes nothing."""
    processes = tree(postmaster(data))
    signalled(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        signalled(processes, signal.SIGCONT)


def slow(data: Path, seconds: float) -> None:
    """The database works one moment in ten."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with standing_still(data):
            time.sleep(0.18)
        time.sleep(0.02)


class Readers:
    """Ask questions all the time; each is answered, or told to come again."""

    def __init__(self, server: Server, key: str) -> None:
        self._server, self._key, self._stop = server, key, Event()
        self.refused = 0

    def __enter__(self) -> Readers:
        self._threads = ThreadPoolExecutor(8)
        self._running = [self._threads.submit(self._read, QUESTIONS[n % len(QUESTIONS)]) for n in range(8)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads.shutdown()
        for each in self._running:
            each.result()

    def _read(self, path: str) -> None:
        with Caller([self._server], self._key) as caller:
            while not self._stop.wait(0.05):
                status = caller.get(path)
                assert status in (200, 403, 503), (path, status)
                self.refused += status == 503


@pytest.mark.parametrize(("rounds", "seconds"), [(1, 1.0), pytest.param(3, 40.0, marks=pytest.mark.drill)])
def test_a_database_that_is_away_is_waited_for(folder: Path, rounds: int, seconds: float) -> None:
    """Longer, in the long drill, than a server lets a transaction stand idle."""
    data, books = folder / "data", Books()
    server = Server(data, None)
    lines = []
    server.start()
    try:
        assert server.process
        pid, key = server.process.pid, server.key("operator")
        register(server, server.key("admin"))
        most = threads(pid) + THREADS
        for fault in ("restarted", "standing still", "slow"):
            with (
                drill(f"database {fault}", rounds) as line,
                Readers(server, key) as readers,
                Load([server], key, clients=16, name=fault.replace(" ", "-")) as load,
            ):
                lines.append(line)
                for n in range(rounds):
                    load.flows()
                    if fault == "restarted":
                        before = postmaster(data)
                        signalled([before], signal.SIGINT)
                    elif fault == "standing still":
                        with standing_still(data):
                            grows(lambda: readers.refused)
                            time.sleep(seconds)
                    else:
                        slow(data, min(seconds, 10))
                    began = time.monotonic()
                    probe = works(server, key, touch(f"probe-{fault}", n))
                    load.flows()
                    line.back.append(time.monotonic() - began)
                    books.ask_again([server], key, [*load.harvest(), probe])
                    assert threads(pid) <= most
            books.ask_again([server], key, load.harvest())
            line.took(load)
        assert server.process.poll() is None
        found = books.reckon(data)
        for line in lines:
            line.settle(found)
    finally:
        server.end()
    assert all(line.clean for line in lines), lines

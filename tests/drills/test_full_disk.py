"""The disk is full: everybody is told to come again, nothing answered is lost, and all goes on once there is space."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from hub.embedded import EmbeddedPostgres
from tests.drills.support import Books, Load, drill, grows, register, touch, works
from tests.support.serving import Server

SIZE = 160  # Megabytes.


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, a little larger than an empty database."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m,mode=0711", "none", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all the space there is; gives the file that holds it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return ballast


def use_up_the_wal(url: str) -> None:
    """Have the database need a new segment of its own log, without which it cannot even run."""
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
        for _ in range(20):
            connection.execute("SELECT pg_logical_emit_message(false, 'drill', 'x'), pg_switch_wal()")


@pytest.mark.parametrize(("rounds", "seconds"), [(2, 1.0), pytest.param(6, 10.0, marks=pytest.mark.drill)])
def test_a_full_disk_is_waited_out(small_disk: Path, folder: Path, rounds: int, seconds: float) -> None:
    data, books = small_disk / "data", Books()
    server, database = Server(data, None), EmbeddedPostgres(data)
    server.log = folder / "serve.log"
    with drill("disk full", rounds) as line:
        server.start()
        try:
            assert server.process
            pid, key = server.process.pid, server.key("operator")
            register(server, server.key("admin"))
            with Load([server], key, clients=4) as load:
                for n in range(rounds):
                    load.flows()
                    ballast = fill(small_disk)
                    grows(lambda: load.statuses[503])
                    if n % 2:
                        use_up_the_wal(database.start())
                    time.sleep(seconds)
                    ballast.unlink()
                    began = time.monotonic()
                    probe = works(server, key, touch("probe", n))
                    line.back.append(time.monotonic() - began)
                    books.ask_again([server], key, [*load.harvest(), probe])
            books.ask_again([server], key, load.harvest())
            assert server.process.pid == pid
            assert server.process.poll() is None
            line.took(load)
            line.settle(books.reckon(data))
        finally:
            server.end()
            database.stop()
    assert line.clean, line

"""The control: a database that answers before it has written must be caught by the very drill that finds nothing
otherwise. A drill that cannot fail proves nothing."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from random import Random

import psycopg
import pytest

from hub.embedded import EmbeddedPostgres
from tests.drills.support import Books, Load, drill, postmaster, register, signalled, touch, tree, works
from tests.support.serving import Server


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.drill)])
def test_without_synchronous_commit_the_drill_finds_losses(folder: Path, rounds: int) -> None:
    """Killing all processes of the database leaves what it handed to the system; what it still held is gone."""
    data, random, books = folder / "data", Random(rounds), Books()
    server, database = Server(data, None), EmbeddedPostgres(data)
    with psycopg.connect(database.start(), autocommit=True) as connection:
        connection.execute("ALTER DATABASE hub SET synchronous_commit = off")
    with drill("control: without synchronous commit", rounds) as line:
        server.start()
        try:
            key = server.key("operator")
            register(server, server.key("admin"))
            with Load([server], key) as load:
                for n in range(rounds):
                    load.flows(200)
                    time.sleep(random.uniform(0, 0.3))
                    signalled(tree(postmaster(data)), signal.SIGKILL)
                    began = time.monotonic()
                    probe = works(server, key, touch("probe", n))
                    line.back.append(time.monotonic() - began)
                    books.ask_again([server], key, [*load.harvest(), probe])
            books.ask_again([server], key, load.harvest())
            line.took(load)
            line.settle(books.reckon(data))
        finally:
            server.end()
            database.stop()
    assert line.lost > 0, "acknowledged commands were lost, and the drill did not notice"
    assert (line.gaps, line.apart, line.faults) == (0, [], [])

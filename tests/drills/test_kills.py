"""Kill -9 under load: nothing that was answered is lost, nothing is written twice, and all comes back by itself."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import psycopg
import pytest

from hub.embedded import EmbeddedPostgres
from tests.drills.support import (
    ROUNDS,
    Books,
    Load,
    drill,
    postmaster,
    register,
    touch,
    until,
    works,
)
from tests.support.serving import Server

LEADER = """
    SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.datname = 'hub'
      AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('hub.projector', 0)
"""


def leader(url: str) -> int | None:
    """The process that folds, of all that would."""
    with psycopg.connect(url) as connection:
        row = connection.execute(LEADER).fetchone()
    return int(row[0].split()[1]) if row else None


@pytest.mark.parametrize("rounds", [1, pytest.param(ROUNDS, marks=pytest.mark.drill)])
def test_whatever_is_killed_comes_back_with_all_that_was_answered(folder: Path, rounds: int) -> None:
    """Each round kills one of two APIs, the leading read side and the database, in any order, within a second or so."""
    data, random, books = folder / "data", Random(rounds), Books()
    servers = [Server(data, None), Server(data, None)]
    database = EmbeddedPostgres(data)
    url = database.start()
    with drill("kill -9 of API, read side and database", rounds) as line, ThreadPoolExecutor(1) as aside:
        try:
            for server in servers:
                server.start()
            key = servers[0].key("operator")
            register(servers[0], servers[0].key("admin"))
            with Load(servers, key) as load:
                for n in range(rounds):
                    load.flows()
                    until(lambda: leader(url) is not None)
                    follower, api = leader(url), servers[n % 2]
                    assert follower
                    returning = None
                    for victim in random.sample(["api", "read side", "database"], 3):
                        if victim == "api":
                            api.end(signal.SIGKILL)
                            returning = aside.submit(api.start)
                        elif victim == "read side":
                            with suppress(ProcessLookupError):  # It may have gone with its API.
                                os.kill(follower, signal.SIGKILL)
                        else:
                            os.kill(postmaster(data), signal.SIGKILL)
                        time.sleep(random.uniform(0, 0.6))
                    assert returning is not None
                    began = time.monotonic()
                    returning.result()
                    probes = [works(server, key, touch(f"probe-{at}", n)) for at, server in enumerate(servers)]
                    line.back.append(time.monotonic() - began)
                    with load.paused():
                        books.ask_again(servers, key, load.harvest() + probes)
            books.ask_again(servers, key, load.harvest())
            line.took(load)
            line.settle(books.reckon(data))
        finally:
            for server in servers:
                if server.process is not None:
                    server.end()
            database.stop()
    assert line.clean, line
    assert line.acknowledged > 50 * rounds

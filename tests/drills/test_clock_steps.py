"""The clock of the machine steps back and forth: the order of recording, the ids and the rule about the future hold."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from hub.database import connect
from tests.drills.support import Books, Caller, Load, drill, register, touch
from tests.support.serving import Server

STEPS = (3_600, -3_600, 60, -7_200, 86_400, 0)  # Seconds off.
TOLERATED = 60  # Seconds that may pass between looking at a clock and what is done by it.


def step_to(clock: Path, seconds: int) -> None:
    """In one move, since it is read all the time."""
    beside = clock.with_suffix(".next")
    beside.write_text(str(seconds))
    beside.replace(clock)


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.drill)])
def test_a_clock_that_steps_confuses_nobody(folder: Path, database_url: str, rounds: int) -> None:
    data, clock, books = folder / "data", folder / "clock", Books()
    step_to(clock, 0)
    server = Server(data, database_url, program=("-m", "tests.drills.stepping", str(clock)))
    with drill("clock stepping", rounds * len(STEPS)) as line:
        server.start()
        try:
            key = server.key("operator")
            register(server, server.key("admin"))
            with Load([server], key, clients=4) as load, Caller([server], key) as caller:
                for n in range(rounds):
                    for step in Random(n).sample(STEPS, len(STEPS)):
                        step_to(clock, step)
                        load.flows()
                        now = datetime.now(UTC) + timedelta(seconds=step)
                        soon, late = (
                            touch("probe", n) | {"id": f"{n} {step} {ahead}", "occurred_at": (now + ahead).isoformat()}
                            for ahead in (timedelta(minutes=4), timedelta(minutes=6))
                        )
                        ((accepted,), (refused,)) = caller.send([soon]), caller.send([late])
                        assert (accepted["status"], refused["status"]) == (200, 422)
                        assert refused["errors"] == [{"path": "occurred_at", "reason": refused["errors"][0]["reason"]}]
                        books.ask_again([server], key, [*load.harvest(), (soon, accepted)])
            books.ask_again([server], key, load.harvest())
            line.took(load)
            line.settle(books.reckon(data, database_url))
        finally:
            server.end()
    assert line.clean, line
    with connect(database_url) as connection:
        recorded = [at for (at,) in connection.execute("SELECT recorded_at FROM event WHERE log = 1 ORDER BY position")]
        ids, several = connection.execute("SELECT count(DISTINCT id), count(*) FROM event").fetchone() or (0, 0)
    assert all(before <= after for before, after in pairwise(recorded))
    assert recorded[-1] >= (time.time() + max(STEPS) - TOLERATED * rounds * len(STEPS)) * 1e6
    assert ids == several

"""Read models that count touches, and pumps that fold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import Connection

from hub.pump import Pump
from hub.rows import ReadModel
from tests.support.events import Log
from tests.support.tally import make_tables, tally


@pytest.fixture
def tallies(owner: Connection[Any]) -> None:
    """The tables of `tally` and `other`."""
    make_tables(owner)


@pytest.fixture
def pump(log: Log, tallies: None) -> Iterator[Callable[..., Pump]]:
    """Starts pumps, and stops them in the end."""
    started: list[Pump] = []

    def start(*models: ReadModel[Any], batch: int = 100) -> Pump:
        started.append(Pump(log.connect, log.reader, models or (tally,), batch))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()

"""What tests of read models ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import Connection

from hub.database import connect
from hub.projector import catch_up
from hub.view import View
from projections import READ_MODELS
from tests.support.events import Log


@pytest.fixture
def log(database_url: str) -> Iterator[Log]:
    """The log of this test's own database."""
    opened = Log(database_url)
    yield opened
    opened.close()


@pytest.fixture
def owner(database_url: str) -> Iterator[Connection[Any]]:
    """A connection that may change tables."""
    with connect(database_url, as_writer=False, autocommit=True) as opened:
        yield opened


@pytest.fixture
def view(log: Log, connection: Connection[Any]) -> View:
    return View(connection, log.reader, log.fingerprint)


@pytest.fixture
def fold(log: Log, connection: Connection[Any]) -> Callable[[], None]:
    """Brings every read model up to date."""
    return lambda: catch_up(connection, log.reader, READ_MODELS)

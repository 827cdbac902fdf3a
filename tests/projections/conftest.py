"""What tests of read models ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import Connection

from hub.projector import catch_up
from hub.view import View
from projections import READ_MODELS
from tests.support.events import Log


@pytest.fixture
def view(log: Log, connection: Connection[Any]) -> View:
    return View(connection, log.reader, log.fingerprint)


@pytest.fixture
def fold(log: Log, connection: Connection[Any]) -> Callable[[], None]:
    """Brings every read model up to date."""
    return lambda: catch_up(connection, log.reader, READ_MODELS)

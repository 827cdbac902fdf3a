"""Fixtures for tests of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from hub.database import connect


@pytest.fixture
def owner(database_url: str) -> Iterator[Connection[Any]]:
    """A connection that may do what the running hub may not."""
    with connect(database_url, as_writer=False, autocommit=True) as opened:
        yield opened

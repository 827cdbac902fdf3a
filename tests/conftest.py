"""Fixtures every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from hub.database import connect
from tests.support.database import SharedServer, choose_binaries, open_folder
from tests.support.events import Log

# A developer's own database and settings are none of the tests' business.
for name in [name for name in os.environ if name.startswith("HUB_") and not name.startswith("HUB_TEST_")]:
    del os.environ[name]
choose_binaries()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Iterator[SharedServer]:
    """The one server of this test run; every xdist worker gets the same."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    server = SharedServer(testrun_uid, shared / "postgres.lock")
    yield server
    server.stop()


@pytest.fixture
def database_url(postgres: SharedServer) -> Iterator[str]:
    """The URL of this test's own database, with every migration applied."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: SharedServer) -> Iterator[str]:
    """The URL of this test's own database, with nothing in it."""
    with postgres.database(migrated=False) as url:
        yield url


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection[Any]]:
    """A connection to this test's own database, every migration applied."""
    with connect(database_url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def owner(database_url: str) -> Iterator[Connection[Any]]:
    """A connection that may do what the running hub may not."""
    with connect(database_url, as_writer=False, autocommit=True) as opened:
        yield opened


@pytest.fixture
def log(database_url: str) -> Iterator[Log]:
    """The log of this test's own database, with a writer and keys of its own."""
    opened = Log(database_url)
    yield opened
    opened.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short-named folder that other users may pass through, unlike pytest's own."""
    with open_folder() as made:
        yield made

"""Writers, readers and events for tests of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from hub.database import connect, pool
from hub.log.append import Writer
from hub.log.read import EventTypes
from hub.log.recorder import LogRecorder

MakeWriter = Callable[[], Writer]
MakeRecorder = Callable[..., LogRecorder]


@pytest.fixture
def make_writer(database_url: str) -> Iterator[MakeWriter]:
    """Writers on this test's database, each as another process would have its own."""
    with ExitStack() as stack:

        def make() -> Writer:
            writer = Writer(lambda: connect(database_url))
            stack.callback(writer.close)
            return writer

        yield make


@pytest.fixture
def writer(make_writer: MakeWriter) -> Writer:
    return make_writer()


@pytest.fixture
def types(database_url: str) -> EventTypes:
    return EventTypes(lambda: connect(database_url))


@pytest.fixture
def make_recorder(database_url: str, make_writer: MakeWriter, types: EventTypes) -> Iterator[MakeRecorder]:
    """Recorders of a log, each with a writer of its own."""
    with pool(database_url, 2) as connections:
        yield lambda name="app": LogRecorder(
            name, make_writer(), types, connections.connection, lambda: connect(database_url)
        )


@pytest.fixture
def recorder(make_recorder: MakeRecorder) -> LogRecorder:
    return make_recorder()

"""One embedded server for a whole test run, and a fresh database for each test that asks.

The workers of a run agree through a lock file: the first to ask starts the server, the first to need it makes
a template with every migration applied, and the last to leave stops the server.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from psycopg import sql

from hub.database import connect
from hub.embedded import EmbeddedPostgres
from hub.migrate import migrate


class SharedServer:
    """The server of one test run. `run` names the run, `lock` is a file its workers share."""

    def __init__(self, run: str, lock: Path) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"hub-test-{run[:12]}"
        self._lock = lock
        self._server = EmbeddedPostgres(self._folder, durable=False)

    def stop(self) -> None:
        with self._guarded():
            self._server.stop()
            if not self._server.running():
                shutil.rmtree(self._server.cluster.home)
                shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """A database of one test's own, gone afterwards whoever is still connected. Gives its URL."""
        name = f"test_{uuid.uuid4().hex}"
        template = self._template if migrated else "template0"
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        try:
            yield self._url_of(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    @cached_property
    def url(self) -> str:
        with self._guarded():
            return self._server.start()

    @cached_property
    def _template(self) -> str:
        """Its last name comes last, so that a template which stands is a whole one."""
        with connect(self.url, as_writer=False) as connection, self._guarded():
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'migrated'").fetchone():
                self._execute("DROP DATABASE IF EXISTS unfinished")
                self._execute("CREATE DATABASE unfinished")
                migrate(self._url_of("unfinished"))
                # Closed to connections, autovacuum's included, since a template in use cannot be copied.
                self._execute("ALTER DATABASE unfinished ALLOW_CONNECTIONS false")
                self._execute("ALTER DATABASE unfinished RENAME TO migrated")
        return "migrated"

    def _url_of(self, name: str) -> str:
        return self.url.replace("@/hub?", f"@/{name}?")

    def _execute(self, statement: str, *names: str) -> None:
        with connect(self.url, as_writer=False, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock.open("ab") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


def choose_binaries() -> None:
    """HUB_TEST_PG=15 runs the suite on the system's PostgreSQL 15 instead of the wheel's."""
    if wanted := os.environ.get("HUB_TEST_PG"):
        os.environ["HUB_PG_BIN"] = f"/usr/lib/postgresql/{wanted}/bin"


@contextmanager
def open_folder() -> Iterator[Path]:
    """A short-named folder that other users may pass through, unlike pytest's own; removed afterwards."""
    made = Path(tempfile.mkdtemp(prefix="hub-test-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made)

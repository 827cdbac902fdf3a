"""Connections to PostgreSQL with the hub's manners, and SQL from the named query files beside the modules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, conninfo
from psycopg.abc import PQGen
from psycopg_pool import ConnectionPool

from hub.errors import Misconfigured
from hub.texts import Told, say, why

R = TypeVar("R")

_SESSION = {
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "default_transaction_isolation": "read\\ committed",
    "TimeZone": "UTC",
    "search_path": "hub",
}
WRITER = "hub_writer"  # What the running hub is; migrations connect without it.
READER = "hub_reader"  # What questions are asked as.
_RUNNING = {
    # The hub looks rows up by key and reads them in order. Of a fresh database there are no statistics to tell so.
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # Starting one takes longer than any of these lookups.
}
_MANNERS: dict[str, Any] = {
    "connect_timeout": 5,
    # A vanished peer is noticed within half a minute, so that a dead process does not hold its locks.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# What libpq says of why it cannot connect. Its own words are not repeated: they quote parts of the URL.
_WHY = {
    "could not translate host name": "unknown_host",
    "failed to resolve host": "unknown_host",
    "refused": "connection_refused",
    "No such file": "connection_refused",
    "timeout": "too_slow",
    "password": "wrong_password",
    "role ": "wrong_password",
    "database ": "no_database",
}
SILENCE = 10.0  # Seconds.
# A transaction that the server ended because the hub, or the server itself, stood still meanwhile is among them.
AWAY = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
_HEADING = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


class Impatient(Connection[Any]):
    """A connection that counts as lost when the server does not answer within `SILENCE` seconds.

    A server that was stopped, or a network that swallows everything, closes nothing: without this, whoever asks would
    wait as long as that lasts.
    """

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        try:
            return super().wait(gen, interval, SILENCE if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:  # Not the server's word: what it is doing now nobody knows.
                self.close()
            raise


def connect(url: str, *, as_writer: bool = True, **options: Any) -> Connection[Any]:
    """A connection with the hub's session settings; `options` are psycopg's (autocommit, row_factory …)."""
    return Connection.connect(url, **_manners(url, WRITER if as_writer else None) | options)


def impatient(url: str) -> Connection[Any]:
    """The same for work of which no step takes long."""
    return Impatient.connect(url, **_manners(url, WRITER))


def is_away(error: BaseException) -> bool:
    """Whether the database failed, or the way to it, and not what was asked: that may be asked again."""
    return isinstance(error, AWAY)


def pool(url: str, size: int, role: str = WRITER) -> ConnectionPool[Connection[Any]]:
    """`size` impatient connections, open at once; one that broke is replaced before anybody gets it."""
    return ConnectionPool(
        url,
        connection_class=Impatient,
        kwargs=_manners(url, role),
        min_size=size,
        max_size=size,
        open=True,
        name="hub",
        # Its pauses between two tries double; so it gives up early, and tries again as soon as somebody asks.
        reconnect_timeout=5,
        check=ConnectionPool.check_connection,
    )


@contextmanager
def explained(data: Path, place: str) -> Iterator[None]:
    """What keeps a hub from opening becomes a Misconfigured that names the setting and the fix, and no password.

    `place` is where the database lies: "HUB_DATABASE_URL", or the folder of the embedded one.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or data
        raise Misconfigured(say("data_refused", folder=data, why=why(error), where=where)) from error
    except psycopg.Error as error:
        raise Misconfigured(_refusal(error, place)) from None  # The cause may quote the URL.


def _refusal(error: psycopg.Error, place: str) -> Told:
    if place == "HUB_DATABASE_URL":
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return say("not_allowed")
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            code = next((code for words, code in _WHY.items() if words in str(error)), "no_answer")
            return say("url_refused", why=say(code))
        if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
            return say("url_form")
    return say("database_failed", place=place, what=f"{type(error).__name__} {error.sqlstate or ''}".strip())


def load_queries(module_file: str | Path) -> dict[str, str]:
    """The queries of the `.sql` file beside a module, by name: `queries = load_queries(__file__)`.

    A query begins at a line `-- name: find_it` and ends at the next. Raises ValueError when a name stands
    twice, a query is empty, or SQL stands above the first name.
    """
    file = Path(module_file).with_suffix(".sql")
    preface, *parts = _HEADING.split(file.read_text(encoding="utf-8"))
    names, bodies = parts[::2], [body.strip() for body in parts[1::2]]
    if any(line.strip() and not line.startswith("--") for line in preface.splitlines()):
        raise ValueError(f"{file.name}: SQL above the first `-- name:`")
    if len(set(names)) != len(names) or not all(bodies):
        raise ValueError(f"{file.name}: every query needs a name of its own and a body")
    return dict(zip(names, bodies, strict=True))


def _manners(url: str, role: str | None) -> dict[str, Any]:
    """What the URL itself says about the session stands behind ours, and so prevails."""
    theirs = str(conninfo.conninfo_to_dict(url).get("options") or "")
    settings = _SESSION | (_RUNNING | {"role": role} if role else {})
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    named = f"hub {os.getpid()}"  # Tells who of several hub processes holds a lock.
    return _MANNERS | {"application_name": named, "options": f"{ours} {theirs}".strip()}

"""Connections to PostgreSQL with the hub's manners, and SQL from the named query files beside the modules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from psycopg import Connection, conninfo
from psycopg_pool import ConnectionPool

_SESSION = {
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "default_transaction_isolation": "read\\ committed",
    "TimeZone": "UTC",
    "search_path": "hub",
}
WRITER = {
    "role": "hub_writer",  # What the running hub is; migrations connect without it.
    # It looks rows up by key and reads them in order. A fresh database has no statistics that would tell the planner.
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
}
_MANNERS: dict[str, Any] = {
    "application_name": "hub",
    "connect_timeout": 5,
    # A vanished peer is noticed within half a minute, so that a dead process does not hold its locks.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_HEADING = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


def connect(url: str, *, as_writer: bool = True, **options: Any) -> Connection[Any]:
    """A connection with the hub's session settings; `options` are psycopg's (autocommit, row_factory …)."""
    return Connection.connect(url, **_manners(url, as_writer) | options)


def pool(url: str, size: int) -> ConnectionPool[Connection[Any]]:
    """`size` such connections, open at once; one that broke is replaced before anybody gets it."""
    return ConnectionPool(
        url,
        kwargs=_manners(url, as_writer=True),
        min_size=size,
        max_size=size,
        open=True,
        name="hub",
        check=ConnectionPool.check_connection,
    )


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


def _manners(url: str, as_writer: bool) -> dict[str, Any]:
    """What the URL itself says about the session stands behind ours, and so prevails."""
    theirs = str(conninfo.conninfo_to_dict(url).get("options") or "")
    settings = _SESSION | (WRITER if as_writer else {})
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return _MANNERS | {"options": f"{ours} {theirs}".strip()}

"""Migrations: plain SQL files `NNNN_name.sql`, applied once each, in order, and never changed afterwards."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from psycopg import Connection, Error

from hub.database import connect
from hub.errors import MigrationMismatch
from hub.texts import say

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK = "SELECT pg_advisory_lock(hashtextextended('hub.migrate', 0))"
_MADE = "SELECT to_regclass('public.migration') IS NOT NULL"
_TABLE = """
    CREATE TABLE public.migration (
        number     int         PRIMARY KEY,
        name       text        NOT NULL,
        sha256     bytea       NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    GRANT SELECT ON public.migration TO PUBLIC
"""


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: bytes

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.sql).digest()

    @property
    def file(self) -> str:
        return f"{self.number:04}_{self.name}.sql"


def migrate(url: str, folder: Traversable | None = None) -> int:
    """Bring the database to the newest migration and answer its number. Each file is one transaction.

    Within it the guards of the append-only tables let pass, and are set anew when it ends. Where nothing is to be
    applied nothing is written, so that a login which is no migrator may ask. Processes that start together take
    turns. Raises MigrationMismatch, before anything is applied, when the files are misnumbered or an applied one was
    changed or is missing.
    """
    available = migrations(folder)
    with connect(url, as_writer=False, autocommit=True) as connection:
        # Another process may migrate for minutes; waiting for it is right, unlike waiting for a table.
        connection.execute("SET lock_timeout = 0")
        connection.execute(_LOCK)
        connection.execute("RESET lock_timeout")
        if connection.info.server_version >= 160000:  # Else who is no superuser may not be the roles it makes.
            connection.execute("SET createrole_self_grant = 'set, inherit'")
        if connection.execute(_MADE).fetchone() == (False,):
            connection.execute(_TABLE)
        for migration in available[_agreed(connection, available) :]:
            _apply(connection, migration)
    return len(available)


def version(connection: Connection[Any], folder: Traversable | None = None) -> tuple[int, int]:
    """(applied, available): the newest migration the database has, and the newest there is."""
    available = len(migrations(folder))
    if connection.execute("SELECT to_regclass('public.migration')").fetchone() == (None,):
        return 0, available
    (applied,) = connection.execute("SELECT coalesce(max(number), 0) FROM public.migration").fetchone() or (0,)
    return applied, available


def migrations(folder: Traversable | None = None) -> list[Migration]:
    """Every migration in order: 1, 2, 3 … Raises MigrationMismatch at a gap or a number that stands twice."""
    found = []
    for entry in (folder or files("migrations")).iterdir():
        if match := _FILE_NAME.fullmatch(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_bytes()))
        elif entry.name.endswith(".sql"):
            raise MigrationMismatch(say("migration_name", file=entry.name))
    found.sort(key=lambda migration: (migration.number, migration.name))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationMismatch(say("migration_gap", expected=f"{expected:04}", file=migration.file))
    return found


def _apply(connection: Connection[Any], migration: Migration) -> None:
    try:
        with connection.transaction():
            if _guarded(connection):
                connection.execute("SELECT hub_guard.open(%s)", (migration.file,))
            connection.execute(migration.sql)
            # What a file sets for itself (a role, a search path) ends with it.
            connection.execute("RESET ALL")
            connection.execute("RESET ROLE")
            if _guarded(connection):
                connection.execute("SELECT hub_guard.close()")
            connection.execute(
                "INSERT INTO public.migration (number, name, sha256) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.sha256),
            )
    except Error as error:
        error.add_note(f"in migrations/{migration.file}, of which nothing was applied")
        raise


def _guarded(connection: Connection[Any]) -> bool:
    return connection.execute("SELECT to_regnamespace('hub_guard') IS NOT NULL").fetchone() == (True,)


def _agreed(connection: Connection[Any], available: list[Migration]) -> int:
    """How many migrations are applied, all of them as they stand here."""
    applied = connection.execute("SELECT number, name, sha256 FROM public.migration ORDER BY number").fetchall()
    here = {migration.number: migration for migration in available}
    for number, name, sha256 in applied:
        migration = here.get(number)
        if migration is None or migration.name != name:
            raise MigrationMismatch(say("migration_newer", file=f"{number:04}_{name}.sql"))
        if migration.sha256 != sha256:
            raise MigrationMismatch(say("migration_changed", file=migration.file))
    return len(applied)

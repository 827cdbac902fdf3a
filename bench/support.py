"""What every measurement needs: a durable server of its own, the rows of a log, and a table to print."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from psycopg import Connection

from hub import Hub
from hub.database import connect

TABLES = {
    "event": ("int2", "int8", "uuid", "int2", "int8", "text[]", "bytea", "bytea"),
    "tag": ("int2", "uuid", "int8", "int2", "int2"),
    "seal": ("int2", "int8", "int2", "uuid", "int2", "int4", "bytea"),
    "record_key": ("uuid", "int2", "int4", "int4", "bytea", "int8"),
    "receipt": ("uuid", "bytea", "bytea", "int8", "int8", "bytea"),
}


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ratio` is ours to the yardstick's; `target` what it must reach, where one is set."""

    what: str
    ours: str
    yardstick: str
    ratio: float | None
    target: str
    holds: bool | None


def figure(what: str, ours: Sequence[float], yardstick: Sequence[float], unit: str, least: float) -> Figure:
    """Rates measured in turn; the ratio is the median of the pairs'."""
    ratio = median(a / b for a, b in zip(ours, yardstick, strict=True))
    return Figure(
        what, f"{median(ours):,.0f} {unit}", f"{median(yardstick):,.0f} {unit}", ratio, f"≥ {least:g} ×", ratio >= least
    )


def show(figures: Sequence[Figure]) -> None:
    print("\n| work | ours | yardstick | ratio | target | |\n|---|---:|---:|---:|---:|---|")
    for each in figures:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f} ×"
        verdict = {True: "holds", False: "MISSED", None: ""}[each.holds]
        print(f"| {each.what} | {each.ours} | {each.yardstick} | {ratio} | {each.target} | {verdict} |", flush=True)


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub on a fresh durable database under the temporary folder, its read side off."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        Path(folder).chmod(0o711)
        with Hub.open(data=Path(folder) / "data", follow=False) as opened:
            yield opened


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rows_of(url: str, after: int) -> dict[str, list[tuple[Any, ...]]]:
    """The final rows that appends after this position left in the log's tables (keys and receipts: all of them)."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    with connect(url) as connection:
        for table in TABLES:
            where = " WHERE position > %s" if table in ("event", "tag", "seal") else " WHERE %s IS NOT NULL"
            cursor = connection.cursor(binary=True)
            rows[table] = cursor.execute(f"SELECT * FROM {table}{where}".encode(), (after,)).fetchall()
    return rows


def copy_bare(url: str, rows: dict[str, list[tuple[Any, ...]]]) -> float:
    """Seconds that a plain binary COPY of these rows takes, table by table, into identical empty tables, one commit."""
    with connect(url, as_writer=False) as connection:
        connection.execute("DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare")
        for table in TABLES:
            connection.execute(f"CREATE TABLE bare.{table} (LIKE hub.{table} INCLUDING ALL)".encode())
        connection.commit()
        seconds = timed(lambda: _copy(connection, rows))
        connection.execute("DROP SCHEMA bare CASCADE")
    return seconds


def _copy(connection: Connection[Any], rows: dict[str, list[tuple[Any, ...]]]) -> None:
    for table, types in TABLES.items():
        if rows[table]:
            with connection.cursor().copy(f"COPY bare.{table} FROM STDIN (FORMAT binary)".encode()) as copy:
                copy.set_types(types)
                for row in rows[table]:
                    copy.write_row(row)
    connection.commit()

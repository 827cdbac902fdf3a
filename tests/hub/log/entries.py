"""Appends made by hand, for tests of the writer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import wait
from typing import Any

from psycopg import Connection

from hub.clock import fresh_id
from hub.log import wire
from hub.log.append import Append, Appended, Receipt, Writer
from hub.log.recent import Item

LOG = 2  # Any log will do.
TYPE = 1  # No table says what it means.


def prepared(*tags: str, type: int = TYPE, data: bytes = b"{}", sealed: Iterable[bytes] = ()) -> wire.Prepared:
    return wire.prepare(fresh_id(), type, f"type{type}", tags, data, sealed_tags=[(tag, 0) for tag in sealed])


def item(*tags: str, types: Iterable[int] | None = None) -> Item:
    return Item(None if types is None else frozenset(types), tuple(map(wire.tag_of, tags)))


def append(*events: wire.Prepared, **how: Any) -> Append:
    return Append(LOG, events, **how)


def poison() -> wire.Prepared:
    """An event that PostgreSQL refuses: its tag is no text."""
    return prepared("\0")


def receipt(name: bytes = b"r", count: int = 1) -> Receipt:
    return Receipt(bytes(16), name.ljust(32, b"."), bytes(32), 0, count, b"{}")


def outcomes(appends: Sequence[Append]) -> list[Appended | type[BaseException]]:
    wait([each.done for each in appends], timeout=30)
    return [type(error) if (error := each.done.exception(0)) else each.done.result(0) for each in appends]


def answer_to(writer: Writer, append: Append) -> Appended | type[BaseException]:
    writer.submit(append)
    return outcomes([append])[0]


def together(writer: Writer, connection: Connection[Any], *appends: Append) -> list[Appended | type[BaseException]]:
    """Submit while the log is locked, so that all of them go into one group behind the first."""
    first = append(prepared("first"))
    with connection.transaction():
        connection.execute("SELECT 1 FROM log WHERE id = %s FOR UPDATE", (LOG,))
        connection.execute("SET LOCAL ROLE NONE")  # Only who owns the server sees what others wait for.
        writer.submit(first)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while connection.execute(waiting).fetchone() == (0,):
            connection.execute("SELECT pg_stat_clear_snapshot()")
        for each in appends:
            writer.submit(each)
    first.done.result(30)
    return outcomes(appends)


def stored(connection: Connection[Any]) -> list[tuple[int, bytes]]:
    return [
        (position, id.bytes)
        for position, id in connection.execute(
            "SELECT position, id FROM event WHERE log = %s ORDER BY position", (LOG,)
        )
    ]

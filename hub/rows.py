"""Rows of read models between Python and PostgreSQL: taken out set-wise, put back by binary COPY.

A row is a frozen dataclass whose fields are the table's columns. Ids are text in it and uuid in the table, instants
are microseconds and timestamptz; the table says which, so a row needs no other description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property, lru_cache
from itertools import chain, repeat
from operator import attrgetter
from struct import Struct
from typing import Any, Generic, TypeVar

from psycopg import Connection, Cursor, sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.rows import args_row

from hub.errors import HubError
from hub.events.base import Event, Recorded, uuid_text
from hub.log.wire import COPY_HEADER, COPY_TRAILER

Key = tuple[Any, ...]
R = TypeVar("R")

_2000 = 946_684_800_000_000  # Microseconds from 1970 to 2000, where PostgreSQL's time begins.
_NULL = b"\xff\xff\xff\xff"
_UUID = b"\x00\x00\x00\x10"
_DAY_0 = date(2000, 1, 1).toordinal()
_U16, _I32, _I64 = Struct(">H").pack, Struct(">i").pack, Struct(">q")
_SMALL, _INT, _BIG, _FLOAT, _BOOL = (Struct(f).pack for f in (">ih", ">ii", ">iq", ">id", ">i?"))


class RowMismatch(HubError):
    """The columns of a read model's table are not the fields of its row."""


@dataclass(frozen=True)
class ReadModel(Generic[R]):
    """Rows derived from events by a pure fold. Its name is that of its table and of its module."""

    name: str
    row: type[R]
    key: tuple[str, ...]
    events: tuple[type[Event], ...]
    owners: Callable[[Recorded], Iterable[Key]]  # The keys of the rows this event may change.
    fold: Callable[[R | None, Recorded, Key], R | None]  # None: there is no such row (any more).
    version: int = 1
    once: bool = False  # A row comes from one event and never changes, so it need not be read to be written.

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.kinds)

    @cached_property
    def kinds(self) -> Sequence[tuple[str, str]]:
        """Each column and the first name in its field's annotation: `Instant` of `Instant | None`."""
        of_row = fields(self.row)  # type: ignore[arg-type]  # a dataclass, which a type variable cannot say
        return [(field.name, str(field.type).partition(" ")[0]) for field in of_row]

    def refold(self, events: Iterable[Recorded], rows: Mapping[Key, R] | None = None) -> dict[Key, R]:
        """The rows these events make, in memory."""
        found: dict[Key, R | None] = dict(rows or {})
        for recorded in events:
            if isinstance(recorded.event, self.events):
                for key in self.owners(recorded):
                    found[key] = self.fold(found.get(key), recorded, key)
        return {key: row for key, row in found.items() if row is not None}


class Table(Generic[R]):
    """A read model's table on one connection."""

    def __init__(self, connection: Connection[Any], model: ReadModel[R]) -> None:
        self._connection, self._model = connection, model
        types = dict(
            connection.execute(
                "SELECT attname, atttypid::regtype::text FROM pg_attribute"
                " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                (model.name,),
            ).fetchall()
        )
        if types.keys() != set(model.columns):
            raise RowMismatch(f"{model.name}: the columns are {sorted(types)}, the fields {sorted(model.columns)}")
        self._values = attrgetter(*model.columns)
        self._pack = [_PACK[types[column]] for column in model.columns]
        self._count = _U16(len(model.columns))
        self._literal = [_text_literal if types[column] == "text" else str for column in model.key]
        names = {
            "table": sql.Identifier(model.name),
            "columns": sql.SQL(", ").join(map(sql.Identifier, model.columns)),
            "returned": sql.SQL(", ").join(sql.Identifier("t", column) for column in model.columns),
            "arrays": sql.SQL(", ").join(sql.SQL(f"%s::{types[column]}[]") for column in model.key),
            "key": sql.SQL(", ").join(map(sql.Identifier, model.key)),
            "same": sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("t", column), sql.Identifier("k", column))
                for column in model.key
            ),
        }
        self._take = (
            sql.SQL("DELETE FROM {table} AS t USING unnest({arrays}) AS k ({key}) WHERE {same} RETURNING {returned}")
            .format(**names)
            .as_string(connection)
        )
        self._put = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT binary)").format(**names).as_string(connection)

    def take(self, keys: Iterable[Key]) -> Cursor[R]:
        """Take the rows with these keys out of the table. The cursor gives them."""
        columns = zip(*keys, strict=True)
        arrays = [f"{{{','.join(map(text, part))}}}" for text, part in zip(self._literal, columns, strict=True)]
        cursor = row_cursor(self._connection, self._model.row)
        return cursor.execute(self._take, arrays, prepare=True)

    def by_key(self, rows: Iterable[R]) -> dict[Key, R]:
        key = attrgetter(*self._model.key)
        if len(self._model.key) == 1:
            return {(key(row),): row for row in rows}
        return {key(row): row for row in rows}

    def put(self, rows: Sequence[R]) -> None:
        """Add rows, none of which the table has."""
        columns = zip(*map(self._values, rows), strict=True)
        packed = [
            [_NULL if value is None else pack(value) for value in column]
            for pack, column in zip(self._pack, columns, strict=True)
        ]
        body = b"".join(chain.from_iterable(zip(repeat(self._count), *packed, strict=False)))
        with self._connection.cursor().copy(self._put) as copy:
            copy.write(COPY_HEADER + body + COPY_TRAILER)


def row_cursor(connection: Connection[Any], row: Callable[..., R]) -> Cursor[R]:
    """A cursor whose rows are made by `row`, with ids as text and instants in microseconds."""
    cursor = connection.cursor(binary=True, row_factory=args_row(row))
    cursor.adapters.register_loader("uuid", _IdLoader)
    cursor.adapters.register_loader("timestamptz", _InstantLoader)
    return cursor


class _IdLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return uuid_text(bytes(data))


class _InstantLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        at: int = _I64.unpack(data)[0]
        return at + _2000


def _text_literal(value: str) -> str:
    """An element of an array literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=10_000)  # Codes, mostly: the same few again and again.
def _text(value: str) -> bytes:
    encoded = value.encode()
    return _I32(len(encoded)) + encoded


def _texts(values: Sequence[str]) -> bytes:
    head = Struct(">iiiii").pack(1, 0, 25, len(values), 1) if values else Struct(">iii").pack(0, 0, 25)
    array = head + b"".join(map(_text, values))
    return _I32(len(array)) + array


_PACK: Mapping[str, Callable[[Any], bytes]] = {
    "uuid": lambda value: _UUID + bytes.fromhex(value.replace("-", "")),
    "text": _text,
    "text[]": _texts,
    "boolean": lambda value: _BOOL(1, value),
    "smallint": lambda value: _SMALL(2, value),
    "integer": lambda value: _INT(4, value),
    "bigint": lambda value: _BIG(8, value),
    "double precision": lambda value: _FLOAT(8, value),
    "timestamp with time zone": lambda value: _BIG(8, value - _2000),
    "date": lambda value: _INT(4, value.toordinal() - _DAY_0),
}

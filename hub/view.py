"""What questions are asked through: read models in one snapshot, and the log and its seals behind their pointers."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from psycopg import Connection, Cursor, IsolationLevel, sql
from psycopg.pq import TransactionStatus

from hub.clock import moment, now
from hub.errors import Behind, Flaw, Invalid, ModelFailed, SealDamaged, Unknown
from hub.events.base import Instant, Recorded
from hub.log.read import Reader
from hub.rows import ReadModel, row_cursor
from hub.settings import USUAL, Periods
from hub.texts import say

R = TypeVar("R")
Condition = tuple[ReadModel[Any], str, tuple[Any, ...]]  # Which rows of which model: a condition on `m`, its values.

_SEALED = """
    SELECT e.position, uuid_send(e.id), e.type, e.recorded_at, e.data, s.seal, s.record::text, s.class, s.key, s.box
    FROM event e LEFT JOIN seal s ON s.log = e.log AND s.position = e.position
    WHERE e.log = %s AND e.position = ANY (%s)
"""
_IN_JSON = {"Instant": "(extract(epoch FROM m.{}) * 1000000)::bigint"}  # Others are in JSON what they are in a row.
_STANDINGS = "SELECT name, version, position, state = 'failed' FROM read_model"
_STANDINGS_TOO = "SELECT -1, json_build_array(name, version, position, state = 'failed')::text FROM read_model"


@dataclass(frozen=True)
class View:
    """A connection to ask on. Where it is in no transaction yet, each question takes a snapshot of its own."""

    connection: Connection[Any]
    reader: Reader
    fingerprint: Callable[..., bytes]  # (kind, *values) -> the sealed tag
    region: str = "RU"  # Of phone numbers told without a country.
    periods: Periods = USUAL

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything asked within sees the same rows.

        The lock comes before the snapshot: rows folded anew take the place of others only while nobody asks, so that
        no snapshot of before meets tables of after.
        """
        if self.connection.info.transaction_status is not TransactionStatus.IDLE:
            yield
            return
        self.connection.isolation_level = IsolationLevel.REPEATABLE_READ
        self.connection.read_only = True
        try:
            with self.connection.transaction():
                self.connection.execute("LOCK TABLE read_model IN ACCESS SHARE MODE", prepare=False)
                yield
        finally:
            self.connection.isolation_level = self.connection.read_only = None

    def rows(self, model: ReadModel[R], where: str, *values: Any) -> Cursor[R]:
        """The rows of a read model, called `m`, for which `where` holds, and what order it asks for."""
        columns = ", ".join(f"m.{column}" for column in model.columns)
        return self.ask(model.row, f"SELECT {columns} FROM {model.name} m WHERE {where}", *values)  # noqa: S608 -- names of ours

    def gathered(self, *asked: Condition) -> tuple[Standings, list[list[Any]]]:
        """The standings, and the rows of several read models, in no order, in one question to the database.

        What a statement costs the asker is the sending and the receiving, hardly the finding.
        """
        parts = [_STANDINGS_TOO]
        for n, (model, where, _) in enumerate(asked):
            columns = ", ".join(_IN_JSON.get(kind, "m.{}").format(name) for name, kind in model.kinds)
            parts.append(f"SELECT {n}, json_build_array({columns})::text FROM {model.name} m WHERE {where}")  # noqa: S608 -- names of ours
        values = [value for _, _, given in asked for value in given]
        found = self.connection.execute(sql.SQL(" UNION ALL ".join(parts)), values, prepare=True)
        standings: list[Any] = []
        rows: list[list[Any]] = [[] for _ in asked]
        for n, text in found:
            if n < 0:
                standings.append(orjson.loads(text))
            else:
                rows[n].append(asked[n][0].row(*orjson.loads(text)))
        return Standings(standings), rows

    def ask(self, row: Callable[..., R], query: str, *values: Any) -> Cursor[R]:
        """Each row as `row` makes it, ids as text and times as instants."""
        return row_cursor(self.connection, row).execute(sql.SQL(query), values, prepare=True)

    def standings(self) -> Standings:
        """How far the read models are; to be asked among the first, and `of` the models needed."""
        return Standings(self.connection.execute(_STANDINGS, prepare=True))

    def opened(self, positions: Iterable[int]) -> dict[int, Recorded]:
        """The events at these positions, with the content of every seal that can still be opened."""
        wanted = sorted(set(positions))
        if not wanted:
            return {}
        reader = self.reader
        rows = self.connection.execute(_SEALED, (reader.log, wanted), binary=True, prepare=True).fetchall()
        keys = reader.vault.keys_named(self.connection, {row[6:9] for row in rows if row[5] is not None})
        found: dict[int, Recorded] = {}
        contents: dict[int, dict[int, Mapping[str, Any]]] = {}
        for position, id, type, at, data, n, *name, box in rows:
            if position not in found:
                contents[position] = {}
                recorded = reader.recorded(position, id, type, at, data)
                found[position] = recorded._replace(opened=contents[position])
            if (key := keys.get(tuple(name))) is not None:
                with suppress(SealDamaged):
                    contents[position][n] = reader.vault.open(key, id, n, box)
        return found

    def now(self) -> Instant:
        return now()


class Standings:
    """How far the read models were when the question was asked."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self._rows = rows

    def of(self, *models: ReadModel[Any]) -> int:
        """The position these models answer for.

        Raises ModelFailed, or Behind when one is being folded anew, as rows of another release's fold are.
        """
        found: Mapping[str, Sequence[Any]] = {name: rest for name, *rest in self._rows}
        head = max((place for _, place, failed in found.values() if not failed), default=0)
        for model in models:
            version, place, failed = found.get(model.name, (model.version, 0, False))
            if failed:
                raise ModelFailed(say("model_failed", model=model.name))
            if place < head or version != model.version:
                raise Behind(say("model_behind", model=model.name))
        return head


def shown(at: Instant | None) -> str | None:
    """An instant as answers show it."""
    return None if at is None else moment(at).isoformat().replace("+00:00", "Z")


def as_id(text: str) -> str:
    """An id in its canonical form. Raises Unknown when it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Unknown from None


def cursor_of(*place: int | str) -> str:
    """An opaque cursor."""
    return urlsafe_b64encode(" ".join(map(str, place)).encode()).decode().rstrip("=")


def place(text: str) -> int:
    """A position, as part of a cursor. Raises ValueError for what can be none."""
    if not 0 <= (found := int(text)) < 1 << 63:
        raise ValueError("no position")
    return found


def time(text: str) -> datetime:
    """A time, as part of a cursor. Raises ValueError for what can be none."""
    try:
        return moment(Instant(int(text)))
    except OverflowError:
        raise ValueError("no time") from None


def place_of(cursor: str, *parts: Callable[[str], Any]) -> Sequence[Any]:
    """Where a cursor stands. Raises Invalid when it is none of ours."""
    try:
        found = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")
        return [part(text) for part, text in zip(parts, found, strict=True)]
    except (ValueError, binascii.Error):
        raise Invalid(Flaw("cursor", "not_a_cursor")) from None

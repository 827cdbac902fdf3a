"""Read models proved: folded from the first event beside the live rows, up to where these are, and compared.

Both are read in one snapshot. What was folded when the time is over stays, and the next comparison goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from hub.database import load_queries
from hub.errors import Busy, Misconfigured
from hub.log.read import Reader
from hub.projector import BATCH, Standing
from hub.rebuild import Beside, Connect, Progress, Told, beside
from hub.rows import ReadModel

MOST = 10  # Differing rows that are named.
NOT_COMPARED = ("unreached", "busy", "refused")

SQL = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not as it is folded. Keys are ids and codes."""

    key: Mapping[str, str]
    kind: str  # `missing`, `surplus` or `differs`
    columns: Sequence[str] = ()  # Those that differ.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of comparing one read model."""

    name: str
    state: str  # `equal`, `differs`, `failed`; `unreached` when the time was over, `busy` when it is folded anew,
    # `refused` when a newer release has folded it, or whoever asks may not fold
    position: int = 0  # At which the rows were compared, or to which they were folded.
    differences: Sequence[Difference] = ()  # The first of them.
    failed: Standing | None = None  # Where the fold failed.
    unequal: bool = False  # Not compared now, and when it was last, it was not equal.


def verify(
    connect: Connect,
    reader: Reader,
    models: Sequence[ReadModel[Any]],
    told: Told = lambda _: None,
    seconds: float | None = None,
    batch: int = BATCH,
) -> Iterator[Verdict]:
    """Compare these read models, those first that were compared longest ago; a verdict for each.

    With `seconds`, no more than about so many are spent: the others are `unreached`.
    """
    given = {model.name: model for model in models}
    with closing(connect()) as connection:
        ordered: dict[str, bool] = dict(connection.execute(SQL["order"], (list(given),)).fetchall())
    over = None if seconds is None else time.monotonic() + seconds
    for name in [*ordered, *(given.keys() - set(ordered))]:
        if over is not None and time.monotonic() >= over:
            verdict = Verdict(name, "unreached")
        else:
            try:
                verdict = _verdict(connect, reader, given[name], told, over, batch)
            except Busy:
                verdict = Verdict(name, "busy")
            except (Misconfigured, InsufficientPrivilege):
                verdict = Verdict(name, "refused")
        yield replace(verdict, unequal=verdict.state in NOT_COMPARED and ordered.get(name, False))


def _verdict(
    connect: Connect, reader: Reader, model: ReadModel[Any], told: Told, over: float | None, batch: int
) -> Verdict:
    def telling(progress: Progress) -> None:
        told(progress)
        if over is not None and time.monotonic() >= over:
            raise _TimeOver(progress.position)

    with beside(connect, reader, model, batch, resume=over is not None) as rows:
        rows.kept = over is not None  # However the fold ends early, the next comparison goes on from there.
        try:
            rows.catch_up(telling, lambda: (_live(rows, model) or (0,))[0])
        except _TimeOver as end:
            return Verdict(model.name, "unreached", end.position)
        rows.kept = False
        verdict = _compared(rows, model)
        if verdict.state in ("equal", "differs"):
            rows.connection.execute(SQL["compared"], (verdict.state == "differs", model.name))
        return verdict


class _TimeOver(Exception):
    def __init__(self, position: int) -> None:
        self.position = position


def _live(rows: Beside, model: ReadModel[Any]) -> tuple[int, int, bool] | None:
    """Position and version of the live rows, and whether they have failed."""
    return rows.connection.execute(SQL["live"], (model.name,)).fetchone()


def _compared(rows: Beside, model: ReadModel[Any]) -> Verdict:
    connection = rows.connection
    with connection.transaction():
        connection.execute(SQL["snapshot"], prepare=False)
        row = _live(rows, model)
        if row is None or row[1] < model.version or row[0] < rows.place():
            return Verdict(model.name, "busy")
        position, _, failed = row
        if failed:
            return Verdict(model.name, "failed", position)
        while rows.advance(position):
            pass
        if (standing := rows.failed_at()) is not None:
            return Verdict(model.name, "failed", standing.position, failed=standing)
        connection.execute(SQL["plan"])
        found = [_difference(model, *row) for row in connection.execute(_comparison(model))]
    return Verdict(model.name, "differs" if found else "equal", position, found)


def _comparison(model: ReadModel[Any]) -> sql.Composed:
    names = [*map(sql.Identifier, model.key)]
    others = [column for column in model.columns if column not in model.key]

    def of(side: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(side, column) for column in others)

    return sql.SQL(SQL["compare"]).format(
        table=sql.Identifier(model.name),
        first=names[0],
        key=sql.SQL(", ").join(names),
        keys=sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in names),
        ours=of("live"),
        theirs=of("folded"),
        differing=sql.SQL(", ").join(
            sql.SQL("CASE WHEN {} IS DISTINCT FROM {} THEN {} END").format(
                sql.Identifier("live", column), sql.Identifier("folded", column), sql.Literal(column)
            )
            for column in others
        ),
        most=sql.Literal(MOST),
    )


def _difference(
    model: ReadModel[Any], key: Sequence[str], missing: bool, surplus: bool, columns: Sequence[str]
) -> Difference:
    kind = "missing" if missing else "surplus" if surplus else "differs"
    return Difference(dict(zip(model.key, key, strict=True)), kind, columns if kind == "differs" else ())

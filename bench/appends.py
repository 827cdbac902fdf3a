"""Durable appends, one small event each with a unique condition, 64 threads; against the library's own recorder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Thread
from uuid import uuid4

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.postgres import PostgresDatastore
from psycopg import conninfo

from bench.support import Figure, figure, hub
from hub.database import connect
from hub.log import wire
from hub.log.append import Append, Writer
from hub.log.read import MAIN
from hub.log.recent import Item

THREADS = 64
SECONDS = 5.0
ROUNDS = 3
DATA = b'{"name": "an event of some hundred bytes, as small ones are", "n": 1, "at": "2026-03-01T10:00:00+03:00"}'


def rate(append: Callable[[], None], seconds: float = SECONDS) -> float:
    """Appends a second by 64 threads."""
    counts = [0] * THREADS
    ends = time.monotonic() + seconds

    def work(n: int) -> None:
        while time.monotonic() < ends:
            append()
            counts[n] += 1

    threads = [Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def theirs(url: str) -> Callable[[], None]:
    parts = conninfo.conninfo_to_dict(url)
    store = PostgresDatastore(
        dbname=str(parts["dbname"]),
        host=str(parts["host"]),
        port=str(parts.get("port", 5432)),
        user=str(parts["user"]),
        password=str(parts.get("password") or ""),
        pool_size=THREADS,
        max_overflow=0,
    )
    recorder = PostgresDCBRecorderTT(store, events_table_name="bench")
    recorder.create_table()

    def append() -> None:
        tag = uuid4().hex
        condition = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=[tag])]), after=None)
        recorder.append([DCBEvent("small", DATA, [tag])], condition)

    return append


def ours(writer: Writer, number: int) -> Callable[[], None]:
    def append() -> None:
        tag = uuid4().hex
        event = wire.prepare(uuid4().bytes, number, "small", (tag,), DATA)
        item = Item(None, (wire.tag_of(tag),))
        writer.submit(Append(MAIN, [event], [item], after=None)).result()

    return append


def figures(held_minutes: float = 10.0) -> list[Figure]:
    mine: list[float] = []
    library: list[float] = []
    held: list[float] = []
    with hub() as opened:
        append, other = ours(opened.writer, opened.types.number("small")), theirs(opened.url)
        rate(append, 1.0)
        for _ in range(ROUNDS):
            library.append(rate(other))
            mine.append(rate(append))
            print(f"appends: library {library[-1]:,.0f}/s, ours {mine[-1]:,.0f}/s", file=sys.stderr, flush=True)
        with connect(opened.url) as snapshot:
            snapshot.execute("SET idle_in_transaction_session_timeout = 0")
            snapshot.execute("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ")
            snapshot.execute("SELECT count(*) FROM log")
            rate(append, held_minutes * 60)
            held.extend(rate(append) for _ in range(ROUNDS))
            snapshot.rollback()
        free = [rate(append) for _ in range(ROUNDS)]
    return [
        figure("durable appends, 64 threads, unique condition", mine, library, "events/s", 4),
        figure(f"the same under a snapshot held for {held_minutes:g} min", held, free, "events/s", 0.8),
    ]

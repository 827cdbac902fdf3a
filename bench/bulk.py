"""Bulk append to the log tables only, against a bare COPY of the same rows; and single appends meanwhile."""

from __future__ import annotations

import sys
import time
from collections import deque
from functools import partial
from threading import Event, Thread

from bench.support import Figure, copy_bare, figure, hub, rows_of, timed
from hub import Hub, clock
from hub.events import Envelope, TouchRecorded, encode
from hub.events.base import uuid_text
from hub.log import wire
from hub.log.append import Append
from hub.log.read import MAIN

SLICE = 250
IN_FLIGHT = 20  # The writer takes as many of them at once as its lock time allows.


def prepared(opened: Hub, n: int) -> wire.Prepared:
    event = TouchRecorded(
        record=uuid_text(clock.fresh_id()), channel="shop", direction="in", kind="purchase", data={"cds": n % 5}
    )
    envelope = Envelope(clock.now(), opened.local.id, "local", "shop")
    number = opened.types.number(event.stored_name)
    return wire.prepare(clock.fresh_id(), number, event.stored_name, tuple(event.tags()), encode(event, envelope))


def figures(events: int = 1_000_000) -> list[Figure]:
    with hub() as opened:
        slices = [[prepared(opened, n) for n in range(SLICE)] for _ in range(events // SLICE)]
        waits: list[float] = []
        over = Event()

        def load() -> None:
            going: deque[Append] = deque()
            for slice in slices:
                going.append(Append(MAIN, slice))
                opened.writer.submit(going[-1])
                if len(going) >= IN_FLIGHT:
                    going.popleft().done.result()
            for append in going:
                append.done.result()

        def one(append: Append) -> None:
            opened.writer.submit(append).result()

        def singles() -> None:
            while not over.is_set():
                waits.append(timed(partial(one, Append(MAIN, [prepared(opened, 0)]))))
                time.sleep(0.01)  # A few beside the load, not a second load.

        ours = events / timed(load)
        rows = rows_of(opened.url, 0)
        bare = events / copy_bare(opened.url, rows)
        del rows
        slices = [[prepared(opened, n) for n in range(SLICE)] for _ in range(max(20, events // SLICE // 5))]
        single = Thread(target=singles)
        single.start()
        load()
        over.set()
        single.join()
    worst = sorted(waits)[int(len(waits) * 0.99)] * 1000
    print(
        f"bulk {ours:,.0f} events/s, bare COPY {bare:,.0f}; single appends meanwhile p99 {worst:.0f} ms",
        file=sys.stderr,
    )
    return [
        figure(f"bulk append of {events:,} events", [ours], [bare], "events/s", 0.8),
        Figure("single appends meanwhile, p99", f"{worst:.0f} ms", "", None, "< 100 ms", worst < 100),
    ]

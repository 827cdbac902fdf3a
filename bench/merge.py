"""Merging and un-merging a customer with a million touches, against one with none."""

from __future__ import annotations

import sys
import time
from collections import deque
from statistics import median

from bench.support import Figure, hub
from hub import Hub, clock
from hub.events import Envelope, TouchRecorded, encode
from hub.log import wire
from hub.log.append import Append
from hub.log.read import MAIN

SLICE = 1000
ROUNDS = 5
PAIRS = 10


def fill(opened: Hub, record: str, touches: int) -> None:
    """Append touches of one record as the write side would, without the commands."""
    number = opened.types.number(TouchRecorded.stored_name)
    event = TouchRecorded(record=record, channel="shop", direction="in", kind="purchase")
    data = encode(event, Envelope(clock.now(), opened.local.id, "local", "shop"))
    tags = tuple(event.tags())
    going: deque[Append] = deque()
    for _ in range(touches // SLICE):
        events = [wire.prepare(clock.fresh_id(), number, event.stored_name, tags, data) for _ in range(SLICE)]
        going.append(Append(MAIN, events))
        opened.writer.submit(going[-1])
        if len(going) > 2:
            going.popleft().done.result()
    for append in going:
        append.done.result()


def rounds(opened: Hub, one: str, other: str) -> list[float]:
    """Milliseconds of each merge and each un-merge."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        merged = opened.do({"command": "merge_customers", "customers": [one, other]})
        between = time.perf_counter()
        opened.do({"command": "unmerge_customers", "merge": merged["events"][0]["event"]})
        taken += [(between - started) * 1000, (time.perf_counter() - between) * 1000]
        opened.do({"command": "lift_distinct", "customers": [one, other]})
    return taken


def figures(touches: int = 1_000_000) -> list[Figure]:
    with hub() as opened:
        opened.do({"command": "register_source", "name": "shop", "trust": 0.7})
        ids = [opened.do({"command": "identify_customer", "source": "shop", "key": str(n)})["record"] for n in range(4)]
        for record in ids[2:]:
            fill(opened, record, touches // 2)
        none: list[float] = []
        many: list[float] = []
        for _ in range(PAIRS):  # In turn, so that whatever else the machine does meets both.
            none += rounds(opened, ids[0], ids[1])
            many += rounds(opened, ids[2], ids[3])
        empty, full = median(none), median(many)
    print(f"merge: {full:.1f} ms with {touches:,} touches, {empty:.1f} ms with none", file=sys.stderr)
    return [
        Figure(
            f"merge or un-merge, {touches:,} touches", f"{full:.1f} ms", f"{empty:.1f} ms with none",
            full / empty, "< 10 ms", full < 10,
        )
    ]  # fmt: skip

"""The whole write side: NDJSON touches through `do_many`, against a bare COPY of all the rows they end up as."""

from __future__ import annotations

import sys
import time

import orjson

from bench.support import Figure, copy_bare, figure, hub, rows_of
from hub import Hub

TOUCHES = 30_000
CUSTOMERS = 7_500
ROUNDS = 3


def lines(run: int) -> list[bytes]:
    """Purchases as a shop's system would post them, four a customer, in no order."""
    return [
        orjson.dumps(
            {
                "command": "record_touch",
                "id": f"{run}-{n}",
                "occurred_at": f"2026-03-{1 + n % 28:02}T10:{n % 60:02}:00+03:00",
                "source": "shop",
                "key": f"{run}-{n * 7919 % CUSTOMERS}",
                "channel": "shop",
                "kind": "purchase",
                "data": {"cds": n % 5, "amount": 11.77 + n % 90},
                "content": {"note": "Забрал сам, просил чек на почту"},
            }
        )
        for n in range(TOUCHES)
    ]


def _through(opened: Hub, sent: list[bytes]) -> float:
    """Seconds until all are answered."""
    started = time.perf_counter()
    for answer in opened.do_many(sent):
        assert isinstance(answer, dict), answer
    return time.perf_counter() - started


def figures() -> list[Figure]:
    ours, bare = [], []
    for run in range(ROUNDS):
        with hub() as opened:
            opened.do({"command": "register_source", "name": "shop", "trust": 0.7})
            ours.append(TOUCHES / _through(opened, lines(run)))
            bare.append(TOUCHES / copy_bare(opened.url, rows_of(opened.url, 1)))
        print(
            f"pipeline {ours[-1]:,.0f} touches/s, bare COPY of the same rows {bare[-1]:,.0f}",
            file=sys.stderr,
            flush=True,
        )
    return [figure("NDJSON touches through do_many, durable", ours, bare, "touches/s", 0.5)]

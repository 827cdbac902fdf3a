"""The whole write side: NDJSON touches through `do_many`, against a bare COPY of all the rows they end up as."""

from __future__ import annotations

import sys

import orjson

from bench.support import Figure, copy_bare, figure, hub, rows_of, timed

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


def figures() -> list[Figure]:
    ours, bare = [], []
    for run in range(ROUNDS):
        with hub() as opened:
            opened.do({"command": "register_source", "name": "shop", "trust": 0.7})
            sent = lines(run)

            def work() -> None:
                for answer in opened.do_many(sent):
                    assert isinstance(answer, dict), answer

            ours.append(TOUCHES / timed(work))
            bare.append(TOUCHES / copy_bare(opened.url, rows_of(opened.url, 1)))
        print(
            f"pipeline {ours[-1]:,.0f} touches/s, bare COPY of the same rows {bare[-1]:,.0f}",
            file=sys.stderr,
            flush=True,
        )
    return [figure("NDJSON touches through do_many, durable", ours, bare, "touches/s", 0.5)]

"""The whole write side: NDJSON touches through `do_many`, against a bare COPY of all the rows they end up as."""

from __future__ import annotations

import gc
import os
import sys
import time
from multiprocessing import get_context
from statistics import median
from typing import Any

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


def side_by_side(opened: Hub, run: int, processes: int = 2) -> float:
    """Seconds until all are answered, where each process has its own share of the customers."""
    context = get_context("spawn")
    ready = context.Barrier(processes + 1)
    os.environ["HUB_KEYS"] = opened.installation.keys.text()
    try:
        workers = [
            context.Process(target=_share, args=(opened.url, run, part, processes, ready)) for part in range(processes)
        ]
        for each in workers:
            each.start()
        ready.wait()
    finally:
        del os.environ["HUB_KEYS"]
    started = time.perf_counter()
    for each in workers:
        each.join()
        assert each.exitcode == 0
    return time.perf_counter() - started


def _share(url: str, run: int, part: int, of: int, ready: Any) -> None:
    gc.set_threshold(100_000, 50, 50)
    mine = [line for n, line in enumerate(lines(run)) if n * 7919 % CUSTOMERS % of == part]
    with Hub.open(url, follow=False) as opened:
        ready.wait()
        _through(opened, mine)


def figures() -> list[Figure]:
    ours, bare, two = [], [], []
    for run in range(ROUNDS):
        with hub() as opened:
            opened.do({"command": "register_source", "name": "shop", "trust": 0.7})
            ours.append(TOUCHES / _through(opened, lines(run)))
            bare.append(TOUCHES / copy_bare(opened.url, rows_of(opened.url, 1)))
            two.append(TOUCHES / side_by_side(opened, ROUNDS + run))
        print(
            f"pipeline {ours[-1]:,.0f} touches/s, two processes {two[-1]:,.0f}, bare COPY of the rows {bare[-1]:,.0f}",
            file=sys.stderr,
            flush=True,
        )
    beside = median(a / b for a, b in zip(two, ours, strict=True))
    return [
        figure("NDJSON touches through do_many, durable", ours, bare, "touches/s", 0.5),
        Figure(
            "the same through two processes side by side",
            f"{median(two):,.0f} touches/s",
            f"{median(ours):,.0f} touches/s",
            beside,
            "",
            None,
        ),
    ]

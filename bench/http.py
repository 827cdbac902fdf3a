"""Over HTTP: single commands and cards against bare FastAPI endpoints, and a batch against `do_many`."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from bench.served import CLIENTS, batch, command, folder, load, process, question, serving, touch
from bench.support import Figure, figure, hub
from hub import Hub
from hub.database import pool

SINGLE = 8_000
BATCH = 20_000
CARDS = 3_000
READERS = 16
ROUNDS = 3


def touches(first: int, count: int) -> Iterator[bytes]:
    return (json.dumps(touch(n)).encode() for n in range(first, first + count))


def figures() -> list[Figure]:
    ours, bare, over_http, in_process = [], [], [], []
    with folder() as data, serving(data) as served, process("-m", "bench.http") as yardstick, hub() as local:
        local.do({"command": "register_source", "name": "shop"})

        def single(port: int, first: int) -> float:
            return load(port, [command(served.channel, body) for body in touches(first, SINGLE)])[0]

        single(served.port, -SINGLE)
        for n in range(ROUNDS):
            bare.append(single(yardstick.port, 0))
            ours.append(single(served.port, n * SINGLE))
            first = 1_000_000 + n * BATCH
            over_http.append(batch(served.port, served.channel, touches(first, BATCH)))
            began = time.perf_counter()
            assert all(isinstance(each, dict) for each in local.do_many(touches(first, BATCH)))
            in_process.append(BATCH / (time.perf_counter() - began))
    return [
        figure(f"single commands over HTTP, {CLIENTS} clients", ours, bare, "/s", 0.2),
        figure("a batch over HTTP, against do_many", over_http, in_process, "/s", 0.7),
        *cards(),
    ]


def cards() -> list[Figure]:
    """Cards of customers with a name, a phone, an e-mail and some touches each."""
    ours, bare = [], []
    with folder() as data, serving(data) as served:
        with Hub.open(data=data, follow=False) as opened:
            records = _customers(opened)
            url = opened.url
        with process("-m", "bench.http", BARE_DATABASE=url) as yardstick:
            chance = random.Random(3)
            for _ in range(ROUNDS):
                paths = [f"/v1/customers/{chance.choice(records)}" for _ in range(CARDS)]
                asked = [question(served.operator, path) for path in paths]
                bare.append(load(yardstick.port, asked, READERS))
                ours.append(load(served.port, asked, READERS))
            _, alone = load(served.port, asked[:1000], 1)
    ratio = median(_p99(one) / _p99(other) for (_, one), (_, other) in zip(ours, bare, strict=True))
    slow, quick = (median(_p99(taken) for _, taken in each) for each in (ours, bare))
    return [
        figure(f"cards, {READERS} clients", [rate for rate, _ in ours], [rate for rate, _ in bare], "/s", 0.4),
        Figure(
            f"cards, {READERS} clients, p99", f"{slow:.0f} ms", f"{quick:.0f} ms", ratio, "≤ 2.5 ×", ratio <= 2.5
        ),
        Figure("cards over HTTP, one client, p99", f"{_p99(alone):.1f} ms", "", None, "< 10 ms", _p99(alone) < 10),
    ]  # fmt: skip


def _customers(opened: Hub) -> list[str]:
    told = [
        {
            "command": "identify_customer",
            "source": "shop",
            "key": str(n),
            "facts": {"first_name": "Анна", "last_name": f"Иванова {n}", "birth_date": "1980-02-03", "city": "Казань"},
            "identifiers": {"phone": f"+7916{n:07}", "email": f"anna{n}@example.com"},
        }
        for n in range(5000)
    ]
    records = [answer["record"] for answer in opened.do_many(told) if isinstance(answer, dict)]
    assert all(isinstance(answer, dict) for answer in opened.do_many(touches(0, 20_000)))
    opened.wait(opened.head())
    return records


def _p99(taken: list[float]) -> float:
    return taken[len(taken) * 99 // 100]


def serve_bare() -> None:
    """The yardsticks: FastAPI that validates the same body and answers, and one that reads one row by its key."""
    import uvicorn
    from fastapi import FastAPI

    from commands.record_touch import RecordTouch

    app = FastAPI()

    @app.post("/v1/commands")
    async def commands(command: dict[str, Any]) -> dict[str, Any]:
        RecordTouch.model_validate_json(json.dumps(command))
        return {"id": command["id"], "position": 1}

    if url := os.environ.get("BARE_DATABASE"):
        connections = pool(url, 4)

        @app.get("/v1/customers/{id}")
        def customer(id: str) -> dict[str, Any]:
            with connections.connection() as connection:
                row = connection.execute("SELECT * FROM membership WHERE record = %s", (id,), prepare=True).fetchone()
            return {"row": row}

    host, _, port = os.environ["HUB_LISTEN"].rpartition(":")
    sys.stdout.write("bare: http://\n")
    sys.stdout.flush()
    uvicorn.run(app, host=host, port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    serve_bare()

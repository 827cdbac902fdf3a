"""Commands over HTTP: one by one from 64 clients, against an endpoint that only validates them; and a batch,
against `do_many`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.support import Figure, figure, hub, show

CLIENTS = 64
SINGLE = 8_000
BATCH = 20_000
ROUNDS = 3
MARK = b'"status":200,'


def touch(n: int) -> dict[str, Any]:
    return {
        "command": "record_touch",
        "id": f"visit-{n}",
        "source": "shop",
        "key": f"{n % 5000}",
        "channel": "shop",
        "kind": "purchase",
        "data": {"amount": n % 997, "items": n % 7},
        "occurred_at": "2026-03-01T10:00:00+03:00",
    }


@contextmanager
def process(*command: str, **environment: str) -> Iterator[tuple[str, int, list[str]]]:
    """A server in a process of its own: its host and port, and what it printed until it was ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "HUB_LISTEN": f"127.0.0.1:{port}", **environment}
    started = subprocess.Popen(
        [sys.executable, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert started.stdout is not None
    said: list[str] = []
    try:
        for line in started.stdout:
            said.append(line.strip())
            if "http://" in line:
                break
        yield "127.0.0.1", port, said
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


@contextmanager
def serving() -> Iterator[tuple[str, int, str]]:
    """`hub serve` on a database of its own, with a source: host, port and a channel's key."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        Path(folder).chmod(0o711)
        data = str(Path(folder) / "data")
        with process("-m", "hub", "serve", HUB_DATA=data) as (host, port, said):
            admin = next(line.removeprefix("admin: ") for line in said if line.startswith("admin: "))
            asyncio.run(
                load(host, port, admin, [json.dumps({"command": "register_source", "name": "shop"}).encode()], 1)
            )
            made = subprocess.run(
                [sys.executable, "-m", "hub", "key", "create", "--role", "channel", "--source", "shop", "--json"],
                env={**os.environ, "HUB_DATA": data}, stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
            yield host, port, json.loads(made.stdout)["key"]


def request(path: str, key: str, body: bytes, kind: str = "application/json") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def load(host: str, port: int, key: str, bodies: list[bytes], clients: int) -> float:
    """Commands a second, each client waiting for its answer before it sends the next."""
    left = iter(bodies)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for body in left:
            writer.write(request("/v1/commands", key, body))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(bodies) / (time.perf_counter() - began)


def single(host: str, port: int, key: str, first: int) -> float:
    """Measured from a process of its own, so that only the server's work shares the server's interpreter."""
    bodies = [json.dumps(touch(n)).encode() for n in range(first, first + SINGLE)]
    with get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_load, (host, port, key, bodies)))


def _load(host: str, port: int, key: str, bodies: list[bytes]) -> float:
    return asyncio.run(load(host, port, key, bodies, CLIENTS))


async def _batch(host: str, port: int, key: str, body: bytes) -> float:
    reader, writer = await asyncio.open_connection(host, port)

    async def send() -> None:
        writer.write(request("/v1/commands/batch", key, body, "application/x-ndjson"))
        await writer.drain()

    began = time.perf_counter()
    sending = asyncio.create_task(send())
    answered, before = 0, b""
    while answered < BATCH:
        chunk = await reader.read(1 << 16)
        assert chunk, "the answer ended early"
        answered += (before + chunk).count(MARK)
        before = chunk[-len(MARK) + 1 :]
    await sending
    writer.close()
    return BATCH / (time.perf_counter() - began)


def batch(host: str, port: int, key: str, first: int) -> float:
    body = b"\n".join(json.dumps(touch(n)).encode() for n in range(first, first + BATCH))
    return asyncio.run(_batch(host, port, key, body))


def figures() -> list[Figure]:
    ours, bare, over_http, in_process = [], [], [], []
    with (
        process("-m", "bench.http", "bare") as (bare_host, bare_port, _),
        serving() as (host, port, key),
        hub() as local,
    ):
        local.do({"command": "register_source", "name": "shop"})
        single(host, port, key, -SINGLE)
        for n in range(ROUNDS):
            bare.append(single(bare_host, bare_port, key, 0))
            ours.append(single(host, port, key, n * SINGLE))
            first = 1_000_000 + n * BATCH
            over_http.append(batch(host, port, key, first))
            began = time.perf_counter()
            lines = (json.dumps(touch(n)).encode() for n in range(first, first + BATCH))
            assert all(isinstance(each, dict) for each in local.do_many(lines))
            in_process.append(BATCH / (time.perf_counter() - began))
    return [
        figure(f"single commands over HTTP, {CLIENTS} clients", ours, bare, "/s", 0.2),
        figure("a batch over HTTP, against do_many", over_http, in_process, "/s", 0.7),
    ]


def serve_bare() -> None:
    """The yardstick: FastAPI that validates the same body and answers."""
    import uvicorn
    from fastapi import FastAPI

    from commands.record_touch import RecordTouch

    app = FastAPI()

    @app.post("/v1/commands")
    async def commands(command: dict[str, Any]) -> dict[str, Any]:
        RecordTouch.model_validate_json(json.dumps(command))
        return {"id": command["id"], "position": 1}

    host, _, port = os.environ["HUB_LISTEN"].rpartition(":")
    print("bare: http://", flush=True)
    uvicorn.run(app, host=host, port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        serve_bare()
    else:
        show(figures())

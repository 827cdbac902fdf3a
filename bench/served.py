"""A hub in processes of its own, as `hub serve` runs it, and clients that load it over real sockets."""

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CLIENTS = 64
MARK = b'"status":200,'


@dataclass(frozen=True)
class Server:
    """A server process, and what it printed until it was ready."""

    port: int
    pid: int
    said: Sequence[str]


@dataclass(frozen=True)
class Served:
    """A hub with the source `shop`, and its keys."""

    server: Server
    data: Path
    channel: str
    operator: str

    @property
    def port(self) -> int:
        return self.server.port


@contextmanager
def process(*command: str, **environment: str) -> Iterator[Server]:
    """A server in a process of its own, ended with SIGTERM."""
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
        yield Server(port, started.pid, said)
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


@contextmanager
def folder() -> Iterator[Path]:
    """A data folder that the database's user can reach."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as made:
        Path(made).chmod(0o711)
        yield Path(made) / "data"


@contextmanager
def serving(data: Path, **environment: str) -> Iterator[Served]:
    """`hub serve` on this data folder, which is new."""
    with process("-m", "hub", "serve", HUB_DATA=str(data), **environment) as server:
        tokens = dict(line.split(": ", 1) for line in server.said if line.startswith(("admin: ", "operator: ")))
        register = json.dumps({"command": "register_source", "name": "shop"}).encode()
        asyncio.run(_all([command(tokens["admin"], register)], server.port, 1))
        made = subprocess.run(
            [sys.executable, "-m", "hub", "key", "create", "--role", "channel", "--source", "shop", "--json"],
            env={**os.environ, "HUB_DATA": str(data)}, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        yield Served(server, data, json.loads(made.stdout)["key"], tokens["operator"])


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


def command(key: str, body: bytes, path: str = "/v1/commands", kind: str = "application/json") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def question(key: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def load(port: int, requests: Sequence[bytes], clients: int = CLIENTS) -> tuple[float, list[float]]:
    """Requests a second and the milliseconds of each in order of size; each client waits before it asks again.

    Measured from a process of its own, so that only the server's work shares the server's interpreter.
    """
    with get_context("spawn").Pool(1) as pool:
        rate, taken = pool.apply(_load, (port, requests, clients))
    return rate, sorted(taken)


def _load(port: int, requests: Sequence[bytes], clients: int) -> tuple[float, list[float]]:
    return asyncio.run(_all(requests, port, clients))


async def _all(requests: Sequence[bytes], port: int, clients: int) -> tuple[float, list[float]]:
    left, taken = iter(requests), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for sent in left:
            began = time.perf_counter()
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            taken.append(1000 * (time.perf_counter() - began))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(requests) / (time.perf_counter() - began), taken


def batch(port: int, key: str, lines: Iterator[bytes], pace: float | None = None) -> float:
    """Lines a second of one NDJSON batch, sent as a stream and answered as one; `pace` lines a second at most."""
    return asyncio.run(_batch(port, key, lines, pace))


async def _batch(port: int, key: str, lines: Iterator[bytes], pace: float | None) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = command(key, b"", "/v1/commands/batch", "application/x-ndjson")
    writer.write(head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
    sent, began = 0, time.perf_counter()

    async def send() -> None:
        nonlocal sent
        while chunk := b"".join(line + b"\n" for line, _ in zip(lines, range(100), strict=False)):
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
            sent += chunk.count(b"\n")
            if pace:
                await asyncio.sleep(began + sent / pace - time.perf_counter())
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(send())
    answered, before = 0, b""
    while not (sending.done() and answered == sent):
        chunk = await reader.read(1 << 16)
        assert chunk, "the answer ended early"
        answered += (before + chunk).count(MARK)
        before = chunk[-len(MARK) + 1 :]
    await sending
    writer.close()
    return sent / (time.perf_counter() - began)

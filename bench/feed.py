"""The feed to NATS: from the log's beginning against a bare publish of the same bytes, and how far it is behind."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import nats
from nats.js.api import StreamConfig

from adapters.outbound.destinations import Destination
from adapters.outbound.envelope import Message
from adapters.outbound.following import Feeder
from adapters.outbound.places import enrol, standings
from adapters.outbound.reading import PAGE, Pages
from bench.served import folder, serving, touch
from bench.support import Figure, figure, hub
from bench.under_load import lag
from hub import Hub

ROUNDS = 3
PACE = 1_000
FILE = """
[[feed]]
name = "bench"
kind = "nats"
url = "{url}"
private = true
stream = "LAG"
create = true
subject = "lag"
"""


def figures(touches: int = 40_000, seconds: int = 20) -> list[Figure]:
    with folder() as store, server(store) as url:
        return [*_from_the_beginning(url, touches), _behind(url, seconds)]


def _from_the_beginning(url: str, touches: int) -> list[Figure]:
    with hub() as opened:
        opened.do({"command": "register_source", "name": "shop"})
        assert all(isinstance(each, dict) for each in opened.do_many(touch(n) for n in range(touches)))
        ours, bare = [], []
        for n in range(ROUNDS):
            to = _destination(url, f"ours-{n}")
            sent = _messages(opened, to)
            bare.append(len(sent) / asyncio.run(_bare(url, f"bare-{n}", sent)))
            ours.append(opened.head() / _ours(opened, to))
    least = figure("feed to NATS from the log's beginning", ours, bare, "events/s", 0.5)
    enough = Figure("the same", f"{min(ours):,.0f} events/s", "", None, "≥ 5,000 events/s", min(ours) >= 5_000)
    return [least, enough]


def _behind(url: str, seconds: int) -> Figure:
    """Milliseconds from the moment a position is the log's head until the stream has acknowledged it."""
    with folder() as data:
        data.mkdir()
        (data / "feeds.toml").write_text(FILE.format(url=url), "utf-8")
        with serving(data) as served:
            with Hub.open(data=data, follow=False) as opened:
                _reached(opened, "bench")  # Its process has only just been started.
            return lag(served, seconds, PACE, "lag of the feed", "SELECT position FROM feed WHERE name = 'bench'")


def _ours(opened: Hub, to: Destination) -> float:
    with opened.pool.connection() as connection:
        enrol(connection, [to])
    feeder = Feeder(opened, to)
    began = time.perf_counter()
    feeder.start()
    _reached(opened, to.name)
    taken = time.perf_counter() - began
    feeder.stop()
    return taken


def _reached(opened: Hub, name: str) -> None:
    """Return when this destination has acknowledged everything."""
    with opened.questions.connection() as connection:
        connection.autocommit = True
        while next(each for each in standings(connection) if each.name == name).lag:
            time.sleep(0.01)  # The feeder is another thread, and rings nobody.


async def _bare(url: str, stream: str, messages: Sequence[Message]) -> float:
    """Seconds that the client's own asynchronous publishing takes, a page under way at a time."""
    client = await nats.connect(url)
    publishing = client.jetstream(publish_async_max_pending=PAGE)
    await publishing.add_stream(StreamConfig(name=stream, subjects=[f"{stream}.>"]))
    began = time.perf_counter()
    for each in messages:
        await publishing.publish_async(f"{stream}.{each.type}", each.data, headers={"Nats-Msg-Id": each.id})
    await publishing.publish_async_completed()
    taken = time.perf_counter() - began
    await client.close()
    return taken


def _messages(opened: Hub, to: Destination) -> list[Message]:
    pages, found, position = Pages(opened, to), list[Message](), 0
    with opened.questions.connection() as connection:
        while position < opened.head():
            position, messages = pages.after(connection, position)
            found += messages
    return found


def _destination(url: str, name: str) -> Destination:
    return Destination(
        name=name,
        kind="nats",
        url=urlsplit(url),
        secrets=(),
        types=None,
        role=None,
        open={},
        start="beginning",
        private=True,
        ca=None,
        give_up_after=60,
        subject=name,
        stream=name,
        create=True,
    )


@contextmanager
def server(store: Path) -> Iterator[str]:
    """A NATS server of its own, its store in this folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
    command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(store)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as started:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)  # The server is starting.
            yield f"nats://127.0.0.1:{port}"
        finally:
            started.terminate()

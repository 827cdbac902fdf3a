"""Events go to a real NATS server: in order, at least once, and the stream knows a repetition by its id."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import nats
import orjson
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from psycopg import Connection

from adapters.outbound import following, reading
from adapters.outbound.places import SQL, letters
from hub import Hub
from tests.support.feeds import feeding, process, standing, until
from tests.support.hubs import many, source, touch
from tests.support.receiver import authority

PROGRAM = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
TOKEN = "a-token-of-the-test"


class Nats:
    """A server on this machine, its store in a folder, stopped and started."""

    def __init__(self, store: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        assert PROGRAM is not None
        command = [PROGRAM, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._store), "--auth", TOKEN]
        self._process = subprocess.Popen([*command, *more], stderr=subprocess.DEVNULL)
        until(self._answers)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def ask(self, question: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            client = await nats.connect(self.url, token=TOKEN)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(asked())

    def stored(self) -> list[dict[str, Any]]:
        """The events in the stream, in its order."""

        async def read(stream: JetStreamContext) -> list[dict[str, Any]]:
            count = (await stream.stream_info("HUB")).state.messages
            ordered = await stream.subscribe("hub.main.>", ordered_consumer=True)
            return [orjson.loads((await ordered.next_msg(10)).data) for _ in range(count)]

        found: list[dict[str, Any]] = self.ask(read)
        return found

    def positions(self) -> list[int]:
        return [int(each["position"]) for each in self.stored()]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as asked:
                return asked.recv(4) == b"INFO"
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    server = Nats(tmp_path / "store")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hub(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.05)
    with Hub(database_url, tmp_path / "data") as hub:
        many(hub, source("shop"), *(touch(str(n)) for n in range(20)))
        yield hub


def stream(server: Nats, **more: Any) -> dict[str, Any]:
    told = {"kind": "nats", "url": server.url, "secret": TOKEN, "private": True, "stream": "HUB", "create": True}
    return {**told, **more}


def test_events_are_published_in_order_under_their_type(
    hub: Hub, server: Nats, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 7)
    with feeding(hub, stream(server)):
        until(lambda: standing(connection).lag == 0)
        many(hub, *(touch(f"more-{n}") for n in range(20)))
        until(lambda: standing(connection).lag == 0)
    assert server.positions() == list(range(1, hub.head() + 1))
    assert standing(connection).sent == hub.head()

    async def first(stream: JetStreamContext) -> Any:
        return await stream.get_msg("HUB", 1)

    message = server.ask(first)
    event = orjson.loads(message.data)
    assert message.subject == "hub.main.source_registered"
    assert message.headers["Nats-Msg-Id"] == event["id"]
    assert event["type"] == "hub.source_registered"


def test_what_is_sent_twice_stands_in_the_stream_once(hub: Hub, server: Nats, connection: Connection[Any]) -> None:
    for _ in range(2):
        with feeding(hub, stream(server)):
            until(lambda: standing(connection).lag == 0)
        connection.execute("UPDATE feed SET position = 0")
    assert server.positions() == list(range(1, hub.head() + 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_is_started_again_has_everything(
    hub: Hub, server: Nats, connection: Connection[Any], number: int
) -> None:
    with feeding(hub, stream(server)):
        until(lambda: standing(connection).lag == 0)
        server.stop(number)
        many(hub, *(touch(f"more-{n}") for n in range(50)))
        until(lambda: standing(connection).tries > 1)
        assert standing(connection).error == "unreachable"
        server.start()
        until(lambda: standing(connection).lag == 0)
    assert server.positions() == list(range(1, hub.head() + 1))


def test_killed_in_the_midst_of_it_nothing_is_lost_doubled_or_out_of_order(
    hub: Hub, server: Nats, connection: Connection[Any]
) -> None:
    def sent() -> bool:
        return standing(connection).sent > before

    for round in range(3):
        before = standing(connection).sent if round else 0
        with process(hub, stream(server)) as feed:
            many(hub, *(touch(f"{round}-{n}", data={"n": n}) for n in range(2_000)))
            until(sent)
            os.kill(feed.pid, signal.SIGKILL)
            feed.wait()
    with process(hub, stream(server)):
        until(lambda: standing(connection).lag == 0)
    assert server.positions() == list(range(1, hub.head() + 1))


def test_a_stream_is_not_made_unless_that_is_said(hub: Hub, server: Nats, connection: Connection[Any]) -> None:
    with feeding(hub, stream(server, create=False)):
        until(lambda: standing(connection).tries > 1)
        assert standing(connection).error == "no_stream"

        async def make(stream: JetStreamContext) -> None:
            await stream.add_stream(StreamConfig(name="HUB", subjects=["hub.main.>"]))

        server.ask(make)
        until(lambda: standing(connection).lag == 0)


def test_a_stream_that_is_full_is_told_and_nothing_is_skipped(
    hub: Hub, server: Nats, connection: Connection[Any]
) -> None:
    async def make(stream: JetStreamContext, most: int = 5) -> None:
        config = StreamConfig(name="HUB", subjects=["hub.main.>"], max_msgs=most, discard="new")  # type: ignore[arg-type]
        await (stream.add_stream(config) if most == 5 else stream.update_stream(config))

    server.ask(make)
    with feeding(hub, stream(server)):
        until(lambda: standing(connection).tries > 1)
        assert (standing(connection).position, standing(connection).error) == (5, "not_taken")
        server.ask(lambda stream: make(stream, -1))
        until(lambda: standing(connection).lag == 0)
    assert server.positions() == list(range(1, hub.head() + 1))


def test_a_wrong_token_is_told(hub: Hub, server: Nats, connection: Connection[Any]) -> None:
    with feeding(hub, stream(server, secret="another")):
        until(lambda: standing(connection).tries > 1)
    assert standing(connection).error == "not_allowed"


def test_what_is_too_large_for_the_server_is_a_dead_letter(
    hub: Hub, server: Nats, connection: Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.001)
    server.stop()
    limits = tmp_path / "limits.conf"
    limits.write_text("max_payload: 1000\n")
    server.start("-c", str(limits))
    large = hub.do(touch("large", data={f"n{n}": n for n in range(100)}))["position"]
    many(hub, touch("after"))
    with feeding(hub, stream(server)):
        until(lambda: standing(connection).lag == 0)
    assert [(each.position, each.error) for each in letters(connection, "crm", 10)] == [(large, "too_large")]
    assert server.positions() == [n for n in range(1, hub.head() + 1) if n != large]
    connection.execute(SQL["discard"], {"name": "crm", "event": letters(connection, "crm", 10)[0].event})
    assert not letters(connection, "crm", 10)


def test_over_tls_the_name_is_proved_by_the_certificate(
    hub: Hub, server: Nats, connection: Connection[Any], tmp_path: Path
) -> None:
    ca, certificate = authority(tmp_path, "localhost")
    server.stop()
    server.start("--tls", "--tlscert", str(certificate), "--tlskey", str(certificate))
    url = server.url.replace("nats://127.0.0.1", "tls://localhost")
    with feeding(hub, stream(server, url=url, ca=str(ca))):
        until(lambda: standing(connection).lag == 0)
    assert standing(connection).sent == hub.head()
    connection.execute("UPDATE feed SET position = 0")
    with feeding(hub, stream(server, url=url.replace("localhost", "127.0.0.1"), ca=str(ca))):
        until(lambda: standing(connection).tries > 1)
    assert standing(connection).error == "certificate"


def test_a_server_that_does_not_ask_for_tls_is_told_neither_token_nor_events(
    hub: Hub, connection: Connection[Any]
) -> None:
    said: list[bytes] = []

    def answer() -> None:
        with suppress(OSError):
            while True:
                with there.accept()[0] as taken:
                    taken.sendall(b'INFO {"max_payload":1048576,"auth_required":true}\r\n')
                    said.append(taken.recv(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as there:
        thread = Thread(target=answer)
        thread.start()
        url = f"tls://127.0.0.1:{there.getsockname()[1]}"
        with feeding(hub, {"kind": "nats", "url": url, "secret": TOKEN, "private": True, "stream": "HUB"}):
            until(lambda: standing(connection).tries > 1)
        there.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert standing(connection).error == "not_encrypted"
    assert {*said} == {b""}


def test_a_real_server_without_tls_is_not_spoken_to_where_tls_was_said(
    hub: Hub, server: Nats, connection: Connection[Any]
) -> None:
    with feeding(hub, stream(server, url=server.url.replace("nats://", "tls://"))):
        until(lambda: standing(connection).tries > 1)
    assert (standing(connection).error, standing(connection).sent) == ("not_encrypted", 0)


@pytest.mark.parametrize(
    ("url", "private"), [("nats://93.184.216.34", True), ("tls://127.0.0.1", False), ("tls://169.254.169.254", True)]
)
def test_a_server_is_where_it_may_be(hub: Hub, connection: Connection[Any], url: str, private: bool) -> None:
    with feeding(hub, {"kind": "nats", "url": url, "private": private, "stream": "HUB"}):
        until(lambda: standing(connection).tries > 1)
    assert standing(connection).error == "refused_address"


@pytest.mark.parametrize("said", [b"A" * 200_000 + b"\r\n", b"INFO []\r\n", b'INFO {"max_payload":"x"}\r\n'])
def test_a_server_that_talks_nonsense_is_a_failure_that_counts(
    hub: Hub, connection: Connection[Any], said: bytes
) -> None:
    def answer() -> None:
        with suppress(OSError):
            while True:
                with there.accept()[0] as taken, suppress(ConnectionError):
                    taken.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as there:
        thread = Thread(target=answer)
        thread.start()
        url = f"nats://127.0.0.1:{there.getsockname()[1]}"
        with feeding(hub, {"kind": "nats", "url": url, "private": True, "stream": "HUB"}):
            until(lambda: standing(connection).tries > 1)
        there.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert standing(connection).position == 0


def test_what_is_too_large_for_the_stream_holds_back_nobody_and_repeats_nobody_for_ever(
    hub: Hub, server: Nats, connection: Connection[Any]
) -> None:
    async def make(stream: JetStreamContext) -> None:
        config = StreamConfig(name="HUB", subjects=["hub.main.>"], duplicate_window=0.1, max_msg_size=1_200)
        await stream.add_stream(config)

    server.ask(make)
    large = hub.do(touch("large", data={f"n{n}": n for n in range(100)}))["position"]
    many(hub, *(touch(f"after-{n}") for n in range(30)))
    with feeding(hub, stream(server)):
        until(lambda: standing(connection).lag == 0)
    assert [(each.position, each.error) for each in letters(connection, "crm", 10)] == [(large, "too_large")]
    times = Counter(server.positions())
    assert {*times} == {*range(1, hub.head() + 1)} - {large}
    assert max(times.values()) <= 2  # With the first try of what is too large, and behind it.

"""Batches: streams in, streams out, in order, whatever any line holds."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters.api import batch as batches
from adapters.api import connection as connections
from adapters.api.lines import Elements, Lines, Unzipped
from adapters.api.rates import Rates
from hub.errors import HubError
from tests.adapters.conftest import Served, answering, touch

NDJSON = "application/x-ndjson"


def ndjson(commands: list[Any]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in commands)


def send(served: Served, content: bytes | Iterator[bytes], kind: str = NDJSON, **headers: str) -> list[dict[str, Any]]:
    answer = served.ask(
        "channel", "POST", "/v1/commands/batch", content=content, headers={"Content-Type": kind, **headers}
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(kind)
    if kind == NDJSON:
        return [json.loads(line) for line in answer.text.splitlines()]
    found: list[dict[str, Any]] = answer.json()
    return found


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
def test_every_line_is_answered_in_order_whatever_is_wrong_with_one(shop: Served, kind: str) -> None:
    commands: list[Any] = [touch(str(n), id=f"b-{n}") for n in range(20)]
    commands[3] = {"command": "no_such"}
    commands[7] = touch("7", source="mail")
    commands[11] = touch("11", id="b-2")
    commands[13] = 5
    body = ndjson(commands) if kind == NDJSON else json.dumps(commands).encode()
    answers = send(shop, body, kind)
    assert [each["status"] for each in answers] == [{3: 422, 7: 403, 11: 409, 13: 422}.get(n, 200) for n in range(20)]
    assert answers[3]["errors"] == [{"path": "command", "reason": "unknown_command"}]
    assert answers[11]["type"].endswith("/id-reused")
    told = [each for each in answers if each["status"] == 200]
    assert [each["position"] for each in told] == sorted(each["position"] for each in told)
    assert shop.do(touch("5", id="b-5")).json()["replayed"] is True


def test_a_batch_again_writes_nothing(shop: Served) -> None:
    body = ndjson([touch(str(n % 7), id=f"b-{n}") for n in range(600)])
    first = send(shop, body)
    head = shop.hub.head()
    again = send(shop, body)
    assert shop.hub.head() == head
    assert [{**each, "replayed": True} for each in first] == again


def test_the_same_batch_many_times_at_once_writes_once(shop: Served) -> None:
    body = ndjson([touch(str(n), id=f"b-{n}") for n in range(200)])
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda _: send(shop, body), range(4)))
    assert {each["status"] for answers in told for each in answers} == {200}
    assert shop.hub.head() == 2 + 400
    for line in zip(*told, strict=True):
        assert len({each["position"] for each in line}) == 1


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
def test_the_first_answer_comes_before_the_last_line_is_sent(shop: Served, kind: str) -> None:
    where = urlsplit(shop.base)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/commands/batch HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {shop.keys['channel']}\r\n"
            f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

        def chunk(data: bytes) -> None:
            connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        received = b""
        for n in range(3):
            prefix = (b"[" if n == 0 else b"") if kind != NDJSON else b""
            suffix = b"\n" if kind == NDJSON else b","
            chunk(prefix + json.dumps(touch(str(n), id=f"b-{n}")).encode() + suffix)
            while f'"id":"b-{n}"'.encode() not in received:  # Answered though more is to come.
                part = connection.recv(65536)
                assert part
                received += part
        chunk(json.dumps(touch("9", id="b-9")).encode() + (b"" if kind == NDJSON else b"]"))
        connection.sendall(b"0\r\n\r\n")
        while not received.endswith(b"0\r\n\r\n"):
            part = connection.recv(65536)
            assert part
            received += part
    assert received.count(b'"status":200') == 4


def test_a_caller_that_sends_everything_before_it_reads_is_served(
    shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "IN_MEMORY", 1000)
    count = 6000  # Some 3 MB of answers, more than sockets hold.

    def lines() -> Iterator[bytes]:
        for n in range(count):
            yield json.dumps(touch(str(n % 50), id=f"b-{n}")).encode() + b"\n"

    answers = send(shop, lines())
    assert [each["id"] for each in answers] == [f"b-{n}" for n in range(count)]
    assert {each["status"] for each in answers} == {200}


def test_a_caller_may_take_its_time_to_send_before_it_reads(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = Event()

    class Watched(connections.Connection):
        def pause_writing(self) -> None:
            super().pause_writing()
            paused.set()

    monkeypatch.setattr(connections, "STALLED", 1.5)
    shop.app.state.rates = Rates(1_000_000)
    with answering(shop.app, Watched) as base, socket.socket() as connection:
        where = urlsplit(base)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect((where.hostname, where.port))
        connection.sendall(
            f"POST /v1/commands/batch HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {shop.keys['channel']}\r\n"
            f"Content-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        )
        line = b'"' + b"x" * 500 + b'"\n'
        chunk = f"{len(line):x}\r\n".encode() + line + b"\r\n"
        until = None
        while until is None or time.monotonic() < until:
            connection.sendall(chunk)
            if until is None and paused.is_set():
                until = time.monotonic() + 4
            elif until is not None:
                time.sleep(0.05)
        connection.sendall(b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.endswith(b"\r\n0\r\n\r\n"), "the answer is whole"


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
def test_gzip_is_allowed_in_several_members_too(shop: Served, kind: str) -> None:
    commands = [touch(str(n), id=f"b-{n}") for n in range(50)]
    body = ndjson(commands) if kind == NDJSON else json.dumps(commands).encode()
    packed = gzip.compress(body[:1000]) + gzip.compress(body[1000:])
    answers = send(shop, packed, kind, **{"Content-Encoding": "gzip"})
    assert [each["status"] for each in answers] == [200] * 50


def test_gzip_that_breaks_off_keeps_what_was_answered(shop: Served) -> None:
    import random

    text = "".join(random.choices("абвгдежз", k=200_000))
    commands = [touch(str(n), content={"text": text[n * 100 : n * 100 + 500]}) for n in range(400)]
    packed = gzip.compress(ndjson(commands))
    answers = send(shop, packed[: len(packed) // 2], **{"Content-Encoding": "gzip"})
    assert answers[-1]["errors"] == [{"path": "", "reason": "not_gzip"}]
    assert {each["status"] for each in answers[:-1]} == {200}
    assert len(answers) > 10
    assert send(shop, b"no gzip at all", **{"Content-Encoding": "gzip"})[-1]["errors"][0]["reason"] == "not_gzip"


def test_what_unpacks_out_of_proportion_is_stopped(shop: Served) -> None:
    packed = gzip.compress(b" " * 300_000_000, 9)
    began = time.monotonic()
    (answer,) = send(shop, packed, **{"Content-Encoding": "gzip"})
    assert answer["errors"] == [{"path": "", "reason": "inflated"}]
    assert time.monotonic() - began < 5


def test_a_line_too_long_or_too_deep_is_refused_alone(shop: Served) -> None:
    long = touch("1", content={"text": "я" * 40_000})
    deep = '{"command":"record_touch","key":"1","channel":"shop","content":' + '{"a":' * 40 + "1" + "}" * 41
    body = b"\n".join(
        [ndjson([touch("1")]), json.dumps(long, ensure_ascii=False).encode(), deep.encode(), ndjson([touch("2")])]
    )
    answers = send(shop, body)
    assert [each["status"] for each in answers] == [200, 413, 422, 200]
    assert answers[2]["errors"] == [{"path": "", "reason": "too_deep"}]


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"[]", []),
        (b" [ ] ", []),
        (b"", [422]),
        (b"{}", [422]),
        (b"[5", [422]),
        (b"[5,", [422, 422]),
        (b"[5]x", [422, 422]),
        (b"[5,,6]", [422, 422, 422]),
        (b'["a]","b\\"]"]', [422, 422]),
        (b"[[1],{}]", [422, 422]),
    ],
)
def test_a_broken_array_is_told(shop: Served, body: bytes, statuses: list[int]) -> None:
    assert [each["status"] for each in send(shop, body, "application/json")] == statuses


def test_nothing_is_answered_with_nothing(shop: Served) -> None:
    assert send(shop, b"\n \n\r\n") == []


def test_wherever_a_stream_is_cut_the_commands_are_the_same() -> None:
    commands = [touch("1", content={"text": 'a"b\\"[{],}', "more": [1, {"x": []}]}), {}, [], "], [", 5]
    for data, make in (
        (json.dumps(commands, indent=1).encode(), Elements),
        (ndjson(commands), Lines),
    ):
        for size in range(1, 40):
            for packed in (False, True):
                cutter = Unzipped(make()) if packed else make()
                sent = gzip.compress(data) if packed else data
                found = [each for n in range(0, len(sent), size) for each in cutter.cut(sent[n : n + size])]
                found.extend(cutter.end())
                assert not any(isinstance(each, HubError) for each in found)
                assert [json.loads(each) for each in found if not isinstance(each, HubError)] == commands


def test_too_many_batches_at_once_are_asked_to_come_again(shop: Served) -> None:
    where = urlsplit(shop.base)
    head = (
        f"POST /v1/commands/batch HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {shop.keys['channel']}\r\n"
        f"Content-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    held = []
    try:
        for _ in range(8):
            held.append(socket.create_connection((where.hostname, where.port), timeout=10))
            held[-1].sendall(head)
            assert held[-1].recv(100).startswith(b"HTTP/1.1 200")
        answer = shop.ask("channel", "POST", "/v1/commands/batch", json=[])
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    finally:
        for each in held:
            each.close()
    deadline = time.monotonic() + 5
    while shop.ask("channel", "POST", "/v1/commands/batch", json=[]).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)

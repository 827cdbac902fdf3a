"""Limits count what arrives, whatever was promised."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from adapters.api import bodies
from tests.adapters.conftest import Served, touch

JSON = {"Content-Type": "application/json"}


def deep(levels: int) -> bytes:
    return (
        b'{"command":"record_touch","key":"1","channel":"shop","content":{"a":' + b"[" * levels + b"]" * levels + b"}}"
    )


def test_a_command_of_64_kib_is_taken_and_a_larger_one_is_not(shop: Served) -> None:
    bare = len(json.dumps(touch("1", content={"t": ""})))
    for size, status in ((65536, 200), (65537, 413)):
        body = json.dumps(touch("1", content={"t": "x" * (size - bare)})).encode()
        assert len(body) == size
        answer = shop.ask("channel", "POST", "/v1/commands", content=body, headers=JSON)
        assert answer.status_code == status


def test_a_body_without_a_length_is_counted_as_it_arrives(shop: Served) -> None:
    where = urlsplit(shop.base)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/commands HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {shop.keys['channel']}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(5):
            connection.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_that_never_comes_is_not_waited_for(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.3)
    where = urlsplit(shop.base)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/commands HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {shop.keys['channel']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
        began = time.monotonic()
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(("levels", "status"), [(30, 200), (31, 422), (30_000, 422)])
def test_depth_is_checked_before_anything_is_parsed(shop: Served, levels: int, status: int) -> None:
    answer = shop.ask("channel", "POST", "/v1/commands", content=deep(levels), headers=JSON)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"] == [{"path": "", "reason": "too_deep"}]


def test_a_text_without_an_end_is_looked_at_once(shop: Served) -> None:
    """Looked at anew from each of its quotes, a delivery like this would take hours."""
    bodies.check_depth(b"[]" * 33 + b'"' + b'\\"' * (bodies.LARGEST_DELIVERY // 2))
    sent = b'{"a":[' + b"[]," * 33 + b'"' + b'\\"' * 30_000
    answer = shop.ask("channel", "POST", "/v1/commands", content=sent, headers=JSON)
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"path": "", "reason": "not_json"}])


def test_brackets_in_texts_are_no_depth(shop: Served) -> None:
    assert shop.do(touch("1", content={"text": "[{" * 100 + '"\\"[['})).status_code == 200


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/xml", "application/json; charset=cp1251", "application/x-ndjson"]
)
def test_another_content_type_is_not_taken(shop: Served, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = shop.ask("channel", "POST", "/v1/commands", content=json.dumps(touch("1")).encode(), headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
def test_json_is_taken_however_it_is_spelled(shop: Served, kind: str) -> None:
    body = json.dumps(touch("1"), ensure_ascii=False).encode()
    assert shop.ask("channel", "POST", "/v1/commands", content=body, headers={"Content-Type": kind}).status_code == 200


def test_a_single_command_is_not_gzipped(shop: Served) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    assert shop.ask("channel", "POST", "/v1/commands", content=b"x", headers=headers).status_code == 415


def test_an_endless_line_does_not_fill_the_memory(shop: Served) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def line() -> Iterator[bytes]:
        yield b'{"command": "'
        for _ in range(1500):
            yield b"x" * 65536
        yield b'"}\n' + json.dumps(touch("1")).encode()

    headers = {"Content-Type": "application/x-ndjson"}
    answer = shop.ask("channel", "POST", "/v1/commands/batch", content=line(), headers=headers)
    assert [json.loads(each)["status"] for each in answer.text.splitlines()] == [413, 200]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000

"""What no honest client sends, over bare sockets to `hub serve`: a clear refusal, nothing written, no memory lost."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest

from commands import CAPABILITIES
from tests.adapters.conftest import touch
from tests.support.database import SharedServer, open_folder
from tests.support.serving import Server

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
NOBODY = "0198c0de-0000-7000-8000-000000000000"
ROOM = 60_000  # Kilobytes that the process may grow by.


class Told(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert {"type", "title", "detail"} <= document.keys()
        return document


@dataclass(frozen=True)
class Site:
    """A hub of its own process, with a source and a key for each role."""

    server: Server
    keys: Mapping[str, str]
    client: httpx2.Client

    def connect(self) -> socket.socket:
        where = urlsplit(self.server.base)
        return socket.create_connection((where.hostname, where.port), timeout=30)

    def head(self, method: str, path: str, headers: Mapping[str, str], role: str = "channel") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: hub", f"Authorization: Bearer {self.keys[role]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, role: str = "channel"
    ) -> Told:
        with self.connect() as connection:
            length = {"Content-Length": str(len(body))} if body or method == "POST" else {}
            connection.sendall(self.head(method, path, {**length, **(headers or {})}, role) + body)
            return read(connection, has_body=method != "HEAD")

    def position(self) -> int:
        position: int = self.client.get("/v1/status").json()["head"]
        return position

    def memory(self) -> int:
        """The most this process ever had in memory since `forget_memory`, in kilobytes."""
        assert self.server.process is not None
        told = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", told)[0])

    def forget_memory(self) -> int:
        assert self.server.process is not None
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")
        return self.memory()


def received_from(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    assert piece, "closed in the middle of an answer"
    return piece


def read(connection: socket.socket, *, has_body: bool = True) -> Told:
    """One answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += received_from(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while has_body and len(body) < int(headers.get("content-length", 0)):
        body += received_from(connection)
    if "chunked" in headers.get("transfer-encoding", ""):
        while not body.endswith(b"0\r\n\r\n"):
            body += received_from(connection)
        body = joined(body)
    return Told(int(first.split()[1]), headers, body)


def joined(chunked: bytes) -> bytes:
    """What the chunks hold."""
    held = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        held += rest[: int(size, 16)]
        chunked = rest[int(size, 16) + 2 :]
    return held


@pytest.fixture(scope="module")
def site(postgres: SharedServer) -> Iterator[Site]:
    with open_folder() as folder, postgres.database() as url:
        server = Server(folder / "data", url)
        server.start()
        try:
            keys = {"admin": server.key("admin"), "operator": server.key("operator")}
            for role, *source in (("steward",), ("channel", "--source", "shop")):
                keys[role] = json.loads(server.hub("key", "create", "--role", role, *source, "--json").stdout)["key"]
            with httpx2.Client(base_url=server.base, timeout=30) as client:
                site = Site(server, keys, client)
                shop = json.dumps({"command": "register_source", "name": "shop"}).encode()
                assert site.send("POST", "/v1/commands", shop, JSON, "admin").status == 200
                yield site
        finally:
            server.end()


@pytest.fixture
def unchanged(site: Site) -> Iterator[None]:
    """Nothing is written meanwhile, and the hub is well afterwards."""
    before = site.position()
    yield
    assert site.position() == before
    assert '"status":500' not in site.server.log.read_text()


def full(**more: Any) -> bytes:
    return json.dumps(touch("1", **more)).encode()


def said(text: str) -> bytes:
    """A touch with this written into its body."""
    return b'{"command":"record_touch","key":"1","channel":"call",' + text.encode() + b"}"


BODIES: Mapping[str, tuple[bytes, str | None]] = {  # The body, and the reason it is refused for.
    "nothing": (b"", "not_json"),
    "white space": (b"  \n ", "not_json"),
    "half of it": (full()[:-1], "not_json"),
    "more than it": (full() + b"}", "not_json"),
    "two of it": (full() + full(), "not_json"),
    "a text": (b'"x"', "not_an_object"),
    "a number": (b"1", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "a list": (b"[]", "not_an_object"),
    "no JSON": (b"command=record_touch", "not_json"),
    "another encoding": ('{"command":"record_touch","key":"Анна","channel":"call"}'.encode("cp1251"), "not_json"),
    "UTF-16": (full().decode().encode("utf-16"), "not_json"),
    "cut within a character": (b'{"command":"record_touch","key":"\xd0', "not_json"),
    "an overlong character": (b'{"command":"record_touch","key":"\xc0\xaf","channel":"call"}', "not_json"),
    "a bare NUL": (b'{"command":"record_touch","key":"\0","channel":"call"}', "not_json"),
    "an escaped NUL": (said(r'"content":{"a":"\u0000"}'), "nul_character"),
    "a NUL in a name": (said(r'"content":{"\u0000":1}'), "nul_character"),
    "half a character": (said(r'"content":{"a":"\ud800"}'), "lone_surrogate"),
    "half a character in a name": (said(r'"content":{"\udfff":1}'), "lone_surrogate"),
    "the halves the wrong way round": (said(r'"content":{"a":"\udc00\ud800"}'), "lone_surrogate"),
    "a name twice": (said('"channel":"sms"'), "said_twice"),
    "a name twice within": (said('"content":{"a":{"b":1,"b":1}}'), "said_twice"),
    "a name twice, once escaped": (said(r'"content":{"a":1,"\u0061":2}'), "said_twice"),
    "a name twice, and a colon elsewhere": (said(r'"content":{"a":"\u003a","a":"\u003a\u003a"}'), "said_twice"),
    "not a number": (said('"data":{"a":NaN}'), "not_json"),
    "infinity": (said('"data":{"a":Infinity}'), "not_json"),
    "minus infinity": (said('"data":{"a":-Infinity}'), "not_json"),
    "a number beyond numbers": (said('"data":{"a":1e999}'), "not_json"),
    "too deep": (said('"content":{"a":' + "[" * 40 + "]" * 40 + "}"), "too_deep"),
    "far too deep": (b"[" * 60_000, "too_deep"),
    "deep and broken": (b'{"a":' * 10_000, "too_deep"),
    "an unknown field": (said('"nonsense":1'), "unknown_field"),
    "an unknown command": (b'{"command":"drop_everything"}', "unknown_command"),
    "a command that is no text": (b'{"command":["record_touch"]}', "unknown_command"),
    "no command": (b"{}", "missing"),
    "an unknown source": (b'{"command":"record_touch","source":"nobody","key":"1","channel":"call"}', None),
    "the future": (said('"occurred_at":"2999-01-01T00:00:00Z"'), "in_the_future"),
    "six minutes ahead": (
        said(f'"occurred_at":"{time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))}"'),
        "in_the_future",
    ),
    "before anything was written": (said('"occurred_at":"0001-01-01T00:00:00Z"'), "too_early"),
    "no offset": (said('"occurred_at":"2026-01-01T00:00:00"'), "offset_missing"),
    "a time as a number": (said('"occurred_at":1767225600'), "not_a_time"),
    "a day that never was": (said('"occurred_at":"2026-02-30T00:00:00Z"'), "not_a_time"),
    "an id too long": (said(f'"id":"{"x" * 201}"'), "too_long"),
    "an empty id": (said('"id":""'), "too_short"),
    "a record of no form": (said('"customer":"1"'), "wrong_form"),
    "a touch of nobody known": (
        b'{"command":"record_touch","channel":"call","customer":"%b"}' % NOBODY.encode(),
        None,
    ),
    "too many fields": (said('"data":{' + ",".join(f'"a{n}":1' for n in range(300)) + "}"), "too_many"),
    "a huge code": (said(f'"kind":"{"x" * 60_000}"'), "not_a_code"),
    "a tower of accents": (said('"kind":"е' + "\u0301" * 20_000 + '"'), "not_a_code"),
    "a right-to-left override": (said('"kind":"\u202ecall"'), "not_a_code"),
    "a huge key": (said('"matter":"' + "ж" * 10_000 + '"'), "too_long"),
}  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_with_its_reason(site: Site, name: str) -> None:
    body, reason = BODIES[name]
    told = site.send("POST", "/v1/commands", body, JSON)
    assert told.status in ((422,) if reason else (403, 404)), told
    errors = told.problem.get("errors", [])
    assert reason is None or reason in {each["reason"] for each in errors}, told
    if b"\n" not in body and body.strip() and name != "UTF-16":
        batch = site.send("POST", "/v1/commands/batch", body + b"\n", NDJSON)
        lines = [json.loads(line) for line in re.findall(rb"^\{.*\}$", batch.body, re.MULTILINE)]
        assert [line["status"] for line in lines] == [told.status]
        assert lines[0].get("errors", []) == errors


WRONG: tuple[Any, ...] = (
    {"x": "y"}, [], [[]], [{}], "", "\0", "\ud800", "x" * 50_000, "\u0301" * 5_000, -1, 10**30, 1.5e300, True, None, 0,
)  # fmt: skip
FREE = {"content", "raw"}  # Whatever is JSON goes in.


def commands() -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """A command of each kind with all that it needs, and all fields there are."""
    for each in CAPABILITIES:
        fields = each.command.model_fields
        needed: dict[str, Any] = {"channel": "call", "attribute": "city", "name": "shop", "customers": [NOBODY, NOBODY]}
        needed["identifier"] = {"kind": "phone", "value": "+79160001122"}
        given = {field: needed[field] for field in needed if field in fields}
        yield each.name, {"command": each.name, **given}, set(fields)


def test_every_field_of_every_command_takes_any_wrong_value(site: Site) -> None:
    lines, asked = [], []
    for name, command, fields in commands():
        assert {f for f in fields if f in ("facts", "identifiers")} <= fields
        for field in sorted(fields - {"command"}):
            for wrong in WRONG:
                lines.append(json.dumps({**command, field: wrong}))
                asked.append((name, field, wrong))
            for bare in ("NaN", "Infinity", "1e999", '"\\ud800"'):
                lines.append(json.dumps({**command, field: "@"}).replace('"@"', bare))
                asked.append((name, field, bare))
        for field in command.keys() - {"command"}:
            lines.append(json.dumps({key: value for key, value in command.items() if key != field}))
            asked.append((name, field, "nothing"))
        lines.append(json.dumps({**command, "nonsense": 1}))
        asked.append((name, "nonsense", 1))
    role_of = {"register_source": "admin", "merge_customers": "steward"}
    by_role: dict[str, list[int]] = {}
    for n, (name, _, _) in enumerate(asked):
        by_role.setdefault(role_of.get(name, "steward"), []).append(n)
    assert len(lines) > 1000
    for role, numbers in by_role.items():
        before = site.position()
        body = "\n".join(lines[n] for n in numbers).encode()
        told = site.send("POST", "/v1/commands/batch", body, NDJSON, role)
        answers = [json.loads(line) for line in re.findall(rb"^\{.*\}$", told.body, re.MULTILINE)]
        assert len(answers) == len(numbers)
        written = 0
        for n, answer in zip(numbers, answers, strict=True):
            name, field, wrong = asked[n]
            assert answer["status"] in (200, 403, 404, 409, 413, 422), (asked[n], answer)
            written += len(answer.get("events", []))
            is_surely_wrong = wrong in ("\0", "\ud800", "NaN", "Infinity", "1e999", '"\\ud800"') or field == "nonsense"
            if is_surely_wrong or (wrong in ([[]], [{}], 10**30) and field not in FREE):
                assert answer["status"] == 422, (asked[n], answer)
        assert site.position() - before == written


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", f"/v1/customers/{NOBODY}?nonsense=1", 422, "unknown_parameter"),
        ("GET", "/v1/status?nonsense=1", 422, "unknown_parameter"),
        ("POST", "/v1/commands?at_least=1", 422, "unknown_parameter"),
        ("GET", "/v1/read-models?at_least=1&at_least=2", 422, "said_twice"),
        ("GET", "/v1/read-models?at_least=-1", 422, "too_small"),
        ("GET", "/v1/read-models?at_least=9223372036854775808", 422, "too_large"),
        ("GET", "/v1/read-models?at_least=" + "9" * 5000, 422, "too_large"),
        ("GET", "/v1/read-models?at_least=%00", 422, "wrong_type"),
        ("GET", f"/v1/customers/{NOBODY}?as_of=yesterday", 422, "not_a_time"),
        ("GET", f"/v1/customers/{NOBODY}/timeline?limit=0", 422, "too_small"),
        ("GET", f"/v1/customers/{NOBODY}/timeline?limit=501", 422, "too_large"),
        ("GET", f"/v1/customers/{NOBODY}/timeline?limit=1e2", 422, "wrong_type"),
        ("GET", f"/v1/customers/{NOBODY}/timeline?channel=pigeon", 422, "not_one_of_the_allowed"),
        ("GET", f"/v1/customers/{NOBODY}/timeline?cursor={'x' * 201}", 422, "too_long"),
        ("GET", "/v1/customers/%00", 404, None),
        ("GET", "/v1/customers/%ff%fe", 404, None),
        ("GET", "/v1/customers/..%2f..%2fetc%2fpasswd", 404, None),
        ("GET", "/v1/customers/'%20OR%201=1", 404, None),
        ("GET", f"/v1/customers/{NOBODY}/", 404, None),
        ("GET", "//v1/status", 404, None),
        ("HEAD", "/v1/status", 405, None),
        ("OPTIONS", "/v1/commands", 405, None),
        ("PUT", "/v1/commands", 405, None),
        ("PATCH", f"/v1/customers/{NOBODY}", 405, None),
        ("DELETE", f"/v1/customers/{NOBODY}", 405, None),
        ("TRACE", "/v1/status", 405, None),
        ("PROPFIND", "/v1/status", 405, None),
    ],
)  # fmt: skip
def test_a_bad_question_is_refused(site: Site, method: str, path: str, status: int, reason: str | None) -> None:
    told = site.send(method, path, b"", JSON if method == "POST" else {}, role="steward")
    assert told.status == status, told
    if status == 405:
        assert told.headers["allow"]
    if method == "HEAD":
        assert told.headers["content-type"] == "application/problem+json"
        return
    assert reason is None or [each["reason"] for each in told.problem["errors"]] == [reason]
    assert told.problem


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("of", [f"customers/{NOBODY}/timeline", f"customers/{NOBODY}/contacts", "quarantine"])
@pytest.mark.parametrize(
    "cursor", ["x", "1", "-1", "%00", "AAAA", "1~2~3", "9" * 100, "%D0%B6", "null", "e30", "W10=", "=" * 8]
)
def test_a_cursor_no_list_gave_is_refused(site: Site, of: str, cursor: str) -> None:
    told = site.send("GET", f"/v1/{of}?cursor={cursor}", role="steward")
    assert told.status in (404, 422), told
    assert told.problem


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /v1/status HTTP/9.9\r\n\r\n", 400),
        (b"FETCH /v1/status HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
        (b"GET /v1/\xff HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
        (b"CONNECT hub:80 HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\nHost : hub\r\n\r\n", 400),
        (b"POST /v1/commands HTTP/1.1\r\nHost: hub\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/commands HTTP/1.1\r\nHost: hub\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/commands HTTP/1.1\r\nHost: hub\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: hub\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(4000)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"x" * 40_000, 431),
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(site: Site, first: bytes, status: int) -> None:
    with site.connect() as connection:
        connection.sendall(first)
        told = read(connection)
        assert told.status == status, told
        assert told.problem
        assert told.headers["connection"] == "close"
        assert connection.recv(100) == b""


def test_what_is_no_request_is_told_so_in_russian(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nAccept-Language: ru\r\nX: y\r\nHost : hub\r\n\r\n")
        assert read(connection).problem["detail"] == "Запрос невозможно понять."


@pytest.mark.usefixtures("unchanged")
def test_a_body_of_a_gigabyte_is_not_read(site: Site) -> None:
    for path, role in (
        ("/v1/commands", "channel"),
        ("/v1/customers/find", "operator"),
        ("/v1/read-models", "operator"),
    ):
        before = site.forget_memory()
        sent = 0
        with site.connect() as connection:
            connection.sendall(site.head("POST", path, {**JSON, "Transfer-Encoding": "chunked"}, role))
            piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
            try:
                for _ in range(1024):
                    connection.sendall(piece)
                    sent += len(piece)
            except OSError:
                pass
        assert sent < 64 << 20, f"{path} read {sent} bytes"
        assert site.memory() - before < ROOM


@pytest.mark.usefixtures("unchanged")
def test_who_sends_too_much_is_told_so(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(site.head("POST", "/v1/commands", {**JSON, "Content-Length": str(500_000)}))
        connection.sendall(b" " * 500_000)  # All of it, before anything is read.
        assert read(connection).problem["type"] == "/problems/too-large"
        connection.sendall(site.head("GET", "/v1/read-models", {}, "operator"))  # And it may ask on.
        assert read(connection).status == 200


def test_requests_may_come_one_upon_the_other(site: Site) -> None:
    bodies = [full(id=f"pipelined-{n}") for n in range(3)]
    length = [{**JSON, "Content-Length": str(len(body))} for body in bodies]
    with site.connect() as connection:
        connection.sendall(
            b"".join(site.head("POST", "/v1/commands", head) + body for head, body in zip(length, bodies, strict=True))
            + site.head("POST", "/v1/commands", {**JSON, "Transfer-Encoding": "chunked"})
            + b"2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\nX-Trailer: y\r\n\r\n"
            + site.head("GET", "/v1/read-models", {}, "operator")
        )
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 5:
            answers += received_from(connection)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", answers)] == [200, 200, 200, 422, 200]


def bombs() -> Iterator[tuple[str, bytes, str]]:
    whole = gzip.compress(full() + b"\n")
    maker = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(maker.compress(b" " * (1 << 20)) for _ in range(256)), maker.flush()])
    line = zlib.compressobj(9, wbits=31)
    one_line = b"".join(
        [line.compress(b'{"command":"'), *(line.compress(b"x" * (1 << 20)) for _ in range(64)), line.flush()]
    )
    yield "a bomb", bomb, "inflated"
    yield "a bomb in one line", one_line, "inflated"
    yield "a bomb in a bomb", gzip.compress(bomb), "not_json"
    yield "many bombs", b"".join(gzip.compress(b" " * (1 << 20), 9) for _ in range(150)), "inflated"
    yield "half a file", whole[: len(whole) // 2], "not_gzip"
    yield "a wrong checksum", whole[:-8] + b"\0" * 8, "not_gzip"
    yield "no gzip", b"nonsense" * 100, "not_gzip"
    yield "something after it", gzip.compress(b"") + b"nonsense", "not_gzip"
    yield "zeros after it", gzip.compress(b"") + b"\0" * 100_000, "not_gzip"
    yield "raw deflate", zlib.compress(full()), "not_gzip"
    yield "nothing", b"", "not_gzip"


def test_a_gzip_that_is_none_or_a_bomb_is_refused(site: Site) -> None:
    for name, body, reason in bombs():
        before = site.forget_memory()
        told = site.send("POST", "/v1/commands/batch", body, {**NDJSON, "Content-Encoding": "gzip"})
        answers = [json.loads(line) for line in re.findall(rb"^\{.*\}$", told.body, re.MULTILINE)]
        assert answers, name
        assert {each["status"] for each in answers if each["status"] != 200} <= {413, 422}, name
        if reason != "not_json":
            assert answers[-1]["errors"] == [{"path": "", "reason": reason}], (name, answers[-1])
        assert site.memory() - before < ROOM, name


def test_a_second_body_under_one_id_is_refused(site: Site) -> None:
    assert site.send("POST", "/v1/commands", full(id="one"), JSON).status == 200
    before = site.position()
    for other in (full(id="one", kind="other"), full(id="one", data={"a": 1})):
        told = site.send("POST", "/v1/commands", other, JSON)
        assert (told.status, told.problem["type"]) == (409, "/problems/id-reused")
        line = site.send("POST", "/v1/commands/batch", other, NDJSON).body
        assert b'"status":409' in line
    assert site.position() == before


@pytest.mark.parametrize("how", ["a head", "one header for ever", "nothing at all", "a body", "a batch"])
def test_who_dawdles_is_cut_off_and_nobody_else_waits(site: Site, how: str) -> None:
    start = {
        "a head": b"GET /v1/st",
        "one header for ever": b"GET /v1/status HTTP/1.1\r\nX: ",
        "nothing at all": b"",
        "a body": site.head("POST", "/v1/commands", {**JSON, "Content-Length": "100"}) + b"{",
        "a batch": site.head("POST", "/v1/commands/batch", {**NDJSON, "Transfer-Encoding": "chunked"}),
    }[how]

    def dawdle(_: int) -> bytes:
        with site.connect() as connection:
            connection.sendall(start)
            connection.settimeout(1)
            received = b""
            for _ in range(20 if how != "a batch" else 3):
                try:
                    if how == "one header for ever":
                        connection.sendall(b"x")
                    piece = connection.recv(65536)
                    received += piece
                    if not piece or b"\r\n\r\n{" in received:
                        return received or b"closed"
                except TimeoutError:
                    continue
                except OSError:
                    return received or b"closed"
        return received

    many = 8 if how == "a batch" else 40
    with ThreadPoolExecutor(many) as pool:
        slow = [pool.submit(dawdle, n) for n in range(many)]
        for n in range(20):
            answer = site.send("POST", "/v1/commands", full(id=f"{how}-{n}"), JSON)
            assert answer.status == 200
        cut = [each.result() for each in slow]
    if how == "nothing at all":
        assert set(cut) == {b"closed"}
    elif how != "a batch":  # Which has a minute.
        assert all(b"408" in each[:20] and b"problem+json" in each for each in cut), cut[0]


def test_who_sends_many_headers_or_connections_leaves_no_memory_behind(site: Site) -> None:
    before = site.forget_memory()
    for _ in range(200):
        with site.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000)
    assert site.client.get("/v1/status").status_code == 200
    assert site.memory() - before < ROOM


def test_a_key_taken_away_and_a_key_of_no_form_are_refused(site: Site) -> None:
    made = json.loads(site.server.hub("key", "create", "--role", "operator", "--json").stdout)
    assert site.client.get("/v1/read-models", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    site.server.hub("key", "revoke", made["id"])
    time.sleep(0.6)  # As long as a key is remembered.
    for token in (made["key"], "x" * 30_000, "hub_" + "x" * 10_000, "hub_%00_x", "\xff"):
        headers = {b"Authorization": f"Bearer {token}".encode("latin-1")}
        answer = site.client.get("/v1/read-models", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_of_all_this_was_a_failure_of_the_hub(site: Site) -> None:
    assert site.server.log.read_text()
    assert not re.search(r'"status":\s*500|Traceback', site.server.log.read_text())

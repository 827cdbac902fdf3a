"""Signed webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

The standard library's HTTP client does nothing by itself (no redirects, no proxies of the environment, no retries), and
its `connect` is one method: here it goes to the address that was checked, and proves the name by the certificate.
"""

from __future__ import annotations

import base64
import hmac
import io
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPResponse, parse_headers
from typing import Any, cast

from adapters.condition import version
from adapters.outbound.address import resolved
from adapters.outbound.carrier import Failure
from adapters.outbound.destinations import Destination
from adapters.outbound.envelope import CONTENT_TYPE, Message

CONNECT = 5.0  # Seconds, for each step of connecting.
ANSWER = 10.0  # Seconds for the whole answer.
KEPT = 30.0  # Seconds after which a connection is made anew, so that its address is checked again.
READ = 64 * 1024  # Bytes of an answer that are read; the connection is not used again where there are more.
ABOUT_THE_EVENT = {400, 413, 415, 422}
LATER = {429, 503}


class Webhook:
    """One message at a time, each signed anew with the time it is sent."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        url = destination.url
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._context = ssl.create_default_context(cafile=destination.ca) if destination.encrypted else None
        self._connection: _Pinned | None = None
        self._made = 0.0

    def carry(self, messages: Sequence[Message]) -> int:
        first = messages[0]
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": f"hub/{version()}",
            **signed(self._to.secrets, first.id, int(time.time()), first.data),
        }
        _judge(*self._post(first.data, headers))
        return 1

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        """The status, and what Retry-After says. Raises Failure."""
        kept = self._connection is not None and time.monotonic() - self._made < KEPT
        try:
            try:
                return self._asked(body, headers, anew=not kept)
            except ConnectionError:  # Nobody need keep a connection open for us.
                if not kept:
                    raise
                return self._asked(body, headers, anew=True)
        except BaseException as error:
            self.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise Failure("certificate") from None
            if isinstance(error, TimeoutError):
                raise Failure("timeout") from None
            if isinstance(error, OSError):
                raise Failure("unreachable") from None
            if isinstance(error, HTTPException | ValueError):
                raise Failure("broken") from None
            raise

    def _asked(self, body: bytes, headers: dict[str, str], *, anew: bool) -> tuple[int, str | None]:
        if anew or self._connection is None or self._connection.sock is None:  # It closes after some answers.
            self.close()
            self._connection = self._connected()
            self._made = time.monotonic()
        self._connection.sock.settimeout(ANSWER)  # The answer before left what it had left.
        self._connection.request("POST", self._target, body, headers)
        with self._connection.getresponse() as answer:
            try:
                answer.read(READ)
                whole = answer.isclosed()  # Which it is of itself when all was read.
            except (OSError, HTTPException):  # The status was said, and that is what counts.
                whole = False
        if not whole:
            self.close()
        return answer.status, answer.headers["Retry-After"]

    def _connected(self) -> _Pinned:
        to, host = self._to, str(self._to.url.hostname)
        addresses = resolved(host, to.port, private=to.private, encrypted=to.encrypted)
        for n, address in enumerate(addresses, 1):
            made = _Pinned(host, to.port, address, self._context)
            try:
                made.connect()
            except ssl.SSLError:
                made.close()
                raise
            except OSError:
                made.close()
                if n == len(addresses):
                    raise
            else:
                return made
        raise Failure("unknown_host")


def signed(secrets: Sequence[bytes], id: str, at: int, body: bytes) -> dict[str, str]:
    """The three headers; a signature by each secret, so that receivers may change over from one to the next."""
    said = b"%b.%d.%b" % (id.encode(), at, body)
    signatures = [base64.b64encode(hmac.digest(secret, said, sha256)).decode() for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }


def _judge(status: int, retry_after: str | None) -> None:
    """Raises Failure for what is no success: the specification has 2xx for that, and 410 for the end."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Failure("redirect")
    if status == 410:
        raise Failure("gone", gone=True)
    wait = _seconds(retry_after) if status in LATER else None
    raise Failure(f"http_{status}", wait=wait, refused=status in ABOUT_THE_EVENT)


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


class _Pinned(HTTPConnection):
    """A connection to this address, which has to prove that it is the host."""

    auto_open = 0  # Once closed it stays closed.

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, CONNECT)
        self.default_port = 443 if context else 80
        self._address, self._context = address, context
        self.response_class = _Answer

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), CONNECT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


class _Answer(HTTPResponse):
    """An answer that has come in time, however slowly it comes."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        timed = cast(socket.socket, _Timed(sock, time.monotonic() + ANSWER))  # It is asked for a file, no more.
        super().__init__(timed, *given, **named)

    def _read_status(self) -> tuple[str, int, str]:
        """Of the final answer: the library passes over a 100, but over no other interim one (RFC 9110, 15.2)."""
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # typeshed leaves it out.
            if not 101 < found[1] < 200:
                return found
            parse_headers(self.fp)


class _Timed(io.RawIOBase):
    """What arrives at a socket until then."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until
        self._file = sock.makefile("rb", buffering=0)  # While it is open, so is the socket, whoever closes that.

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._file.readinto(buffer) or 0

    def close(self) -> None:
        self._file.close()
        super().close()

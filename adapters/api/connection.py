"""One connection of a client: what uvicorn leaves to others.

A head has to arrive in time and within bounds, and an answer has to be read. Whoever was answered before all of
the body had arrived may send on for a moment, so that the answer reaches it, but not for ever. What is no HTTP is
answered with a problem document, too.
"""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from adapters.api.problems import BadRequest, HeadTooLarge, TooSlow, response
from hub.errors import HubError
from hub.texts import chosen

LARGEST_HEAD = 32 * 1024  # Bytes of address and headers.
PATIENCE = 10.0  # Seconds for the head of a request.
STALLED = 60.0  # Seconds in which an answer has to be read on.
LINGER = 2.0  # Seconds that somebody who was answered early may send on …
LINGER_ROOM = 1 << 20  # … and bytes.


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits."""

    _waiting: TimerHandle | None = None  # For a head.
    _stalled: TimerHandle | None = None
    _heard = 0.0  # When the body under way last grew.
    _lingering: TimerHandle | None = None
    _room = 0
    _head = 0  # Bytes of a head that has not ended yet.
    _in_head = False
    _refused = False
    _why: HubError = BadRequest()

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn asks for one kind of it
        self._wait_for_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._waiting, self._stalled, self._lingering):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering is not None:
            self._room -= len(data)
            if self._room < 0:
                self.transport.close()
                return
        elif self._between_requests() and self._waiting is None:
            self._wait_for_a_head()
        if self._refused or self.transport.is_closing():
            return
        if self._waiting is not None:
            self._head += len(data)
        elif not self._between_requests() and self.cycle.more_body:
            self._heard = self.loop.time()
        super().data_received(data)
        if self._waiting is not None and self._head > LARGEST_HEAD and not self._refused:
            self._refuse(HeadTooLarge())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self._waiting is None:  # It came together with the end of the one before.
            self._wait_for_a_head()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > LARGEST_HEAD:
            self._why = HeadTooLarge()
            raise ValueError("the head is too large")  # Ends the parser, which then asks for the refusal below.
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting, self._head, self._in_head = None, 0, False
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # Trailers are nobody's.
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self._between_requests() and self.cycle.more_body:
            self._linger()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._why)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED, self._too_stalled)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _too_stalled(self) -> None:
        """Nothing was read for long. Whoever was still sending meanwhile may read when it has sent all."""
        rest = self._heard + STALLED - self.loop.time()
        if rest > 0:
            self._stalled = self.loop.call_later(rest, self._too_stalled)
        else:
            self.transport.abort()

    def _between_requests(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def _wait_for_a_head(self) -> None:
        self._waiting = self.loop.call_later(PATIENCE, self._too_late)

    def _too_late(self) -> None:
        if self._head:
            self._refuse(TooSlow())
        else:
            self.transport.close()

    def _refuse(self, error: HubError) -> None:
        """Answer what never became a request, and read no more of it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        languages = [value for name, value in getattr(self, "headers", ()) if name == b"accept-language"]
        answer = response(error, chosen((languages or [b""])[0].decode("latin-1")), {"Connection": "close"})
        head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + bytes(answer.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger()

    def _linger(self) -> None:
        self._room = LINGER_ROOM
        self._lingering = self.loop.call_later(LINGER, self.transport.close)

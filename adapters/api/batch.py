"""Batches: commands stream in, answers stream out, in order, and neither fills the memory.

Three tasks work hand in hand: one takes in what arrives as long as there is room, one has it decided in a thread, one
sends the answers. Answers that the caller does not read yet, because it is still sending, wait in a temporary file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import anyio
import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.api.bodies import check_depth
from adapters.api.lines import Cutter, Line
from adapters.api.problems import TooSlow, problem
from hub.counter import told_of
from hub.errors import Busy, HubError
from hub.texts import say

if TYPE_CHECKING:
    from hub.stream import Stream

ROOM = 1 << 20  # Bytes that may wait to be decided.
BURST = 500  # Commands decided together.
IN_MEMORY = 1 << 20  # Bytes of unread answers before they go to a file.
PIECE = 64 * 1024
IDLE = 60.0  # Seconds in which something more has to arrive.
PAUSE = 0.02  # Seconds; a sender who is less ahead of its rate is not slowed.

Answered = Mapping[str, Any] | HubError


class Batch(Response):
    """The answer to a batch, made while the batch is still arriving."""

    def __init__(
        self,
        stream: Stream,
        cutter: Cutter,
        media_type: str,
        language: str,
        closing: asyncio.Event,
        turn: asyncio.Semaphore,
        pace: Callable[[], float],
    ) -> None:
        self.status_code, self.media_type, self.background = 200, media_type, None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._stream, self._cutter, self._language = stream, cutter, language
        self._closing, self._turn, self._pace = closing, turn, pace
        self._is_array = media_type == "application/json"
        self._arrived, self._unread = Arrived(), Unread()
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with self._turn, anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_in, receive)
            tasks.start_soon(self._decide)
            while piece := await self._unread.take():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        scope.setdefault("state", {})["commands"] = self._count
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _take_in(self, receive: Receive) -> None:
        closing = asyncio.create_task(self._closing.wait())
        try:
            while True:
                arriving = asyncio.ensure_future(receive())
                await asyncio.wait((arriving, closing), timeout=IDLE, return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done():
                    arriving.cancel()
                    await self._arrived.put(Busy(say("shutting_down")) if closing.done() else TooSlow())
                    return
                message = arriving.result()
                if message["type"] == "http.disconnect":
                    return
                for line in self._cutter.cut(message.get("body", b"")):
                    if (wait := self._pace()) > PAUSE:
                        await asyncio.sleep(wait)
                    await self._arrived.put(line)
                if not message.get("more_body", False):
                    for line in self._cutter.end():
                        await self._arrived.put(line)
                    return
        finally:
            closing.cancel()
            self._arrived.end()

    async def _decide(self) -> None:
        try:
            if self._is_array:
                self._unread.put(b"[")
            while lines := await self._arrived.take(BURST):
                self._unread.put(await anyio.to_thread.run_sync(self._answered, lines))
                if not self._arrived.waiting:  # The next may take a while.
                    self._unread.put(await anyio.to_thread.run_sync(self._rest))
            self._unread.put(await anyio.to_thread.run_sync(self._rest))
        except Exception as error:  # What was answered stands; the rest is told so, on a line of its own.
            self._unread.put(self._written([told_of(error)]))
        finally:
            if self._is_array:
                self._unread.put(b"]\n")
            self._arrived.abandon()
            self._unread.end()

    def _answered(self, lines: Sequence[Line]) -> bytes:
        return self._written(self._stream.take(self._stream.check(map(_shallow, lines))))

    def _rest(self) -> bytes:
        return self._written(self._stream.rest())

    def _written(self, answers: Sequence[Answered]) -> bytes:
        parts: list[bytes] = []
        for answer in answers:
            if isinstance(answer, HubError):
                document = problem(answer, self._language)
            else:
                document = {"status": 200, **answer}
            if self._is_array and self._count:
                parts.append(b",\n")
            parts.append(orjson.dumps(document))
            if not self._is_array:
                parts.append(b"\n")
            self._count += 1
        return b"".join(parts)


class Arrived:
    """Lines that wait to be decided; who brings more than there is room for waits, too."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._ended = self._abandoned = False

    @property
    def waiting(self) -> bool:
        return bool(self._lines)

    async def put(self, line: Line) -> None:
        while self._size >= ROOM and not self._abandoned:
            self._changed.clear()
            await self._changed.wait()
        self._lines.append(line)
        self._size += _size(line)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def abandon(self) -> None:
        """Nobody takes any more."""
        self._abandoned = True
        self._changed.set()

    async def take(self, most: int) -> list[Line]:
        """What waits, some at least; nothing at the end."""
        while not self._lines and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        taken = [self._lines.popleft() for _ in range(min(most, len(self._lines)))]
        self._size -= sum(map(_size, taken))
        self._changed.set()
        return taken


class Unread:
    """Bytes on their way out, in a file where they are many; the file starts anew whenever all was read."""

    def __init__(self) -> None:
        self._file: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 -- closed when all is read.
        self._read = self._written = 0
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, data: bytes) -> None:
        if data:
            self._file.seek(self._written)
            self._file.write(data)
            self._written += len(data)
            self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def take(self) -> bytes:
        """The next bytes; none at the end."""
        while self._read == self._written:
            if self._ended:
                self._file.close()
                return b""
            self._changed.clear()
            await self._changed.wait()
        self._file.seek(self._read)
        piece = self._file.read(PIECE)
        self._read += len(piece)
        if self._read == self._written:
            self._read = self._written = 0
            self._file.seek(0)
            self._file.truncate()
        return piece


def _size(line: Line) -> int:
    return 200 + (len(line) if isinstance(line, bytes) else 0)


def _shallow(line: Line) -> Line:
    if isinstance(line, bytes):
        try:
            check_depth(line)
        except HubError as error:
            return error.kept()
    return line

"""Cutting a stream into commands: NDJSON or a JSON array, plain or gzip, never holding more than one line too long."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Protocol

from adapters.api.bodies import LARGEST
from adapters.api.problems import TooLarge
from hub.errors import Flaw, HubError, Invalid

RATIO = 100  # How much larger than what arrived gzip may become …
FREE = 1 << 20  # … beyond this much.
_PIECE = 64 * 1024

Line = bytes | HubError


class Cutter(Protocol):
    def cut(self, chunk: bytes) -> Iterator[Line]: ...

    def end(self) -> Iterator[Line]: ...


class Lines:
    """Newline-delimited JSON. Empty lines are no commands."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._too_long = False

    def cut(self, chunk: bytes) -> Iterator[Line]:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._add(chunk[start:end])
            start = end + 1
            yield from self._line()
        self._add(chunk[start:])

    def end(self) -> Iterator[Line]:
        yield from self._line()

    def _add(self, part: bytes) -> None:
        if self._too_long or len(self._rest) + len(part) > LARGEST:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += part

    def _line(self) -> Iterator[Line]:
        line, too_long = bytes(self._rest.strip()), self._too_long
        self._rest.clear()
        self._too_long = False
        if too_long:
            yield TooLarge()
        elif line:
            yield line


class Elements:
    """The elements of a JSON array. What breaks the array itself ends it, with an error in the next element's place."""

    _TEXT = re.compile(rb'["\\]')
    _TOKEN = re.compile(rb'["\[\]{},]')

    def __init__(self) -> None:
        self._element = bytearray()
        self._too_long = False
        self._depth = -1  # -1: before the array; 0: between elements.
        self._in_text = self._escaped = self._any = False
        self._over = False

    def cut(self, chunk: bytes) -> Iterator[Line]:
        at = 0
        if self._depth < 0 and not self._over:
            at = len(chunk) - len(chunk.lstrip(b" \t\r\n\xef\xbb\xbf"))
            if at == len(chunk):
                return
            self._depth = 0
            if chunk[at : at + 1] != b"[":
                yield from self._break()
            at += 1
        if self._over:
            if chunk[at:].strip() and self._depth == 0:
                yield from self._break()
            return
        start = at
        while True:
            if self._escaped and at < len(chunk):
                self._escaped, at = False, at + 1
            found = (self._TEXT if self._in_text else self._TOKEN).search(chunk, at)
            if found is None:
                self._add(chunk[start:])
                return
            at = found.end()
            match chunk[found.start()]:
                case 0x22:
                    self._in_text = not self._in_text
                case 0x5C:
                    self._escaped = True
                case 0x5B | 0x7B:
                    self._depth += 1
                case 0x2C if self._depth == 0:
                    self._add(chunk[start : at - 1])
                    start = at
                    yield from self._line()
                    self._any = True
                case 0x5D | 0x7D if self._depth == 0:
                    self._add(chunk[start : at - 1])
                    if self._any or self._element.strip() or self._too_long:
                        yield from self._line()
                    self._over = True
                    if chunk[found.start()] == 0x7D or chunk[at:].strip():
                        yield from self._break()
                    return
                case 0x5D | 0x7D:
                    self._depth -= 1

    def end(self) -> Iterator[Line]:
        if not self._over:
            yield from self._break()

    def _break(self) -> Iterator[Line]:
        self._over, self._depth = True, -1  # Whatever else comes, it was said.
        yield Invalid(Flaw("", "not_an_array"))

    def _add(self, part: bytes) -> None:
        if self._too_long or len(self._element) + len(part) > LARGEST:
            self._too_long = True
            self._element.clear()
        else:
            self._element += part

    def _line(self) -> Iterator[Line]:
        element, too_long = bytes(self._element.strip()), self._too_long
        self._element.clear()
        self._too_long = False
        yield TooLarge() if too_long else element


class Unzipped:
    """A cutter for what arrives gzipped, in bounded pieces. What breaks the gzip ends it with an error."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._stream = zlib.decompressobj(wbits=31)
        self._taken = self._given = 0
        self._over = False

    def cut(self, chunk: bytes) -> Iterator[Line]:
        self._taken += len(chunk)
        while chunk and not self._over:
            try:
                piece = self._stream.decompress(chunk, _PIECE)
            except zlib.error:
                yield from self._break("not_gzip")
                return
            self._given += len(piece)
            if self._given > FREE + RATIO * self._taken:
                yield from self._break("inflated")
                return
            yield from self._cutter.cut(piece)
            chunk = self._stream.unconsumed_tail
            if self._stream.eof:
                chunk = self._stream.unused_data
                if chunk:  # Another member of the same file.
                    self._stream = zlib.decompressobj(wbits=31)

    def end(self) -> Iterator[Line]:
        if self._over:
            return
        if not self._stream.eof:
            yield from self._break("not_gzip")
        else:
            yield from self._cutter.end()

    def _break(self, reason: str) -> Iterator[Line]:
        self._over = True
        yield Invalid(Flaw("", reason))

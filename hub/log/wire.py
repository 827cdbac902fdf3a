"""The log's bytes: what is hashed, and how rows are packed for binary COPY.

    rest = "hub/event/1" ‖ id (16) ‖ lp(type) ‖ u16 n ‖ lp(tag 1) … lp(tag n) ‖ lp(data)
    leaf = SHA256(0x00 ‖ 0x01 ‖ u64 position ‖ i64 recorded_at ‖ SHA256(rest))

All integers are big-endian; lp(x) is x behind its length in 4 bytes. The 0x00 is RFC 6962's leaf prefix
(section 2.1), the 0x01 the version of this layout. SHA256(rest) is made before the lock is taken, so that
under it an event costs one hash of 49 bytes; verifying needs the stored bytes only, nothing is serialised anew.

COPY's binary format is documented at https://www.postgresql.org/docs/15/sql-copy.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from hub.vault import Sealed

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"

_U32 = Struct(">I").pack
_U16 = Struct(">H").pack
_LEAF = Struct(">2sQq32s").pack
_EVENT_HEAD = Struct(">hihiqi16sihiq").pack  # log, position, id, type, recorded_at
_EVENT_LEAF = Struct(">i32s").pack
_TEXT_ARRAY = Struct(">iiiiii").pack  # bytes, dimensions, no nulls, oid of text, length, lower bound
_NO_TEXT = Struct(">iiii").pack(12, 0, 0, 25)
_OPEN_TAG = Struct(">hihi16siqihi").pack
_SEALED_TAG = Struct(">hihi16siqihih").pack
_SEAL_HEAD = Struct(">hihiqihi16sihiii").pack  # log, position, seal, record, class, key, length of box
_RECEIPT = Struct(">hi16si32si32s").pack
_TWO_POSITIONS = Struct(">iqiqi").pack
_NO_FIRST = Struct(">iiqi").pack
_KEY = Struct(">hi16sihiiiii").pack


def tag_of(text: str) -> bytes:
    """An open tag as the tag index holds it: the first 16 bytes of its SHA-256."""
    return sha256(text.encode()).digest()[:16]


def leaf_of(position: int, recorded_at: int, inner: bytes) -> bytes:
    return sha256(_LEAF(b"\x00\x01", position, recorded_at, inner)).digest()


def inner_hash(id: bytes, type: str, tags: Sequence[str], data: bytes) -> bytes:
    """SHA256(rest): everything of an event but its place and time in the log."""
    return prepare(id, 0, type, tags, data).inner


class Prepared(NamedTuple):
    """An event ready to be appended: all of it but position, recorded_at and leaf."""

    id: bytes
    type: int
    inner: bytes
    fields: bytes  # tags and data as COPY wants them
    tags: list[bytes]  # open, as the index holds them
    sealed_tags: Sequence[tuple[bytes, int]]  # fingerprint, seal number
    seals: Sequence[Sealed]


def prepare(
    id: bytes,
    type: int,
    name: str,
    tags: Sequence[str],
    data: bytes,
    hashed: list[bytes] | None = None,
    sealed_tags: Sequence[tuple[bytes, int]] = (),
    seals: Sequence[Sealed] = (),
) -> Prepared:
    """`hashed` are the tags as `tag_of` makes them, where the caller has them already."""
    encoded = [tag.encode() for tag in tags]
    elements = b"".join([_U32(len(tag)) + tag for tag in encoded])
    body = _U32(len(data)) + data
    inner = sha256(b"hub/event/1" + id + _kind(name) + _U16(len(encoded)) + elements + body).digest()
    array = _TEXT_ARRAY(20 + len(elements), 1, 0, 25, len(encoded), 1) if encoded else _NO_TEXT
    if hashed is None:
        hashed = [sha256(tag).digest()[:16] for tag in encoded]
    return Prepared(id, type, inner, array + elements + body, hashed, sealed_tags, seals)


@cache
def _kind(name: str) -> bytes:
    kind = name.encode()
    return _U32(len(kind)) + kind


def event_rows(log: int, recorded_at: int, first: int, events: Sequence[Prepared]) -> bytes:
    """The event rows of events in a row, the first of them at position `first`."""
    return b"".join(
        [
            _EVENT_HEAD(8, 2, log, 8, position, 16, event.id, 2, event.type, 8, recorded_at)
            + event.fields
            + _EVENT_LEAF(32, sha256(_LEAF(b"\x00\x01", position, recorded_at, event.inner)).digest())
            for position, event in enumerate(events, first)
        ]
    )


def tag_rows(log: int, first: int, events: Sequence[Prepared]) -> bytes:
    """Their tag rows, open and sealed."""
    rows = [
        _OPEN_TAG(5, 2, log, 16, tag, 8, position, 2, event.type, -1)
        for position, event in enumerate(events, first)
        for tag in event.tags
    ]
    rows += [
        _SEALED_TAG(5, 2, log, 16, tag, 8, position, 2, event.type, 2, seal)
        for position, event in enumerate(events, first)
        for tag, seal in event.sealed_tags
    ]
    return b"".join(rows)


def seal_rows(log: int, first: int, events: Sequence[Prepared]) -> bytes:
    """Their seal rows."""
    return b"".join(
        [
            _SEAL_HEAD(7, 2, log, 8, position, 2, n, 16, _uuid(s.record), 2, s.retention, 4, s.key, len(s.box)) + s.box
            for position, event in enumerate(events, first)
            for n, s in enumerate(event.seals)
        ]
    )


def _uuid(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


def key_row(record: bytes, retention: int, number: int, epoch: int, wrapped: bytes) -> bytes:
    """A record_key row up to and without destroyed_at, which COPY leaves NULL."""
    return _KEY(5, 16, record, 2, retention, 4, number, 4, epoch, len(wrapped)) + wrapped


def receipt_row(principal: bytes, request: bytes, body: bytes, first: int | None, last: int, answer: bytes) -> bytes:
    places = _NO_FIRST(-1, 8, last, len(answer)) if first is None else _TWO_POSITIONS(8, first, 8, last, len(answer))
    return _RECEIPT(6, 16, principal, 32, request, 32, body) + places + answer

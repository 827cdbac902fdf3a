"""Time and fresh ids, drawn here and handed in, so that decisions and folds stay pure."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from struct import Struct
from threading import Lock

from hub.events.base import Instant

_UUID7 = Struct(">QQ").pack
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY = 24 * 60 * 60 * 1_000_000  # Microseconds.
FUTURE_ALLOWED = 5 * 60 * 1_000_000  # Microseconds; clocks of channels are not ours.

_DRAWN = Struct(">512Q")

_lock = Lock()
_last = 0
_chance: list[int] = []  # Drawn from the system for many ids at once.


def _begin_anew() -> None:
    """A forked child draws other chance than its parent, and waits for no thread that it does not have."""
    global _lock
    _lock = Lock()
    _chance.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def now() -> Instant:
    return Instant(time.time_ns() // 1000)


def instant(at: datetime) -> Instant:
    """Microseconds since 1970 of an aware datetime."""
    return Instant((at - EPOCH) // MICROSECOND)


def moment(at: Instant) -> datetime:
    """The aware UTC datetime of an instant."""
    return EPOCH + timedelta(microseconds=at)


def fresh_id() -> bytes:
    """16 bytes of a UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, 12 more of their fraction, 62 of chance.

    Ids of one process ascend, so that they fall beside each other in indexes.
    """
    global _last
    at = time.time_ns() * 4096 // 1_000_000
    with _lock:
        if not _chance:
            _chance.extend(_DRAWN.unpack(os.urandom(_DRAWN.size)))
        chance = _chance.pop()
        _last = at = at if at > _last else _last + 1
    return _UUID7(at >> 12 << 16 | 0x7000 | at & 0xFFF, chance >> 2 | 1 << 63)

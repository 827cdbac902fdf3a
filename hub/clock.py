"""Time and fresh ids, drawn here and handed in, so that decisions and folds stay pure."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from struct import Struct
from threading import Lock

from hub.events.base import Instant

_UUID7 = Struct(">IHHB7s").pack
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY = 24 * 60 * 60 * 1_000_000  # Microseconds.
FUTURE_ALLOWED = 5 * 60 * 1_000_000  # Microseconds; clocks of channels are not ours.

_lock = Lock()
_last = 0
_chance = b""  # Drawn from the system for many ids at once.


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
    global _last, _chance
    with _lock:
        if not _chance:
            _chance = os.urandom(8 * 512)
        low, _chance = _chance[:8], _chance[8:]
        ms, fraction = divmod(time.time_ns(), 1_000_000)
        _last = sub = max(_last + 1, ms << 12 | fraction * 4096 // 1_000_000)
    return _UUID7(sub >> 28, sub >> 12 & 0xFFFF, 0x7000 | sub & 0xFFF, low[0] & 0x3F | 0x80, low[1:])

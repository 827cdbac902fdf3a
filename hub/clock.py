"""Time and fresh ids, drawn here and handed in, so that decisions and folds stay pure."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from threading import Lock

from hub.events.base import Instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_lock = Lock()
_last = 0


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
    with _lock:
        _last = sub = max(_last + 1, time.time_ns() // 1_000_000 << 12 | (time.time_ns() % 1_000_000) * 4096 // 1_000_000)
    high = (sub >> 12) << 16 | 0x7000 | (sub & 0xFFF)
    low = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    return (high << 64 | low).to_bytes(16)

"""How fast one principal may ask: a bucket of tokens each, in the memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST = 2.0  # Seconds' worth that may come at once …
BATCHES = 0.5  # … and the share of it that lines of batches may take; the rest is for what is asked meanwhile.


class Rates:
    """A token a request, and a token a line of a batch. A bucket fills at `a_second` and holds BURST times that."""

    def __init__(self, a_second: int, now: Callable[[], float] = time.monotonic) -> None:
        self._a_second, self._now = a_second, now
        self._buckets: dict[str, tuple[float, float]] = {}  # By principal: tokens, and when there were as many.

    def ask(self, principal: str) -> float:
        """Take a token. Where there is none nothing is taken, and this is how many seconds it takes to get one."""
        tokens, now = self._filled(principal)
        if tokens < 1:
            return (1 - tokens) / self._a_second
        self._buckets[principal] = (tokens - 1, now)
        return 0.0

    def charge(self, principal: str) -> float:
        """Take a token even where there is none; answers how many seconds to wait so that others get theirs."""
        tokens, now = self._filled(principal)
        self._buckets[principal] = (tokens - 1, now)
        return max(0.0, BURST * self._a_second * (1 - BATCHES) + 1 - tokens) / self._a_second

    def _filled(self, principal: str) -> tuple[float, float]:
        now = self._now()
        most = BURST * self._a_second
        tokens, since = self._buckets.get(principal, (most, now))
        return min(most, tokens + (now - since) * self._a_second), now

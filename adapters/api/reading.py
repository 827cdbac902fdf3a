"""Waiting for the read side: one look at a time for everybody who waits, and no connection held meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from hub.errors import Behind

if TYPE_CHECKING:
    from hub import Hub

PATIENCE = 5.0  # Seconds until a reader is told to come again.
PAUSE = 0.004  # Seconds between two looks.


class ReadSide:
    """How far questions are answered."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reached = 0
        self._looking: asyncio.Task[None] | None = None

    async def reaches(self, position: int | None) -> None:
        """Return when the read side has caught up with this position. Raises Behind after a while."""
        if position is None or position <= self._reached:
            return
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while self._reached < position:
            if asyncio.get_running_loop().time() > deadline:
                raise Behind
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        reached = await run_in_threadpool(self._hub.reached)
        if reached <= self._reached:
            await asyncio.sleep(PAUSE)
        self._reached = max(self._reached, reached)

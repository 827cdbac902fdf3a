"""Appends that wait for the writer: which of them go in together next."""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.log.append import Append

LOCK_TIME = 0.040  # Seconds a group may be expected to hold the lock.
SINGLE = 16  # Events of an append that may go before the parts of a load.


class Waiting:
    """Put in by any thread, taken out by the writer's."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Append | None] = SimpleQueue()
        self._waiting: deque[Append] = deque()
        self._load_is_due = False
        self._seconds_per_event = LOCK_TIME / 1000

    def put(self, append: Append | None) -> None:
        """None ends it: nothing comes after that."""
        self._queue.put(append)

    def learn(self, events: int, seconds: float) -> None:
        """So many events held the lock for so long."""
        spent = min(seconds / events, LOCK_TIME / 200)
        self._seconds_per_event += 0.1 * (spent - self._seconds_per_event)

    def take(self) -> list[Append] | None:
        """The next appends to one log, up to the lock time allowed; None at the end."""
        if not self._waiting:
            first = self._queue.get()
            if first is None:
                return None
            self._waiting.append(first)
        while len(self._waiting) < 2000:
            try:
                append = self._queue.get_nowait()
            except Empty:
                break
            if append is None:
                self._queue.put(None)  # Seen again when all before it is done.
                break
            self._waiting.append(append)
        most = self._singles_first()
        log, room = self._waiting[0].log, LOCK_TIME / self._seconds_per_event
        group: list[Append] = []
        others: deque[Append] = deque()
        while self._waiting:
            append = self._waiting.popleft()
            if append.log != log or len(group) == most or (group and room < len(append.events)):
                others.append(append)
                others.extend(self._waiting)
                self._waiting.clear()
                break
            group.append(append)
            room -= max(1, len(append.events))
        self._waiting = others
        return group

    def _singles_first(self) -> int:
        """Where more waits than one group takes: the single ones first and alone, in turn with the load.

        Answers how many appends the next group may have.
        """
        crowded = sum([len(append.events) for append in self._waiting]) > LOCK_TIME / self._seconds_per_event
        singles = [append for append in self._waiting if not _is_large(append)] if crowded else []
        if not singles or self._load_is_due or len(singles) == len(self._waiting):
            self._load_is_due = False
            return len(self._waiting)
        self._load_is_due = True
        self._waiting = deque(sorted(self._waiting, key=_is_large))
        return len(singles)


def _is_large(append: Append) -> bool:
    """Part of a load, or built on what has still to be written before it."""
    return len(append.events) > SINGLE or not all(each.done.done() for each in append.predecessors)

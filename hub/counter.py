"""The counter: where commands that come one by one are gathered into slices for the desk.

Batching is natural: while one slice is being written the next gathers and is decided, so one asker is answered at
once, and many share one reading of the log and one fsync.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

from hub.database import is_away
from hub.desk import Desk
from hub.errors import Busy, HubError
from hub.observer import Observers
from hub.projector import describe
from hub.receipts import Answer
from hub.slice import Asked, Slice
from hub.texts import say

ROOM = 1_000  # Commands that may wait; whoever comes then is asked to come again.
SLICE = 250  # Commands decided together.

_log = logging.getLogger(__name__)
_Waiting = tuple[Asked, "Future[Answer]"]
L = TypeVar("L")


class Failed(HubError):
    """The hub itself failed here; what happened is in its log."""


class Counter:
    """Takes single commands from any thread."""

    def __init__(self, desk: Desk, room: int = ROOM, observers: Observers = ()) -> None:
        self._room = room
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._pipeline: Pipeline[Sequence[_Waiting]] = Pipeline(desk, observers)
        self._closing = False
        self._lock = Lock()
        self._thread = Thread(target=self._run, name="hub-counter", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked) -> Future[Answer]:
        """The answer comes when it is durable, or a HubError does. Raises Busy when too many wait, or at the end."""
        future: Future[Answer] = Future()
        with self._lock:
            if self._closing:
                raise Busy(say("shutting_down"))
            if self._queue.qsize() >= self._room:
                raise Busy
            self._queue.put((asked, future))
        return future

    def close(self) -> None:
        """Answer what was accepted, then stop."""
        with self._lock:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._take()) is not None:
            done = self._pipeline.put(waiting, [asked for asked, _ in waiting]) if waiting else self._pipeline.rest()
            for each in done:
                _hand_out(each)
        for each in self._pipeline.rest():
            _hand_out(each)

    def _take(self) -> list[_Waiting] | None:
        """Who waits now; somebody at least, unless answers are due. None at the end."""
        waiting: list[_Waiting] = []
        while len(waiting) < SLICE:
            try:
                each = self._queue.get(block=not waiting and not self._pipeline.busy)
            except Empty:
                break
            if each is None:
                if not waiting:
                    return None
                self._queue.put(None)  # Seen again when these are decided.
                break
            if each[1].set_running_or_notify_cancel():
                waiting.append(each)
        return waiting


class Pipeline(Generic[L]):
    """Slices in order, two at most on their way: while one is being written the next is decided.

    A load is whatever the caller wants back when all its commands have an answer or a HubError.
    """

    def __init__(self, desk: Desk, observers: Observers = ()) -> None:
        self._desk, self._observers = desk, observers
        self._begun: deque[tuple[L, Sequence[Asked], Slice | None]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._begun)

    def put(self, load: L, asked: Sequence[Asked]) -> list[L]:
        """Begin these, and finish what was begun before; gives the loads that are finished now."""
        before = self._begun[-1][2] if self._begun else None
        started = time.monotonic()
        try:
            slice = self._desk.begin(asked, before)
        except Exception as error:
            done = self.rest()
            self._begin_alone(asked, error, foreseen=before is not None)
            self._begun.append((load, asked, None))
            return done
        for each in self._observers:
            each.begun(asked, slice, time.monotonic() - started)
        self._begun.append((load, asked, slice))
        return self._finish(1)

    def rest(self) -> list[L]:
        """Finish all; gives the loads."""
        return self._finish(0)

    def _finish(self, left: int) -> list[L]:
        done: list[L] = []
        while len(self._begun) > left:
            load, asked, slice = self._begun.popleft()
            if slice is not None:
                try:
                    self._desk.finish(slice)
                except Exception as error:
                    _fail([each for each in asked if each.answer is None and each.error is None], error)
            for each in asked:
                if each.error is not None and not isinstance(each.error, HubError):
                    _fail([each], each.error)
            for observer in self._observers:
                observer.finished(asked, slice)
            done.append(load)
        return done

    def _begin_alone(self, asked: Sequence[Asked], error: Exception, *, foreseen: bool) -> None:
        """A slice could not even be decided: each command alone, so that only the one that is to blame fails.

        A single one too, where what was foreseen of the slice before it may not have come to pass.
        """
        if is_away(error) or (len(asked) == 1 and not foreseen):
            _fail(asked, error)
            return
        for each in asked:
            each.answer = each.error = None
            each.known.again()
            try:
                self._desk.finish(self._desk.begin([each]))
            except Exception as its_own:
                _fail([each], its_own)


def told_of(error: Exception) -> HubError:
    """What somebody who asked is told of an error. One that nobody expected is logged."""
    if is_away(error):
        return Busy(say("database_away"))
    if isinstance(error, HubError):
        return error.kept()
    _log.error("a command failed: %s", describe(error))
    return Failed()


def _fail(asked: Sequence[Asked], error: Exception) -> None:
    told = told_of(error)
    for each in asked:
        each.error = told


def _hand_out(waiting: Sequence[_Waiting]) -> None:
    for asked, future in waiting:
        if asked.answer is not None:
            future.set_result(asked.answer)
        else:
            future.set_exception(asked.error or Failed())

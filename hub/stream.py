"""A stream: many commands of one sender, checked ahead, decided slice by slice, answered in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from hub.counter import Failed, Pipeline
from hub.desk import Desk
from hub.errors import HubError
from hub.observer import Observers
from hub.receipts import Answer
from hub.slice import Asked

SLICE = 500  # Commands decided and appended together; some 40 ms of lock.

Sent = bytes | Mapping[str, Any]  # A command, as it was sent.


class Stream:
    """Commands of one sender: all of them through `answers`, or burst by burst by `check`, `take` and `rest`."""

    def __init__(self, accept: Callable[[Sent], Asked], desk: Desk, observers: Observers = ()) -> None:
        """`accept` checks a command of this sender, as `Intake.accept` does."""
        self._accepted = accept
        self._pipeline: Pipeline[list[Asked | HubError]] = Pipeline(desk, observers)
        self._repeats = False

    def answers(self, commands: Iterable[Sent]) -> Iterator[Answer | HubError]:
        """Each command answered, or refused with the error it got; never more than four slices in memory."""
        with ThreadPoolExecutor(1) as ahead:  # The next lines are checked while the database answers about these.
            checked: deque[Future[list[Asked | HubError]]] = deque()
            for lines in _slices(commands, SLICE):
                checked.append(ahead.submit(self.check, lines))
                if len(checked) > 1:
                    yield from self.take(checked.popleft().result())
            for last in checked:
                yield from self.take(last.result())
        yield from self.rest()

    def check(self, lines: Iterable[Sent | HubError]) -> list[Asked | HubError]:
        """The commands, or what is wrong with them. A line may be an error already, to be answered in its place."""
        return [line if isinstance(line, HubError) else self._accept(line) for line in lines]

    def take(self, taken: list[Asked | HubError]) -> list[Answer | HubError]:
        """Begin these; gives the answers that are due."""
        asked = [each for each in taken if isinstance(each, Asked)]
        for each in asked:  # Most senders say new things; one that repeats itself is noticed and looked up first.
            each.look_up = self._repeats
        return self._handed_out(self._pipeline.put(taken, asked))

    def rest(self) -> list[Answer | HubError]:
        """The answers to all that was begun."""
        return self._handed_out(self._pipeline.rest())

    def _handed_out(self, loads: list[list[Asked | HubError]]) -> list[Answer | HubError]:
        answers = [_answer(each) for load in loads for each in load]
        if answers:
            self._repeats = any(isinstance(each, dict) and each["replayed"] for each in answers)
        return answers

    def _accept(self, line: Sent) -> Asked | HubError:
        try:
            return self._accepted(line)
        except HubError as error:
            return error.kept()


def _answer(each: Asked | HubError) -> Answer | HubError:
    if isinstance(each, HubError):
        return each
    if each.answer is not None:
        return each.answer
    return each.error if isinstance(each.error, HubError) else Failed()


def _slices(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    taken: list[Any] = []
    for item in items:
        taken.append(item)
        if len(taken) == size:
            yield taken
            taken = []
    if taken:
        yield taken

"""What was appended lately, in memory, so that conditions are matched without touching the index.

The window is contiguous: it holds every event with a position in (start, head], in one chunk a commit.
A condition that reaches further back is probed in the database.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

EVENTS_KEPT = 50_000


class Item(NamedTuple):
    """One alternative of a condition: an event matches if it has all the tags and one of the types (any, if None)."""

    types: frozenset[int] | None
    tags: tuple[bytes, ...]


@dataclass(slots=True)
class Chunk:
    """The events of one commit in a row. Their tags are indexed when a condition first asks."""

    first: int
    events: list[tuple[int, Sequence[bytes]]] = field(default_factory=list)  # type, tags
    receipts: set[tuple[bytes, bytes]] = field(default_factory=set)
    _by_tag: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)  # tag -> position, type
    _indexed: int = 0

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1

    def matched(self, items: Sequence[Item], after: int, own: Sequence[range]) -> list[int]:
        """Indexes of the items that match an event after `after`, outside `own`."""
        start, stop = max(self.first, after + 1), self.last + 1
        others = stop - start - sum([max(0, min(each.stop, stop) - max(each.start, start)) for each in set(own)])
        if others <= 0:  # Nothing but what the append itself follows: of a load alone in the log it is always so.
            return []
        if self._indexed < len(self.events):
            self._index()
        return [n for n, item in enumerate(items) if self._matches(item, after, own)]

    def _matches(self, item: Item, after: int, own: Sequence[range]) -> bool:
        if item.tags:
            candidates: Iterable[tuple[int, int]] = self._by_tag.get(item.tags[0], ())
        else:
            candidates = ((position, type) for position, (type, _) in enumerate(self.events, self.first))
        for position, type in candidates:
            if (
                position > after
                and (item.types is None or type in item.types)
                and not any(position in each for each in own)
                and all((position, type) in self._by_tag.get(tag, ()) for tag in item.tags[1:])
            ):
                return True
        return False

    def _index(self) -> None:
        by_tag = self._by_tag
        for position, (type, tags) in enumerate(self.events[self._indexed :], self.first + self._indexed):
            for tag in tags:
                if tag in by_tag:
                    by_tag[tag].append((position, type))
                else:
                    by_tag[tag] = [(position, type)]
        self._indexed = len(self.events)


class Recent:
    """The chunks of the window (start, head]."""

    def __init__(self) -> None:
        self.start = self.head = -1  # Nothing known yet.
        self.recorded_at = 0  # Of the event at head.
        self._chunks: deque[Chunk] = deque()
        self._receipts: set[tuple[bytes, bytes]] = set()

    def restart(self, head: int, recorded_at: int) -> None:
        self.start = self.head = head
        self.recorded_at = recorded_at
        self._chunks.clear()
        self._receipts.clear()

    def add(self, chunk: Chunk, recorded_at: int) -> None:
        self._chunks.append(chunk)
        self._receipts |= chunk.receipts
        self.head, self.recorded_at = max(self.head, chunk.last), recorded_at
        while len(self._chunks) > 1 and (
            self.head - self.start > EVENTS_KEPT or len(self._receipts) > max(EVENTS_KEPT, len(chunk.receipts))
        ):
            oldest = self._chunks.popleft()
            self.start = max(self.start, oldest.last)
            self._receipts -= oldest.receipts

    def matched(self, items: Sequence[Item], after: int, own: Sequence[range] = ()) -> frozenset[int]:
        """Indexes of the items that match something in (after, head]. `after` must not lie before start."""
        found: set[int] = set()
        for chunk in takewhile(lambda chunk: chunk.last > after, reversed(self._chunks)):
            found.update(chunk.matched(items, after, own))
        return frozenset(found)

    def knows_receipt(self, receipt: tuple[bytes, bytes]) -> bool:
        return receipt in self._receipts

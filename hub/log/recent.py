"""What was appended lately, in memory, so that conditions are matched without touching the index.

The window is contiguous: it holds every event with a position in (start, head], in one chunk a commit.
A condition that reaches further back is probed in the database.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

EVENTS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Item:
    """One alternative of a condition: an event matches if it has all the tags and one of the types (any, if None)."""

    types: frozenset[int] | None
    tags: tuple[bytes, ...]


@dataclass(slots=True)
class Chunk:
    """The events of one commit: position and type by tag, and in a row."""

    first: int
    last: int
    by_tag: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    types: list[int] = field(default_factory=list)  # types[0] is that of `first`
    receipts: set[tuple[bytes, bytes]] = field(default_factory=set)

    def add(self, position: int, type: int, tags: Iterable[bytes]) -> None:
        self.types.append(type)
        self.last = position
        for tag in tags:
            if tag in self.by_tag:
                self.by_tag[tag].append((position, type))
            else:
                self.by_tag[tag] = [(position, type)]

    def matches(self, item: Item, after: int, own: Sequence[range]) -> bool:
        """Is there an event after `after`, outside `own`, that the item matches?"""
        if not item.tags:
            candidates: Iterable[tuple[int, int]] = enumerate(self.types, self.first)
        elif (found := self.by_tag.get(item.tags[0])) is None:
            return False
        else:
            candidates = found
        for position, type in candidates:
            if (
                position > after
                and (item.types is None or type in item.types)
                and not any(position in each for each in own)
                and all((position, type) in self.by_tag.get(tag, ()) for tag in item.tags[1:])
            ):
                return True
        return False


class Recent:
    """The chunks of the window (start, head]."""

    def __init__(self) -> None:
        self.start = self.head = -1  # Nothing known yet.
        self.recorded_at = 0  # Of the event at head.
        self._chunks: deque[Chunk] = deque()

    def restart(self, head: int, recorded_at: int) -> None:
        self.start = self.head = head
        self.recorded_at = recorded_at
        self._chunks.clear()

    def add(self, chunk: Chunk, recorded_at: int) -> None:
        self._chunks.append(chunk)
        self.head, self.recorded_at = max(self.head, chunk.last), recorded_at
        while self.head - self.start > EVENTS_KEPT and len(self._chunks) > 1:
            self.start = max(self.start, self._chunks.popleft().last)

    def matched(self, items: Sequence[Item], after: int, own: Sequence[range] = ()) -> frozenset[int]:
        """Indexes of the items that match something in (after, head]. `after` must not lie before start."""
        later = [chunk for chunk in self._chunks if chunk.last > after and chunk.types]
        return frozenset(n for chunk in later for n, item in enumerate(items) if chunk.matches(item, after, own))

    def knows_receipt(self, receipt: tuple[bytes, bytes]) -> bool:
        return any(receipt in chunk.receipts for chunk in self._chunks)

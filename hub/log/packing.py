"""The rows of one commit, packed for COPY."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from hub.log import wire
from hub.log.recent import Chunk

if TYPE_CHECKING:
    from hub.log.append import Append


class Rows:
    """The rows of one commit. Those of a table are packed while the server already takes in the first of them."""

    RUN = 200  # Events packed before they are handed over.

    def __init__(self, log: int, now: int, head: int) -> None:
        self._log, self._now, self.head = log, now, head
        self.chunk = Chunk(head + 1)
        self._placed: list[tuple[int, Append]] = []

    def add(self, append: Append) -> int:
        """Number the append's events; gives the first number."""
        first = self.head + 1
        self.head += len(append.events)
        self.chunk.events.extend(
            [
                (each.type, each.tags + [tag for tag, _ in each.sealed_tags] if each.sealed_tags else each.tags)
                for each in append.events
            ]
        )
        self.chunk.receipts.update([(receipt.principal, receipt.request) for receipt in append.receipts])
        self._placed.append((first, append))
        append.placed = range(first, self.head + 1)
        return first

    def copy(self, connection: Connection[Any]) -> None:
        for table, pieces in (
            ("event (log, position, id, type, recorded_at, tags, data, leaf)", self._events()),
            ("tag (log, tag, position, type, seal)", self._tags()),
            ("seal (log, position, seal, record, class, key, box)", self._seals()),
            ("record_key (record, class, key, epoch, wrapped)", self._keys()),
            ("receipt (principal, request, body, first, last, answer)", self._receipts()),
        ):
            filled = filter(None, pieces)
            first = next(filled, None)
            if first is not None:
                with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)".encode()) as copy:
                    copy.write(wire.COPY_HEADER + first)
                    for piece in filled:
                        copy.write(piece)
                    copy.write(wire.COPY_TRAILER)

    def _runs(self) -> Iterator[tuple[int, Sequence[wire.Prepared]]]:
        """Events in a row, with the position of the first."""
        for first, append in self._placed:
            for at in range(0, len(append.events), self.RUN):
                yield first + at, append.events[at : at + self.RUN]

    def _events(self) -> Iterator[bytes]:
        return (wire.event_rows(self._log, self._now, first, events) for first, events in self._runs())

    def _tags(self) -> Iterator[bytes]:
        return (wire.tag_rows(self._log, first, events) for first, events in self._runs())

    def _seals(self) -> Iterator[bytes]:
        return (wire.seal_rows(self._log, first, events) for first, events in self._runs())

    def _keys(self) -> Iterator[bytes]:
        return (wire.key_row(*key) for _, append in self._placed for key in append.keys)

    def _receipts(self) -> Iterator[bytes]:
        for first, append in self._placed:
            for each in append.receipts:
                start = first + each.first
                last = start + each.written - 1
                place = start if each.written else None
                yield wire.receipt_row(each.principal, each.request, each.body, place, last, each.answer)

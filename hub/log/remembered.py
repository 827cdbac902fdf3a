"""What decisions read of rare events, remembered from slice to slice.

Who a record is, whom it belongs to and who its source is change seldom and are asked for by every touch. What was
read of them is kept until an event carries the tag it was found by: each snapshot first drops what came since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from hub.log.wire import tag_of

if TYPE_CHECKING:
    from hub.events.base import Recorded
    from hub.log.read import Scope

RARE = frozenset({"record_opened", "customers_merged", "customers_unmerged", "source_registered"})
KEPT = 50_000  # Scopes; some 50 MB.
FAR = 200_000  # Events to look through at most; after more, everything is forgotten.


class Remembered:
    """Scopes over rare events and what they covered at one position of the log. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._at = 0
        self._found: OrderedDict[Scope, Sequence[Recorded]] = OrderedDict()

    def bring_up(self, connection: Connection[Any], query: str, log: int, head: int, types: Iterable[int]) -> None:
        """Forget what events after the last look, up to `head`, may have changed."""
        with self._lock:
            if head <= self._at:
                return
            if not self._found or head - self._at > FAR:
                self._found.clear()
            else:
                rows = connection.execute(query, (log, self._at, head, list(types)), binary=True, prepare=True)
                changed = {tag_of(tag) for (tags,) in rows for tag in tags}
                if changed:
                    for scope in [scope for scope in self._found if scope.tag in changed]:
                        del self._found[scope]
            self._at = head

    def recall(self, scopes: Iterable[Scope], head: int) -> dict[Scope, Sequence[Recorded]]:
        """What is remembered of these scopes and was so at `head`."""
        with self._lock:
            if head < self._at:  # Another thread has looked further than this snapshot does.
                return {}
            found = self._found
            recalled = {scope: found[scope] for scope in scopes if scope in found}
            for scope in recalled:
                found.move_to_end(scope)
            return recalled

    def keep(self, found: dict[Scope, list[Recorded]], head: int) -> None:
        """Remember what a snapshot at `head` read; a record not opened yet is not worth it."""
        with self._lock:
            if head != self._at:
                return
            for scope, events in found.items():
                if is_rare(scope) and (events or "record_opened" not in scope.types):
                    self._found[scope] = events
            while len(self._found) > KEPT:
                self._found.popitem(last=False)


def is_rare(scope: Scope) -> bool:
    return bool(scope.types) and scope.types <= RARE and not scope.opened and not scope.by_id

"""What the hub tells of its own work, to whoever measures or traces it. The kernel knows no listener by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.errors import HubError
    from hub.log.append import Append
    from hub.slice import Asked, Slice


class Observer:
    """Overrides what it wants to hear. It is called from the hub's own threads: it is quick and raises nothing.

    All durations are seconds.
    """

    def accepted(self, asked: Asked) -> None:
        """A command passed its checks. Called where it was sent, in the sender's context."""

    def turned_away(self, error: HubError) -> None:
        """What was sent failed its checks, or its sender may not."""

    def begun(self, asked: Sequence[Asked], slice: Slice, seconds: float) -> None:
        """A slice was decided and handed to the writer."""

    def finished(self, asked: Sequence[Asked], slice: Slice | None) -> None:
        """Each of these has an answer or an error. `slice` is the one that was begun, if one could be."""

    def committed(self, group: Sequence[Append], events: int, seconds: float) -> None:
        """The writer is done with these appends; how each ended is in its `done`."""

    def folded(self, events: int, position: int, seconds: float) -> None:
        """The pump folded a batch that ends at this position."""


Observers = Sequence[Observer]

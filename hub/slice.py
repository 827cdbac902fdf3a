"""What lies on the desk: a command that was asked, a line that was decided, and the slice they go through in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.decider import Decider, Draft, Known, Outcome, Principal
from hub.events import Envelope, RecordOpened
from hub.log.append import Append
from hub.log.wire import Prepared
from hub.receipts import Answer
from hub.vault import RecordKey
from hub.walk import Ahead, Walk


@dataclass(slots=True)
class Asked:
    """A command that passed its checks; in the end it has an answer or an error."""

    principal: Principal
    decider: Decider[Any, Any]
    command: Any
    id: str
    request: bytes  # HMAC of principal and id
    body: bytes  # HMAC of the whole command
    known: Known
    may_be_known: bool = True  # The id came from outside, so a receipt may exist.
    look_up: bool = True  # Look for the receipt before deciding; else only when the append finds it, or a rule refuses.
    answer: Answer | None = None
    error: Exception | None = None
    rounds: int = 0
    trace: Any = None  # Where it came from, for an observer that follows it through the hub.

    @property
    def asked(self) -> tuple[str, bytes]:
        return self.principal.id, self.request


@dataclass(slots=True)
class Line:
    """A decided line; with its events prepared it is ready to be appended."""

    asked: Asked
    outcome: Outcome
    walk: Walk
    drafts: Sequence[Draft]
    tags: Sequence[Tagged]  # Of each draft.
    envelope: Envelope
    kept: bytes
    prepared: list[Prepared] = field(default_factory=list)

    def opened(self) -> list[str]:
        """The records that this line opens."""
        return [draft.event.record for draft in self.drafts if isinstance(draft.event, RecordOpened)]


Tagged = tuple[tuple[str, ...], list[bytes]]  # The open tags of an event, as text and hashed.


@dataclass(slots=True)
class Slice:
    """Lines on their way: decided and submitted, not yet answered."""

    ahead: Ahead
    head: int = 0
    lines: list[Line] = field(default_factory=list)
    append: Append | None = None
    items: list[list[int]] = field(default_factory=list)  # The lines that need each item of the condition.
    twins: list[tuple[Asked, Asked]] = field(default_factory=list)  # The same id twice in one slice.
    made: dict[str, RecordKey] = field(default_factory=dict)  # Keys of records opened here.
    doubtful: list[Asked] = field(
        default_factory=list
    )  # Refused on what was decided ahead and may yet come to nothing.
    before: Append | None = None  # What the slice before it writes, where anything was decided on that.

    def without(self, disturbed: set[int]) -> Slice:
        """The other lines, as they are, to be submitted once more."""
        kept = [number for number in range(len(self.lines)) if number not in disturbed]
        renumbered = {number: new for new, number in enumerate(kept)}
        lines = [self.lines[number] for number in kept]
        for line in lines:
            line.walk.built_on = {renumbered[number] for number in line.walk.built_on}
        made = {record: self.made[record] for line in lines for record in line.opened()}
        return Slice(self.ahead, self.head, lines, made=made, before=self.before)

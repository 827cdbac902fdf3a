"""What carries messages to a destination, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adapters.outbound.envelope import Message


class Failure(Exception):
    """A message was not acknowledged. Its code names why, in words of `words.failure`."""

    def __init__(self, code: str, *, wait: float | None = None, gone: bool = False, refused: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.wait = wait  # Seconds that the destination asks to be left alone.
        self.gone = gone  # It wants no more.
        self.refused = refused  # It was this message, and would be again.


class Carrier(Protocol):
    """Used by one thread."""

    def carry(self, messages: Sequence[Message]) -> int:
        """How many of these, from the first on, were acknowledged: at least one. Raises Failure for the first."""

    def close(self) -> None:
        """Let go of what is open, at the end."""

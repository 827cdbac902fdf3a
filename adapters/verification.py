"""Verifying the log a piece at a time: each run goes on where the last one stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub import Hub
from hub.events import VOCABULARY
from hub.log.mark import Mark
from hub.log.verify import Verification

MARK = "verify.json"  # In the data folder: where a run that had not enough time stopped.


@contextmanager
def verifying(hub: Hub, *, resume: bool = True) -> Iterator[Verification]:
    """A verification that goes on where the last one stopped, and leaves word where it stops, however it ends."""
    file = hub.data / MARK
    verification = Verification(hub.questions.connection, VOCABULARY, hub.vault, _read(file) if resume else None)
    try:
        yield verification
    finally:
        if not (resume or verification.complete):
            pass  # What one on its own has begun is not worth what a row of them has done.
        elif verification.mark == Mark():
            file.unlink(missing_ok=True)
        else:
            fresh = file.with_suffix(f".{os.getpid()}")
            fresh.write_text(verification.mark.text())
            fresh.replace(file)


def _read(file: Path) -> Mark | None:
    try:
        return Mark.parse(file.read_text())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # Then it begins anew, which costs time and misses nothing.

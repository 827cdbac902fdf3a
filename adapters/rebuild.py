"""`hub rebuild`: a read model is emptied and folded from the first event, by whoever leads the read side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from psycopg import errors

from hub import Hub
from hub.database import connect
from hub.errors import Behind, Busy, Misconfigured
from hub.projector import Standing, restart
from hub.rows import ReadModel
from hub.texts import say

PAUSE = 0.2  # Seconds between two looks.
PATIENCE = 60.0  # Seconds in which something must move.
TRIES = 5  # To get hold of a model that is being written and asked.


def rebuild(hub: Hub, model: ReadModel[Any]) -> Iterator[Standing]:
    """Fold it anew; gives how far it is, again and again, and in the end that it is live or has failed.

    The pump that leads need not stop: a model is emptied between two of its batches, never within one.
    Raises Behind when nothing moves, Misconfigured when the model is of a newer release.
    """
    head = hub.head()
    if any(each.name == model.name and each.version > model.version for each in hub.standings()):
        raise Misconfigured(say("newer_model", model=model.name))
    _empty(hub, model)
    places: list[int] = []
    moved = time.monotonic()
    while True:
        standings = hub.standings()
        for each in standings:
            if each.name == model.name:
                yield each
                if each.state == "failed" or (each.state == "live" and each.position >= head):
                    return
        now, before, places = time.monotonic(), places, [each.position for each in standings]
        if places != before:
            moved = now
        elif now - moved > PATIENCE:
            raise Behind
        time.sleep(PAUSE)


def _empty(hub: Hub, model: ReadModel[Any]) -> None:
    for _ in range(TRIES):
        try:
            with connect(hub.url) as connection:
                restart(connection, model)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            continue
        return
    raise Busy

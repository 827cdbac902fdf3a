"""The feed in a process of its own: a thread and a connection for each destination."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.outbound.destinations import destinations
from adapters.outbound.following import Feeder
from adapters.worker import work
from hub import Hub
from hub.settings import Settings

PATIENCE = 5.0  # Seconds for what is under way when the feed is told to stop.


@contextmanager
def feeding() -> Iterator[None]:
    with Hub.open(follow=False) as hub:
        feeders = [Feeder(hub, each) for each in destinations(Settings.from_environment())]
        for feeder in feeders:
            feeder.start()
        try:
            yield
        finally:
            for feeder in feeders:
                feeder.tell()
            until = time.monotonic() + PATIENCE
            for feeder in feeders:
                feeder.stop(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    work(feeding)

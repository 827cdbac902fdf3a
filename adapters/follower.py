"""The read side in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapters.tracing import traced
from adapters.worker import work
from hub import Hub


@contextmanager
def following() -> Iterator[None]:
    with Hub.open(follow=False) as hub, traced(hub):
        hub.follow()
        yield


if __name__ == "__main__":
    work(following)

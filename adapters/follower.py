"""The read side in a process of its own."""

from __future__ import annotations

from adapters.worker import work
from hub import Hub

if __name__ == "__main__":
    work(Hub.open)

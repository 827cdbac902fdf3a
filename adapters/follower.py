"""The read side in a process of its own, so that folding and answering do not share one interpreter.

Its parent holds the other end of its standard input: when the parent ends, however it ends, so does this.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from types import FrameType

from hub import Hub

PAUSES = (0.1, 0.5, 2.0, 5.0)  # Seconds before a follower that ended is started again, longer each time.
STEADY = 30.0  # Seconds after which a follower counts as running well.


class Follower:
    """Starts the process, and starts it again whenever it ends by itself."""

    def __init__(self, url: str, data: Path) -> None:
        self._environment = {**os.environ, "HUB_DATABASE_URL": url, "HUB_DATA": str(data)}
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._watch, name="hub-follower", daemon=True)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._launch()
        self._thread.start()

    def stop(self) -> None:
        """Have it finish the batch at hand, and wait for it."""
        self._stopping.set()
        self._thread.join(10)

    def _launch(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "adapters.follower"], stdin=subprocess.PIPE, env=self._environment
        )

    def _watch(self) -> None:
        failures, started = 0, time.monotonic()
        while True:
            process = self._process
            assert process is not None
            assert process.stdin is not None
            while process.poll() is None and not self._stopping.wait(0.05):
                pass
            if self._stopping.is_set():
                process.stdin.close()
                try:
                    process.wait(8)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                return
            process.stdin.close()
            failures = 0 if time.monotonic() - started > STEADY else failures + 1
            if not self._stopping.wait(PAUSES[min(failures, len(PAUSES)) - 1] if failures else PAUSES[0]):
                self._launch()
                started = time.monotonic()


def main() -> None:
    """Follow the log until the parent is gone."""
    from adapters.api.logs import configure

    stopping = Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopping.set()

    gc.set_threshold(100_000, 50, 50)  # As in the process that started it.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when.
    configure()

    def listen() -> None:
        while os.read(0, 1):
            pass
        stopping.set()

    Thread(target=listen, daemon=True).start()
    with Hub.open():
        while not stopping.wait(3600):
            pass


if __name__ == "__main__":
    main()

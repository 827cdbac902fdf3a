"""Processes beside the one that answers, so that folding and answering do not share one interpreter.

Their parent holds the other end of their standard input: when the parent ends, however it ends, so do they.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Thread
from types import FrameType

PAUSES = (0.1, 0.5, 2.0, 5.0)  # Seconds before a process that ended is started again, longer each time.
STEADY = 30.0  # Seconds after which a process counts as running well.


class Worker:
    """Starts such a process, `python -m module`, and starts it again whenever it ends by itself.

    With `nice` it steps back for the others, from its first moment on.
    """

    def __init__(self, module: str, url: str, data: Path, nice: int = 0) -> None:
        self._command = ["nice", "-n", str(nice), sys.executable, "-m", module]
        self._environment = {**os.environ, "HUB_DATABASE_URL": url, "HUB_DATA": str(data)}
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._watch, name=f"{module}-watch", daemon=True)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._launch()
        self._thread.start()

    def tell(self) -> None:
        """Have it finish what is at hand."""
        self._stopping.set()

    def stop(self) -> None:
        """The same, and wait for it."""
        self.tell()
        self._thread.join(10)

    def _launch(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=self._environment)

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
                process.terminate()  # One that is still being loaded does not look at its standard input.
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


def work(begin: Callable[[], AbstractContextManager[object]]) -> None:
    """What such a process does: begin, and go on until the parent is gone or says so."""
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
    with begin():
        while not stopping.wait(3600):
            pass

"""`hub serve` as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Server:
    """One `hub serve` after another, on one database and one address."""

    def __init__(self, data: Path, database_url: str | None, *, program: Sequence[str] = ("-m", "hub")) -> None:
        self._program = (sys.executable, *program)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.environment = {**os.environ, "HUB_DATA": str(data), "HUB_LISTEN": f"127.0.0.1:{port}", "HUB_LANG": "en"}
        if database_url:
            self.environment["HUB_DATABASE_URL"] = database_url
        self.said: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.log = data.parent / "serve.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._program, "serve"],
                cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if "http://" in line:
                return
        raise AssertionError(self.log.read_text())

    def key(self, role: str) -> str:
        return next(line.removeprefix(f"{role}: ") for line in self.said if line.startswith(f"{role}: "))

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.said.extend(line.strip() for line in self.process.stdout)
        self.process.stdout.close()
        self.process = None
        return code

    def hub(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [*self._program, *words]
        return subprocess.run(
            command, cwd=ROOT, env={**self.environment, **environment}, capture_output=True, text=True, timeout=60
        )

    def children(self) -> list[int]:
        assert self.process is not None
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

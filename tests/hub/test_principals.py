"""A key changed for another while it is revoked: whoever comes first is through before the other begins."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool

from hub import principals as module
from hub.database import pool
from hub.errors import Busy
from hub.principals import SQL, ApiKey, KeyEnded, Principals
from tests.support.tally import until


@pytest.fixture
def principals(database_url: str) -> Iterator[Principals]:
    with pool(database_url, 2) as connections:
        yield Principals(connections)


@pytest.fixture
def key(principals: Principals) -> ApiKey:
    return principals.make("operator", person="Анна")[0]


def waiting(owner: Connection[Any]) -> int:
    """How many wait for a lock in this database."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    (found,) = owner.execute(asked).fetchone() or (0,)
    return int(found)


def test_a_key_that_is_being_revoked_gives_no_other_one(
    principals: Principals, key: ApiKey, connection: Connection[Any], owner: Connection[Any]
) -> None:
    with ThreadPoolExecutor() as beside:
        with connection.transaction():
            connection.execute(SQL["revoke"], (key.id,))
            rotation = beside.submit(principals.rotate, key.id)
            until(lambda: rotation.done() or waiting(owner) == 1)
        with pytest.raises(KeyEnded):
            rotation.result(10)
    assert [each.id for each in principals.all()] == [key.id]


def test_a_key_is_revoked_when_another_one_was_made_of_it_for_all_to_see(
    principals: Principals, key: ApiKey, connection: Connection[Any], owner: Connection[Any]
) -> None:
    with ThreadPoolExecutor() as beside:
        with connection.transaction():
            connection.execute(SQL["lock_principal"], (key.principal,))  # Holds the rotation up on its way.
            rotation = beside.submit(principals.rotate, key.id)
            until(lambda: waiting(owner) == 1)
            revocation = beside.submit(principals.revoke, key.id)
            until(lambda: revocation.done() or waiting(owner) == 2)
            assert not revocation.done()
        revocation.result(10)
        seen = {each.id: each.stands for each in principals.all()}
        assert seen == {key.id: False, rotation.result(10)[0].id: True}


def test_while_the_database_is_away_who_waited_behind_another_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    looks: list[float] = []

    class Counted(ConnectionPool[Connection[Any]]):
        def getconn(self, timeout: float | None = None) -> Connection[Any]:
            looks.append(0 if timeout is None else timeout)
            until(lambda: len(behind) == 8)  # All of them have asked before the first is told.
            return super().getconn(timeout)

    def ask(principals: Principals) -> BaseException | None:
        behind.append(None)
        return ask_alone(principals)

    def ask_alone(principals: Principals) -> BaseException | None:
        try:
            principals.authenticate("hub_somebody_secret")
        except (Busy, OperationalError) as error:
            return error
        return None

    behind: list[None] = []
    with Counted("postgresql://127.0.0.1:1/nowhere", open=True, min_size=1) as nowhere, ThreadPoolExecutor(8) as beside:
        principals = Principals(nowhere)
        told = list(beside.map(ask, [principals] * 8))
        assert all(told)
        first = len(looks)
        assert first < 8
        assert ask_alone(principals)
        assert len(looks) == first + 1

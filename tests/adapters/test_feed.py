"""The feed as it is operated: served, looked at, its letters sent again, and its numbers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from psycopg import Connection, errors

from adapters.health import problems
from adapters.outbound.places import FeedStanding
from hub import Hub
from hub.database import READER, connect
from tests.adapters.conftest import Served
from tests.adapters.test_metrics import scraped, value
from tests.adapters.test_status import SOUND, of
from tests.support.feeds import feeding, standing, until, webhook, written
from tests.support.hubs import many, source, touch
from tests.support.receiver import TAKEN, Receiver, receiving
from tests.support.serving import Server

STUCK = FeedStanding("crm", 7, 3, 7200.0, False, 7, 9, 9, datetime.now(UTC), "http_503", 2)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def sources(receiver: Receiver) -> list[str]:
    return [each.event["data"]["source"] for each in receiver.taken]


def test_a_served_hub_sends_what_it_is_told_and_again_after_its_feed_was_killed(
    folder: Path, database_url: str, receiver: Receiver
) -> None:
    written(folder / "data", webhook(receiver.url))
    server = Server(folder / "data", database_url)
    server.start()
    try:
        key = {"Authorization": f"Bearer {server.key('admin')}"}
        with httpx2.Client(base_url=server.base, timeout=30) as client:
            for name in ("shop", "mail"):
                client.post("/v1/commands", json=source(name), headers=key).raise_for_status()
                until(lambda: sources(receiver)[-1:] == [name])  # noqa: B023 -- asked at once
                children = server.children()
                assert len(children) == 3
                os.kill(children[-1], signal.SIGKILL)
        told = json.loads(server.hub("feed", "status", "--json").stdout)["items"]
        assert [(each["name"], each["sent"]) for each in told] == [("crm", 2)]
        assert "crm is up to date" in server.hub("status").stdout
    finally:
        assert server.end() == 0
    (folder / "data" / "feeds.toml").unlink()
    server.start()
    assert len(server.children()) == 2
    assert json.loads(server.hub("feed", "status", "--json").stdout)["items"] == []
    assert server.end() == 0


def test_a_file_that_cannot_be_used_keeps_the_hub_from_starting_with_one_line(folder: Path, database_url: str) -> None:
    written(folder / "data", webhook("http://127.0.0.1", private=False))
    told = Server(folder / "data", database_url).hub("serve", HUB_LANG="ru")
    assert told.returncode == 1
    (line,) = told.stderr.splitlines()
    assert "feed.crm.url: без шифрования" in line


def test_dead_letters_are_listed_sent_again_and_forgotten_at_the_terminal(
    folder: Path, database_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.outbound.following.FIRST_PAUSE", 0.005)
    server = Server(folder / "data", database_url)
    receiver.answer = lambda got: (400, {}) if got.position in (2, 4) else TAKEN
    with Hub(database_url, folder / "data") as hub, connect(database_url, autocommit=True) as connection:
        many(hub, source(), *(touch(str(n)) for n in range(3)))
        with feeding(hub, webhook(f"{receiver.url}/token")):
            until(lambda: standing(connection).lag == 0)
            listed = json.loads(server.hub("feed", "letters", "crm", "--json").stdout)["items"]
            assert [each["position"] for each in listed] == [2, 4]
            assert "ответ 400" in server.hub("feed", "letters", "crm", HUB_LANG="ru").stdout
            assert "2 dead letters" in server.hub("status").stdout
            assert server.hub("feed", "discard", "crm", listed[1]["event"]).returncode == 0
            receiver.answer = lambda _: TAKEN
            assert json.loads(server.hub("feed", "replay", "crm", listed[0]["event"], "--json").stdout) == {
                "letters": 1
            }
            until(lambda: not standing(connection).letters)
    assert receiver.positions[-1] == 2
    assert 4 not in receiver.positions
    assert server.hub("feed", "replay", "crm", listed[0]["event"]).returncode == 1
    assert server.hub("feed", "letters", "nobody").returncode == 1
    assert server.hub("feed", "resume", "crm").stdout == "It was not switched off.\n"
    (told,) = json.loads(server.hub("feed", "list", "--json").stdout)["items"]
    assert (told["name"], told["host"], told["types"]) == ("crm", "127.0.0.1", None)
    assert "token" not in str(told)


def test_a_destination_that_is_stuck_or_switched_off_is_a_problem() -> None:
    assert not list(problems(replace(SOUND, feeds=[replace(STUCK, lag=0, lag_seconds=0.0, error=None, tries=0)])))
    stuck = of(replace(SOUND, feeds=[STUCK]))
    assert not stuck.healthy
    assert "crm is behind by 2 hours: it answered 503." in "\n".join(stuck.lines("en"))
    assert "crm отстаёт на 2 ч: ответ 503." in "\n".join(stuck.lines("ru"))
    off = of(replace(SOUND, feeds=[replace(STUCK, disabled=True)]))
    assert "feed resume crm" in "\n".join(off.lines("en"))
    assert "больше не ждёт событий" in "\n".join(off.lines("ru"))


def test_a_destination_has_its_numbers(shop: Served, receiver: Receiver, connection: Connection[object]) -> None:
    receiver.answer = lambda got: (500, {}) if got.position == 2 else TAKEN
    with feeding(shop.hub, webhook(receiver.url)):
        until(lambda: standing(connection).tries > 0)
        time.sleep(0.01)
        found = scraped(shop)
    assert value(found, "hub_feed_lag_events", feed="crm") == 1
    assert value(found, "hub_feed_lag_seconds", feed="crm") > 0
    assert value(found, "hub_feed_sent_total", feed="crm") == 1
    assert value(found, "hub_feed_failures_total", feed="crm") >= 1
    assert value(found, "hub_feed_dead_letters", feed="crm") == 0
    assert value(found, "hub_feed_disabled", feed="crm") == 0


@pytest.mark.parametrize("table", ["feed", "feed_letter"])
def test_who_asks_questions_cannot_write_where_the_feed_is(database_url: str, table: str) -> None:
    with connect(database_url, as_writer=False) as connection:
        connection.execute(f"SET ROLE {READER}".encode())
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"DELETE FROM {table}".encode())

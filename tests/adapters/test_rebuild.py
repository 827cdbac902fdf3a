"""Folding a read model anew: when one failed, while a hub runs, and when nobody leads."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from hub import Hub, wiring
from hub.errors import Misconfigured
from hub.events import Recorded
from projections import READ_MODELS
from projections.timeline import timeline
from tests.support.hubs import many, source, touch

ROOT = Path(__file__).parents[2]
MODELS = {each.name: each for each in READ_MODELS}


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as hub:
        many(hub, source("shop"), *(touch(str(n % 7)) for n in range(60)))
        yield hub


def typed(hub: Hub, data: Path, *words: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HUB_DATABASE_URL": hub.url, "HUB_DATA": str(data), "HUB_LANG": lang}
    return subprocess.run(
        [sys.executable, "-m", "hub", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )


def started(hub: Hub, data: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HUB_DATABASE_URL": hub.url, "HUB_DATA": str(data), "HUB_LANG": "en"}
    return subprocess.Popen([sys.executable, "-m", "hub", *words], cwd=ROOT, env=environment, text=True)


def until(connection: Connection[Any], query: str) -> None:
    """Wait until the query finds something."""
    deadline = time.monotonic() + 60
    while not connection.execute(query.encode()).fetchall():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows(connection: Connection[Any], name: str = "timeline") -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall()


@pytest.fixture
def failed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub whose timeline could not fold the fifth event."""

    def breaking(recorded: Recorded) -> Any:
        if recorded.position >= 5:
            raise ValueError("+79161234567")
        return timeline.owners(recorded)

    broken = [replace(each, owners=breaking) if each is timeline else each for each in READ_MODELS]
    with monkeypatch.context() as patched:
        patched.setattr(wiring, "READ_MODELS", broken)
        hub.follow()
        hub.wait(hub.head())
        assert hub._pump is not None
        hub._pump.stop()
        hub._pump = None
    assert [each.name for each in hub.standings() if each.state == "failed"] == ["timeline"]
    return hub


def test_a_failed_model_is_shown_and_rebuilt_when_nobody_leads(
    failed: Hub, tmp_path: Path, connection: Connection[Any]
) -> None:
    (standing,) = (each for each in failed.standings() if each.state == "failed")
    shown = typed(failed, tmp_path, "status")
    for part in (standing.failed_event, f"position {standing.failed_position}", "ValueError", "hub rebuild timeline"):
        assert str(part) in shown.stdout
    assert "7916" not in shown.stdout
    document = json.loads(typed(failed, tmp_path, "status", "--json").stdout)
    told = next(each for each in document["read_models"] if each["name"] == "timeline")
    assert (told["failed_event"], told["failed_position"]) == (standing.failed_event, standing.failed_position)
    assert "событии" in typed(failed, tmp_path, "status", lang="ru").stdout

    done = typed(failed, tmp_path, "rebuild", "timeline")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"timeline is live at position {failed.head()}\n"
    assert len(rows(connection)) == 60


def test_a_model_that_fails_again_says_so(failed: Hub) -> None:
    def breaking(recorded: Recorded) -> Any:
        if recorded.position >= 3:
            raise ValueError
        return ()

    again = failed.rebuild(replace(timeline, owners=breaking))
    assert (again.state, again.failed_position) == ("failed", 3)


@pytest.mark.parametrize("name", ["timeline", "facts"])
def test_a_live_hub_that_follows_does_it_and_loses_nothing(
    hub: Hub, tmp_path: Path, connection: Connection[Any], name: str
) -> None:
    hub.follow()
    stop = threading.Event()

    def writing() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            many(hub, *(touch(f"new-{n}-{k}", facts={"city": "Омск"}) for k in range(5)))

    writer = threading.Thread(target=writing)
    writer.start()
    try:
        done = typed(hub, tmp_path, "rebuild", name, "--json")
    finally:
        stop.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    (end,) = json.loads(done.stdout)["items"]
    assert (end["name"], end["state"]) == (name, "live")
    hub.wait(hub.head())
    kept = rows(connection, name)
    assert hub.rebuild(MODELS[name]).position == hub.head()
    assert rows(connection, name) == kept


def test_all_of_them_in_russian(hub: Hub, tmp_path: Path, connection: Connection[Any]) -> None:
    done = typed(hub, tmp_path, "rebuild", "--all", lang="ru")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(MODELS)
    assert "готово" in done.stdout
    assert {each.lag for each in hub.standings()} == {0}


@pytest.mark.parametrize("words", [(), ("timeline", "--all"), ("nonsense",)])
def test_what_is_to_be_rebuilt_must_be_said(hub: Hub, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = typed(hub, tmp_path, "rebuild", *words, lang="ru")
    assert done.returncode == 2
    assert re.search("[а-я]", done.stderr)


def test_a_model_of_a_newer_release_is_left_alone(hub: Hub) -> None:
    hub.follow()
    hub.wait(hub.head())
    with pytest.raises(Misconfigured, match="newer release"):
        hub.rebuild(replace(timeline, version=0))


def test_a_killed_rebuild_harms_nothing_and_a_second_one_is_refused(
    hub: Hub, tmp_path: Path, connection: Connection[Any]
) -> None:
    hub.follow()
    hub.wait(hub.head())
    kept = rows(connection)
    with connection.transaction():  # Somebody who reads the table, so that the rows cannot be changed yet.
        connection.execute("SELECT FROM timeline")
        process = started(hub, tmp_path, "rebuild", "timeline")
        until(connection, f"SELECT FROM hub_rebuild.read_model WHERE name = 'timeline' AND position = {hub.head()}")
        second = typed(hub, tmp_path, "rebuild", "timeline")
        assert (second.returncode, second.stdout) == (1, "")
        assert "timeline is being rebuilt already" in second.stderr
        assert rows(connection) == kept
        process.send_signal(signal.SIGKILL)
        process.wait()
    hub.wait(hub.do(touch("new"))["position"])
    assert len(rows(connection)) == 61
    done = typed(hub, tmp_path, "rebuild", "timeline")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows(connection)) == 61
    assert connection.execute("SELECT name FROM hub_rebuild.read_model").fetchall() == []
    left = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'hub_rebuild'").fetchall()
    assert left == [("read_model",)]


def test_verify_says_that_all_is_as_the_log_has_it_or_names_what_is_not(
    hub: Hub, tmp_path: Path, owner: Connection[Any]
) -> None:
    hub.follow()
    hub.wait(hub.head())
    done = typed(hub, tmp_path, "rebuild", "--verify", "--all")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        f"{name} equals the log at position {hub.head()}" for name in sorted(MODELS)
    ]

    (event,) = owner.execute("UPDATE timeline SET channel = 'sms' WHERE position = 9 RETURNING event").fetchone() or (
        "",
    )
    told = typed(hub, tmp_path, "rebuild", "--verify", "timeline")
    assert told.returncode == 1
    assert told.stdout.splitlines()[1:] == [f"  event={event}: differs in channel"]
    document = json.loads(typed(hub, tmp_path, "rebuild", "--verify", "timeline", "--json").stdout)
    (item,) = document["items"]
    assert item["state"] == "differs"
    assert item["differences"] == [{"key": {"event": str(event)}, "kind": "differs", "columns": ["channel"]}]
    russian = typed(hub, tmp_path, "rebuild", "--verify", "timeline", lang="ru")
    assert "расходятся channel" in russian.stdout


def test_verify_may_be_given_so_much_time(hub: Hub, tmp_path: Path) -> None:
    hub.follow()
    hub.wait(hub.head())
    done = typed(hub, tmp_path, "rebuild", "--verify", "--all", "--minutes", "0", "--json")
    assert done.returncode == 0
    assert {each["state"] for each in json.loads(done.stdout)["items"]} == {"unreached"}
    assert typed(hub, tmp_path, "rebuild", "--all", "--minutes", "1").returncode == 2

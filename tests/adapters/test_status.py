"""`hub status` for somebody who is woken at night: healthy or not comes first, then what to do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import status
from adapters.condition import Condition, Head, disks
from adapters.health import problems
from adapters.status import Report
from hub.database import connect
from hub.guards import Guards
from hub.projector import Standing
from hub.projector import status as standings
from hub.wiring import Hub
from tests.adapters.conftest import touch
from tests.support.hubs import source
from tests.support.serving import Server


@pytest.fixture
def server(folder: Path, database_url: str) -> Iterator[Server]:
    if disks(folder, None)["data"].tight:
        pytest.skip("no hub is healthy on a disk this full")
    server = Server(folder / "data", database_url)
    server.start()
    yield server
    if server.process is not None:
        server.end()


@pytest.fixture
def told(server: Server, database_url: str) -> Server:
    """The same with some events, one value set aside, and a key that ends soon."""
    with Hub(database_url, Path(server.environment["HUB_DATA"])) as hub:
        hub.do(source())
        position = hub.do(touch("1", source="shop", facts={"birth_date": "1985-02-30"}))["position"]
        deadline = time.monotonic() + 60  # The process that folds has only just been started.
        while hub.reached() < position:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        hub.principals.make("steward", person="Анна", days=5)
    return server


def document(server: Server, code: int) -> dict[str, Any]:
    said = server.hub("status", "--json")
    assert said.returncode == code, said.stdout + said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_a_healthy_hub_is_said_to_be_in_the_first_line_on_one_screen(told: Server) -> None:
    said = told.hub("status")
    lines = said.stdout.splitlines()
    assert said.returncode == 0, said.stdout
    assert lines[0].endswith("is healthy.")
    assert len(lines) <= 24
    rows = {line[2:17].strip(): line[17:] for line in lines[2:]}
    for name, part in {
        "address": told.base,
        "database": "PostgreSQL",
        "last event": "3, ",
        "read models": "all up to date",
        "quarantine": "1 waiting",
        "keys": "(Анна) ends on",
        "disk": " free where",
    }.items():
        assert part in rows[name]


def test_it_speaks_russian(told: Server) -> None:
    said = told.hub("status", HUB_LANG="ru")
    assert said.stdout.splitlines()[0].endswith("всё в порядке.")
    for part in ("база данных", "все на последней позиции", "ждут: 1", "истекает", "свободно"):
        assert part in said.stdout


def test_a_program_gets_the_same(told: Server) -> None:
    found = document(told, 0)
    assert (found["health"], found["serving"], found["problems"]) == ("ok", True, [])
    assert (found["head"], found["quarantine"]["waiting"], len(found["keys_ending"])) == (3, 1, 1)
    assert {each["lag"] for each in found["read_models"]} == {0}
    assert found["database"]["bytes"] > 0
    assert found["disks"]["data"]["free"] > 0


def test_a_hub_that_does_not_run_is_not_healthy_and_what_to_type_is_said(told: Server) -> None:
    told.end()
    said = told.hub("status")
    assert said.returncode == 1
    assert "NOT healthy" in said.stdout.splitlines()[0]
    assert f"nobody answers at {told.base}" in said.stdout
    assert "hub serve" in said.stdout
    assert "last event" in said.stdout
    assert "НЕ в порядке" in told.hub("status", HUB_LANG="ru").stdout
    found = document(told, 1)
    assert [each["code"] for each in found["problems"]] == ["not_serving"]
    assert found["head"] == 3


def test_with_the_database_away_that_comes_first(server: Server) -> None:
    server.environment["HUB_DATABASE_URL"] = "postgresql://hub:secret@127.0.0.1:1/hub"
    said = server.hub("status")
    assert said.returncode == 1
    assert "NOT healthy" in said.stderr.splitlines()[0]
    assert "HUB_DATABASE_URL cannot be reached" in said.stderr.splitlines()[1]
    assert "secret" not in said.stderr
    assert "никто не отвечает" in server.hub("status", HUB_LANG="ru").stderr
    found = document(server, 1)
    assert (found["health"], found["serving"]) == ("down", True)
    assert [each["code"] for each in found["problems"]] == ["database_away"]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Takes connections, and answers nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_hub_that_waits_for_the_database_is_served(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PATIENCE", 0.1)
    address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    assert status._answers(address)
    silent.close()
    assert not status._answers(address)


def test_what_a_proxy_says_is_not_taken_for_the_hub(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PATIENCE", 0.1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert not status._answers("http://127.0.0.1:1")


def test_a_lost_guard_is_named(server: Server, database_url: str) -> None:
    with connect(database_url, as_writer=False) as owner:
        owner.execute("ALTER EVENT TRIGGER hub_ddl_command_end DISABLE")
        owner.execute("ALTER TABLE hub.event DISABLE TRIGGER append_only")
    (problem,) = document(server, 1)["problems"]
    assert problem["code"] == "unguarded"
    assert "event: trigger append_only" in problem["do"].splitlines()


def test_a_read_model_that_does_not_get_on_is_named_with_its_lag(told: Server, database_url: str) -> None:
    told.end()
    with connect(database_url, as_writer=False) as owner:
        owner.execute("UPDATE hub.read_model SET position = 1 WHERE name = 'timeline'")
    deadline = time.monotonic() + 60
    with connect(database_url) as connection:
        while min(each.lag_seconds for each in standings(connection) if each.lag) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    said = told.hub("status").stdout
    assert "timeline 2 events (" in said
    assert ") behind" in said
    assert "timeline отстаёт на 2 (" in told.hub("status", HUB_LANG="ru").stdout


SOUND = Condition(
    {"main": Head(8, datetime.now(UTC))}, [], [], {}, 0, None, Guards("whole"), "18.6", "here", 1, 5, [], {}, []
)


def of(condition: Condition) -> Report:
    return Report("http://127.0.0.1:8080", True, list(problems(condition)), condition)


def test_one_that_is_far_behind_is_a_problem() -> None:
    report = of(replace(SOUND, standings=[Standing("timeline", 1, 1, 7, 7200.0, "live")]))
    assert not report.healthy
    assert "timeline is behind by 2 hours" in "\n".join(report.lines("en"))
    assert "timeline отстаёт на 2 ч" in "\n".join(report.lines("ru"))


def test_a_job_that_has_not_run_for_long_is_a_problem() -> None:
    report = of(replace(SOUND, overdue={"verify_log": datetime.now(UTC) - timedelta(days=3)}))
    assert not report.healthy
    assert "The job verify_log has not run for 3 days." in "\n".join(report.lines("en"))
    assert "Задание verify_log не выполнялось 3 дн." in "\n".join(report.lines("ru"))


def test_what_keeps_a_hub_closed_has_a_code_of_its_own(server: Server, database_url: str) -> None:
    with connect(database_url, as_writer=False) as owner:
        owner.execute("INSERT INTO public.migration (number, name, sha256) VALUES (9999, 'x', 'x')")
    assert [each["code"] for each in document(server, 1)["problems"]] == ["migration_mismatch"]

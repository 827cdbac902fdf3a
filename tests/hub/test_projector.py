"""The pump: nothing is lost, nothing is folded twice, and what fails stands aside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from psycopg import Connection

from hub import pump as pumping
from hub.database import pool
from hub.errors import Behind
from hub.events import Recorded
from hub.projector import catch_up, enrol, status, wait
from hub.pump import Pump
from hub.rebuild import rebuild
from hub.rows import ReadModel
from projections import READ_MODELS
from tests.support.events import Log
from tests.support.tally import (
    Tally,
    by_channel,
    emptied,
    exactly,
    fold,
    other,
    rows,
    say,
    tally,
    until,
)

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("tallies")]


def leader(connection: Connection[Any]) -> int | None:
    """The process that holds the lead."""
    row = connection.execute(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    return row[0] if row else None


def test_what_the_log_holds_is_folded(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    head = say(log, 25)
    catch_up(connection, log.reader, [tally], batch=10)
    assert rows(connection) == exactly(head)
    catch_up(connection, log.reader, [tally], batch=10)
    assert rows(connection) == exactly(head)


def test_a_connection_that_is_not_in_autocommit_may_catch_up(log: Log, owner: Connection[Any]) -> None:
    head = say(log, 3)
    with log.connect() as ordinary:
        catch_up(ordinary, log.reader, [tally])
    assert rows(owner) == exactly(head)


def test_a_pump_follows_the_log(log: Log, pump: Callable[..., Pump], connection: Connection[Any]) -> None:
    say(log, 250)
    pump()
    for _ in range(5):
        head = say(log, 3)
        wait(connection, head)
        assert rows(connection) == exactly(head)


def test_a_touch_is_shown_long_before_the_next_poll(
    log: Log, pump: Callable[..., Pump], connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pumping, "POLL", 30.0)
    pump()
    wait(connection, say(log, 1))
    time.sleep(0.2)
    started = time.monotonic()
    wait(connection, say(log, 1))
    assert time.monotonic() - started < 2


def test_what_nobody_rang_for_is_found_by_polling(
    log: Log, pump: Callable[..., Pump], connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pumping, "POLL", 0.1)
    monkeypatch.setattr(pumping, "channel", lambda log: "nobody_rings_here")
    leading = pump()
    until(lambda: leading.leading)
    wait(connection, say(log, 1))


def test_nothing_is_missed_while_a_pump_starts(
    log: Log, owner: Connection[Any], connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers that append at the very moment of each start; no poll would help in time."""
    monkeypatch.setattr(pumping, "POLL", 30.0)
    head = 0
    for _ in range(10):
        one = Pump(log.connect, log.reader, (tally,))
        one.start()
        head = say(log, 1)
        wait(connection, head, timeout=5)
        one.stop()
    assert rows(connection) == exactly(head)


def test_a_second_pump_does_not_lead(log: Log, pump: Callable[..., Pump], connection: Connection[Any]) -> None:
    first = pump()
    until(lambda: first.leading)
    second = pump()
    wait(connection, say(log, 5))
    time.sleep(0.3)
    assert first.leading
    assert not second.leading


def test_the_lead_is_taken_over_when_it_is_given_up(
    log: Log, pump: Callable[..., Pump], connection: Connection[Any], owner: Connection[Any]
) -> None:
    first = Pump(log.connect, log.reader, (tally,))
    first.start()
    until(lambda: first.leading)
    second = pump()
    first.stop()
    until(lambda: second.leading)
    head = say(log, 3)
    wait(connection, head)
    assert rows(connection) == exactly(head)


def test_a_leader_that_is_killed_again_and_again_loses_and_repeats_nothing(
    log: Log,
    pump: Callable[..., Pump],
    connection: Connection[Any],
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pumping, "POLL", 0.05)
    pumps = [pump(batch=20), pump(batch=20)]
    done = threading.Event()
    heads: list[int] = []

    def chatter() -> None:
        while not done.is_set():
            heads.append(say(log, 30))

    def another_leads(gone: int | None) -> bool:
        return leader(connection) not in (None, gone)

    writing = threading.Thread(target=chatter)
    writing.start()
    try:
        until(lambda: any(each.leading for each in pumps))
        for _ in range(8):
            gone = leader(connection)
            owner.execute("SELECT pg_terminate_backend(%s)", (gone,))
            until(partial(another_leads, gone))
    finally:
        done.set()
        writing.join()
    wait(connection, heads[-1], timeout=20)
    assert rows(connection) == exactly(heads[-1])


def test_a_pump_waits_out_a_database_that_is_away(
    log: Log, pump: Callable[..., Pump], connection: Connection[Any], owner: Connection[Any]
) -> None:
    away = threading.Event()

    def connecting() -> Connection[Any]:
        if away.is_set():
            raise ConnectionError
        return log.connect()

    one = Pump(connecting, log.reader, (tally,))
    one.start()
    until(lambda: one.leading)
    away.set()
    owner.execute("SELECT pg_terminate_backend(%s)", (leader(connection),))
    head = say(log, 3)
    with pytest.raises(Behind):
        wait(connection, head, timeout=0.3)
    away.clear()
    wait(connection, head)
    one.stop()
    assert rows(connection) == exactly(head)


def test_stopping_does_not_take_until_the_next_poll(
    log: Log, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pumping, "POLL", 30.0)
    pumps = [Pump(log.connect, log.reader, (tally,)) for _ in range(2)]
    for each in pumps:
        each.start()
    until(lambda: any(each.leading for each in pumps))
    started = time.monotonic()
    for each in pumps:
        each.stop()
    assert time.monotonic() - started < 5


def failing(name: str, where: int, stage: str) -> ReadModel[Any]:
    """Fails at the event of that position: when asked for owners, when folding, or when the row is written."""

    def owners(recorded: Recorded) -> list[tuple[str]]:
        if stage == "owners" and recorded.position == where:
            raise ValueError("+79161234567")
        return by_channel(recorded)

    def breaking(row: Tally | None, recorded: Recorded, key: Any) -> Tally:
        if recorded.position == where:
            if stage == "fold":
                raise ValueError("+79161234567")
            if stage == "write":
                return Tally(key[0], 1, -1_000_000)  # And so it stays, whatever follows.
            if stage == "pack":
                return Tally(key[0], None, 1)  # type: ignore[arg-type]  # what the table refuses
        return fold(row, recorded, key)

    return replace(tally, name=name, owners=owners, fold=breaking)


@pytest.mark.parametrize("stage", ["owners", "fold", "write", "pack"])
@pytest.mark.parametrize("where", [1, 37, 60])
def test_a_failing_model_stands_aside_at_its_last_good_event(
    log: Log, owner: Connection[Any], connection: Connection[Any], stage: str, where: int
) -> None:
    head = say(log, 60)
    broken = failing("other_tally", where, stage)
    catch_up(connection, log.reader, [tally, broken], batch=25)
    bad, good = status(connection)
    assert (good.state, good.position, good.lag) == ("live", head, 0)
    assert rows(connection) == exactly(head)
    assert (bad.state, bad.position, bad.failed_position) == ("failed", where - 1, where)
    assert bad.failed_event == log.reader.after(connection, where - 1, 1)[0].id
    assert bad.error
    assert "7916" not in bad.error
    assert rows(connection, "other_tally") == (exactly(where - 1) if where > 1 else [])
    assert bad.lag == head - where + 1
    assert bad.lag_seconds > 0


def test_two_models_may_fail_in_one_batch(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    say(log, 20)
    models = [failing("tally", 5, "fold"), failing("other_tally", 9, "write"), *READ_MODELS]
    catch_up(connection, log.reader, models)
    failed = {each.name: each.failed_position for each in status(connection) if each.state == "failed"}
    assert failed == {"tally": 5, "other_tally": 9}


def test_a_failed_model_is_folded_anew_when_mended(
    log: Log, owner: Connection[Any], connection: Connection[Any], pump: Callable[..., Pump]
) -> None:
    head = say(log, 60)
    catch_up(connection, log.reader, [failing("tally", 31, "fold")])
    pump()
    with pytest.raises(Behind):
        wait(connection, head, timeout=0.2)
    assert rebuild(log.connect, log.reader, tally).state == "live"
    wait(connection, head)
    assert rows(connection) == exactly(head)


def test_a_failed_model_does_not_keep_readers_waiting(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 10)
    catch_up(connection, log.reader, [tally, failing("other_tally", 3, "fold")])
    wait(connection, head, timeout=0)


def test_a_lost_connection_is_no_models_fault(
    log: Log, owner: Connection[Any], connection: Connection[Any], pump: Callable[..., Pump]
) -> None:
    head = say(log, 10)
    killed: list[int | None] = []

    def killing(row: Tally | None, recorded: Recorded, key: Any) -> Tally:
        if not killed:
            killed.append(leader(connection))
            owner.execute("SELECT pg_terminate_backend(%s, 5000)", (killed[0],))
        return fold(row, recorded, key)

    pump(replace(tally, fold=killing))
    wait(connection, head)
    assert killed
    assert rows(connection) == exactly(head)
    assert [each.state for each in status(connection)] == ["live"]


def test_a_model_that_comes_later_catches_up_and_joins(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    say(log, 33)
    catch_up(connection, log.reader, [tally], batch=10)
    seen: list[tuple[int, str]] = []

    def watching(model: ReadModel[Any]) -> ReadModel[Any]:
        def owners(recorded: Recorded) -> list[tuple[str]]:
            seen.append((recorded.position, model.name))
            return by_channel(recorded)

        return replace(model, owners=owners)

    head = say(log, 7)
    catch_up(connection, log.reader, [watching(tally), watching(other)], batch=10)
    assert rows(connection) == rows(connection, "other_tally") == exactly(head)
    # First the newcomer alone up to where the other was, each event once; then both together.
    assert seen[:33] == [(n, "other_tally") for n in range(1, 34)]
    assert sorted(seen[33:]) == [(n, name) for n in range(34, 41) for name in ("other_tally", "tally")]


def test_a_model_that_is_catching_up_says_so(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    head = say(log, 5)
    catch_up(connection, log.reader, [tally, other])
    emptied(connection, other)
    enrol(connection, [other])
    assert [(each.name, each.state, each.lag) for each in status(connection)] == [
        ("other_tally", "catching_up", 5),
        ("tally", "live", 0),
    ]
    wait(connection, head, timeout=0)


def test_a_newer_fold_begins_at_the_beginning(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    head = say(log, 5)
    catch_up(connection, log.reader, [tally])
    counting_double = replace(
        tally, version=2, fold=lambda row, recorded, key: Tally(key[0], (row.count if row else 0) + 2, 1)
    )
    say(log, 1)
    catch_up(connection, log.reader, [counting_double])
    assert rows(connection) == exactly(head)
    rebuild(log.connect, log.reader, counting_double)
    assert rows(connection) == [("call", 2 * head, 1)]
    catch_up(connection, log.reader, [tally])  # A process of the older release must not fold into the newer's rows.
    assert rows(connection) == [("call", 2 * head, 1)]


def test_rows_may_come_to_an_end(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    twice = replace(tally, fold=lambda row, recorded, key: None if row else Tally(key[0], 1, recorded.position))
    say(log, 3)
    catch_up(connection, log.reader, [twice])
    assert rows(connection) == [("call", 1, 3)]
    say(log, 1)
    catch_up(connection, log.reader, [twice])
    assert rows(connection) == []


def test_waiting_for_what_is_not_there_ends(log: Log, pump: Callable[..., Pump], connection: Connection[Any]) -> None:
    with pytest.raises(Behind):
        wait(connection, 1, timeout=0.05)
    pump()
    head = say(log, 1)
    wait(connection, head)
    started = time.monotonic()
    with pytest.raises(Behind):
        wait(connection, head + 1, timeout=0.1)
    assert 0.1 <= time.monotonic() - started < 2


def test_a_pool_may_wait_too(log: Log, pump: Callable[..., Pump], database_url: str) -> None:
    pump()
    with pool(database_url, 1) as connections:
        wait(connections, say(log, 2))

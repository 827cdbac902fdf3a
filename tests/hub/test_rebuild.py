"""Read models folded anew beside their rows: nobody is held, nothing is mixed, nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from hub import rebuild as rebuilding
from hub.errors import Behind, Busy, Misconfigured
from hub.events import Recorded
from hub.projector import catch_up, status, wait
from hub.pump import Pump
from hub.rebuild import BeingRebuilt, Progress, rebuild
from hub.rows import ReadModel
from hub.view import View
from projections import READ_MODELS
from tests.support.events import Log
from tests.support.tally import Tally, by_channel, exactly, fold, other, rows, say, tally, until

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("tallies")]

_ABOUT = """
    SELECT 'table', pg_get_userbyid(relowner), reloptions::text, obj_description(oid) FROM pg_class WHERE oid = {}
    UNION ALL
    SELECT 'privilege', a::text, NULL, NULL FROM pg_class, unnest(relacl) a WHERE oid = {}
    UNION ALL
    SELECT 'index', pg_get_indexdef(indexrelid), indisprimary::text, indisunique::text
    FROM pg_index WHERE indrelid = {}
    UNION ALL
    SELECT 'constraint', conname, pg_get_constraintdef(oid), convalidated::text
    FROM pg_constraint WHERE conrelid = {}
    UNION ALL
    SELECT 'column', attnum || ' ' || attname, concat_ws(' ', atttypid::regtype, attnotnull, attcollation), attacl::text
    FROM pg_attribute WHERE attrelid = {} AND attnum > 0
    ORDER BY 1, 2
"""


LOCKS = "FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def anew(log: Log, model: ReadModel[Any] = tally, told: Callable[[Progress], None] = lambda _: None) -> Any:
    return rebuild(log.connect, log.reader, model, told, batch=10)


def about(connection: Connection[Any], table: str) -> list[tuple[Any, ...]]:
    """What there is to know about a table, its rows apart."""
    return connection.execute(_ABOUT.format(*[f"'{table}'::regclass"] * 5).encode()).fetchall()


def beside(connection: Connection[Any]) -> list[str]:
    """The tables and lines of rebuilds that are under way, or were left behind."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'hub_rebuild' AND tablename <> 'read_model'"
            " UNION ALL SELECT name FROM hub_rebuild.read_model"
        )
    ]


def standing(connection: Connection[Any], name: str = "tally") -> Any:
    return next(each for each in status(connection) if each.name == name)


class Halt(Exception):
    """Ends a rebuild in the middle."""


@pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: str(model.name))
def test_the_table_is_afterwards_as_it_was(
    log: Log, owner: Connection[Any], connection: Connection[Any], model: ReadModel[Any]
) -> None:
    owner.execute(
        f"GRANT SELECT ON {model.name} TO pg_monitor; GRANT UPDATE ({model.key[0]}) ON {model.name} TO PUBLIC"
    )
    owner.execute(f"ALTER TABLE {model.name} SET (fillfactor = 80, autovacuum_enabled = true)")
    owner.execute(f"COMMENT ON TABLE {model.name} IS 'kept'")
    before = about(connection, model.name)
    (old,) = connection.execute("SELECT to_regclass(%s)::oid", (model.name,)).fetchone() or (0,)
    assert anew(log, model).state == "live"
    assert about(connection, model.name) == before
    assert connection.execute("SELECT to_regclass(%s)::oid", (model.name,)).fetchone() != (old,)
    assert beside(connection) == []


def test_old_rows_answer_and_the_pump_goes_on_meanwhile(
    log: Log, connection: Connection[Any], pump: Callable[..., Pump]
) -> None:
    head = say(log, 35)
    pump(tally, other)
    wait(connection, head)
    seen = []

    def told(progress: Progress) -> None:
        if progress.position == 20:
            later = say(log, 5)
            wait(connection, later)
            assert rows(connection) == rows(connection, "other_tally") == exactly(later)
        seen.append(progress)

    done = anew(log, told=told)
    assert [(each.position, each.end) for each in seen] == [(10, 35), (20, 35), (30, 40), (40, 40)]
    assert all(each.rate > 0 for each in seen)
    assert (done.state, done.position) == ("live", 40)
    assert rows(connection) == exactly(40)
    wait(connection, head := say(log, 5))
    assert rows(connection) == rows(connection, "other_tally") == exactly(head)


def test_one_that_ends_half_way_leaves_everything_as_it_was(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 30)
    catch_up(connection, log.reader, [tally])

    def told(progress: Progress) -> None:
        raise Halt

    with pytest.raises(Halt):
        anew(log, told=told)
    assert rows(connection) == exactly(head)
    assert standing(connection).state == "live"
    assert beside(connection) == []


def test_what_a_lost_connection_left_the_next_rebuild_takes_away(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 30)
    catch_up(connection, log.reader, [tally])

    def told(progress: Progress) -> None:
        owner.execute(f"SELECT pg_terminate_backend(pid, 5000) {LOCKS} AND locktype = 'advisory'")

    with pytest.raises(psycopg.OperationalError):
        anew(log, told=told)
    assert rows(connection) == exactly(head)
    assert beside(connection) == ["tally", "tally"]
    assert anew(log).position == head
    assert rows(connection) == exactly(head)
    assert beside(connection) == []


def test_two_at_once_are_one_too_many(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    say(log, 15)
    catch_up(connection, log.reader, [tally, other])
    refused = []

    def told(progress: Progress) -> None:
        with pytest.raises(BeingRebuilt, match="tally is being rebuilt already"):
            anew(log)
        refused.append(anew(log, other).state)

    anew(log, told=told)
    assert refused == ["live", "live"]
    assert rows(connection) == rows(connection, "other_tally") == exactly(15)


def test_no_question_meets_rows_of_two_times(log: Log, connection: Connection[Any], pump: Callable[..., Pump]) -> None:
    pump(tally, other)
    wait(connection, say(log, 20))
    stop, asked = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            say(log, 2)
            time.sleep(0.01)

    def ask() -> None:
        with log.connect() as one:
            one.autocommit = True
            view = View(one, log.reader, log.fingerprint)
            while not stop.is_set():
                with view.snapshot():
                    position = view.standings().of(tally, other)
                    asked.append(rows(one) == rows(one, "other_tally") == exactly(position))

    threads = [threading.Thread(target=each) for each in (write, ask, ask)]
    for each in threads:
        each.start()
    try:
        for _ in range(4):
            assert anew(log).state == "live"
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert len(asked) > 20
    assert all(asked)


def test_rows_of_another_release_answer_nothing(log: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    head = say(log, 5)
    catch_up(connection, log.reader, [tally, other])
    for version in (tally.version - 1, tally.version + 1):
        owner.execute("UPDATE read_model SET version = %s WHERE name = %s", (version, tally.name))
        standings = View(connection, log.reader, log.fingerprint).standings()
        assert standings.of(other) == head
        standings = View(connection, log.reader, log.fingerprint).standings()
        with pytest.raises(Behind):
            standings.of(tally, other)


def test_rows_do_not_change_while_a_question_is_asked(
    log: Log, owner: Connection[Any], connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "PAUSE", 0.01)
    head = say(log, 20)
    catch_up(connection, log.reader, [tally])
    again = threading.Thread(target=lambda: anew(log))
    view = View(connection, log.reader, log.fingerprint)
    with view.snapshot():
        again.start()
        until(lambda: bool(owner.execute(f"SELECT {LOCKS} AND NOT granted").fetchall()))
        assert rows(connection) == exactly(head)
    again.join()
    assert rows(connection) == exactly(head)
    assert beside(connection) == []


def test_somebody_who_reads_for_ever_is_not_waited_for(
    log: Log, owner: Connection[Any], connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "PATIENCE", 0.0)
    head = say(log, 20)
    catch_up(connection, log.reader, [tally])
    with log.connect() as reading:
        assert rows(reading) == exactly(head)
        with pytest.raises(Busy, match="too long"):
            anew(log)
    assert rows(connection) == exactly(head)
    assert beside(connection) == []


def test_others_ask_on_while_somebody_reads_for_long(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 20)
    catch_up(connection, log.reader, [tally])
    connection.execute("SET lock_timeout = '500ms'")
    view = View(connection, log.reader, log.fingerprint)
    again = threading.Thread(target=lambda: anew(log))
    with log.connect() as reading:
        assert rows(reading) == exactly(head)
        again.start()
        for _ in range(2):
            until(lambda: bool(owner.execute(f"SELECT {LOCKS} AND NOT granted").fetchall()))
            with view.snapshot():
                assert rows(connection) == exactly(head)
            until(lambda: not owner.execute(f"SELECT {LOCKS} AND NOT granted").fetchall())
    again.join()


def test_a_pump_that_stops_takes_along_a_renewal_that_waits_for_a_reader(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 20)
    catch_up(connection, log.reader, [tally])
    one = Pump(log.connect, log.reader, [replace(tally, version=2)])
    with log.connect() as reading:
        assert rows(reading) == exactly(head)
        one.start()
        until(lambda: bool(owner.execute(f"SELECT {LOCKS} AND NOT granted").fetchall()))
        one.stop()
        assert standing(connection).version == 1
        assert beside(connection) == []


def test_a_table_that_something_depends_on_is_not_changed(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 5)
    catch_up(connection, log.reader, [tally])
    owner.execute("CREATE VIEW shown AS SELECT * FROM tally")
    with pytest.raises(Misconfigured, match="depends on the table tally"):
        anew(log)
    assert rows(owner, "shown") == exactly(head)
    assert beside(connection) == []


def breaking(where: int, model: ReadModel[Any] = tally) -> ReadModel[Any]:
    """Cannot fold the event at this position."""

    def owners(recorded: Recorded) -> list[tuple[str]]:
        if recorded.position == where:
            raise ValueError("+79161234567")
        return by_channel(recorded)

    return replace(model, owners=owners)


def test_live_rows_stay_live_when_they_cannot_be_folded_anew(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 30)
    catch_up(connection, log.reader, [tally])
    failed = anew(log, breaking(17))
    assert (failed.state, failed.position, failed.failed_position) == ("failed", 16, 17)
    assert standing(connection).state == "live"
    assert rows(connection) == exactly(head)
    assert beside(connection) == []


def test_a_failed_model_is_folded_beside_too_and_joins_the_others(
    log: Log, connection: Connection[Any], pump: Callable[..., Pump]
) -> None:
    head = say(log, 30)
    pump(breaking(17), other)
    wait(connection, head)
    until(lambda: standing(connection).state == "failed")
    again = anew(log, breaking(21))
    assert (again.state, again.failed_position) == ("failed", 21)
    assert (standing(connection).position, standing(connection).failed_position) == (16, 21)
    assert rows(connection) == exactly(16)
    assert anew(log).position == head
    assert rows(connection) == exactly(head)
    wait(connection, head := say(log, 3))
    until(lambda: standing(connection).lag == 0)
    assert rows(connection) == exactly(head)


def test_a_newer_fold_is_folded_beside_the_rows_of_the_older(
    log: Log, connection: Connection[Any], pump: Callable[..., Pump]
) -> None:
    head = say(log, 30)
    catch_up(connection, log.reader, [tally, other])
    looked = threading.Event()

    def double(row: Tally | None, recorded: Recorded, key: Any) -> Tally:
        looked.wait(10)
        return Tally(key[0], (row.count if row else 0) + 2, 1)

    pump(replace(tally, version=2, fold=double), other)
    head = say(log, 5)
    wait(connection, head)
    assert rows(connection, "other_tally") == exactly(head)
    assert rows(connection) == exactly(30)
    assert (standing(connection).state, standing(connection).version) == ("catching_up", 1)
    looked.set()
    until(lambda: rows(connection) == [("call", 2 * head, 1)])
    assert (standing(connection).state, standing(connection).version) == ("live", 2)


def test_a_newcomer_to_a_long_log_does_not_hold_the_others(
    log: Log, connection: Connection[Any], pump: Callable[..., Pump]
) -> None:
    say(log, 30)
    catch_up(connection, log.reader, [tally])
    looked = threading.Event()

    def slow(row: Tally | None, recorded: Recorded, key: Any) -> Tally:
        looked.wait(10)
        return fold(row, recorded, key)

    pump(tally, replace(other, fold=slow), batch=10)
    head = say(log, 5)
    wait(connection, head)
    assert rows(connection) == exactly(head)
    assert rows(connection, "other_tally") == []
    looked.set()
    until(lambda: standing(connection, "other_tally").lag == 0)
    assert rows(connection, "other_tally") == exactly(head)


def test_a_pump_that_stops_takes_its_renewals_along(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    head = say(log, 30)
    catch_up(connection, log.reader, [tally])
    begun, waited = threading.Event(), threading.Event()

    def slow(row: Tally | None, recorded: Recorded, key: Any) -> Tally:
        begun.set()
        waited.wait(0.05)
        return fold(row, recorded, key)

    one = Pump(log.connect, log.reader, [replace(tally, version=2, fold=slow)], batch=1)
    one.start()
    assert begun.wait(10)
    one.stop()
    assert beside(connection) == []
    assert rows(connection) == exactly(head)


def test_a_renewal_waits_for_a_rebuild_by_hand(
    log: Log, connection: Connection[Any], pump: Callable[..., Pump], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "RETRY", 0.05)
    head = say(log, 30)
    catch_up(connection, log.reader, [tally])
    newer = replace(tally, version=2)
    started: list[Pump] = []

    def told(progress: Progress) -> None:
        if not started:
            started.append(pump(newer))
            until(lambda: started[0].leading)

    assert anew(log, newer, told).version == 2
    wait(connection, head := say(log, 3))
    assert rows(connection) == exactly(head)

"""Rows are what the log makes of them, or it is told which are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from psycopg import Connection

from hub.events import Recorded
from hub.projector import catch_up, wait
from hub.pump import Pump
from hub.rebuild import Progress, clear_leftovers, rebuild
from hub.verify import Difference, Verdict, verify
from tests.support.events import Log
from tests.support.tally import by_channel, exactly, other, rows, say, tally

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("tallies")]
BATCH = 10


@pytest.fixture
def folded(log: Log, owner: Connection[Any], connection: Connection[Any]) -> Log:
    """A log of 35 touches in two channels, and both models as far as it."""
    say(log, 30)
    say(log, 5, "sms")
    catch_up(connection, log.reader, [tally, other])
    return log


def verdicts(
    log: Log, *models: Any, seconds: float | None = None, told: Callable[[Progress], None] = lambda _: None
) -> Any:
    found = verify(log.connect, log.reader, models, told, seconds, BATCH)
    return {each.name: each for each in found}


def beside(connection: Connection[Any]) -> list[Any]:
    found = "SELECT tablename FROM pg_tables WHERE schemaname = 'hub_rebuild' AND tablename <> 'read_model'"
    return connection.execute(found.encode()).fetchall()


def test_rows_that_the_log_makes_are_equal(folded: Log, connection: Connection[Any]) -> None:
    assert verdicts(folded, tally, other) == {
        "tally": Verdict("tally", "equal", 35, []),
        "other_tally": Verdict("other_tally", "equal", 35, []),
    }
    assert beside(connection) == []


def test_they_are_compared_in_one_snapshot_while_they_change(
    log: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    wait_for = Pump(log.connect, log.reader, [tally, other])
    wait_for.start()
    wait(connection, say(log, 20))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            say(log, 3)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        places = []
        for _ in range(5):
            found = verdicts(log, tally)["tally"]
            assert found.state == "equal"
            places.append(found.position)
    finally:
        stop.set()
        writing.join()
        wait_for.stop()
    assert places == sorted(places)
    assert places[-1] > 20


def test_the_rows_that_differ_are_named(folded: Log, owner: Connection[Any], connection: Connection[Any]) -> None:
    owner.execute("UPDATE tally SET count = 31 WHERE channel = 'call'")
    owner.execute("DELETE FROM tally WHERE channel = 'sms'")
    owner.execute("INSERT INTO tally VALUES ('visit', 1, 1)")
    found = verdicts(folded, tally, other)
    assert found["other_tally"].state == "equal"
    assert found["tally"].state == "differs"
    assert found["tally"].differences == [
        Difference({"channel": "call"}, "differs", ["count"]),
        Difference({"channel": "sms"}, "missing"),
        Difference({"channel": "visit"}, "surplus"),
    ]
    rebuild(folded.connect, folded.reader, tally)
    assert verdicts(folded, tally)["tally"].state == "equal"


def test_no_more_than_the_first_are_named(folded: Log, owner: Connection[Any]) -> None:
    owner.execute("INSERT INTO tally SELECT 'x' || n, 1, 1 FROM generate_series(1, 500) n")
    assert len(verdicts(folded, tally)["tally"].differences) == 10


def test_a_fold_that_fails_from_the_beginning_says_where(folded: Log, connection: Connection[Any]) -> None:
    def owners(recorded: Recorded) -> list[tuple[str]]:
        if recorded.position == 17:
            raise ValueError("+79161234567")
        return by_channel(recorded)

    found = verdicts(folded, replace(tally, owners=owners))["tally"]
    assert (found.state, found.position, found.failed.failed_position) == ("failed", 16, 17)
    assert len(rows(connection)) == 2
    assert beside(connection) == []


def test_a_model_that_is_failed_or_outdated_is_not_compared(folded: Log, connection: Connection[Any]) -> None:
    connection.execute(
        "UPDATE read_model SET state = 'failed', failed_event = gen_random_uuid(), failed_position = 9, error = 'x'"
        " WHERE name = 'tally'"
    )
    found = verdicts(folded, tally, replace(other, version=2))
    assert {name: each.state for name, each in found.items()} == {"tally": "failed", "other_tally": "busy"}


def test_one_that_is_being_rebuilt_is_left_for_another_time(folded: Log) -> None:
    states = []

    def told(progress: Progress) -> None:
        states.append(verdicts(folded, tally)["tally"].state)

    rebuild(folded.connect, folded.reader, tally, told)
    assert states == ["busy"]


def slow(progress: Progress) -> None:
    time.sleep(0.3)


def test_when_the_time_is_over_the_next_time_goes_on_from_there(folded: Log, connection: Connection[Any]) -> None:
    first = verdicts(folded, tally, other, seconds=0.2, told=slow)
    assert [(each.name, each.state, each.position) for each in first.values()] == [
        ("other_tally", "unreached", 10),
        ("tally", "unreached", 0),
    ]
    assert beside(connection) == [("other_tally",)]
    seen: list[int] = []
    second = verdicts(folded, other, seconds=60, told=lambda progress: seen.append(progress.position))
    assert seen == [20, 30, 35]
    assert second["other_tally"].state == "equal"
    assert beside(connection) == []


def test_what_was_kept_is_not_gone_on_with_when_the_table_has_changed(
    folded: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    verdicts(folded, tally, seconds=0.2, told=slow)
    owner.execute("ALTER TABLE tally ALTER COLUMN count TYPE bigint")
    assert verdicts(folded, tally, seconds=60)["tally"].state == "equal"


def test_those_compared_longest_ago_come_first(folded: Log) -> None:
    assert [*verdicts(folded, tally)] == ["tally"]
    assert [*verdicts(folded, tally, other)] == ["other_tally", "tally"]
    assert [*verdicts(folded, other)] == ["other_tally"]
    assert [*verdicts(folded, other, tally)] == ["tally", "other_tally"]


def test_leftovers_are_cleared_when_nobody_folds_them(
    folded: Log, owner: Connection[Any], connection: Connection[Any]
) -> None:
    verdicts(folded, tally, seconds=0.2, told=slow)
    owner.execute("CREATE TABLE hub_rebuild.gone (); ALTER TABLE hub_rebuild.gone OWNER TO hub_owner")
    assert clear_leftovers(folded.connect) == 1  # What has no line was no comparison.
    assert beside(connection) == [("tally",)]
    cleared = []

    def told(progress: Progress) -> None:
        cleared.append(clear_leftovers(folded.connect, days=-1))

    rebuild(folded.connect, folded.reader, other, told)
    assert cleared == [1]
    assert beside(connection) == []
    assert rows(connection)[0] == exactly(30)[0]


def test_rows_that_are_behind_the_log_or_the_others_are_equal_as_far_as_they_are(
    folded: Log, connection: Connection[Any]
) -> None:
    say(folded, 25)
    assert verdicts(folded, tally)["tally"] == Verdict("tally", "equal", 35, [])
    catch_up(connection, folded.reader, [other])
    assert verdicts(folded, tally)["tally"] == Verdict("tally", "equal", 35, [])


def test_rows_of_a_newer_release_do_not_end_the_comparison(folded: Log, connection: Connection[Any]) -> None:
    connection.execute("UPDATE read_model SET version = 2 WHERE name = 'other_tally'")
    states = {name: each.state for name, each in verdicts(folded, tally, other).items()}
    assert states == {"other_tally": "refused", "tally": "equal"}
    compared = connection.execute("SELECT name FROM read_model WHERE compared_at IS NOT NULL").fetchall()
    assert compared == [("tally",)]


def test_what_could_not_be_compared_does_not_count_as_compared(folded: Log, connection: Connection[Any]) -> None:
    assert verdicts(folded, replace(tally, version=2))["tally"].state == "busy"
    assert connection.execute("SELECT name FROM read_model WHERE compared_at IS NOT NULL").fetchall() == []


def test_one_that_was_not_equal_stays_so_until_it_is_compared_equal(folded: Log, owner: Connection[Any]) -> None:
    owner.execute("UPDATE tally SET count = 31 WHERE channel = 'call'")
    assert verdicts(folded, tally)["tally"].state == "differs"
    for _ in range(2):
        found = verdicts(folded, tally, other, seconds=0)
        assert {name: (each.state, each.unequal) for name, each in found.items()} == {
            "tally": ("unreached", True),
            "other_tally": ("unreached", False),
        }
    owner.execute("UPDATE tally SET count = 30 WHERE channel = 'call'")
    assert verdicts(folded, tally)["tally"].state == "equal"
    assert not verdicts(folded, tally, seconds=0)["tally"].unequal


def test_one_that_was_folded_anew_is_not_unequal_any_more(folded: Log, owner: Connection[Any]) -> None:
    owner.execute("UPDATE tally SET count = 31 WHERE channel = 'call'")
    assert verdicts(folded, tally)["tally"].state == "differs"
    rebuild(folded.connect, folded.reader, tally)
    assert not verdicts(folded, tally, seconds=0)["tally"].unequal


def test_when_it_is_told_to_stop_the_next_time_goes_on_from_there(folded: Log, connection: Connection[Any]) -> None:
    def stop(progress: Progress) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        verdicts(folded, tally, seconds=60, told=stop)
    assert beside(connection) == [("tally",)]
    seen: list[int] = []
    assert verdicts(folded, tally, seconds=60, told=lambda p: seen.append(p.position))["tally"].state == "equal"
    assert seen == [20, 30, 35]
    assert beside(connection) == []

"""What is to be done at its time is done by one process, once, and written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from psycopg import Connection, OperationalError
from structlog.testing import capture_logs

from adapters import jobs
from adapters.condition import disks
from adapters.health import Health
from adapters.jobs import (
    JOBS,
    GoingOn,
    Job,
    Stopped,
    Unsound,
    expire_quarantined,
    last_due,
    overdue,
    tidy,
    verify_log,
    verify_rows,
)
from adapters.runs import claim, finish, last_runs
from adapters.schedule import Schedule
from hub import Hub
from hub.errors import Busy
from hub.log import verify
from hub.settings import USUAL
from tests.support.hubs import many, source, touch
from tests.support.tally import until

ROOT = Path(__file__).parents[2]
NIGHT = datetime(2099, 3, 1, 3, tzinfo=UTC)  # The hub of a test was made before it.
DAY = timedelta(days=1)
_LEADER = """
    SELECT substring(application_name FROM 'hub schedule (\\d+)')::int FROM pg_stat_activity
    JOIN pg_locks USING (pid)
    WHERE datname = current_database() AND locktype = 'advisory' AND granted AND application_name LIKE 'hub schedule %'
"""


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as hub:
        many(hub, source("shop"), *(touch(str(n % 7)) for n in range(20)))
        yield hub


class Clock:
    """A clock that is set by hand."""

    def __init__(self, at: datetime = NIGHT) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


def nightly(done: list[datetime], clock: Clock) -> Job:
    def run(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
        done.append(clock.at)
        return {"nights": len(done)}

    return Job("nightly", "0 3 * * *", run)


def offered(hub: Hub, job: Job, clock: Clock) -> None:
    Schedule(hub, [job], now=clock).offer(job, CronTrigger.from_crontab(job.times, UTC))


@contextmanager
def processes(hub: Hub, data: Path, count: int) -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """So many schedules, each in a process of its own, by process id."""
    environment = {**os.environ, "HUB_DATABASE_URL": hub.url, "HUB_DATA": str(data)}
    command = [sys.executable, "-m", "adapters.schedule"]
    made = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        yield {each.pid: each for each in made}
    finally:
        for each in made:
            assert each.stdin is not None
            each.stdin.close()
        for each in made:
            each.wait(60)


def leader(connection: Connection[Any]) -> int | None:
    row = connection.execute(_LEADER.encode()).fetchone()
    return row[0] if row else None


def test_a_job_runs_once_for_each_time_it_is_due(hub: Hub, connection: Connection[Any]) -> None:
    done: list[datetime] = []
    clock = Clock()
    job = nightly(done, clock)
    for _ in range(3):
        offered(hub, job, clock)
    clock.at += DAY + timedelta(hours=5)
    offered(hub, job, clock)
    assert done == [NIGHT, NIGHT + DAY + timedelta(hours=5)]
    (run,) = last_runs(connection)
    assert (run.job, run.due, run.outcome, run.counts) == ("nightly", NIGHT + DAY, "done", {"nights": 2})


@pytest.mark.parametrize("step", [-timedelta(hours=2), -timedelta(days=3), timedelta(hours=11)])
def test_a_clock_that_is_set_does_not_make_it_run_twice(hub: Hub, step: timedelta) -> None:
    done: list[datetime] = []
    clock = Clock(NIGHT - 3 * DAY)
    job = nightly(done, clock)
    for _ in range(4):
        offered(hub, job, clock)
        clock.at += DAY
    clock.at = NIGHT + step
    offered(hub, job, clock)
    clock.at = NIGHT + timedelta(hours=1)
    offered(hub, job, clock)
    assert len(done) == 4


def test_a_hub_that_was_off_makes_up_for_it_once(hub: Hub, connection: Connection[Any]) -> None:
    done: list[datetime] = []
    clock = Clock()
    job = nightly(done, clock)
    offered(hub, job, clock)
    clock.at += 5 * DAY + timedelta(hours=9)
    schedule = Schedule(hub, [job], now=clock)
    schedule.start()
    until(lambda: len(done) == 2 and last_runs(connection)[0].outcome == "done", 60)
    schedule.stop()
    assert len(done) == 2
    assert last_runs(connection)[0].due == NIGHT + 5 * DAY


def test_nothing_was_missed_before_there_was_a_hub(hub: Hub) -> None:
    done: list[datetime] = []
    clock = Clock(datetime(2026, 1, 1, 12, tzinfo=UTC) - 365 * DAY)
    offered(hub, nightly(done, clock), clock)
    assert done == []


def test_a_job_that_raises_is_written_down_and_goes_on_next_time(hub: Hub, connection: Connection[Any]) -> None:
    clock = Clock()
    broken = [True]

    def run(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
        if broken:
            raise ValueError("+79161234567")
        return {}

    job = Job("nightly", "0 3 * * *", run)
    offered(hub, job, clock)
    (failed,) = last_runs(connection)
    assert failed.outcome == "failed"
    assert failed.error is not None
    assert "ValueError" in failed.error
    assert "7916" not in failed.error
    broken.clear()
    clock.at += DAY
    offered(hub, job, clock)
    assert [each.outcome for each in last_runs(connection)] == ["done"]


def test_what_nobody_is_at_any_more_counts_as_lost(hub: Hub, connection: Connection[Any]) -> None:
    run = claim(connection, "nightly", NIGHT, DAY / 2)
    assert run is not None
    assert last_runs(connection)[0].outcome == "running"
    schedule = Schedule(hub, [])
    schedule.start()
    until(lambda: last_runs(connection)[0].outcome == "lost", 60)
    schedule.stop()
    finish(connection, run, "done", {})
    assert last_runs(connection)[0].outcome == "lost"


def test_a_long_job_ends_when_the_hub_is_to_stop(hub: Hub, connection: Connection[Any]) -> None:
    def run(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
        while True:
            going_on()
            time.sleep(0.01)

    schedule = Schedule(hub, [Job("long", "0 3 * * *", run)], now=Clock())
    schedule.start()
    until(lambda: bool(last_runs(connection)), 60)
    schedule.stop()
    assert last_runs(connection)[0].outcome == "lost"


@pytest.mark.parametrize("away", [OperationalError(), Busy()])
def test_a_run_the_database_was_not_there_for_is_lost_and_begun_again(
    hub: Hub, connection: Connection[Any], away: Exception
) -> None:
    hindered = [away]

    def run(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
        if hindered:
            raise hindered.pop()
        return {"nights": 1}

    clock = Clock()
    job = Job("nightly", "0 3 * * *", run)
    offered(hub, job, clock)
    (lost,) = last_runs(connection)
    assert lost.outcome == "lost"
    assert (lost.error or "").startswith(type(away).__name__)
    clock.at += timedelta(hours=2)
    for _ in range(2):
        offered(hub, job, clock)
    (done,) = last_runs(connection)
    assert (done.due, done.outcome, done.counts) == (NIGHT, "done", {"nights": 1})


def test_long_jobs_do_not_hold_a_short_one(hub: Hub, connection: Connection[Any]) -> None:
    def long(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
        while True:
            going_on()
            time.sleep(0.01)

    def outcomes() -> list[str]:
        return [run.outcome for run in last_runs(connection)]

    jobs = [Job(f"long {n}", "0 3 * * *", long) for n in range(3)]
    schedule = Schedule(hub, [*jobs, Job("short", "0 3 * * *", lambda hub, going_on: {})], now=Clock())
    schedule.start()
    try:
        until(lambda: outcomes() == ["running", "running", "running", "done"], 60)
    finally:
        schedule.stop()


def test_a_database_that_is_read_only_for_a_while_ends_no_schedule(hub: Hub, owner: Connection[Any]) -> None:
    name = owner.info.dbname
    owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    schedule = Schedule(hub, [], now=Clock())
    schedule.start()
    try:
        with capture_logs() as told:
            until(lambda: any(each["event"] == "schedule" for each in told), 60)
        assert not schedule.leading
        owner.execute("SET default_transaction_read_only = off")
        owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        until(lambda: schedule.leading, 60)
    finally:
        schedule.stop()


def test_one_leads_and_when_it_is_killed_the_other_takes_over(
    hub: Hub, tmp_path: Path, connection: Connection[Any]
) -> None:
    with processes(hub, tmp_path, 2) as running:
        until(lambda: leader(connection) in running, 120)
        first = leader(connection)
        assert first is not None
        running[first].send_signal(signal.SIGKILL)
        running[first].wait()
        until(lambda: leader(connection) in running.keys() - {first}, 120)


@pytest.mark.drill
def test_drill_of_the_lead_changing_hands(hub: Hub, tmp_path: Path, connection: Connection[Any]) -> None:
    taken = []
    for _ in range(5):
        with processes(hub, tmp_path, 2) as running:
            until(lambda: leader(connection) in running, 120)
            time.sleep(3)  # Until the other wants the lead.
            first = leader(connection)
            assert first is not None
            began = time.monotonic()
            running[first].send_signal(signal.SIGKILL)
            until(lambda: leader(connection) in running.keys() - {first}, 120)  # noqa: B023 -- asked at once
            taken.append(time.monotonic() - began)
    sys.stderr.write("the schedule was led again after " + ", ".join(f"{each:.2f} s" for each in taken) + "\n")


def test_the_nightly_comparison_finds_what_is_wrong(hub: Hub, owner: Connection[Any]) -> None:
    hub.follow()
    hub.wait(hub.head())
    assert set(verify_rows(hub, lambda: None)) == {"equal"}
    owner.execute("DELETE FROM timeline WHERE position = 9")
    with pytest.raises(Unsound) as found:
        verify_rows(hub, lambda: None)
    assert found.value.code == "timeline_differs"


def test_the_nightly_verification_finds_what_is_wrong(hub: Hub, owner: Connection[Any]) -> None:
    assert verify_log(hub, lambda: None)["events"] == hub.head()
    owner.execute("SET session_replication_role = replica")
    owner.execute("DELETE FROM seal WHERE position = (SELECT min(position) FROM seal)")
    with pytest.raises(Unsound) as found:
        verify_log(hub, lambda: None)
    assert "seal_missing" in found.value.code


def test_what_a_night_has_verified_is_kept_when_it_is_cut_short(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PAGE", 5)
    pages = iter(range(3))

    def going_on() -> None:
        if next(pages, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        verify_log(hub, going_on)
    rest = verify_log(hub, lambda: None)["events"]
    assert 0 < rest < hub.head()
    assert verify_log(hub, lambda: None)["events"] == hub.head()


def test_what_one_night_found_unequal_the_next_tells_again(
    hub: Hub, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.follow()
    hub.wait(hub.head())
    owner.execute("DELETE FROM timeline WHERE position = 9")
    for _ in range(2):
        with pytest.raises(Unsound, match=r"^timeline_differs$"):
            verify_rows(hub, lambda: None)
        monkeypatch.setattr(jobs, "VERIFY", 0.0)


def test_what_waits_too_long_in_quarantine_is_let_go(hub: Hub, tmp_path: Path) -> None:
    hub.follow()
    (answer,) = many(hub, touch("1", facts={"birth_date": "1985-02-30"}))
    hub.wait(answer["position"])
    assert expire_quarantined(hub, lambda: None) == {"expired": 0}
    with Hub(hub.url, tmp_path, periods=replace(USUAL, quarantine=0)) as impatient:
        assert expire_quarantined(impatient, lambda: None) == {"expired": 1}
        assert expire_quarantined(impatient, lambda: None) == {"expired": 0}


def test_runs_of_long_ago_are_forgotten_but_the_last(hub: Hub, connection: Connection[Any]) -> None:
    for job, days in (("a", 400), ("a", 300), ("a", 10), ("b", 300)):
        connection.execute(
            "INSERT INTO job_run (job, due, finished_at, outcome)"
            " VALUES (%s, now() - make_interval(days => %s), now(), 'done')",
            (job, days),
        )
    assert tidy(hub, lambda: None) == {"leftovers": 0, "runs": 2}
    assert connection.execute("SELECT job FROM job_run ORDER BY job").fetchall() == [("a",), ("b",)]


def test_what_ran_is_shown(hub: Hub, tmp_path: Path, connection: Connection[Any]) -> None:
    run = claim(connection, "verify_rows", NIGHT, DAY / 2)
    assert run is not None
    finish(connection, run, "failed", {"equal": 7, "differs": 1}, "timeline_differs")

    def typed(*words: str, lang: str) -> str:
        environment = {**os.environ, "HUB_DATABASE_URL": hub.url, "HUB_DATA": str(tmp_path), "HUB_LANG": lang}
        command = [sys.executable, "-m", "hub", "status", *words]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stdout

    shown = typed(lang="en")
    assert "verify_rows          failed  2099-03-01 03:00 UTC  timeline_differs  equal 7, differs 1" in shown
    assert "The job verify_rows has failed" in shown
    assert "verify_rows          ошибка" in typed(lang="ru")
    (told,) = json.loads(typed("--json", lang="en"))["jobs"]
    assert (told["job"], told["outcome"], told["error"]) == ("verify_rows", "failed", "timeline_differs")


@pytest.mark.parametrize(
    ("times", "zone", "now", "due"),
    [
        ("0 3 * * *", "Europe/Berlin", "2026-03-29T01:30+00:00", "2026-03-29T01:00+00:00"),  # The day of 23 hours.
        ("0 3 * * *", "Europe/Berlin", "2026-10-25T00:30+00:00", "2026-10-24T01:00+00:00"),  # That of 25, before,
        ("0 3 * * *", "Europe/Berlin", "2026-10-25T02:00+00:00", "2026-10-25T02:00+00:00"),  # and after.
        ("0 3 * * *", "Europe/Berlin", "2026-07-01T00:59:58+00:00", "2026-06-30T01:00+00:00"),
        ("0 3 * * *", "Europe/Helsinki", "2026-10-24T23:30+00:00", "2026-10-24T00:00+00:00"),  # The hour comes twice.
        ("0 3 * * *", "Europe/Helsinki", "2026-10-25T00:30+00:00", "2026-10-25T00:00+00:00"),
        ("17 * * * *", "Europe/Berlin", "2026-10-24T23:30+00:00", "2026-10-24T23:17+00:00"),
        ("17 * * * *", "Europe/Berlin", "2026-10-25T00:00+00:00", "2026-10-24T23:17+00:00"),
        ("17 * * * *", "Europe/Berlin", "2026-10-25T00:30+00:00", "2026-10-25T00:17+00:00"),
        ("*/10 * * * *", "Europe/Berlin", "2026-10-25T00:46+00:00", "2026-10-25T00:40+00:00"),
    ],
)
def test_when_it_was_last_due_is_told_by_the_clock_of_the_zone(times: str, zone: str, now: str, due: str) -> None:
    trigger = CronTrigger.from_crontab(times, ZoneInfo(zone))
    found, period = last_due(trigger, datetime.fromisoformat(now))
    assert found == datetime.fromisoformat(due)
    usual = {"0": timedelta(hours=24), "17": timedelta(hours=1), "*/10": timedelta(minutes=10)}[times.split()[0]]
    assert usual * 0.9 < period < usual * 1.1


def test_every_job_has_a_name_of_its_own() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)


def test_a_job_is_overdue_when_it_missed_its_time_twice_and_more() -> None:
    now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    names = {job.name for job in JOBS}
    assert overdue({}, now - timedelta(minutes=5), now, UTC) == {}
    assert overdue({}, now - timedelta(days=9), now, UTC).keys() == names
    fresh = dict.fromkeys(names, now)
    assert overdue(fresh | {"verify_log": now - timedelta(days=2)}, now, now, UTC) == {}
    old = {"verify_log": now - timedelta(days=3)}
    assert overdue(fresh | old, now, now, UTC) == old


def test_a_hub_whose_jobs_do_not_run_is_not_well(hub: Hub, connection: Connection[Any]) -> None:
    if disks(hub.data, None)["data"].tight:
        pytest.skip("no hub is well on a disk this full")
    assert Health(hub)() == "ok"
    hub.installation = replace(hub.installation, since=datetime.now(UTC) - timedelta(days=9))
    assert Health(hub)() == "degraded"
    for number, job in enumerate(JOBS):
        run = claim(connection, job.name, datetime.now(UTC), DAY / 2)
        assert run is not None
        if number:
            finish(connection, run, "done", {})
    assert Health(hub)() == "ok"
    connection.execute("UPDATE job_run SET finished_at = now(), outcome = 'lost' WHERE finished_at IS NULL")
    assert Health(hub)() == "degraded"

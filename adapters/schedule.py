"""Time is a channel: what is to be done at its time, by one leader among all processes.

The lead is a session lock on a connection of its own. At its time, and when the lead is taken, a job is offered the
time it was last due; the record of runs says whether that is done. So a hub that was off makes up for what it missed,
once, and no clock makes a job run twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from threading import Event, Thread

import psycopg
import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from psycopg import Connection

from adapters.audit import verifying
from adapters.runs import claim, finish, forget, lose
from adapters.worker import work
from hub import Hub
from hub.database import connect
from hub.decider import Principal
from hub.errors import Busy, HubError
from hub.projector import describe
from hub.rebuild import clear_leftovers
from hub.settings import Settings
from projections import READ_MODELS
from projections.quarantine import due

LOOK = 0.5  # Seconds between two looks at the lead, by whoever has it or wants it.
VERIFY = 30 * 60.0  # Seconds a night for comparing read models with the log, and again for the log itself.
KEPT = 90  # Days for which runs are kept.

LEAD = "SELECT pg_try_advisory_lock(hashtextextended('hub.schedule', 0))"
_log = structlog.get_logger()

GoingOn = Callable[[], None]  # Raises Stopped when the lead is lost, or the hub is to stop.


class Stopped(Exception):
    """The job is to end where it is; it goes on at its next time."""


class Unsound(Exception):
    """A job has found what ought not to be. `code` says what, without any value."""

    def __init__(self, code: str, counts: Mapping[str, int]) -> None:
        super().__init__(code)
        self.code, self.counts = code, counts


@dataclass(frozen=True)
class Job:
    """Something to be done again and again, no matter how often; it answers with numbers by code."""

    name: str
    times: str  # As crontab has them, by the clock of HUB_TIME_ZONE.
    run: Callable[[Hub, GoingOn], Mapping[str, int]]


def expire_quarantined(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
    """Let go what nobody repaired in time."""
    expired, house = 0, Principal(hub.installation.house, "house")
    while True:
        going_on()
        with hub.view() as view:
            items = due(view, view.now())
        if not items:
            return {"expired": expired}
        (answer,) = hub.do_many([{"command": "expire_quarantined", "items": items}], house)
        if isinstance(answer, HubError):
            raise answer
        if not answer["events"]:
            return {"expired": expired}
        expired += len(items)
        hub.wait(answer["position"])


def verify_rows(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
    """Compare read models with the log, as many as the night allows; the next goes on with the others."""
    counts, unsound = Counter[str](), []
    for each in hub.verify(READ_MODELS, lambda _: going_on(), VERIFY):
        going_on()
        counts[each.state] += 1
        if each.unequal or each.state in ("differs", "failed"):
            unsound.append(f"{each.name}_{'differs' if each.unequal else each.state}")
    if unsound:
        raise Unsound(" ".join(unsound), counts)
    return counts


def verify_log(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
    """Compute the log anew from its stored bytes, as far as the night allows; the next goes on there."""
    with verifying(hub) as verification:
        for _ in verification.run(VERIFY):
            going_on()
    counts = {"events": verification.events, "seals": verification.seals, "tags": verification.tags}
    if verification.faults:
        raise Unsound(" ".join(sorted(verification.faults)), counts | verification.faults)
    return counts


def tidy(hub: Hub, going_on: GoingOn) -> Mapping[str, int]:
    """Take away runs of long ago, and what dead rebuilds left."""
    leftovers = clear_leftovers(lambda: connect(hub.url))
    with connect(hub.url) as connection:
        return {"leftovers": leftovers, "runs": forget(connection, KEPT)}


JOBS = (
    Job("expire_quarantined", "*/10 * * * *", expire_quarantined),
    Job("tidy", "17 * * * *", tidy),
    Job("verify_rows", "0 3 * * *", verify_rows),
    Job("verify_log", "30 3 * * *", verify_log),
)


class Schedule:
    """Runs the jobs while it leads; of the schedules of all processes one leads, the others wait to take over."""

    def __init__(
        self,
        hub: Hub,
        jobs: Sequence[Job] = JOBS,
        zone: tzinfo = UTC,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._hub, self._now = hub, now
        self._jobs = [(job, CronTrigger.from_crontab(job.times, zone)) for job in jobs]
        self._zone = zone
        self._stopping = Event()
        self._leading = Event()
        self._thread = Thread(target=self._run, name="hub-schedule", daemon=True)

    @property
    def leading(self) -> bool:
        return self._leading.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Have the jobs end where they are, give up the lead, end the thread."""
        self._stopping.set()
        self._thread.join()

    def offer(self, job: Job, trigger: CronTrigger) -> None:
        """Run a job for the time it was last due, unless it was."""
        at, period = last_due(trigger, self._now())
        outcome, error = "done", None
        counts: Mapping[str, int] = {}
        try:
            with self._connected() as connection:
                run = claim(connection, job.name, at, period / 2)
            if run is None:
                return
            try:
                counts = job.run(self._hub, self._going_on)
            except Stopped:
                outcome = "lost"
            except (psycopg.OperationalError, Busy) as away:  # No fault of the job, which may be taken up again.
                outcome, error = "lost", describe(away)
            except Unsound as found:
                outcome, counts, error = "failed", found.counts, found.code
            except Exception as raised:  # Whatever it was, the others go on, and so does this one at its next time.
                outcome, error = "failed", describe(raised)
            with self._connected() as connection:
                finish(connection, run, outcome, counts, error)
        except psycopg.Error as away:
            outcome, error = "lost", describe(away)
        _log.info("job", job=job.name, due=at.isoformat(), outcome=outcome, error=error, **counts)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connected(f"hub schedule {os.getpid()}") as connection:
                    self._serve(connection)
            except psycopg.Error as error:  # Read-only for a while, perhaps; a thread that ended would not be missed.
                _log.warning("schedule", error=describe(error))
                self._stopping.wait(LOOK)

    def _serve(self, connection: Connection[object]) -> None:
        while connection.execute(LEAD).fetchone() != (True,):
            if self._stopping.wait(LOOK):
                return
        lose(connection)
        scheduler = BackgroundScheduler(
            timezone=self._zone,
            executors={"default": ThreadPoolExecutor(len(self._jobs) or 1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        for job, trigger in self._jobs:
            scheduler.add_job(self.offer, trigger, (job, trigger), id=job.name, next_run_time=datetime.now(self._zone))
        self._leading.set()
        scheduler.start()
        try:
            while not self._stopping.wait(LOOK):
                connection.execute("SELECT")  # Raises when the connection is lost, and the lead with it.
        finally:
            self._leading.clear()
            scheduler.shutdown()

    def _going_on(self) -> None:
        if not self.leading:
            raise Stopped

    @contextmanager
    def _connected(self, name: str = "hub") -> Iterator[Connection[object]]:
        with closing(connect(self._hub.url, autocommit=True, application_name=name)) as connection:
            yield connection


def last_due(trigger: CronTrigger, now: datetime) -> tuple[datetime, timedelta]:
    """When it last should have fired, and how long it is from one time to the next."""

    def after(moment: datetime) -> datetime:
        found: datetime = trigger.get_next_fire_time(None, moment + timedelta.resolution)
        return found.astimezone(UTC)  # Two times of one zone differ by its clock, which is set back once a year.

    now += timedelta(seconds=1)  # A clock that was set back a little since it fired.
    first = after(now)
    second = after(first)
    period = max(second - first, after(second) - second)  # One of them may be the hour that comes twice.
    due = after(now - 2 * period)
    while (later := after(due)) <= now:
        due = later
    return due, period


@contextmanager
def scheduled() -> Iterator[None]:
    """The schedule of this process."""
    with Hub.open(follow=False) as hub:
        schedule = Schedule(hub, zone=Settings.from_environment().zone)
        schedule.start()
        try:
            yield
        finally:
            schedule.stop()


if __name__ == "__main__":
    work(scheduled)

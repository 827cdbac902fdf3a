"""Time is a channel: what is to be done at its time, by one leader among all processes.

The lead is a session lock on a connection of its own. At its time, and when the lead is taken, a job is offered the
time it was last due; the record of runs says whether that is done. So a hub that was off makes up for what it missed,
once, and no clock makes a job run twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, tzinfo
from threading import Event, Thread

import psycopg
import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from psycopg import Connection

from adapters.jobs import JOBS, Job, Stopped, Unsound, last_due
from adapters.runs import claim, finish, lose
from adapters.worker import work
from hub import Hub
from hub.database import connect
from hub.errors import Busy
from hub.projector import describe
from hub.settings import Settings

LOOK = 0.5  # Seconds between two looks at the lead, by whoever has it or wants it.

LEAD = "SELECT pg_try_advisory_lock(hashtextextended('hub.schedule', 0))"
_log = structlog.get_logger()


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
            except Exception as error:  # Read-only for a while, perhaps; a thread that ended would not be missed.
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

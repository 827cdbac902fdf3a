"""The jobs: what is to be done at its time, and when that is.

A job may be ended anywhere and be run again, no matter how often; schedule.py says by whom and keeps the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.triggers.cron import CronTrigger

from adapters.runs import forget
from adapters.verification import verifying
from hub import Hub
from hub.database import connect
from hub.decider import Principal
from hub.errors import HubError
from hub.rebuild import clear_leftovers
from projections import READ_MODELS
from projections.quarantine import due

VERIFY = 30 * 60.0  # Seconds a night for comparing read models with the log, and again for the log itself.
KEPT = 90  # Days for which runs are kept.
MISSED = 2  # Periods without a run after which a job is overdue.

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


def overdue(begun: Mapping[str, datetime], since: datetime, now: datetime, zone: tzinfo) -> dict[str, datetime]:
    """The jobs that ought to have run long ago, and for when they were begun last, or since when there is a hub."""
    found = {}
    for job in JOBS:
        at, period = last_due(CronTrigger.from_crontab(job.times, zone), now)
        last = begun.get(job.name, since)
        if last < at - MISSED * period:
            found[job.name] = last
    return found


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

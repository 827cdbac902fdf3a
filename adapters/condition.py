"""How the hub is: what `hub status` tells a person and `/metrics` a machine. No personal data."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import conninfo

from adapters.jobs import overdue
from adapters.outbound.places import FeedStanding, standings
from adapters.runs import Run, begun, last_runs
from hub.clock import moment
from hub.database import load_queries
from hub.events import Instant
from hub.guards import Guards, guards
from hub.principals import ApiKey
from hub.projector import Standing, status
from hub.settings import Settings

if TYPE_CHECKING:
    from hub import Hub

ENDING_SOON = timedelta(days=14)
SLOW = 60.0  # Seconds a read model may be behind before it is said.
TIGHT = 0.1, 10e9  # Of a disk and in bytes: less than both is too little.

SQL = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a log."""

    position: int
    recorded_at: datetime | None  # None: the log is empty.


@dataclass(frozen=True, slots=True)
class Disk:
    """What is left, in bytes, where a folder lies."""

    folder: Path
    free: int
    size: int

    @property
    def tight(self) -> bool:
        share, least = TIGHT
        return self.free < min(self.size * share, least)


@dataclass(frozen=True, slots=True)
class Condition:
    """How the hub is at one moment."""

    heads: Mapping[str, Head]  # By the name of the log.
    standings: list[Standing]
    runs: list[Run]  # The last of each job.
    overdue: Mapping[str, datetime]  # Jobs that ought to have run long ago, and for when they were begun last.
    waiting: int  # In quarantine.
    oldest: datetime | None  # When the first of these was recorded.
    guards: Guards  # Of the append-only tables.
    postgres: str  # Its version, as `18.6`.
    where: str  # The database's folder, or its host and name.
    size: int  # Of the database, in bytes.
    migration: int
    keys: list[ApiKey]  # In force, and ending soon.
    disks: Mapping[str, Disk]  # `data`, and `database` where it lies on this machine's disks.
    feeds: list[FeedStanding]


def look(hub: Hub) -> Condition:
    """Raises psycopg's OperationalError when the database is away."""
    with hub.view() as view, view.snapshot():
        connection = view.connection
        heads = {name: Head(place, _time(at)) for name, place, at in connection.execute(SQL["heads"])}
        waiting, oldest = connection.execute(SQL["waiting"]).fetchone() or (0, None)
        guarded = guards(connection)
        postgres, name, size = connection.execute(SQL["database"]).fetchone() or ("", "", 0)
        models, feeds, runs = status(connection), standings(connection), last_runs(connection)
        last = begun(connection)
    now = datetime.now(UTC)
    return Condition(
        heads,
        models,
        runs,
        overdue(last, hub.installation.since, now, Settings.from_environment().zone),
        waiting,
        _time(oldest),
        guarded,
        postgres,
        str(hub.cluster or f"{conninfo.conninfo_to_dict(hub.url).get('host') or 'localhost'}/{name}"),
        size,
        hub.migration(),
        [key for key in hub.principals.all() if key.stands and key.expires_at < now + ENDING_SOON],
        disks(hub.data, hub.cluster),
        feeds,
    )


def version() -> str:
    try:
        return metadata.version("hub")
    except metadata.PackageNotFoundError:
        return "unknown"


def disks(data: Path, cluster: Path | None) -> dict[str, Disk]:
    """Disk space of the data folder and, where the database is embedded, of its own."""
    places = {"data": data} | ({"database": cluster.parent} if cluster else {})
    found = {}
    for name, folder in places.items():
        if folder.exists():
            usage = shutil.disk_usage(folder)
            found[name] = Disk(folder, usage.free, usage.total)
    return found


def _time(at: int | None) -> datetime | None:
    return None if at is None else moment(Instant(at))

"""Destinations in few words, and the feed to them: in this process, and as one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from psycopg import Connection

from adapters.outbound.destinations import Destination, destinations
from adapters.outbound.following import Feeder
from adapters.outbound.places import FeedStanding, enrol, standings
from hub import Hub
from hub.settings import Settings
from tests.support.tally import until as within

until = partial(within, timeout=60.0)  # A feed passes through more hands than the read side.
ROOT = Path(__file__).parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYq="
OTHER = "whsec_" + "QUJD" * 10


def written(data: Path, *feeds: Mapping[str, Any]) -> Path:
    """The file of feeds in this folder; `name` is `crm` and `start` the beginning where nothing else is said."""
    file = data / "feeds.toml"
    data.mkdir(exist_ok=True)
    tables = [{"name": "crm", "kind": "webhook", "start": "beginning", **each} for each in feeds]
    lines = ["\n".join(["[[feed]]", *(f"{key} = {_toml(value)}" for key, value in each.items())]) for each in tables]
    file.write_text("\n\n".join(lines) + "\n", "utf-8")
    file.chmod(0o600)
    return file


def read(data: Path, *feeds: Mapping[str, Any]) -> list[Destination]:
    written(data, *feeds)
    return destinations(Settings.from_environment({"HUB_DATA": str(data)}))


def webhook(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "secret": SECRET, "private": True, **more}


@contextmanager
def feeding(hub: Hub, *feeds: Mapping[str, Any]) -> Iterator[None]:
    """A feeder in this process for each destination."""
    found = read(hub.data, *feeds)
    with hub.pool.connection() as connection:
        enrol(connection, found)
    feeders = [Feeder(hub, each) for each in found]
    for each in feeders:
        each.start()
    try:
        yield
    finally:
        for each in feeders:
            each.stop()


@contextmanager
def process(hub: Hub, *feeds: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """The feed as a process, as `hub serve` starts it."""
    found = read(hub.data, *feeds)
    with hub.pool.connection() as connection:
        enrol(connection, found)
    environment = {**os.environ, "HUB_DATA": str(hub.data), "HUB_DATABASE_URL": hub.url}
    command = [sys.executable, "-m", "adapters.outbound"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def standing(connection: Connection[Any], name: str = "crm") -> FeedStanding:
    return next(each for each in standings(connection) if each.name == name)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'

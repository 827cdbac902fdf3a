"""`hub serve`: database, API, read side, schedule and feed, in one tree of processes that starts and ends together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from adapters.api.app import create_app
from adapters.api.connection import Connection
from adapters.api.logs import configure
from adapters.importer.words import language
from adapters.inbound.doors import doors_of
from adapters.outbound.destinations import destinations
from adapters.outbound.places import enrol
from adapters.tracing import traced
from adapters.worker import Worker
from hub import Hub, texts
from hub.database import explained
from hub.errors import Misconfigured
from hub.settings import Settings

FIRST_KEYS = "first-keys.txt"
PATIENCE = 5  # Seconds for requests under way when the hub is told to stop.

Say = Callable[[str, dict[str, Any]], None]


def serve(say: Say) -> None:
    """Run until SIGTERM or SIGINT. Raises Misconfigured when the hub cannot be set up or the address is taken."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    with suppress(_Stopped):
        _serve(say)


def _serve(say: Say) -> None:
    settings = Settings.from_environment()
    feeds = destinations(settings)
    doors = doors_of(settings)
    configure()
    with _listening(settings) as listening, Hub.open(settings.database_url, settings.data, follow=False) as hub:
        if hub.elsewhere:
            say(lies_elsewhere(hub.elsewhere, settings.data), {"database": str(hub.elsewhere)})
        with explained(settings.data, "HUB_DATABASE_URL"):
            tokens = hub.principals.first(lambda tokens: _keep(settings.data / FIRST_KEYS, tokens))
        for role, token in tokens.items():
            say(f"{role}: {token}", {"role": role, "key": token})
        with hub.pool.connection() as connection:
            enrol(connection, feeds)
        workers = [
            Worker("adapters.follower", hub.url, settings.data),
            Worker("adapters.schedule", hub.url, settings.data, nice=10),
            *([Worker("adapters.outbound", hub.url, settings.data, nice=5)] if feeds else []),
        ]
        for worker in workers:
            worker.start()
        try:
            host, port = listening.getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            app = create_app(hub, settings.rate, doors)
            server = _Server(app, lambda: say(f"hub: {address}", {"address": address, "pid": os.getpid()}))
            with traced(hub, app):
                server.run(sockets=[listening])  # It raises the signal that ended it once more, for us.
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            for worker in workers:
                worker.tell()
            for worker in workers:
                worker.stop()


def lies_elsewhere(cluster: Path, folder: Path) -> str:
    """One line for who looks for the database in the data folder, or makes backups of that alone."""
    return texts.say("elsewhere", cluster=cluster, folder=folder).in_(language())


class _Server(uvicorn.Server):
    """uvicorn, which says when it is ready, and has batches end when it is to stop."""

    def __init__(self, app: Any, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                backlog=2048,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        self._app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.closing.set()
        await super().shutdown(sockets)


class _Stopped(BaseException):
    """Told to stop before everything was up, or while it went down."""


def _stop(_: int, __: object) -> None:
    raise _Stopped


def _listening(settings: Settings) -> socket.socket:
    """A socket on the address asked for, before anything else is started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        address = f"{settings.host}:{settings.port}"
        raise Misconfigured(texts.say("listen_refused", address=address, why=texts.why(error))) from None
    except UnicodeError:  # A name longer than names of hosts are.
        listening.close()
        raise Misconfigured(texts.say("listen_form")) from None
    return listening


def _keep(file: Path, tokens: dict[str, str]) -> None:
    """Write the first keys where only the hub's own user reads them, in place of what a start cut off left."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as kept:
        kept.writelines(f"{role}: {token}\n" for role, token in tokens.items())
        kept.flush()
        os.fsync(kept.fileno())
    unfinished.rename(file)

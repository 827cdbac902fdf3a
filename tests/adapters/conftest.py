"""A hub by itself, as a process, and behind real HTTP with a key for every role."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from adapters.api.app import create_app
from adapters.api.connection import Connection
from adapters.inbound.doors import Door, doors_of
from hub import Hub
from hub.principals import ROLES
from hub.settings import Settings
from tests.adapters.inbound import senders
from tests.support.serving import Server


@dataclass(frozen=True)
class Served:
    """A running API. `keys` has a token for every role; the channel's is bound to the source `shop`."""

    hub: Hub
    base: str
    keys: Mapping[str, str]
    client: httpx2.Client
    app: FastAPI

    def ask(self, role: str, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.keys[role]}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def do(self, command: Mapping[str, Any], role: str = "channel", **more: Any) -> httpx2.Response:
        return self.ask(role, "POST", "/v1/commands", json=command, **more)

    def done(self, command: Mapping[str, Any], role: str = "channel") -> dict[str, Any]:
        answer = self.do(command, role)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, path: str, role: str = "operator", **more: Any) -> httpx2.Response:
        return self.ask(role, "GET", path, **more)


def touch(key: str, **more: Any) -> dict[str, Any]:
    return {"command": "record_touch", "key": key, "channel": "shop", **more}


@contextmanager
def answering(app: FastAPI, protocol: type[Connection] = Connection) -> Iterator[str]:
    """A real server of this application. Gives its address."""
    config = uvicorn.Config(app, http=protocol, port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def doors(folder: Path) -> dict[str, Door]:
    """A door of every format, and one that believes everybody."""
    (folder / "channels.toml").write_text(
        "\n".join(
            f'[{name}]\nformat = "{format}"\nsource = "{source}"\n{rest}'
            for name, format, source, rest in (
                ("bot", "telegram", "bot", f'secret = "{senders.BOT_SECRET}"'),
                ("sms", "twilio", "sms", f'secret = "{senders.TWILIO_TOKEN}"\nurl = "{senders.TWILIO_URL}"'),
                ("mailer", "sendgrid", "mailer", f'secret = "{senders.SENDGRID_PUBLIC}"'),
                ("partner", "standard-webhooks", "shop", f'secret = "{senders.STANDARD_SECRET}"'),
                ("anybody", "standard-webhooks", "shop", 'signature = "none"'),
            )
        )
    )
    (folder / "channels.toml").chmod(0o600)
    return doors_of(Settings.from_environment({"HUB_DATA": str(folder)}))


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def server(folder: Path, database_url: str) -> Iterator[Server]:
    """`hub serve`, started; a test may end it."""
    server = Server(folder / "data", database_url)
    server.start()
    yield server
    if server.process is not None:
        server.end()


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Served]:
    with Hub(database_url, tmp_path) as hub:
        hub.follow()
        keys = {
            role: hub.principals.make(
                role, source="shop" if role == "channel" else None, person=None if role == "channel" else role
            )[1]
            for role in ROLES
        }
        app = create_app(hub, doors=doors(tmp_path))
        with answering(app) as base, httpx2.Client(base_url=base, timeout=30) as client:
            yield Served(hub, base, keys, client, app)


@pytest.fixture
def shop(served: Served) -> Served:
    """The same with the sources `shop` and `mail` registered."""
    for name in ("shop", "mail"):
        served.done({"command": "register_source", "name": name, "trust": 0.7}, role="admin")
    return served

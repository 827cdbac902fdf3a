"""The libraries themselves, as a shop would run them, against a server: what they say is recorded, once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy, which
from typing import Any

import pytest
import rudderstack.analytics.client as rudder
import segment.analytics.client as segment
from rudderstack.analytics import request as rudder_requests
from segment.analytics import request as segment_requests
from starlette.types import Message, Receive, Scope, Send

from tests.adapters.conftest import Served, answering
from tests.adapters.test_segment_door import DOOR, timeline, types, waiting

NODE = Path(__file__).parent / "node"


@pytest.fixture(autouse=True)
def sessions() -> Iterator[None]:
    yield
    for each in (segment_requests, rudder_requests):
        each._session.close()


class Faltering:
    """The application behind a proxy that loses so many answers: what was asked is done, and answered 503."""

    def __init__(self, app: Any, losses: int) -> None:
        self._app, self.state, self.losses = app, app.state, losses
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if self.asked > self.losses:
            await self._app(scope, receive, send)
            return

        async def lost(message: Message) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200
                message = {**message, "status": 503, "headers": [(b"retry-after", b"1")]}
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, lost)


@contextmanager
def faltering(shop: Served, losses: int) -> Iterator[tuple[str, Faltering]]:
    proxy = Faltering(shop.app, losses)
    with answering(proxy) as base:  # type: ignore[arg-type]  # A server runs whatever is an ASGI application.
        yield base, proxy


def told_by_segment(host: str, key: str, **options: Any) -> list[Any]:
    errors: list[Any] = []
    client = segment.Client(key, host=host, on_error=lambda error, _: errors.append(error), **options)
    client.identify("u-1", {"email": "anna@example.org", "birthday": "1990-05-17"})
    client.track("u-1", "Order Completed", {"order_id": "A-1", "total": 1999.5}, anonymous_id="anon-7")
    client.page("u-1", "Docs", "Python", {"url": "http://x"})
    client.screen("u-1", "App", "Home")
    client.group("u-1", "g-9", {"name": "Initech"})
    client.alias("anon-7", "u-1")
    client.track(anonymous_id="anon-7", event="Cart Viewed")
    client.shutdown()
    return errors


def told_by_rudder(host: str, key: str, **options: Any) -> list[Any]:
    errors: list[Any] = []
    client = rudder.Client(key, host=host, on_error=lambda error, _: errors.append(error), **options)
    client.identify("u-1", {"email": "anna@example.org", "birthday": "1990-05-17"})
    client.track("u-1", "Order Completed", {"order_id": "A-1", "total": 1999.5}, anonymous_id="anon-7")
    client.page("u-1", "Docs", "Python", {"url": "http://x"})
    client.screen("u-1", "App", "Home")
    client.group("u-1", "g-9", {"name": "Initech"})
    client.alias("anon-7", "u-1")
    client.track(anonymous_id="anon-7", event="Cart Viewed")
    client.shutdown()
    return errors


KINDS = ["order_completed", "page", "screen", "group", "alias"]
LIBRARIES: dict[str, tuple[Callable[..., list[Any]], dict[str, Any]]] = {
    "segment": (told_by_segment, {}),
    "segment, zipped": (told_by_segment, {"gzip": True}),
    "rudder, zipped": (told_by_rudder, {"gzip": True}),
    "rudder": (told_by_rudder, {"gzip": False}),
}


def all_is_there(shop: Served) -> None:
    assert waiting(shop) == []
    assert [each["kind"] for each in timeline(shop, "u-1")] == KINDS
    assert [each["kind"] for each in timeline(shop, "anonymous:anon-7")] == ["cart_viewed"]
    sought = {"identifiers": {"cookie": "anon-7"}}
    holders = shop.ask("operator", "POST", "/v1/customers/find", json=sought).json()["items"]
    assert len(holders) == 2
    (user,) = shop.ask("operator", "POST", "/v1/customers/find", json={"source": "shop", "key": "u-1"}).json()["items"]
    facts = shop.get(f"/v1/customers/{user['record']}").json()["facts"]
    assert (facts["email"]["value"], facts["birth_date"]["value"]) == ("anna@example.org", "1990-05-17")
    (group,) = shop.ask("operator", "POST", "/v1/customers/find", json={"source": "shop", "key": "group:g-9"}).json()[
        "items"
    ]
    card = shop.get(f"/v1/customers/{group['record']}").json()
    assert (card["party"], card["facts"]["organisation_name"]["value"]) == ("organisation", "Initech")
    assert types(shop).count("touch_recorded") == 6


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_library_says_is_recorded(shop: Served, library: str) -> None:
    tell, options = LIBRARIES[library]
    assert tell(f"{shop.base}{DOOR}", shop.keys["channel"], **options) == []
    all_is_there(shop)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_sends_again_after_a_503_has_nothing_written_twice(shop: Served, library: str) -> None:
    tell, options = LIBRARIES[library]
    with faltering(shop, 2) as (base, proxy):
        assert tell(f"{base}{DOOR}", shop.keys["channel"], **options) == []
        assert proxy.asked >= 3
    all_is_there(shop)


@pytest.mark.parametrize("library", ["segment"])
def test_a_wrong_key_is_told_to_the_library(shop: Served, library: str) -> None:
    tell, options = LIBRARIES[library]
    errors = tell(f"{shop.base}{DOOR}", "hub_x_y", **options)
    assert {each.status for each in errors} == {401}
    assert types(shop) == []


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the libraries for node, of exactly these versions."""
    if which("node") is None or which("npm") is None:
        pytest.skip("node and npm are not there")
    folder = tmp_path_factory.mktemp("node")
    for each in NODE.iterdir():
        copy(each, folder)
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        pytest.skip("the libraries for node did not arrive in time")
    if installed.returncode:
        pytest.skip(f"the libraries for node cannot be had: {installed.stderr.strip()[-200:]}")
    return folder


@pytest.mark.parametrize("losses", [0, 1])
def test_what_the_libraries_for_node_say_is_recorded_once(shop: Served, node: Path, losses: int) -> None:
    with faltering(shop, losses) as (base, _):
        command = ["node", "send.mjs", base, shop.keys["channel"]]
        done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert waiting(shop) == []
    assert [each["kind"] for each in timeline(shop, "n-1")] == ["order_completed", "page", "group", "alias"]
    assert [each["kind"] for each in timeline(shop, "anonymous:anon-7")] == ["cart_viewed"]
    assert sorted(each["kind"] for each in timeline(shop, "r-1")) == ["order_completed", "screen"]

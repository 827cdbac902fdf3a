"""What was answered is let go at once: the collector of cycles runs seldom, and a slice is a thousand objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hub.errors import HubError
from hub.slice import Asked, Slice
from hub.wiring import Hub
from tests.support.hubs import many, source, touch

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as hub:
        hub.do(source("shop"))
        yield hub


def held() -> int:
    return sum(isinstance(each, Asked | Slice) for each in gc.get_objects())


@contextmanager
def nothing_left() -> Iterator[None]:
    """Of commands and slices, without the collector; but the counter's thread holds on to its last."""
    gc.collect()
    gc.disable()
    try:
        before = held()
        yield
        assert held() <= before
    finally:
        gc.enable()


def touches(count: int = 20) -> list[dict[str, Any]]:
    return [touch(str(n % 7), id=f"t-{n}") for n in range(count)]


def test_commands_that_were_answered_before(hub: Hub) -> None:
    many(hub, *touches())
    with nothing_left():
        for _ in range(3):
            assert all(answer["replayed"] for answer in many(hub, *touches()))


def test_commands_that_were_refused(hub: Hub) -> None:
    unknown = {"command": "merge_customers", "customers": [NOBODY, NOBODY.replace("7", "6")]}
    invalid = {"command": "no_such"}
    with nothing_left():
        for _ in range(3):
            answers = list(hub.do_many([*touches(), unknown, invalid]))
            assert [isinstance(answer, HubError) for answer in answers[-2:]] == [True, True]


def test_single_commands_that_were_refused(hub: Hub) -> None:
    with nothing_left():
        for _ in range(20):
            with suppress(HubError):
                hub.do({"command": "retract_fact", "customer": NOBODY, "attribute": "city"})


def test_commands_that_met_each_other(hub: Hub) -> None:
    def told(n: int) -> None:
        many(hub, *({**each, "id": f"{n}-{each['id']}", "facts": {"city": f"Тверь {n}"}} for each in touches()))

    with ThreadPoolExecutor(4) as pool, nothing_left():
        list(pool.map(told, range(12)))

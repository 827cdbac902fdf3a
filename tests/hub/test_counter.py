"""The counter: commands that come one by one share slices, and what was accepted is answered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub import Hub
from hub.counter import Counter
from hub.desk import Desk
from hub.errors import Busy


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as opened:
        opened.do({"command": "register_source", "name": "shop"})
        yield opened


def touch(n: int) -> dict[str, Any]:
    return {"command": "record_touch", "source": "shop", "key": str(n), "channel": "shop", "id": f"c-{n}"}


def test_what_was_accepted_is_answered_though_the_counter_closes(hub: Hub) -> None:
    counter = Counter(hub.desk)
    futures = [counter.submit(hub.intake.accept(hub.local, touch(n))) for n in range(600)]
    counter.close()
    assert len({future.result(0)["position"] for future in futures}) == 600
    with pytest.raises(Busy):
        counter.submit(hub.intake.accept(hub.local, touch(1)))
    counter.close()


def test_many_askers_share_few_slices(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    honest = Desk.begin

    def counted(desk: Desk, asked: Any, before: Any = None) -> Any:
        sizes.append(len(asked))
        return honest(desk, asked, before)

    monkeypatch.setattr(Desk, "begin", counted)
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(hub.do, map(touch, range(640))))
    assert sum(sizes) == 640
    assert len(sizes) < 320


def test_who_went_away_before_being_served_is_not_served(hub: Hub) -> None:
    counter = Counter(hub.desk)
    futures = [counter.submit(hub.intake.accept(hub.local, touch(n))) for n in range(400)]
    gone = [future for future in futures[200:] if future.cancel()]
    counter.close()
    assert gone
    assert all(future.result(0)["position"] for future in futures if future not in gone)


def test_there_is_room_for_so_many_only(hub: Hub) -> None:
    counter = Counter(hub.desk, room=1)
    refused = 0
    for n in range(50):
        try:
            counter.submit(hub.intake.accept(hub.local, touch(n)))
        except Busy:
            refused += 1
    counter.close()
    assert refused

"""Nobody asks faster than it may, and nobody pays for another."""

from __future__ import annotations

import json

from adapters.api.rates import BURST, Rates
from tests.adapters.conftest import Served, touch


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def slow(served: Served, a_second: int) -> Clock:
    """From now on this is the rate, and time goes by only when it is told to."""
    clock = Clock()
    served.app.state.rates = Rates(a_second, clock)
    return clock


def test_a_burst_is_answered_and_then_so_many_a_second() -> None:
    clock = Clock()
    rates = Rates(10, clock)
    burst = int(10 * BURST)
    assert [rates.ask("a") for _ in range(burst)] == [0.0] * burst
    assert 0 < rates.ask("a") <= 0.1
    assert rates.ask("b") == 0.0
    clock.now += 0.5
    assert [rates.ask("a") for _ in range(5)] == [0.0] * 5
    assert rates.ask("a") > 0
    clock.now += 3600
    assert [rates.ask("a") for _ in range(burst)] == [0.0] * burst
    assert rates.ask("a") > 0


def test_what_is_charged_is_owed() -> None:
    clock = Clock()
    rates = Rates(10, clock)
    for _ in range(int(10 * BURST) + 30):
        owed = rates.charge("a")
    assert round(owed, 6) == 4.0
    assert rates.ask("a") > 3
    clock.now += 3.1
    assert rates.ask("a") == 0.0


def test_a_batch_that_goes_as_fast_as_it_may_leaves_room_for_what_is_asked_meanwhile() -> None:
    clock = Clock()
    rates = Rates(10, clock)
    for _ in range(100):
        clock.now += rates.charge("a")
    assert [rates.ask("a") for _ in range(9)] == [0.0] * 9


def test_who_asks_too_fast_is_told_when_to_come_again(shop: Served) -> None:
    clock = slow(shop, 1)
    statuses = [shop.do(touch("1")).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    head = shop.hub.head()
    for language, title in (("en", "Too many requests"), ("ru", "Слишком много запросов")):
        answer = shop.do(touch("1"), headers={"Accept-Language": language})
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["type"] == "/problems/too-many-requests"
        assert answer.json()["title"] == title
    assert shop.hub.head() == head
    assert shop.get("/v1/read-models", role="operator").status_code == 200, "another principal is none the worse"
    clock.now += 1
    assert shop.do(touch("1")).status_code == 200


def test_all_keys_of_one_principal_share_its_rate(shop: Served) -> None:
    _, other = shop.hub.principals.make("channel", source="shop")
    slow(shop, 1)
    assert [shop.do(touch("1")).status_code for _ in range(2)] == [200, 200]
    answer = shop.client.post("/v1/commands", json=touch("1"), headers={"Authorization": f"Bearer {other}"})
    assert answer.status_code == 429


def test_lines_of_a_batch_count_and_none_is_lost(shop: Served) -> None:
    slow(shop, 10)
    lines = "\n".join(json.dumps(touch("1")) for _ in range(13)).encode()
    answer = shop.ask(
        "channel",
        "POST",
        "/v1/commands/batch",
        content=lines,
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert [json.loads(line)["status"] for line in answer.text.splitlines()] == [200] * 13
    assert [shop.do(touch("1")).status_code for _ in range(8)] == [200] * 7 + [429]


def test_how_the_hub_is_may_always_be_asked(served: Served) -> None:
    slow(served, 1)
    for _ in range(5):
        served.get("/v1/read-models")
    assert served.get("/v1/read-models").status_code == 429
    assert [served.get("/v1/status").status_code for _ in range(10)] == [200] * 10

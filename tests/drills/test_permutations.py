"""Everything is sent two to five times, in eight streams at once, in any order: it ends as if said once, in order.

What is compared of each record, by its key: its card (party; every fact's value, source, trust and times; identifiers
and whose they are, too; the counts of touches and when the first and last happened), its timeline with what was said,
its contacts, and what of it is in quarantine. Left out are ids, positions, and when something was recorded, a record
opened or an item set aside: these tell the order of arrival.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub.wiring import Hub
from projections.contacts import contacts_of
from projections.quarantine import quarantined
from projections.timeline import timeline_of
from tests.drills.support import PATIENCE, Answer, Books, Caller, Command, drill, register, touch
from tests.support.database import SharedServer
from tests.support.serving import Server

STREAMS, LINES = 8, 100
ARRIVAL = {"event", "position", "record", "contact", "item", "customer"} | {
    "opened_at", "recorded_at", "set_aside_at", "age_days", "expires_at",
}  # fmt: skip
START = datetime(2026, 3, 1, tzinfo=UTC)


def told(n: int, keys: int) -> Command:
    """The nth touch, a minute after the one before. Neighbours in time speak of one record, and share a phone."""
    said = touch("", n) | {"key": str(n // 10 % keys), "occurred_at": (START + timedelta(minutes=n)).isoformat()}
    if n % 10 == 3:
        said["identifiers"] = {"phone": f"+7916{n // 20:07d}"}
    if n % 10 == 4:
        said["facts"] = {"birth_date": "1985-02-30", "last_name": f"Фамилия {n}"}
    return said


def send(server: Server, key: str, commands: Sequence[Command]) -> list[tuple[Command, Answer]]:
    """Every command with its answer; what is told to come again does, with all that follows."""
    answered: list[tuple[Command, Answer]] = []
    left, deadline = list(commands), time.monotonic() + PATIENCE
    with Caller([server], key) as caller:
        while left:
            assert time.monotonic() < deadline
            pairs = list(zip(left, caller.send(left[:LINES]), strict=False))
            answered += [pair for pair in pairs if pair[1]["status"] == 200]
            left = [command for command, answer in pairs if answer["status"] != 200] + left[LINES:]
    return answered


def seen(hub: Hub, records: Mapping[str, str]) -> dict[str, Any]:
    """What the hub answers about each of these records, by key."""
    keys = {record: key for key, record in records.items()}

    def blind(value: Any) -> Any:
        """Without what tells the order of arrival; records by their keys, and in the order of these."""
        if isinstance(value, dict):
            return {name: blind(part) for name, part in value.items() if name not in ARRIVAL}
        if isinstance(value, list):
            return sorted((blind(part) for part in value), key=repr)
        return keys.get(value, value) if isinstance(value, str) else value

    found: dict[str, Any] = {}
    with hub.view() as view:
        waiting = quarantined(view, 100_000)["items"]
        for key, record in records.items():
            questions = (hub.card(record), timeline_of(view, record, limit=10_000), contacts_of(view, record, 10_000))
            found[key] = [
                *(blind(answer) for answer in questions),
                blind([each for each in waiting if each["record"] == record]),
            ]
    return found


@pytest.mark.parametrize(("touches", "keys"), [(120, 6), pytest.param(10_000, 200, marks=pytest.mark.drill)])
def test_repetition_and_order_leave_no_trace(folder: Path, postgres: SharedServer, touches: int, keys: int) -> None:
    random = Random(touches)
    said = [told(n, keys) for n in range(touches)]
    copies = [each for each in said for _ in range(random.randint(2, 5))]
    random.shuffle(copies)
    ends, lines = [], []
    for name, streams in (("once, in order", [said]), ("repeated, in any order", [copies[n::8] for n in range(8)])):
        data, books = folder / name.partition(",")[0], Books()
        with ExitStack() as stack, drill(name, 1) as line:
            url = stack.enter_context(postgres.database())
            server = Server(data, url)
            server.start()
            stack.callback(server.end)
            key = server.key("operator")
            register(server, server.key("admin"))
            with ThreadPoolExecutor(STREAMS) as threads:
                pairs = list(chain(*threads.map(send, repeat(server), repeat(key), streams)))
            first = {command["id"]: answer for command, answer in pairs if not answer["replayed"]}
            assert len(first) == touches == sum(not answer["replayed"] for _, answer in pairs)
            assert all(answer == {**first[command["id"]], "replayed": answer["replayed"]} for command, answer in pairs)
            books.ask_again([server], key, [(command, first[command["id"]]) for command in said])
            line.acknowledged, line.asked_again = len(pairs), len(pairs) - touches
            line.settle(books.reckon(data, url))
            with Hub.open(url, data, follow=False) as hub:
                ends.append(seen(hub, {command["key"]: first[command["id"]]["record"] for command in said}))
        lines.append(line)
    assert all(line.clean for line in lines), lines
    in_order, shuffled = ends
    assert len(in_order) == keys
    for key, expected in in_order.items():
        assert shuffled[key] == expected

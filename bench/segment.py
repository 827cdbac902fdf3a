"""The door for Segment's libraries against `/v1/commands/batch`, on the same touches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from adapters.inbound.segment import translate
from bench.served import batch, command, folder, load, serving
from bench.support import Figure, figure

TOUCHES = 20_000
TOGETHER = 100  # As the libraries send them, …
SENDERS = 8  # … and so many of them at once; the yardstick is one stream.
ROUNDS = 3
PATH = "/v1/channels/segment/v1/batch"


def items(first: int, count: int) -> Iterator[dict[str, Any]]:
    for n in range(first, first + count):
        yield {
            "type": "track",
            "event": "Order Completed",
            "userId": f"{n % 5000}",
            "anonymousId": None,
            "messageId": f"visit-{n}",
            "timestamp": "2026-03-01T10:00:00.000Z",
            "properties": {"amount": n % 997, "items": n % 7},
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
            "integrations": {},
        }


def figures() -> list[Figure]:
    through_the_door, as_commands = [], []
    with folder() as data, serving(data, HUB_RATE="1000000") as served:

        def door(first: int) -> float:
            told = list(items(first, TOUCHES))
            bodies = (
                orjson.dumps({"batch": told[n : n + TOGETHER], "sentAt": "2026-03-01T10:00:01.000Z"})
                for n in range(0, TOUCHES, TOGETHER)
            )
            return TOGETHER * load(served.port, [command(served.channel, each, PATH) for each in bodies], SENDERS)[0]

        def commands(first: int) -> float:
            now = datetime.now(UTC)
            lines = [orjson.dumps(each) for item in items(first, TOUCHES) for each in translate(item, "", now)]
            return batch(served.port, served.channel, iter(lines))

        door(-TOUCHES)
        for n in range(ROUNDS):
            through_the_door.append(door(2 * n * TOUCHES))
            as_commands.append(commands((2 * n + 1) * TOUCHES))
    return [figure("touches through Segment's door, against a batch", through_the_door, as_commands, "/s", 0.6)]

"""The log against a plain model: several writers, conditions near and far, predecessors, receipts, lost connections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from hub.database import connect
from hub.errors import Conflict
from hub.log import recent, wire
from hub.log.append import AlreadyAnswered, Append, Appended, Writer
from hub.log.read import EventTypes
from hub.log.recent import Item
from hub.log.recorder import LogRecorder, number_of
from tests.hub.log.entries import prepared, receipt

TAGS = ["a", "b", "c"]
some_tags = st.lists(st.sampled_from(TAGS), max_size=3, unique=True)
an_event = st.tuples(
    some_tags, st.sampled_from([1, 2]), st.lists(st.sampled_from([b"s" * 16, b"t" * 16]), max_size=2, unique=True)
)
an_item = st.tuples(
    some_tags, st.one_of(st.none(), st.sets(st.sampled_from([1, 2]), min_size=1, max_size=2)), st.booleans()
)
steps = st.fixed_dictionaries({
    "writer": st.integers(0, 1),
    "events": st.lists(an_event, max_size=3),
    "items": st.lists(an_item, max_size=3),
    "back": st.one_of(st.none(), st.integers(0, 6)),  # How far before the head the condition begins; None: at zero.
    "builds_on": st.booleans(),  # On the append before, of the same writer, whatever becomes of it.
    "receipt": st.one_of(st.none(), st.integers(0, 4)),
    "waits": st.booleans(),  # Else it is submitted beside the next ones.
    "dies": st.booleans(),  # The writer's connection, before this append.
})  # fmt: skip


@dataclass
class Plain:
    """What the log must be: a list."""

    events: list[tuple[set[bytes], int]] = field(default_factory=list)  # tags, type
    receipts: set[int] = field(default_factory=set)

    def matched(self, items: list[Item], after: int, spared: list[range]) -> set[int]:
        return {
            n
            for n, item in enumerate(items)
            for position, (tags, type) in enumerate(self.events, 1)
            if position > after
            and not any(position in places for places in spared)
            and set(item.tags) <= tags
            and (item.types is None or type in item.types)
        }


@dataclass
class Lab:
    """Two writers on one log of a name of its own."""

    url: str
    writers: list[Writer]
    log: int

    def stored(self, connection: Connection[Any]) -> list[tuple[int, set[bytes], int, int]]:
        tags: dict[int, set[bytes]] = {}
        for position, tag in connection.execute("SELECT position, tag FROM tag WHERE log = %s", (self.log,)):
            tags.setdefault(position, set()).add(tag.bytes)
        rows = connection.execute(
            "SELECT position, type, recorded_at FROM event WHERE log = %s ORDER BY position", (self.log,)
        )
        return [(position, tags.get(position, set()), type, at) for position, type, at in rows]


story = count()


@pytest.fixture
def writers(database_url: str) -> Iterator[list[Writer]]:
    with ExitStack() as stack:
        made = [Writer(lambda: connect(database_url)) for _ in range(2)]
        for each in made:
            stack.callback(each.close)
        yield made


@pytest.mark.parametrize("kept", [50_000, 2])
@given(history=st.lists(steps, min_size=2, max_size=14))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_log_is_what_a_plain_list_would_be(
    database_url: str, writers: list[Writer], connection: Connection[Any], kept: int, history: list[dict[str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "EVENTS_KEPT", kept)
        tell(Lab(database_url, writers, number_of(connection, f"log {next(story)}")), connection, history)


def tell(lab: Lab, connection: Connection[Any], history: list[dict[str, Any]]) -> None:
    """Submit it all, then let the positions say in which order it was decided, and decide it again in plain."""
    appends: list[Append] = []
    asked: list[tuple[dict[str, Any], list[Item], int | None, list[Append], int]] = []
    last: dict[int, Append] = {}
    tale = next(story)
    for step in history:
        writer = lab.writers[step["writer"]]
        if step["dies"]:
            wait([each.done for each in appends])
            if writer._connection is not None:
                writer._connection.pgconn.finish()
        head = max((each.placed.stop - 1 for each in appends if each.done.done() and each.placed), default=0)
        items = [
            Item(
                None if types is None else frozenset(types), (*map(wire.tag_of, tags), *([b"s" * 16] if sealed else []))
            )
            for tags, types, sealed in step["items"]
        ]
        after = None if step["back"] is None else max(0, head - step["back"])
        built = [last[step["writer"]]] if step["builds_on"] and step["writer"] in last else []
        number = step["receipt"]
        made = Append(
            lab.log,
            [prepared(*tags, type=type, sealed=sealed) for tags, type, sealed in step["events"]],
            items,
            after,
            built,
            receipts=[] if number is None else [receipt(f"{tale}.{number}".encode(), len(step["events"]))],
        )
        writer.submit(made)
        appends.append(made)
        asked.append((step, items, after, built, len(appends) - 1))
        last[step["writer"]] = made
        if step["waits"]:
            wait([made.done])
    wait([each.done for each in appends], timeout=30)
    check(lab, connection, appends, asked)


def check(lab: Lab, connection: Connection[Any], appends: list[Append], asked: list[Any]) -> None:
    stored = lab.stored(connection)
    assert [position for position, *_ in stored] == list(range(1, len(stored) + 1))
    times = [at for *_, at in stored]
    assert times == sorted(times)
    plain = Plain([(tags, type) for _, tags, type, _ in stored])
    placed = 0
    receipts: set[int] = set()
    for step, items, after, built, n in asked:
        append, error = appends[n], appends[n].done.exception()
        spared = [each.placed for each in built if each.placed is not None]
        refused_before = any(each.placed is None for each in built)
        if error is None:
            answer = append.done.result()
            assert isinstance(answer, Appended)
            assert append.placed == range(answer.first, answer.head + 1)
            said = [({*map(wire.tag_of, tags), *sealed}, type) for tags, type, sealed in step["events"]]
            assert plain.events[answer.first - 1 : answer.head] == said
            placed += len(said)
            # Nothing that stood before it when it went in matched its condition.
            before = Plain(plain.events[: answer.first - 1])
            assert before.matched(items, after or 0, spared) == set()
            assert not refused_before
            assert step["receipt"] not in receipts
            if step["receipt"] is not None:
                receipts.add(step["receipt"])
        elif isinstance(error, Conflict):
            assert append.placed is None
            if refused_before:
                assert error.matched == set(range(max(1, len(items))))
            else:
                assert error.matched
                assert error.matched <= plain.matched(items, after or 0, spared)
        else:
            assert isinstance(error, AlreadyAnswered)
            assert append.placed is None
            assert step["receipt"] is not None
    assert placed == len(stored), "nothing lost, nothing doubled"
    answered = {step["receipt"] for step, *_, n in asked if isinstance(appends[n].done.exception(), AlreadyAnswered)}
    assert answered <= receipts


@given(
    events=st.lists(an_event, max_size=12),
    items=st.lists(an_item, max_size=3),
    after=st.integers(0, 12),
    limit=st.one_of(st.none(), st.integers(0, 6)),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_recorder_reads_what_a_plain_list_would_give(
    database_url: str,
    connection: Connection[Any],
    writers: list[Writer],
    events: Any,
    items: Any,
    after: int,
    limit: Any,
) -> None:
    from eventsourcing.dcb.api import DCBEvent, DCBQuery, DCBQueryItem
    from eventsourcing.dcb.popo import InMemoryDCBRecorder

    types = EventTypes(lambda: connect(database_url))
    ours = LogRecorder(
        f"app {next(story)}", writers[0], types, lambda: connect(database_url), lambda: connect(database_url)
    )
    theirs = InMemoryDCBRecorder()
    for tags, type, _ in events:
        for recorder in (ours, theirs):
            recorder.append([DCBEvent(f"type{type}", b"data", list(tags))])
    query = DCBQuery([DCBQueryItem([f"type{n}" for n in sorted(of or ())], list(tags)) for tags, of, _ in items])
    mine, plain = (each.read(query, after=after, limit=limit) for each in (ours, theirs))
    assert mine.head == plain.head
    assert list(mine) == list(plain)

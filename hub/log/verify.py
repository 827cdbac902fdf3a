"""Whether the log is what was appended: everything that can be computed again from the stored bytes is.

First the events of each log, in order: positions without gaps, times that never go back, types that are known, leaves,
and the seals beside them against the digests in the events. Then the keys of records, each of which must unwrap. Then
the tag index, block by block as it lies in the table, against the tags of the events; what is missing from it shows in
sums, one for some thousand positions, which then do not come out.

A page at a time, each in a snapshot of its own, so that nothing but those sums is held, and whatever runs goes on.
What this cannot see: an event whose leaf was made anew as well, and a log cut off at its end together with all that
belongs to it. Against these helps only what somebody kept elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import orjson
from psycopg import Connection

from hub.database import load_queries
from hub.events.base import ENVELOPE_VERSION, Vocabulary, uuid_text
from hub.guards import guards
from hub.log.mark import Fault, Mark
from hub.log.read import uuids
from hub.log.wire import leaf_of, prepare, tag_of
from hub.vault import Vault

SQL = load_queries(__file__)
OWN = frozenset({"main", "reads"})  # Logs whose bytes are the hub's own; those of others are opaque.
PAGE = 4_000  # Events.
KEYS = 10_000
BLOCKS = 256  # Of the tag table, some 33,000 rows.
BUCKET = 12  # A sum for 4,096 positions.
_MOST = 1 << 63

Connections = Callable[[], AbstractContextManager[Connection[Any]]]
Seals = dict[int, dict[int, tuple[str, int, str]]]  # Position -> number -> record, class, digest.


class Verification:
    """One pass over everything, in one run or several."""

    def __init__(
        self, connections: Connections, vocabulary: Vocabulary, vault: Vault, mark: Mark | None = None
    ) -> None:
        self._connections, self._vocabulary, self._vault = connections, vocabulary, vault
        self.mark = mark or Mark()
        self.complete = False
        self.events = self.seals = self.tags = 0  # Verified in this run.

    @property
    def faults(self) -> Counter[str]:
        """By kind, those of this pass and of the one before: a fault is over when a whole pass does not find it."""
        return Counter(self.mark.faults) | Counter(self.mark.before)

    def run(self, seconds: float | None = None) -> Iterator[Fault | None]:
        """Every fault, and None after each page. Ends when all is through, or after so many seconds; see `complete`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for n, page in enumerate(self._pages()):
            yield from page
            yield None
            if n and not self.complete and deadline is not None and time.monotonic() >= deadline:
                return  # Not before something was verified, so that every run comes further.

    def _pages(self) -> Iterator[list[Fault]]:
        with self._snapshot() as connection:
            logs: dict[int, str] = dict(connection.execute(SQL["logs"]).fetchall())
            breaches = guards(connection).breaches
        self.mark.before.pop("guard", None)
        self.mark.faults.pop("guard", None)  # Each run asks for all of them.
        yield self._counted([Fault("guard", detail=each) for each in breaches])
        for log, name in logs.items():
            while log not in self.mark.done:
                yield self._counted(self._events(log, name))
        while self.mark.record is not None:
            yield self._counted(self._keys(self.mark.record))
        while self.mark.blocks is None or self.mark.block < self.mark.blocks:
            yield self._counted(self._index(logs))
        for log, sums in self.mark.sums.items():
            for bucket in [bucket for bucket, left in sums.items() if left]:
                faults = self._missing(log, logs[log], bucket)
                sums[bucket] = 0
                yield self._counted(faults)
        self.mark, self.complete = Mark(before=self.mark.faults), True
        yield []

    def _counted(self, page: list[Fault]) -> list[Fault]:
        """A page's faults, kept before anybody hears of them, who may stop there."""
        self.mark.faults = dict(Counter(self.mark.faults) + Counter(each.kind for each in page))
        return page

    def _events(self, log: int, name: str) -> list[Fault]:
        """The next page of a log's events, and the seals at their positions."""
        faults: list[Fault] = []
        after = self.mark.heads.get(log, 0)
        with self._snapshot() as connection:
            types: dict[int, str] = dict(connection.execute(SQL["types"]).fetchall())
            rows = connection.execute(SQL["events"], (log, after, PAGE), binary=True).fetchall()
            end = rows[-1][0] if len(rows) == PAGE else _MOST - 1  # Beyond the last event there may be seals.
            seals = connection.execute(SQL["seals"], (log, after, end), binary=True).fetchall()
            sealed_tags = connection.execute(SQL["sealed_tags"], (log, after, end), binary=True).fetchall()
            before = connection.execute(SQL["before"], (log, after)).fetchone()
            last, pointers = before[0] if before else -_MOST, Seals()
            sums = Counter[int]()
            for position, id, type, recorded_at, tags, data, leaf in rows:
                if position != after + 1:
                    faults.append(Fault("gap", name, after + 1, f"the next is {position}"))
                after = position
                if recorded_at < last:
                    faults.append(Fault("time", name, position, "earlier than its predecessor"))
                last = recorded_at
                if (kind := types.get(type)) is None:
                    faults.append(Fault("type", name, position, f"number {type} has no name"))
                event = prepare(id, type, kind or "", tags, data)
                if leaf != leaf_of(position, recorded_at, event.inner):
                    faults.append(Fault("leaf", name, position))
                pointers[position] = {}
                if name in OWN:
                    pointers[position], flaws = self._read(name, position, kind, data)
                    faults.extend(flaws)
                if event.tags:
                    bucket = position >> BUCKET
                    sums[bucket] += _sum(position, event.tags)
            faults.extend(_seal_faults(name, pointers, seals, sealed_tags))
            there = {row[:2] for row in seals}
            named = {(place, n): whose[:2] for place, of in pointers.items() for n, whose in of.items()}
            gone = {each: whose for each, whose in named.items() if each not in there}
            if gone:
                faults.extend(_missing_seals(connection, (log, name), gone, {row[0]: row for row in rows}))
        self.events += len(rows)
        self.seals += len(seals)
        self.mark.heads[log] = after
        for bucket, left in sums.items():  # Now that the page is through.
            held = self.mark.sums.setdefault(log, {})
            held[bucket] = held.get(bucket, 0) + left
        if len(rows) < PAGE:
            self.mark.done.append(log)
        return faults

    def _read(
        self, log: str, position: int, type: str | None, data: bytes
    ) -> tuple[dict[int, tuple[str, int, str]], list[Fault]]:
        """The seals an event names, and whether this release knows its shape."""
        try:
            stored = orjson.loads(data)
            known = self._vocabulary.types.get(type or "")
            wrong = known is None or stored["v"] != ENVELOPE_VERSION or stored["schema"] > known.schema_version
            faults = [Fault("type", log, position, f"{type}, schema {stored['schema']}, is not known")] if wrong else []
            return {s["n"]: (s["record"], s["class"], s["digest"]) for s in stored.get("seals", ())}, faults
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}, [Fault("shape", log, position, "its bytes are no event")]

    def _keys(self, after: str) -> list[Fault]:
        """The next keys of records: whether they can be unwrapped. A destroyed one need not be."""
        with self._snapshot() as connection:
            rows = connection.execute(SQL["keys"], (after, KEYS), binary=True).fetchall()
        self.mark.record = rows[-1][0] if len(rows) >= KEYS else None
        return [
            Fault("key_damaged", detail=f"record {record}, class {retention}, key {number}")
            for record, retention, number, epoch, wrapped in rows
            if self._vault.is_damaged(record, retention, number, epoch, wrapped)
        ]

    def _index(self, logs: Mapping[int, str]) -> list[Fault]:
        """The next blocks of the tag table against the events they belong to."""
        faults: list[Fault] = []
        block = self.mark.block
        with self._snapshot() as connection:
            if self.mark.blocks is None:
                (self.mark.blocks,) = connection.execute(SQL["blocks"]).fetchone() or (0,)
            rows = connection.execute(SQL["index"], (f"({block},0)", f"({block + BLOCKS},0)"), binary=True).fetchall()
            events: dict[int, dict[int, tuple[int, set[bytes]]]] = {}
            for log in {row[0] for row in rows}:
                places = list({row[1] for row in rows if row[0] == log})
                found = connection.execute(SQL["tagged"], (log, places), binary=True)
                events[log] = {place: (type, set(map(tag_of, tags))) for place, type, tags in found}
        for log, position, tag, type, seal in rows:
            name = logs.get(log, str(log))
            if (event := events[log].get(position)) is None:
                faults.append(Fault("tag_stray", name, position, "of no event"))
            elif type != event[0]:
                faults.append(Fault("tag_changed", name, position, "of another type than its event"))
            elif seal is None and tag not in event[1]:
                faults.append(Fault("tag_stray", name, position, "not of its event"))
            if seal is None and position <= self.mark.heads.get(log, 0) and event is not None and tag in event[1]:
                sums, bucket = self.mark.sums.setdefault(log, {}), position >> BUCKET
                sums[bucket] = sums.get(bucket, 0) - _sum(position, (tag,))
        self.tags += len(rows)
        self.mark.block += BLOCKS
        return faults

    def _missing(self, log: int, name: str, bucket: int) -> list[Fault]:
        """Which tags the index lacks or has too often, in a bucket whose sum did not come out."""
        places = [place for place in range(bucket << BUCKET, (bucket + 1) << BUCKET) if place <= self.mark.heads[log]]
        with self._snapshot() as connection:
            rows = connection.execute(SQL["tagged"], (log, places), binary=True).fetchall()
            wanted = Counter((place, tag_of(tag)) for place, _, tags in rows for tag in tags)
            asked = (log, [place for place, _ in wanted], uuids(tag for _, tag in wanted))
            found = connection.execute(SQL["found"], asked, binary=True).fetchall()
        return [
            Fault("tag_missing" if there < times else "tag_doubled", name, place)
            for ((place, _), times), (_, there) in zip(wanted.items(), found, strict=True)
            if there != times
        ]

    @contextmanager
    def _snapshot(self) -> Iterator[Connection[Any]]:
        with self._connections() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection


def _sum(position: int, tags: Iterable[bytes]) -> int:
    """What tags at a position add to their bucket: order does not count, and no tag passes for one elsewhere."""
    return (2 * position + 1) * sum([int.from_bytes(tag) for tag in tags])


def _seal_faults(
    log: str, named: Seals, seals: Iterable[Any], sealed_tags: Iterable[tuple[int, int]]
) -> Iterator[Fault]:
    """Seals that are not those their events name, and sealed tags that find none of those."""
    there = set[tuple[int, int]]()
    for position, n, record, retention, digest in seals:
        there.add((position, n))
        pointer = named.get(position, {}).get(n)
        if pointer is None:
            yield Fault("seal_stray", log, position, f"seal {n} is named by no event")
        elif pointer != (record, retention, digest):
            yield Fault("seal_changed", log, position, f"seal {n}")
    for position, n in sorted(set(sealed_tags)):
        if n not in named.get(position, {}):
            yield Fault("sealed_tag_stray", log, position, f"of seal {n}, which no event names")
        elif (position, n) not in there:
            yield Fault("sealed_tag_stray", log, position, f"of seal {n}, which is gone")


def _missing_seals(
    connection: Connection[Any],
    log: tuple[int, str],
    gone: Mapping[tuple[int, int], tuple[str, int]],
    events: Mapping[int, Any],
) -> Iterator[Fault]:
    """Seals that are gone although their key was not destroyed, nor names them the end of what they held.

    `gone` has the record and the retention class of each, by position and number.
    """
    erased = set(connection.execute(SQL["erased"], [*map(list, zip(*gone.values(), strict=True))]).fetchall())
    left = [each for each, whose in gone.items() if whose not in erased]
    set_aside = {item for place, _ in left for item in _set_aside(events[place][5])}
    asked = log[0], uuids(tag_of(f"quarantined:{item}") for item in set_aside)
    ends = connection.execute(SQL["let_go"], asked, binary=True)
    let_go = {seal for (data,) in ends for seal in _let_go(data)}
    for place, n in left:
        if (uuid_text(events[place][1]), n) not in let_go:
            yield Fault("seal_missing", log[1], place, f"seal {n}, whose key was not destroyed")


def _let_go(data: bytes) -> list[tuple[str, int]]:
    """The seals an event says it deleted; none where its bytes are no event, which is a fault of its own."""
    try:
        return [(id, n) for id, n in orjson.loads(data)["body"].get("unsealed", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _set_aside(data: bytes) -> list[str]:
    """The items of an event that wait for repair, or waited."""
    body = orjson.loads(data)["body"]
    return [body["item"]] if "item" in body else [each["item"] for each in body.get("quarantined", ())]

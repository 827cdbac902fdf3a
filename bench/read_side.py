"""The read side: how fast touches are folded into all read models, and how long a card takes."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from psycopg import Connection

from bench.support import Figure, timed
from hub.clock import fresh_id, now
from hub.database import connect
from hub.embedded import EmbeddedPostgres
from hub.events import (
    VOCABULARY,
    Channel,
    Contact,
    Envelope,
    Event,
    FactsStated,
    IdentifierStated,
    Instant,
    RecordOpened,
    SealPointer,
    SourceRegistered,
    TouchRecorded,
    encode,
    month_of,
)
from hub.events.base import uuid_bytes, uuid_text
from hub.keys import Fingerprints, KeyFile
from hub.log import wire
from hub.log.ahead import collector_at_rest
from hub.log.append import Append, Writer
from hub.log.read import MAIN, EventTypes, Reader
from hub.migrate import migrate
from hub.projector import BATCH, catch_up, wait
from hub.pump import Pump
from hub.vault import Vault
from hub.view import View
from projections import READ_MODELS
from projections.card import card_of
from projections.timeline import timeline_of

HOUSE = uuid_text(fresh_id())
YEAR = 365 * 86_400_000_000
CHANNELS: tuple[Channel, ...] = ("call", "email", "sms", "web", "messenger", "shop")
Told = tuple[Event, int, str, dict[str, Any], tuple[bytes, ...]]


class Filled:
    """A log full of people and their touches."""

    def __init__(self, url: str) -> None:
        keys = KeyFile.fresh()
        self.url = url
        self.fingerprint = Fingerprints(keys).of
        self.vault = Vault(keys, HOUSE)
        self.types = EventTypes(lambda: connect(url))
        self.types.ensure(VOCABULARY.types)
        self.reader = Reader(VOCABULARY, self.types, self.vault)
        self.writer = Writer(lambda: connect(url))
        self.records: list[str] = []
        self._keys: dict[str, Any] = {}

    def append(self, told: Iterator[Told], size: int = 1000) -> int:
        """Say all of it; answers the last position."""
        head, waiting = 0, None
        while slice := list(islice(told, size)):
            prepared, keys = [], []
            for event, when, record, secret, tags in slice:
                id = fresh_id()
                if record not in self._keys:
                    self._keys[record] = key = self.vault.make(record)
                    keys.append((uuid_bytes(record), 0, key.number, key.epoch, key.wrapped or b""))
                seal = self.vault.seal(self._keys[record], record, id, 0, secret)
                pointer = SealPointer(0, record, 0, seal.digest.hex())
                data = encode(event, Envelope(Instant(when), HOUSE, "channel", "shop"), (pointer,))
                name = event.stored_name
                prepared.append(
                    wire.prepare(
                        id,
                        self.types.number(name),
                        name,
                        tuple(event.tags()),
                        data,
                        sealed_tags=[(tag, 0) for tag in tags],
                        seals=[seal],
                    )
                )
            if waiting is not None:
                waiting.result()
            waiting = self.writer.submit(Append(MAIN, prepared, keys=keys))
        if waiting is not None:
            head = waiting.result().head
        return head

    def people(self, count: int) -> Iterator[Told]:
        start = now() - YEAR
        yield SourceRegistered(source="shop", trust="0.5"), start, HOUSE, {"title": "Shop"}, ()
        for n in range(count):
            record = uuid_text(fresh_id())
            self.records.append(record)
            opened = RecordOpened(record=record, source="shop", party="person")
            yield opened, start, record, {"key": str(n)}, (self.fingerprint("key", "shop", str(n)),)
            names = {"first_name": "Anna", "last_name": f"Ivanova {n}", "birth_date": "1980-02-03"}
            facts = FactsStated(record=record, attributes=tuple(names), clear={"city": "Kazan"})
            yield facts, start, record, {"facts": names}, ()
            for kind, value in (("phone", f"+7916{n:07}"), ("email", f"anna{n}@example.com")):
                stated = IdentifierStated(record=record, identifier=uuid_text(fresh_id()), kind=kind)
                secret = {"value": value, "normal": value}
                yield stated, start, record, secret, (self.fingerprint(kind, value),)

    def touches(self, count: int) -> Iterator[Told]:
        start, chance = now() - YEAR, random.Random(7)
        for n in range(count):
            record, when = chance.choice(self.records), start + YEAR * n // count
            channel = chance.choice(CHANNELS)
            contact = None
            if outgoing := chance.random() < 0.3:
                contact = Contact(
                    contact=uuid_text(fresh_id()),
                    record=record,
                    channel=channel,
                    at=Instant(when),
                    months=(month_of(Instant(when)),),
                    purpose="marketing",
                    campaign="spring",
                )
            touch = TouchRecorded(
                record=record,
                channel=channel,
                direction="out" if outgoing else "in",
                kind="order_question",
                purpose="marketing" if outgoing else "service",
                topic="delivery",
                campaign="spring" if outgoing else None,
                asks=not outgoing,
                data={"amount": n, "branch": "north"},
                contact=contact,
            )
            yield touch, when, record, {"content": {"text": "Where is my order? It was promised for today."}}, ()


def measure_pump(filled: Filled, head: int, events: int) -> float:
    """Events a second of a pump that starts `events` behind."""
    pump = Pump(lambda: connect(filled.url), filled.reader, READ_MODELS)
    started = time.perf_counter()
    pump.start()
    with connect(filled.url) as connection:
        wait(connection, head, timeout=600)
    rate = events / (time.perf_counter() - started)
    pump.stop()
    return rate


def where_the_time_goes(filled: Filled, head: int) -> str:
    """Microseconds of processor an event: reading and decoding, folding and packing, PostgreSQL's part."""
    with connect(filled.url, autocommit=True) as connection:
        empty(connection)
        began, position = time.process_time(), 0
        with collector_at_rest():
            while events := filled.reader.after(connection, position, BATCH):
                position = events[-1].position
        decoding = time.process_time() - began
        began, served = time.process_time(), processor_time(connection.info.backend_pid)
        catch_up(connection, filled.reader, READ_MODELS)
        folding = time.process_time() - began - decoding
        served = processor_time(connection.info.backend_pid) - served
    parts = {"decoding": decoding, "folding": folding, "PostgreSQL": served}
    return "   ".join(f"{name} {1e6 * spent / head:.0f} µs" for name, spent in parts.items())


def empty(connection: Connection[Any]) -> None:
    """Have everything folded from the beginning."""
    with connection.transaction():
        connection.execute("DELETE FROM read_model")
        connection.execute(f"TRUNCATE {', '.join(model.name for model in READ_MODELS)}".encode())


def processor_time(pid: int) -> float:
    """Seconds of processor a process has used; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_live(filled: Filled, seconds: float = 3.0) -> list[float]:
    """Milliseconds from a durable append of one touch until the read side shows it."""
    pump = Pump(lambda: connect(filled.url), filled.reader, READ_MODELS)
    pump.start()
    taken, end = [], time.monotonic() + seconds
    with connect(filled.url) as connection:
        while time.monotonic() < end:
            head = filled.append(filled.touches(1))
            started = time.perf_counter()
            wait(connection, head)
            taken.append(1000 * (time.perf_counter() - started))
    pump.stop()
    return sorted(taken[5:])


def measure(question: Any, ids: list[str]) -> list[float]:
    taken = []
    for id in ids:
        started = time.perf_counter()
        question(id)
        taken.append(1000 * (time.perf_counter() - started))
    return sorted(taken[20:])


def percentiles(taken: list[float]) -> str:
    return f"p50 {taken[len(taken) // 2]:6.2f} ms   p99 {taken[len(taken) * 99 // 100]:6.2f} ms"


def figures(events: int = 200_000, records: int = 20_000) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        try:
            migrate(url)
            return report(url, events, records)
        finally:
            server.stop()


def report(url: str, events: int, records: int) -> list[Figure]:
    filled = Filled(url)
    opened = filled.append(filled.people(records))
    with connect(url) as connection:
        seconds = timed(lambda: catch_up(connection, filled.reader, READ_MODELS))
        say("records, facts, identifiers", f"{opened / seconds:,.0f} events/s, one thread")
    head = filled.append(filled.touches(events))
    live = measure_pump(filled, head, events)
    with connect(url) as connection:
        empty(connection)
    say("all of it, from the beginning", f"{measure_pump(filled, head, head):,.0f} events/s")
    say("an event costs", where_the_time_goes(filled, head))
    shown = measure_live(filled)
    ids = random.Random(1).sample(filled.records, min(records, 2000))
    with connect(url, autocommit=True) as connection:
        view = View(connection, filled.reader, filled.fingerprint)
        card = measure(lambda id: card_of(view, id), ids)
        say("timeline", percentiles(measure(lambda id: timeline_of(view, id), ids)))
    filled.writer.close()
    return [
        Figure(
            "live read side, all read models", f"{live:,.0f} events/s", "", None, "≥ 15,000 events/s", live >= 15_000
        ),
        Figure("until a touch is on the card", percentiles(shown), "", None, "", None),
        Figure("a card, one client", percentiles(card), "", None, "", None),
    ]


def say(what: str, found: str) -> None:
    print(f"{what:30} {found}", file=sys.stderr, flush=True)

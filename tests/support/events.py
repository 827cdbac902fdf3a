"""Events as tests tell them: a small log with keys of its own, into which facts, touches and merges are said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from hub.clock import fresh_id, instant
from hub.database import connect
from hub.events import (
    VOCABULARY,
    Component,
    Contact,
    CustomersMerged,
    CustomersUnmerged,
    Envelope,
    Event,
    FactRetracted,
    FactsStated,
    IdentifierReleased,
    IdentifierStated,
    Instant,
    Link,
    Quarantined,
    Recorded,
    RecordOpened,
    SealPointer,
    SourceRegistered,
    TouchQuarantined,
    TouchRecorded,
    encode,
)
from hub.events.base import uuid_bytes, uuid_text
from hub.identity.normalise import identifier as normal_form
from hub.keys import Fingerprints, KeyFile
from hub.log import wire
from hub.log.append import Append, Appended, Writer
from hub.log.read import MAIN, EventTypes, Reader
from hub.vault import RecordKey, Sealed, Vault

HOUSE = "00000000-0000-7000-8000-0000000000ff"
TENANT = "00000000-0000-7000-8000-000000000001"
NOON = instant(datetime(2026, 3, 1, 12, tzinfo=UTC))
HOUR = 3_600_000_000
DAY = 24 * HOUR

Said = tuple[Event, Instant, Sequence[tuple[str, Mapping[str, Any], Sequence[bytes]]]]  # event, when, secrets


def new_id() -> str:
    return uuid_text(fresh_id())


def at(position: int, event: Event, occurred_at: int = NOON, seals: int = 0, id: str | None = None) -> Recorded:
    """An event as the log would give it back, without a log."""
    record = getattr(event, "record", None) or HOUSE
    pointers = tuple(SealPointer(n, record, 0, "00" * 32) for n in range(seals))
    return Recorded(
        event,
        position,
        id or uuid_text(position.to_bytes(16)),
        Instant(NOON),
        envelope(Instant(occurred_at)),
        pointers,
    )


def envelope(occurred_at: Instant, source: str | None = None) -> Envelope:
    return Envelope(occurred_at, HOUSE, "local", source)


class Log:
    """The log of a test's database, with a writer and keys of its own. What a method says is appended at once."""

    def __init__(self, url: str) -> None:
        keys = KeyFile.fresh()
        self.url = url
        self.vault = Vault(keys, TENANT)
        self.fingerprint = Fingerprints(keys).of
        self.types = EventTypes(lambda: connect(url))
        self.types.ensure(VOCABULARY.types)
        self.reader = Reader(VOCABULARY, self.types, self.vault)
        self.writer = Writer(lambda: connect(url))
        self._keys: dict[str, RecordKey] = {}
        self._stored: set[str] = set()
        self._sources: dict[str, str] = {}  # record -> source

    def connect(self) -> Connection[Any]:
        return connect(self.url)

    def close(self) -> None:
        self.writer.close()

    def append(self, said: Iterable[Said]) -> tuple[Appended, list[str]]:
        """Append these events together; answers where they are, and their ids."""
        prepared, ids, new_keys = [], [], []
        for event, when, secrets in said:
            id = fresh_id()
            seals: list[Sealed] = []
            tags: list[tuple[bytes, int]] = []
            for n, (record, content, fingerprints) in enumerate(secrets):
                key = self._keys.setdefault(record, self.vault.make(record))
                if record not in self._stored:
                    self._stored.add(record)
                    new_keys.append((uuid_bytes(record), 0, key.number, key.epoch, key.wrapped or b""))
                seals.append(self.vault.seal(key, record, id, n, content))
                tags.extend((tag, n) for tag in fingerprints)
            pointers = [SealPointer(n, s.record, s.retention, s.digest.hex()) for n, s in enumerate(seals)]
            data = encode(event, envelope(when), pointers)
            name = event.stored_name
            number = self.types.number(name)
            prepared.append(wire.prepare(id, number, name, tuple(event.tags()), data, sealed_tags=tags, seals=seals))
            ids.append(uuid_text(id))
        return self.writer.submit(Append(MAIN, prepared, keys=new_keys)).result(), ids

    def say(self, event: Event, when: int = NOON, *secrets: tuple[str, Mapping[str, Any], Sequence[bytes]]) -> str:
        """One event; answers its id."""
        return self.append([(event, Instant(when), secrets)])[1][0]

    def source(self, name: str, trust: str = "0.5", title: str = "") -> str:
        secrets = [(HOUSE, {"title": title}, ())] if title else []
        return self.say(SourceRegistered(source=name, trust=trust), NOON, *secrets)

    def open(self, source: str = "shop", key: str = "1", when: int = NOON, party: Any = "person") -> str:
        """A record; answers its id."""
        record = new_id()
        self._sources[record] = source
        event = RecordOpened(record=record, source=source, party=party)
        self.say(event, when, (record, {"key": key}, [self.fingerprint("key", source, key)]))
        return record

    def state(self, record: str, when: int = NOON, clear: Mapping[str, Any] | None = None, **facts: Any) -> str:
        event = FactsStated(record=record, attributes=tuple(sorted(facts)), clear=clear or {})
        return self.say(event, when, *([(record, {"facts": facts}, ())] if facts else []))

    def retract(self, record: str, attribute: str, when: int = NOON) -> str:
        return self.say(FactRetracted(record=record, attribute=attribute), when)

    def identify(
        self,
        record: str,
        kind: str,
        value: str,
        when: int = NOON,
        since: int | None = None,
        until: int | None = None,
    ) -> str:
        """An identifier; answers its id."""
        normal, id = normal_form(kind, value, "RU"), new_id()
        span = {name: Instant(each) for name, each in (("since", since), ("until", until)) if each is not None}
        event = IdentifierStated(record=record, identifier=id, kind=kind, **span)
        self.say(event, when, (record, {"value": value, "normal": normal}, [self.fingerprint(kind, normal)]))
        return id

    def release(self, record: str, identifier: str, until: int, when: int = NOON) -> str:
        return self.say(IdentifierReleased(record=record, identifier=identifier, until=Instant(until)), when)

    def touch(self, record: str, when: int = NOON, content: Mapping[str, Any] | None = None, **fields: Any) -> str:
        event = a_touch(record, **fields)
        return self.say(event, when, *([(record, {"content": content}, ())] if content else []))

    def merge(self, *records: str, when: int = NOON) -> str:
        """These records are one customer from now on; they are given in order of opening."""
        return self.say(merged(*records), when)

    def unmerge(self, merge: str, *groups: Sequence[str], when: int = NOON) -> str:
        return self.say(unmerged(merge, *groups), when)

    def quarantine(self, path: str = "key", reason: str = "missing", when: int = NOON) -> str:
        """A touch nobody can be named for; answers its item."""
        item = new_id()
        self.say(TouchQuarantined(item=item, path=path, reason=reason), when, (HOUSE, {"touch": {}}, ()))
        return item


def a_touch(record: str, channel: Any = "call", direction: Any = "in", **fields: Any) -> TouchRecorded:
    return TouchRecorded(record=record, channel=channel, direction=direction, **fields)


def a_contact(contact: str, record: str, at: int = NOON, **fields: Any) -> Contact:
    told: dict[str, Any] = {"channel": "sms", "at": at, "months": ("2026-03",), **fields}
    return Contact(contact=contact, record=record, **told)


def aside(item: str, path: str = "facts.birth_date", reason: str = "not_a_date") -> Quarantined:
    return Quarantined(item=item, path=path, reason=reason)


def merged(*records: str) -> CustomersMerged:
    links = tuple(Link(a=records[0], b=other, merge=HOUSE) for other in records[1:])
    return CustomersMerged(links=links, components=(Component(members=records, links=links),))


def unmerged(merge: str, *groups: Sequence[str]) -> CustomersUnmerged:
    return CustomersUnmerged(merge=merge, links=(), components=tuple(Component(members=tuple(each)) for each in groups))

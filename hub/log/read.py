"""Reading the log: the events a boundary covers, all in one snapshot; and the events in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

from psycopg import Connection

from hub.database import load_queries
from hub.errors import SealDamaged
from hub.events.base import Event, Instant, Recorded, Vocabulary, uuid_text
from hub.log.append import SQL as LOG_SQL
from hub.log.recent import Item
from hub.log.remembered import RARE, Remembered
from hub.log.wire import Prepared, tag_of
from hub.vault import Vault

SQL = load_queries(__file__)
MAIN = 1  # The log of what happens to customers.


@cache
def _names(types: tuple[type[Event], ...]) -> frozenset[str]:
    return frozenset(each.stored_name for each in types)


class Scope(NamedTuple):
    """Events of these types (any, if none is named) with this tag; part of the append's condition unless only read.

    `opened` asks for the seals' content and sealed tags as well; `latest` for the last such event only, `earliest`
    for the first, so that a long history between costs nothing.
    """

    types: frozenset[str]
    tag: bytes
    condition: bool = True
    latest: bool = False
    opened: bool = False
    by_id: bool = False  # `tag` is the id of one event.
    earliest: bool = False

    @classmethod
    def of(
        cls, *types: type[Event], tag: str | bytes, only_read: bool = False, latest: bool = False, opened: bool = False
    ) -> Scope:
        """An open tag is given as text, a sealed one as its fingerprint."""
        found = tag_of(tag) if isinstance(tag, str) else tag
        return cls(_names(types), found, not only_read, latest, opened)

    @classmethod
    def opening(cls, record: str) -> Scope:
        """The event that opened this record: the first with its tag. It cannot change, so no condition is needed."""
        return cls(frozenset({"record_opened"}), tag_of(f"record:{record}"), condition=False, earliest=True)

    @classmethod
    def event(cls, id: str) -> Scope:
        """The event with this id. It cannot change, so no condition is needed."""
        return cls(frozenset(), bytes.fromhex(id.replace("-", "")), condition=False, by_id=True)


def uuids(raw: Iterable[bytes]) -> str:
    """An array of uuid as one text parameter, which costs far less to pass than a list."""
    return "{" + ",".join([each.hex() for each in raw]) + "}"


class EventTypes:
    """The numbers that stand for type names in rows; made on first use, shared by the process."""

    def __init__(self, connect: Callable[[], Connection[Any]]) -> None:
        self._connect = connect
        self._lock = Lock()
        self._number: dict[str, int] = {}
        self._numbers: dict[frozenset[str], frozenset[int]] = {}
        self._name: dict[int, str] = {}

    def number(self, name: str) -> int:
        if name not in self._number:
            self.ensure([name])
        return self._number[name]

    def name(self, number: int) -> str:
        if number not in self._name:
            self.ensure([])
        return self._name[number]

    def numbers(self, names: Iterable[str]) -> frozenset[int]:
        of = frozenset(names)
        if of not in self._numbers:
            self._numbers[of] = frozenset(map(self.number, of))
        return self._numbers[of]

    def ensure(self, names: Iterable[str]) -> None:
        with self._lock, self._connect() as connection:
            self._read(connection)
            if missing := [name for name in names if name not in self._number]:  # A refused insert costs a number too.
                for name in missing:
                    connection.execute(LOG_SQL["new_type"], (name,))
                self._read(connection)

    def _read(self, connection: Connection[Any]) -> None:
        for number, name in connection.execute(LOG_SQL["types"]):
            self._number[name], self._name[number] = number, name


class Reader:
    """Turns rows into events."""

    def __init__(self, vocabulary: Vocabulary, types: EventTypes, vault: Vault, log: int = MAIN) -> None:
        self.vocabulary, self.types, self.vault, self.log = vocabulary, types, vault, log
        self.remembered = Remembered()

    def recorded(self, position: int, id: bytes, type: int, recorded_at: Instant, data: bytes) -> Recorded:
        event, envelope, seals = self.vocabulary.decode(self.types.name(type), data)
        return Recorded(event, position, uuid_text(id), recorded_at, envelope, seals)

    def after(self, connection: Connection[Any], position: int, limit: int) -> list[Recorded]:
        """The next events in log order."""
        rows = connection.execute(SQL["after"], (self.log, position, limit), binary=True, prepare=True)
        return [self.recorded(place, id, type, at, data) for place, id, type, at, data in rows]

    def item(self, scope: Scope) -> Item:
        """The scope as an item of an append's condition."""
        return Item(self.types.numbers(scope.types) if scope.types else None, (scope.tag,))

    def snapshot(self, connection: Connection[Any]) -> Snapshot:
        return Snapshot(self, connection)

    def open(self, connection: Connection[Any], found: Sequence[Recorded]) -> list[Recorded]:
        """The same events with sealed tags and with the content of every seal that still has its key, to decide on.

        Only a decision that looks at what is damaged, or under a damaged key, is refused for it.
        """
        places = [each.position for each in found]
        tags: dict[int, dict[bytes, int]] = {place: {} for place in places}
        for place, tag, n in connection.execute(SQL["sealed_tags"], (self.log, places), binary=True, prepare=True):
            tags[place][tag] = n
        boxes = connection.execute(SQL["seals"], (self.log, places), binary=True, prepare=True).fetchall()
        keys = self.vault.keys_named(connection, {row[2:5] for row in boxes})
        ids = {each.position: bytes.fromhex(each.id.replace("-", "")) for each in found}
        opened: dict[int, dict[int, Mapping[str, Any]]] = {place: {} for place in places}
        damaged: dict[int, Mapping[int, Mapping[str, Any]]] = {}
        for place, n, record, retention, number, box in boxes:
            if (record, retention, number) not in keys:
                continue
            try:
                if (key := keys[record, retention, number]) is None:
                    raise SealDamaged
                opened[place][n] = self.vault.open(key, ids[place], n, box)
            except SealDamaged:
                damaged[place] = _Damaged()
        contents = opened | damaged
        return [each._replace(sealed_tags=tags[each.position], opened=contents[each.position]) for each in found]


class _Damaged(Mapping[int, Mapping[str, Any]]):
    """Sealed, and damaged or under a damaged key. Looking raises SealDamaged: it is not to pass for never said."""

    def __getitem__(self, n: int) -> Mapping[str, Any]:
        raise SealDamaged

    def __iter__(self) -> Iterator[int]:
        raise SealDamaged

    def __len__(self) -> int:
        raise SealDamaged


class Snapshot:
    """One transaction's view of the log; each scope is read once. Its `head` is what conditions come after."""

    def __init__(self, reader: Reader, connection: Connection[Any]) -> None:
        self._reader, self.connection = reader, connection
        row = connection.execute(LOG_SQL["head"], (reader.log,), binary=True, prepare=True).fetchone()
        self.head: int = row[0] if row else 0
        self._read: dict[Scope, Sequence[Recorded]] = {}
        rare = reader.types.numbers(RARE)
        reader.remembered.bring_up(connection, SQL["changed"], reader.log, self.head, rare)

    def holds(self, events: Iterable[Prepared]) -> bool:
        """Is one of these events in this view of the log?"""
        scopes = [Scope(frozenset(), event.id, condition=False, by_id=True) for event in events]
        self.read(scopes)
        return any(self.of(scope) for scope in scopes)

    def read(self, scopes: Iterable[Scope]) -> None:
        """Read the scopes that are neither read nor remembered; two round trips more where seals are to be opened."""
        wanted = [scope for scope in dict.fromkeys(scopes) if scope not in self._read]
        recalled = self._reader.remembered.recall(wanted, self.head)
        self._read.update(recalled)
        found: dict[Scope, list[Recorded]] = {scope: [] for scope in wanted if scope not in recalled}
        if not found:
            return
        wanted = list(found)
        self._by_tag([scope for scope in wanted if not scope.by_id], found)
        self._by_id([scope for scope in wanted if scope.by_id], found)
        if to_open := {each.position: each for scope in wanted if scope.opened for each in found[scope]}:
            opened = dict(zip(to_open, self._reader.open(self.connection, list(to_open.values())), strict=True))
            for scope in wanted:
                if scope.opened:
                    found[scope] = [opened[each.position] for each in found[scope]]
        self._read.update(found)
        self._reader.remembered.keep(found, self.head)

    def of(self, scope: Scope) -> Sequence[Recorded]:
        return self._read.get(scope, ())

    def _by_tag(self, scopes: Sequence[Scope], found: dict[Scope, list[Recorded]]) -> None:
        """Scopes of one kind are one query, whatever their number; there are only a few kinds."""
        kinds: dict[tuple[frozenset[str], bool, bool], list[Scope]] = {}
        for scope in scopes:
            kinds.setdefault((scope.types, scope.latest, scope.earliest), []).append(scope)
        decoded: dict[int, Recorded] = {}
        for (types, latest, earliest), alike in kinds.items():
            rows = self.connection.execute(
                SQL["firsts" if earliest else "scopes"],
                {
                    "log": self._reader.log,
                    "tags": uuids(scope.tag for scope in alike),
                    "types": sorted(self._reader.types.numbers(types)) if types else None,
                    "most": 1 if latest or earliest else None,
                },
                binary=True,
                prepare=True,
            )
            for n, position, id, type, at, data in rows:
                if position not in decoded:
                    decoded[position] = self._reader.recorded(position, id, type, at, data)
                found[alike[n - 1]].append(decoded[position])

    def _by_id(self, scopes: Sequence[Scope], found: dict[Scope, list[Recorded]]) -> None:
        if not scopes:
            return
        wanted = {scope.tag: scope for scope in scopes}
        rows = self.connection.execute(SQL["by_id"], (self._reader.log, uuids(wanted)), binary=True, prepare=True)
        for position, id, type, at, data in rows:
            found[wanted[id]].append(self._reader.recorded(position, id, type, at, data))

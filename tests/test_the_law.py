"""Events belong to records; identity is a layer on top. The law of that layer, on random histories.

Membership is the connected components of the links that stand, as a plain model computes them; taking a merge back
takes back its own links only; and no row of any read model but membership's own knows that anybody was ever merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commands.merge_customers import DeclaredDistinct
from hub.errors import HubError
from hub.events import (
    Component,
    CustomersMerged,
    CustomersUnmerged,
    DistinctLifted,
    FactConfirmed,
    Link,
    MembershipEvent,
    Recorded,
)
from hub.rows import ReadModel, row_cursor
from hub.subject import component_of, membership_of
from hub.wiring import Hub
from projections import READ_MODELS
from projections.membership import membership
from tests.support.events import at
from tests.support.hubs import identify, merge, source, touch, unmerge

BLIND: Sequence[ReadModel[Any]] = [model for model in READ_MODELS if model is not membership]
RECORDS = 5
a_record = st.integers(0, RECORDS - 1)
some_records = st.lists(a_record, min_size=1, max_size=4, unique=True)
steps = st.one_of(
    st.tuples(st.just("merge"), st.lists(a_record, min_size=2, max_size=4)),
    st.tuples(st.just("merge"), st.lists(a_record, min_size=2, max_size=2)),
    st.tuples(st.just("same_as"), a_record, a_record),
    st.tuples(st.just("take_back"), st.integers(0, 9)),
    st.tuples(st.just("cut"), a_record, some_records),
    st.tuples(st.just("cut"), a_record, st.lists(a_record, min_size=1, max_size=1)),
    st.tuples(st.just("lift"), a_record, a_record),
    st.tuples(st.just("touch"), a_record, st.sampled_from(["in", "out"])),
    st.tuples(st.just("fact"), a_record, st.sampled_from(["Анна", "Аня", None])),
)
histories = st.lists(steps, min_size=3, max_size=25)
random_history = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = count()


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    """All histories of a test are told to one hub, each of customers of its own."""
    with Hub.open(database_url, tmp_path, follow=False) as opened:
        opened.do(source())
        yield opened


@dataclass
class Plain:
    """Who is who, by the simplest means: records in order of opening, and links between them."""

    records: list[str]
    links: list[tuple[str, str, str]] = field(default_factory=list)  # a, b, merge
    distinct: set[frozenset[str]] = field(default_factory=set)
    merges: list[str] = field(default_factory=list)

    def members(self, record: str, links: Iterable[tuple[str, str, str]] | None = None) -> list[str]:
        """Everyone who can be reached from this record."""
        standing = self.links if links is None else list(links)
        reached, edge = {record}, [record]
        while edge:
            at = edge.pop()
            for a, b, _ in standing:
                for other in ({a: b, b: a}.get(at),):
                    if other is not None and other not in reached:
                        reached.add(other)
                        edge.append(other)
        return [each for each in self.records if each in reached]

    def groups(self, records: Iterable[str], links: Iterable[tuple[str, str, str]]) -> list[list[str]]:
        found: list[list[str]] = []
        for record in records:
            if not any(record in group for group in found):
                found.append(self.members(record, links))
        return found

    def may_merge(self, records: Sequence[str]) -> bool:
        groups = self.groups(records, self.links)
        return not any(
            frozenset((a, b)) in self.distinct for one, other in combinations(groups, 2) for a in one for b in other
        )

    def merge(self, records: Sequence[str], id: str) -> None:
        first, *others = records
        before = self.members(first)
        self.links += [(first, other, id) for other in dict.fromkeys(others) if other not in before]
        self.merges.append(id)

    def part(self, whole: Sequence[str], kept: list[tuple[str, str, str]]) -> None:
        """What falls apart of one customer is distinct from each other."""
        pieces = self.groups(whole, [each for each in kept if each[0] in whole])
        for one, other in combinations(pieces, 2):
            self.distinct |= {frozenset((a, b)) for a in one for b in other}

    def take_back(self, id: str) -> None:
        kept = [each for each in self.links if each[2] != id]
        for whole in self.groups([end for a, b, of in self.links if of == id for end in (a, b)], self.links):
            self.part(whole, kept)
        self.links = kept

    def cut(self, whole: Sequence[str], out: set[str]) -> None:
        kept = [each for each in self.links if (each[0] in out) == (each[1] in out)]
        if len(kept) == len(self.links):
            return
        rest = [record for record in whole if record not in out]
        first, *others = self.groups(rest, [each for each in kept if each[0] in rest])
        kept += [(first[0], other[0], "bridge") for other in others]
        self.distinct |= {frozenset((a, b)) for a in rest for b in out}  # What those out are to each other is unsaid.
        self.links = kept

    def lift(self, one: Sequence[str], other: Sequence[str]) -> None:
        self.distinct -= {frozenset((a, b)) for a in one for b in other}


@dataclass
class Told:
    """A history told to the hub and to the plain model at once; they must agree at every step."""

    hub: Hub
    plain: Plain
    keys: list[str]

    @classmethod
    def to(cls, hub: Hub) -> Told:
        story = next(names)
        keys = [f"{story}.{n}" for n in range(RECORDS)]
        records = [answer["record"] for answer in hub.do_many(map(identify, keys)) if isinstance(answer, dict)]
        return cls(hub, Plain(records), keys)

    def step(self, what: str, *how: Any) -> None:
        getattr(self, what)(*how)

    def merge(self, whom: Sequence[int]) -> None:
        records = [self.plain.records[n] for n in whom]
        self._merged(merge(*records, reason="тест"), list(dict.fromkeys(records)))

    def same_as(self, one: int, other: int) -> None:
        same = {"source": "shop", "key": self.keys[other]}
        self._merged(identify(self.keys[one], same_as=same), [self.plain.records[one], self.plain.records[other]])

    def _merged(self, command: dict[str, Any], records: list[str]) -> None:
        if not self.plain.may_merge(records):
            with pytest.raises(DeclaredDistinct):
                self.hub.do(command)
            return
        together = all(record in self.plain.members(records[0]) for record in records)
        answer = self.hub.do(command)
        assert len(answer["events"]) == (0 if together else 1)
        if not together:
            self.plain.merge(records, answer["events"][0]["event"])
        self._agree(answer, records[0])

    def take_back(self, nth: int) -> None:
        if not self.plain.merges:
            return
        id = self.plain.merges[nth % len(self.plain.merges)]
        of_it = [link for link in self.plain.links if link[2] == id]
        answer = self.hub.do(unmerge(merge=id))
        assert bool(answer["events"]) == bool(of_it)
        self.plain.take_back(id)
        self._agree(answer, answer["record"])

    def cut(self, one: int, out: Sequence[int]) -> None:
        whole = self.plain.members(self.plain.records[one])
        taken = {self.plain.records[n] for n in out} & set(whole)
        if not taken or taken == set(whole):
            return
        answer = self.hub.do(unmerge(customer=self.plain.records[one], records=sorted(taken)))
        self.plain.cut(whole, taken)
        self._agree(answer, self.plain.records[one])

    def lift(self, one: int, other: int) -> None:
        a, b = self.plain.records[one], self.plain.records[other]
        self.hub.do({"command": "lift_distinct", "customers": [a, b]})
        if b not in self.plain.members(a):
            self.plain.lift(self.plain.members(a), self.plain.members(b))

    def touch(self, one: int, direction: str) -> None:
        record = self.plain.records[one]
        self._agree(self.hub.do(touch(customer=record, direction=direction)), record)

    def fact(self, one: int, name: str | None) -> None:
        record = self.plain.records[one]
        self._agree(self.hub.do(identify(self.keys[one], facts={"first_name": name, "city": name})), record)

    def _agree(self, answer: dict[str, Any], record: str) -> None:
        assert answer["record"] == record
        assert answer["members"] == self.plain.members(record)
        assert answer["customer"] == answer["members"][0]


def tell(hub: Hub, history: Sequence[tuple[Any, ...]]) -> Told:
    told = Told.to(hub)
    for what, *how in history:
        told.step(what, *how)
    return told


def whole_log(hub: Hub) -> list[Recorded]:
    with hub.pool.connection() as connection:
        found: list[Recorded] = []
        while more := hub.reader.after(connection, found[-1].position if found else 0, 1000):
            found += more
    return found


@given(histories)
@random_history
def test_membership_is_the_components_of_the_links_that_stand(hub: Hub, history: list[tuple[Any, ...]]) -> None:
    told = tell(hub, history)
    with hub.pool.connection() as connection:
        snapshot = hub.reader.snapshot(connection)
        scopes = {record: membership_of(record) for record in told.plain.records}
        snapshot.read(scopes.values())
        for record, scope in scopes.items():
            component = component_of(record, snapshot.of(scope)) or Component(members=(record,))
            members = told.plain.members(record)
            assert list(component.members) == members
            standing = {each for each in told.plain.links if each[0] in members}
            merges = {of for _, _, of in standing}
            assert {
                (link.a, link.b, link.merge if link.merge in merges else "bridge") for link in component.links
            } == standing


@given(histories)
@example([("merge", [0, 2]), ("merge", [1, 0, 2]), ("take_back", 0), ("cut", 0, [2, 0]), ("merge", [0, 2])])
@random_history
def test_every_membership_is_the_last_event_with_its_tag(hub: Hub, history: list[tuple[Any, ...]]) -> None:
    """At every position of the past too, and whatever a component lists, all of it is tagged."""
    told = tell(hub, history)
    ours = set(told.plain.records)
    last: dict[str, tuple[str, ...]] = {}
    for recorded in whole_log(hub):
        if isinstance(recorded.event, MembershipEvent) and set(recorded.event.components[0].members) <= ours:
            tags = set(recorded.event.tags())
            for component in recorded.event.components:
                assert {f"member:{record}" for record in component.members} <= tags
                last.update(dict.fromkeys(component.members, component.members))
            for record, members in last.items():  # Nobody is told to be in two customers.
                assert all(last[other] == members for other in members)
                assert record in members


@given(histories, st.randoms(use_true_random=False))
@random_history
def test_rows_are_blind_to_membership(hub: Hub, history: list[tuple[Any, ...]], random: Random) -> None:
    start = len(whole_log(hub))
    told = tell(hub, history)
    events = whole_log(hub)[start:]
    without = [
        each for each in events if not isinstance(each.event, CustomersMerged | CustomersUnmerged | DistinctLifted)
    ]
    richer = list(without)
    for _ in range(random.randint(1, 5)):
        richer.insert(random.randint(0, len(richer)), invented(told.plain.records, random))
    assert without
    for model in BLIND:
        rows = model.refold(without)
        assert model.refold(events) == rows, model.name
        assert model.refold(richer) == rows, model.name
        assert repr(model.refold(events)) == repr(rows), model.name


def test_a_replay_from_zero_gives_the_live_rows(hub: Hub) -> None:
    hub.follow()
    random = Random(7)
    for _ in range(4):
        told = Told.to(hub)
        for _ in range(30):
            a, b = random.randrange(RECORDS), random.randrange(RECORDS)
            step: list[tuple[Any, ...]] = [
                ("merge", [a, b]), ("same_as", a, b), ("take_back", a), ("cut", a, [b]), ("lift", a, b),
                ("touch", a, "out"), ("fact", a, random.choice(["Анна", None])),
            ]  # fmt: skip
            what, *how = random.choice(step)
            told.step(what, *how)
        answers = hub.do_many(
            touch(key, identifiers={"phone": f"+7916123{n:04d}", "email": "nonsense"}, direction="out", data={"n": n})
            for n, key in enumerate(told.keys * 5)
        )
        assert not [each for each in answers if isinstance(each, HubError)]
        for year in (2020, 2022):
            hub.do(identify(told.keys[0], facts={"address": "Ленина, 1"}, occurred_at=f"{year}-03-01T12:00:00Z"))
    hub.wait(hub.head())
    events = whole_log(hub)
    assert {type(each.event) for each in events} >= {FactConfirmed}
    with hub.pool.connection() as connection:
        for model in READ_MODELS:
            columns = ", ".join(model.columns)
            live = row_cursor(connection, model.row).execute(f"SELECT {columns} FROM {model.name}".encode()).fetchall()
            replayed = model.refold(events)
            assert sorted(map(repr, live)) == sorted(map(repr, replayed.values())), model.name
            assert live, model.name


def invented(records: Sequence[str], random: Random) -> Recorded:
    """A membership event that never happened."""
    some = random.sample(list(records), random.randint(2, len(records)))
    links = (Link(a=some[0], b=some[1], merge=records[0]),)
    event = random.choice(
        [
            CustomersMerged(links=links, components=(Component(members=tuple(some), links=links),)),
            CustomersUnmerged(links=links, components=tuple(Component(members=(each,)) for each in some)),
            DistinctLifted(groups=((some[0],), (some[1],))),
        ]
    )
    return at(random.randint(1, 10_000), event)

"""Clauses that stories begin with."""

from __future__ import annotations

from typing import Any

from hub.decider import Draft, Secret
from hub.events import (
    Component,
    CustomersMerged,
    CustomersUnmerged,
    DistinctLifted,
    FactsStated,
    IdentifierReleased,
    IdentifierStated,
    Link,
    RecordOpened,
    SourceRegistered,
)
from tests.support.scenario import NOW, fingerprint, id_of

ANN, BOB, EVE = id_of("Ann"), id_of("Bob"), id_of("Eve")

the_shop_speaks = SourceRegistered(source="shop", trust="0.5")


def opened(record: str, key: str | None = None, source: str = "shop", party: Any = "person") -> Draft:
    tags = () if key is None else (fingerprint("key", source, key),)
    return Draft(RecordOpened(record=record, source=source, party=party), (Secret(record, {"key": key}, tags),))


ann_opened, bob_opened, eve_opened = opened(ANN, "ann"), opened(BOB, "bob"), opened(EVE, "eve")


def link(a: str, b: str, merge: str) -> Link:
    return Link(a=a, b=b, merge=id_of(merge))


def merged(*links: Link, standing: tuple[Link, ...] = (), order: tuple[str, ...] = (ANN, BOB, EVE)) -> Draft:
    """These links, all of one merge, beside those that stand."""
    ends = {end for each in (*standing, *links) for end in (each.a, each.b)}
    members = tuple(record for record in order if record in ends)
    return Draft(
        CustomersMerged(links=links, components=(Component(members=members, links=(*standing, *links)),)),
        id=links[0].merge,
    )


ann_bob = link(ANN, BOB, "first")
bob_eve = link(BOB, EVE, "second")
ann_and_bob_were_merged = merged(ann_bob)
eve_was_merged_to_them = merged(bob_eve, standing=(ann_bob,))
alone_again = tuple(Component(members=(record,)) for record in (ANN, BOB))
they_were_parted = CustomersUnmerged(
    merge=ann_bob.merge, links=(ann_bob,), components=alone_again, distinct=((ANN,), (BOB,))
)
that_was_lifted = DistinctLifted(groups=((ANN,), (BOB,)))


def stated(record: str, **facts: Any) -> Draft:
    return Draft(FactsStated(record=record, attributes=tuple(sorted(facts))), (Secret(record, {"facts": facts}),))


def holds(record: str, kind: str, normal: str, **when: Any) -> Draft:
    event = IdentifierStated(record=record, identifier=id_of(f"{record}{kind}{normal}"), kind=kind, **when)
    return Draft(event, (Secret(record, {"value": normal, "normal": normal}, (fingerprint(kind, normal),)),))


def let_go(record: str, kind: str, normal: str) -> IdentifierReleased:
    return IdentifierReleased(record=record, identifier=id_of(f"{record}{kind}{normal}"), until=NOW)

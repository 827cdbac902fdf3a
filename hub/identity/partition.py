"""Customers as connected components of standing links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hub.events import Component, Link, RecordId


def components(members: Sequence[RecordId], links: Iterable[Link]) -> tuple[Component, ...]:
    """Split members, given in order of opening, into components; each keeps that order and its links."""
    root: dict[RecordId, RecordId] = {member: member for member in members}

    def find(record: RecordId) -> RecordId:
        while root[record] != record:
            root[record] = record = root[root[record]]
        return record

    standing = tuple(links)
    for link in standing:
        root[find(link.a)] = find(link.b)
    grouped: dict[RecordId, list[RecordId]] = {}
    for member in members:
        grouped.setdefault(find(member), []).append(member)
    held: dict[RecordId, list[Link]] = {}
    for link in standing:
        held.setdefault(find(link.a), []).append(link)
    return tuple(
        Component(members=tuple(group), links=tuple(held.get(leader, ()))) for leader, group in grouped.items()
    )


def joined(parts: Iterable[Component], new: Iterable[Link], opened: Mapping[RecordId, int]) -> Component:
    """One component of several, in order of opening (`opened`: the position at which each record was)."""
    parts = tuple(parts)
    members = sorted({member for part in parts for member in part.members}, key=lambda member: opened[member])
    links = (*(link for part in parts for link in part.links), *new)
    return Component(members=tuple(members), links=links)

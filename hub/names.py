"""Strings from outside that link things: in the log they are random ids, found again by a sealed tag.

Names the company uses (agents, senders, branches) get their id in an event of the house and outlive every customer.
Strings about one customer (conversation, matter, provider's id, source's event) get it in the event that says them
first and die with that customer's erasure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.decider import Boundary, Draft, Known, Secret
from hub.events import NameGiven, Recorded
from hub.log.read import Scope

OF_THE_HOUSE = frozenset({"agent", "sender", "branch"})

Tags = tuple[bytes, ...]
OF_A_CONTACT = frozenset({"provider", "source_event"})  # They tell that two reports are of one contact.


@dataclass(frozen=True, slots=True)
class Name:
    """A string from outside and its id; `said_in` are the events it was said in, none if it gets its id now.

    Of most strings only the first is read, of those that tell one contact from another all.
    """

    kind: str
    value: str
    id: str
    tag: bytes
    said_in: tuple[Recorded, ...] = ()


def named(known: Known, wanted: Mapping[str, str | None], scoped_to: str = "") -> Boundary[dict[str, Name]]:
    """The ids of these strings, by kind. A source's event id means something within that source only (`scoped_to`)."""
    given = {kind: value for kind, value in wanted.items() if value is not None}
    if not given:
        return {}
    tags = {
        kind: known.fingerprint(kind, scoped_to, value) if kind == "source_event" else known.fingerprint(kind, value)
        for kind, value in given.items()
    }
    found = yield tuple(
        Scope(frozenset(), tag, opened=kind in OF_A_CONTACT, earliest=kind not in OF_A_CONTACT)
        for kind, tag in tags.items()
    )
    names = {}
    for (kind, tag), said in zip(tags.items(), found, strict=True):
        id = next((id for id in (_id_in(each, kind) for each in said) if id), None)
        names[kind] = Name(kind, given[kind], id or known.new_id(), tag, tuple(said))
    return names


def house_drafts(known: Known, names: Mapping[str, Name]) -> Sequence[Draft]:
    """The events that give the company's own names their ids."""
    return tuple(
        Draft(NameGiven(kind=name.kind, name=name.id), (Secret(known.house, {"name": name.value}, (name.tag,)),))
        for name in names.values()
        if name.kind in OF_THE_HOUSE and not name.said_in
    )


def new_strings(names: Mapping[str, Name], *, but: frozenset[str] = frozenset()) -> tuple[dict[str, str], Tags]:
    """What the first event that says these strings must seal, and the tags they are found by."""
    new = [name for name in names.values() if name.kind not in OF_THE_HOUSE | but and not name.said_in]
    return {name.kind: name.value for name in new}, tuple(name.tag for name in new)


def id_of(names: Mapping[str, Name], kind: str) -> str | None:
    return names[kind].id if kind in names else None


def _id_in(said: Recorded, kind: str) -> str | None:
    if isinstance(said.event, NameGiven):
        return said.event.name
    id = getattr(said.envelope, kind, None) or getattr(said.event, kind, None)
    return id if isinstance(id, str) else None

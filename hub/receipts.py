"""Receipts: what a command was answered, kept beside its events, so that asking again is answered the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from psycopg import Connection

from hub.decider import Draft, Outcome
from hub.events import RecordId
from hub.log.read import SQL

Answer = dict[str, Any]


class Given(NamedTuple):
    """A receipt as stored: the command's body, the positions of its events, and the rest of its answer."""

    body: bytes
    first: int | None
    last: int
    kept: bytes


def find(connection: Connection[Any], asked: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], Given]:
    """The receipts there are for these principals and requests."""
    if not asked:
        return {}
    principals = "{" + ",".join([principal for principal, _ in asked]) + "}"
    requests = "{" + ",".join([f'"\\\\x{request.hex()}"' for _, request in asked]) + "}"
    rows = connection.execute(SQL["receipts"], (principals, requests), binary=True, prepare=True)
    return {(principal, request): Given(*rest) for principal, request, *rest in rows}


def kept(outcome: Outcome, drafts: Sequence[Draft]) -> bytes:
    """What a receipt keeps of an answer: ids and codes. Positions it has itself."""
    said: dict[str, Any] = {"events": [(draft.event.stored_name, draft.id) for draft in drafts]}
    if outcome.record is not None:
        said["record"] = outcome.record
        if outcome.members != (outcome.record,):
            said["members"] = outcome.members
    quarantined = [
        {"item": each.item, "event": draft.id, "path": each.path, "reason": each.reason}
        for draft in drafts
        for each in draft.event.set_aside()
    ]
    if quarantined:
        said["quarantined"] = quarantined
    if outcome.also:
        said["also"] = dict(outcome.also)
    return orjson.dumps(said)


def replayed(id: str, given: Given) -> Answer:
    """The first answer again."""
    said = orjson.loads(given.kept)
    record = said.get("record")
    members = said.get("members", [record] if record else [])
    events = said["events"]
    answer = _answer(id, given.first or 0, given.last, record, members, events, said.get("quarantined", []))
    return {**answer, **said.get("also", {}), "replayed": True}


def answered(id: str, first: int, outcome: Outcome, drafts: Sequence[Draft], said: bytes) -> Answer:
    """The answer of a command whose events begin at position `first`, or which wrote none after the one before."""
    quarantined = orjson.loads(said).get("quarantined", []) if b'"quarantined"' in said else []
    events = [(draft.event.stored_name, draft.id) for draft in drafts]
    last = first + len(drafts) - 1
    answer = _answer(id, first, last, outcome.record, list(outcome.members), events, quarantined)
    return {**answer, **outcome.also} if outcome.also else answer


def _answer(
    id: str,
    first: int,
    last: int,
    record: RecordId | None,
    members: Sequence[RecordId],
    events: Sequence[tuple[str, str]],
    quarantined: Sequence[Mapping[str, str]],
) -> Answer:
    return {
        "id": id,
        "position": last,
        "record": record,
        "customer": members[0] if members else None,
        "members": members,
        "events": [{"position": first + n, "type": type, "event": event} for n, (type, event) in enumerate(events)],
        "quarantined": quarantined,
        "replayed": False,
    }

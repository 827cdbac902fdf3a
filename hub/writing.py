"""From decided lines to an append: what is sealed, encoded and hashed before the log is locked."""

from __future__ import annotations

from collections.abc import Mapping

from hub.decider import Draft
from hub.errors import Erased, SealDamaged
from hub.events import Envelope, SealPointer, encode
from hub.events.base import uuid_bytes
from hub.log import wire
from hub.log.append import Append, Receipt
from hub.log.read import MAIN, EventTypes, Reader, Scope
from hub.slice import Line, Slice, Tagged
from hub.vault import RecordKey, Vault

Keys = Mapping[str, RecordKey | None]  # By record; None stands for a damaged one.


def prepare(line: Line, keys: Keys, types: EventTypes, vault: Vault) -> None:
    """Seal, encode and hash the drafts of a line. Where a record's key is destroyed or damaged, it is answered so."""
    try:
        line.prepared = [
            _prepared(draft, tagged, line.envelope, keys, types, vault)
            for draft, tagged in zip(line.drafts, line.tags, strict=True)
        ]
    except KeyError:
        line.asked.error = Erased()
    except SealDamaged as damaged:
        line.asked.error = damaged.kept()


def _prepared(
    draft: Draft,
    tagged: Tagged,
    envelope: Envelope,
    keys: Mapping[str, RecordKey | None],
    types: EventTypes,
    vault: Vault,
) -> wire.Prepared:
    id, name = uuid_bytes(draft.id), draft.event.stored_name
    seals, pointers, sealed_tags = [], [], []
    for n, secret in enumerate(draft.secrets):
        if (key := keys[secret.record]) is None:
            raise SealDamaged
        seal = vault.seal(key, secret.record, id, n, secret.content, secret.retention)
        seals.append(seal)
        pointers.append(SealPointer(n, secret.record, secret.retention, seal.digest.hex()))
        sealed_tags += [(tag, n) for tag in secret.tags]
    data = encode(draft.event, draft.within(envelope), pointers)
    return wire.prepare(id, types.number(name), name, tagged[0], data, tagged[1], sealed_tags, seals)


def appended(slice: Slice, reader: Reader) -> Append:
    """All of a slice as one append. Notes in the slice which of its lines need each item of the condition."""
    events: list[wire.Prepared] = []
    given: list[Receipt] = []
    needed: dict[Scope, list[int]] = {}
    for number, line in enumerate(slice.lines):
        asked = line.asked
        given.append(
            Receipt(asked.principal.raw_id, asked.request, asked.body, len(events), len(line.prepared), line.kept)
        )
        events += line.prepared
        for scope in line.walk.scopes:
            if scope.condition:
                if scope in needed:
                    needed[scope].append(number)
                else:
                    needed[scope] = [number]
    slice.items = list(needed.values())
    keys = [(uuid_bytes(record), 0, key.number, key.epoch, key.wrapped or b"") for record, key in slice.made.items()]
    predecessors = () if slice.before is None else (slice.before,)
    items = [reader.item(scope) for scope in needed]
    unsealed = [(uuid_bytes(id), n) for line in slice.lines for id, n in line.outcome.unsealed]
    return Append(MAIN, events, items, slice.head, predecessors, keys, given, unsealed)

"""Opening a record: the first time a source speaks of a customer, by a key or by the one end point it knows."""

from __future__ import annotations

from collections.abc import Mapping

from hub.checks import IdentifierValue, Stated
from hub.decider import Draft, Known, Secret
from hub.errors import Flaw, Invalid
from hub.events import Party, RecordOpened
from hub.identity.normalise import MESSENGERS, Unfit, identifier
from hub.subject import Subject

KEYS = MESSENGERS | {"phone", "email"}


class Unnameable(Invalid):
    """The only end point that could be the key failed its check."""

    def __init__(self, source: str, path: str, reason: str) -> None:
        super().__init__(Flaw(path, reason))
        self.source, self.path, self.reason = source, path, reason


def key_of(
    source: str | None, key: str | None, identifiers: Mapping[str, IdentifierValue], known: Known
) -> tuple[str, str]:
    """Source and key; a lone phone, e-mail or messenger handle is the key where none is given.

    Raises Invalid when source or key is missing, Unnameable when that end point fails its check.
    """
    source = source or known.principal.source
    if source is None:
        raise Invalid(Flaw("source", "missing"))
    if key is not None:
        return source, key
    lone = [
        (kind, each.value if isinstance(each, Stated) else each)
        for kind, values in identifiers.items()
        if kind in KEYS
        for each in (values if isinstance(values, list) else [values])
    ]
    if len(lone) != 1:
        raise Invalid(Flaw("key", "missing"))
    kind, value = lone[0]
    try:
        return source, f"{kind}:{identifier(kind, value, known.region)}"
    except Unfit as unfit:
        raise Unnameable(source, f"identifiers.{kind}", str(unfit)) from None


def with_facts(identifiers: Mapping[str, IdentifierValue], facts: Mapping[str, object]) -> dict[str, IdentifierValue]:
    """The end points told, those told as facts among them."""
    told = {kind: fact for kind in ("phone", "email") if isinstance(fact := facts.get(kind), str)}
    return {**told, **identifiers}


def opening(subject: Subject, key: str, party: Party | None) -> Draft:
    assert subject.source is not None
    assert subject.key_tag is not None
    event = RecordOpened(record=subject.record, source=subject.source.source, party=party or subject.source.party)
    return Draft(event, (Secret(subject.record, {"key": key}, (subject.key_tag,)),))

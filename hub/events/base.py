"""What an event is: a fact in the past tense, its parts, its tags, its envelope, and the bytes it is stored as.

Stored bytes are for ever. `data` is JSON with sorted keys in UTF-8, without floats, and without what equals its
default (so a default never changes once shipped):

    {"body": {…}, "causation": …, "occurred_at": µs, "principal": …, "role": …, "schema": 1, "seals": […], "v": 1, …}

It holds ids, codes, numbers and times; personal values lie in the seals it names by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple, NewType

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints

from hub.errors import HubError

Instant = NewType("Instant", int)  # Microseconds since 1970-01-01 UTC.
RecordId = str  # UUID in its canonical text form, as are all ids.
EventId = str
IdentifierId = str
ContactId = str
PrincipalId = str
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.:-]{1,64}$")]

ENVELOPE_VERSION = 1


class UnknownShape(HubError):
    """The log holds an event of a type or schema version this release does not know."""


class Part(BaseModel):
    """A typed field of an event that some mechanism folds from whatever event carries it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def tags(self) -> Iterable[str]:
        return ()


class Event(BaseModel):
    """A fact. Its stored name is the snake_case of its class, never a class path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: ClassVar[int] = 1
    stored_name: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.stored_name = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")

    def tags(self) -> Iterable[str]:
        """The open tags, in the order they are hashed."""
        raise NotImplementedError

    def set_aside(self) -> Sequence[Any]:
        """The values that failed their check and wait in this event's seal (`hub.events.parts.Quarantined`)."""
        return ()


class SealPointer(NamedTuple):
    """A seal of an event: its number, whose key, which retention class, and the SHA-256 that binds the ciphertext."""

    n: int
    record: RecordId
    retention: int
    digest: str  # hex of SHA256("hub/seal/1" ‖ box)


class Envelope(NamedTuple):
    """Who said it, when it happened, and what caused it. The same for every event."""

    occurred_at: Instant
    principal: PrincipalId
    role: str
    source: str | None = None
    on_behalf_of: str | None = None
    branch: str | None = None
    correlation: str | None = None
    causation: str | None = None
    document: str | None = None


_OPTIONAL = Envelope._fields[3:]


class Recorded(NamedTuple):
    """An event as the log gives it back."""

    event: Event
    position: int
    id: EventId
    recorded_at: Instant
    envelope: Envelope
    seals: tuple[SealPointer, ...] = ()
    sealed_tags: Mapping[bytes, int] = MappingProxyType({})  # Fingerprint -> seal number, where a boundary asked.
    opened: Mapping[int, Mapping[str, Any]] = MappingProxyType({})  # Seal number -> content, where asked for.

    @property
    def occurred_at(self) -> Instant:
        return self.envelope.occurred_at


Upcast = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Vocabulary:
    """All event types, and how bodies of older schema versions are lifted, one version at a time."""

    types: Mapping[str, type[Event]]
    upcasts: Mapping[tuple[str, int], Upcast] = field(default_factory=dict)  # (stored name, from version)

    @classmethod
    def of(cls, *types: type[Event], upcasts: Mapping[tuple[str, int], Upcast] | None = None) -> Vocabulary:
        return cls({each.stored_name: each for each in types}, upcasts or {})

    def decode(self, name: str, data: bytes) -> tuple[Event, Envelope, tuple[SealPointer, ...]]:
        """Lift stored bytes to today's event.

        Raises UnknownShape when the type or its schema version is newer than this release.
        """
        stored = orjson.loads(data)
        kind = self.types.get(name)
        if kind is None or stored["v"] != ENVELOPE_VERSION:
            raise UnknownShape(f"event type {name!r} with envelope version {stored.get('v')!r} is not known")
        body, version = stored["body"], stored["schema"]
        while version < kind.schema_version:
            body = self.upcasts[name, version](body)
            version += 1
        if version > kind.schema_version:
            raise UnknownShape(f"{name} has schema version {version}; this release knows {kind.schema_version}")
        get = stored.get
        envelope = Envelope(
            stored["occurred_at"],
            stored["principal"],
            stored["role"],
            get("source"),
            get("on_behalf_of"),
            get("branch"),
            get("correlation"),
            get("causation"),
            get("document"),
        )
        seals = tuple([SealPointer(s["n"], s["record"], s["class"], s["digest"]) for s in get("seals", ())])
        event: Event = kind.__pydantic_validator__.validate_python(body)  # model_validate without its preface
        return event, envelope, seals


def encode(event: Event, envelope: Envelope, seals: Sequence[SealPointer] = ()) -> bytes:
    """The bytes that are stored and hashed."""
    stored: dict[str, Any] = {
        "v": ENVELOPE_VERSION,
        "schema": event.schema_version,
        "occurred_at": envelope.occurred_at,
        "principal": envelope.principal,
        "role": envelope.role,
        "body": _said(event),
    }
    stored |= {name: value for name, value in zip(_OPTIONAL, envelope[3:], strict=True) if value is not None}
    if seals:
        stored["seals"] = [{"n": s.n, "record": s.record, "class": s.retention, "digest": s.digest} for s in seals]
    return orjson.dumps(stored, _plain, orjson.OPT_SORT_KEYS)


def _said(model: BaseModel) -> dict[str, Any]:
    """What an event or a part says that is not its default; a fifth of the time `model_dump` takes."""
    defaults, said = _defaults(type(model)), model.__dict__
    return {name: said[name] for name in model.__pydantic_fields_set__ if said[name] != defaults[name]}


@cache
def _defaults(kind: type[BaseModel]) -> dict[str, Any]:
    return {name: each.get_default() for name, each in kind.model_fields.items()}


def _plain(value: object) -> dict[Any, Any]:
    """What orjson cannot write by itself: the parts of an event, and mappings that are no dict."""
    if isinstance(value, Part):
        return _said(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def uuid_text(raw: bytes) -> str:
    """16 bytes as canonical UUID text."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid_bytes(text: str) -> bytes:
    """Canonical UUID text as 16 bytes."""
    return bytes.fromhex(text.replace("-", ""))

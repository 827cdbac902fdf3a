"""The shapes of answers, for the OpenAPI description only: what is sent is not checked again."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hub.events import Channel, Party

T = TypeVar("T", bound="Shape")


class Shape(BaseModel):
    """Every field is always there, and no other."""

    model_config = ConfigDict(extra="forbid")


class Flaw(Shape):
    """One thing wrong with the input, never with the value itself."""

    path: str = Field(description="Where; `*` stands for a name that is not repeated.")
    reason: str = Field(description="A code.")


class Problem(Shape):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Flaw] | None = None


class Written(Shape):
    position: int
    type: str
    event: str


class SetAside(Shape):
    """A value that failed its kind's check and waits in quarantine."""

    item: str
    event: str
    path: str
    reason: str


class Answer(Shape):
    """What a command did."""

    id: str
    position: int
    record: str | None
    customer: str | None
    members: list[str]
    events: list[Written]
    quarantined: list[SetAside]
    held_by: list[str] = Field([], description="After an un-merge that parted nobody: the merges that still hold.")
    replayed: bool


class Line(Answer):
    """The same as a line of a batch's answer; what was refused is a problem instead."""

    status: Literal[200]


class Kept(Shape):
    """What Segment's libraries are told: everything they sent is recorded, or waits in quarantine."""

    success: Literal[True]


class Member(Shape):
    record: str
    source: str
    opened_at: str


class Told(Shape):
    """A value, and who said it when. The value is null where the reader may not see it."""

    value: Any
    record: str
    source: str
    event: str
    stated_at: str
    confirmed_at: str | None = Field(description="When the source last said the same again, long after.")
    trust: float


class Fact(Told):
    """What the most trusted source says, the newest first; and what would be believed next."""

    best_before: str | None = Field(description="When it wants confirming; null where the attribute does not age.")
    runner_up: Told | None


class HeldIdentifier(Shape):
    kind: str
    value: str | None = Field(description="Null where the reader may not see it.")
    records: list[str]
    shared_with: list[str] = Field(description="Other customers who hold it, by id.")


class Touches(Shape):
    count: int
    first: str | None
    last: str | None
    by_channel: dict[Channel, int]


class Card(Shape):
    """Who a customer is: all its records, combined."""

    customer: str
    party: Party
    records: list[Member] = Field(description="In order of opening.")
    facts: dict[str, Fact]
    identifiers: list[HeldIdentifier]
    touches: Touches
    consents: dict[str, Any]
    contact: dict[str, Any]
    links: list[Any]
    position: int = Field(description="What this answer knows of: everything up to here.")


class Found(Shape):
    """Somebody who holds what was asked for, or held it."""

    customer: str
    record: str
    kind: str = Field(description="The kind of identifier; `key` for a source's key.")
    identifier: str | None
    current: bool = Field(description="Does it lead there now?")


class Aside(Shape):
    item: str
    path: str
    reason: str


class Touch(Shape):
    """One thing that happened. Strings from outside stand as ids; `names` has those this touch said first."""

    event: str
    position: int
    record: str
    source: str
    occurred_at: str
    recorded_at: str
    channel: Channel
    direction: str
    kind: str | None
    purpose: str | None
    topic: str | None
    campaign: str | None
    offer: str | None
    matter: str | None
    identifier: str | None
    contact: str | None
    in_reply_to: str | None
    answers: list[str]
    asks: bool | None
    resolved: bool | None
    data: dict[str, Any]
    content: dict[str, Any]
    names: dict[str, str]
    quarantined: list[Aside]


class Contact(Shape):
    contact: str
    event: str = Field(description="The first about it.")
    position: int
    record: str
    channel: Channel
    purpose: str | None
    campaign: str | None
    offer: str | None
    identifier: str | None
    at: str
    state: str
    outcome: str | None


class Waiting(Shape):
    """What waits in quarantine; `record` is null where nobody could be named."""

    item: str = Field(description="What `repair_value` or `repair_touch` names it by.")
    record: str | None
    source: str | None
    event: str
    position: int
    path: str
    reason: str
    at: str
    set_aside_at: str
    age_days: int
    expires_at: str = Field(description="When it is let go unless somebody repairs it.")


class WaitingInFull(Waiting):
    told: Any = Field(
        description="What came: the value; or, in an object, the `touch`, or the `message` that was no touch."
    )


class LoggedSeal(Shape):
    """Personal data of an event: the SHA-256 that binds it to the log, and what it holds."""

    n: int
    record: str
    class_: int = Field(alias="class", description="Of retention.")
    digest: str
    content: dict[str, Any] | None = Field(description="Null when it was erased, or the reader may not see it.")


class Logged(Shape):
    """An event as the log holds it: leaf = SHA-256(0x00 ‖ 0x01 ‖ u64 position ‖ i64 recorded_at in µs ‖ rest).

    An auditor gets null for what was said: everything from `principal` to `body`.
    """

    position: int
    event: str
    type: str
    recorded_at: str
    tags: list[str]
    rest: str = Field(description="SHA-256 of all else that is stored of it, in hex; see hub/log/wire.py.")
    leaf: str
    schema_: int = Field(alias="schema")
    principal: str | None
    role: str | None
    source: str | None
    on_behalf_of: str | None
    branch: str | None
    correlation: str | None
    causation: str | None
    document: str | None
    occurred_at: str | None
    body: dict[str, Any] | None
    seals: list[LoggedSeal]


class ReadModel(Shape):
    name: str
    version: int
    position: int
    lag: int = Field(description="Events not folded yet.")
    lag_seconds: float = Field(description="Since the oldest of them was recorded.")
    state: str


class ReadModelInFull(ReadModel):
    failed_event: str | None
    failed_position: int | None
    error: str | None


class Status(Shape):
    version: str
    head: int
    health: str = Field(description="`ok`, or `degraded`; `hub status` at the terminal says why.")
    read_models: list[ReadModel]


class Page(Shape, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(description="`cursor` of the next page; null on the last one.")


SHAPES = (
    Problem,
    Answer,
    Line,
    Kept,
    Card,
    Page[Found],
    Page[Touch],
    Page[Contact],
    Page[Waiting],
    WaitingInFull,
    Page[Logged],
    Page[ReadModelInFull],
    Status,
)

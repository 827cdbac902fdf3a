"""Everything that can happen."""

from hub.events.base import (
    Code,
    ContactId,
    Envelope,
    Event,
    EventId,
    IdentifierId,
    Instant,
    Part,
    Recorded,
    RecordId,
    SealPointer,
    Vocabulary,
    encode,
)
from hub.events.membership import CustomersMerged, CustomersUnmerged, DistinctLifted, MembershipEvent
from hub.events.parts import Component, Contact, Link, Quarantined, month_of
from hub.events.records import (
    FactRetracted,
    FactsStated,
    IdentifierReleased,
    IdentifierStated,
    NameGiven,
    Party,
    RecordOpened,
    SourceRegistered,
)
from hub.events.touches import Channel, TouchQuarantined, TouchRecorded
from hub.events.upcasts import UPCASTS

VOCABULARY = Vocabulary.of(
    SourceRegistered,
    NameGiven,
    RecordOpened,
    FactsStated,
    FactRetracted,
    IdentifierStated,
    IdentifierReleased,
    TouchRecorded,
    TouchQuarantined,
    CustomersMerged,
    CustomersUnmerged,
    DistinctLifted,
    upcasts=UPCASTS,
)

__all__ = [
    "VOCABULARY",
    "Channel",
    "Code",
    "Component",
    "Contact",
    "ContactId",
    "CustomersMerged",
    "CustomersUnmerged",
    "DistinctLifted",
    "Envelope",
    "Event",
    "EventId",
    "FactRetracted",
    "FactsStated",
    "IdentifierId",
    "IdentifierReleased",
    "IdentifierStated",
    "Instant",
    "Link",
    "MembershipEvent",
    "NameGiven",
    "Part",
    "Party",
    "Quarantined",
    "RecordId",
    "RecordOpened",
    "Recorded",
    "SealPointer",
    "SourceRegistered",
    "TouchQuarantined",
    "TouchRecorded",
    "Vocabulary",
    "encode",
    "month_of",
]

"""SendGrid: what became of e-mails (https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event).

Each event is a report about an outgoing contact, which is found by the message's id; its kind is the event's name.
"""

from __future__ import annotations

from typing import Any

import orjson

from adapters.inbound.delivery import Command, Delivery, Shape, at, digest, read, said, set_aside
from adapters.inbound.verifying import Ecdsa, Signature
from hub.errors import Flaw, Invalid

ID: str | None = None
SIGNATURE: Signature = Ecdsa("x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp")


class Event(Shape):
    event: str
    email: str
    timestamp: float | None = None
    sg_event_id: str | None = None
    sg_message_id: str | None = None
    type: str | None = None
    status: str | None = None


def translate(delivery: Delivery) -> list[Command]:
    """A report an event; one that cannot be read is set aside, and the others are not. Raises Invalid for no events."""
    told = delivery.json
    events = told if isinstance(told, list) else [told]
    if not events:
        raise Invalid(Flaw("", "too_few"))
    return [_translated(each) for each in events]


def _translated(told: Any) -> Command:
    try:
        event = read(Event, told)
        return {
            "command": "record_touch",
            "id": event.sg_event_id or digest(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)),
            "channel": "email",
            "direction": "out",
            "kind": event.event,
            **at(event.timestamp, "timestamp"),
            "identifier": {"kind": "email", "value": event.email},
            **said({"provider_id": event.sg_message_id}),
            "content": {"message": told},
            "data": said({"type": event.type, "status": event.status}),
        }
    except Invalid as error:
        return set_aside(error.flaws, told)

"""Twilio: messages that come in, and what becomes of messages and calls (https://www.twilio.com/docs/usage/webhooks).

A message somebody sends is a touch. The status of one we sent is a report about that contact, which is found by its
sid. So is the status of a call we make; one that comes in is a touch each time its status changes, all of them of one
conversation.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

from adapters.inbound.delivery import Command, Delivery, Shape, read, said
from adapters.inbound.verifying import Signature, UrlAndParams
from hub.errors import Flaw, Invalid

ID: str | None = None
SIGNATURE: Signature = UrlAndParams("x-twilio-signature")

_WHATSAPP = "whatsapp:"


class Fields(Shape):
    """What is read of a message or a call; Twilio writes them like this."""

    MessageSid: str | None = None
    MessageStatus: str | None = None
    SmsStatus: str | None = None
    Body: str | None = None
    CallSid: str | None = None
    CallStatus: str | None = None
    CallDuration: str | None = None
    Direction: str | None = None
    ErrorCode: str | None = None
    From: str | None = None
    To: str | None = None
    Timestamp: str | None = None


def translate(delivery: Delivery) -> list[Command]:
    """One touch a delivery. Raises Invalid for what is neither a message nor a call."""
    told = delivery.form if delivery.is_form else delivery.json
    fields = read(Fields, dict(told) if delivery.is_form else told)
    if fields.MessageSid:
        return [_message(fields, told)]
    if fields.CallSid:
        return [_call(fields, told)]
    raise Invalid(Flaw("messagesid", "missing"))


def _message(fields: Fields, told: Any) -> Command:
    status = fields.MessageStatus or fields.SmsStatus or "received"
    comes_in = status == "received"
    whose = fields.From if comes_in else fields.To
    return {
        "command": "record_touch",
        "id": f"{fields.MessageSid}:{status}",
        "channel": "messenger" if (whose or "").startswith(_WHATSAPP) else "sms",
        "direction": "in" if comes_in else "out",
        "kind": "message" if comes_in else status.lower(),
        "identifier": _end_point(whose, "from" if comes_in else "to"),
        "provider_id": fields.MessageSid,
        "content": said({"text": fields.Body, "message": told}),
        "data": said({"error": fields.ErrorCode}),
    }


def _call(fields: Fields, told: Any) -> Command:
    status = fields.CallStatus or "unknown"
    comes_in = fields.Direction in (None, "inbound")
    return {
        "command": "record_touch",
        "id": f"{fields.CallSid}:{status}",
        "channel": "call",
        "direction": "in" if comes_in else "out",
        "kind": status.lower(),
        "identifier": _end_point(fields.From if comes_in else fields.To, "from" if comes_in else "to"),
        "correlation": fields.CallSid,
        **({} if comes_in else {"provider_id": fields.CallSid}),
        **_at(fields.Timestamp),
        "content": {"message": told},
        "data": {"seconds": int(seconds)} if re.fullmatch("[0-9]{1,9}", seconds := fields.CallDuration or "") else {},
    }


def _end_point(told: str | None, path: str) -> dict[str, str]:
    """Whom it was with. Raises Invalid when nobody is told."""
    if not told:
        raise Invalid(Flaw(path, "missing"))
    if told.startswith(_WHATSAPP):
        return {"kind": "whatsapp", "value": told.removeprefix(_WHATSAPP)}
    return {"kind": "phone", "value": told}


def _at(told: str | None) -> dict[str, str]:
    """A time as e-mail writes it. Raises Invalid."""
    if not told:
        return {}
    try:
        return {"occurred_at": parsedate_to_datetime(told).isoformat()}
    except (ValueError, OverflowError):
        raise Invalid(Flaw("timestamp", "not_a_time")) from None

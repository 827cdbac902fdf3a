"""Standard Webhooks (https://www.standardwebhooks.com): any sender that signs like this speaks the hub's own commands.

    {"type": "record_touch", "timestamp": "2026-03-01T10:00:00Z", "data": {"key": "77", "channel": "shop"}}

`type` is `record_touch` or `identify_customer`, and `data` has the fields of that command; `webhook-id` is its id, and
`timestamp` is when it occurred, unless `data` says so itself.
"""

from __future__ import annotations

from typing import Any, Literal

from adapters.inbound.delivery import Command, Delivery, Shape, digest, read, said
from adapters.inbound.verifying import Hmac, Signature
from hub.errors import Flaw, Invalid

ID: str | None = "webhook-id"
SIGNATURE: Signature = Hmac(
    "webhook-signature",
    over="{webhook-id}.{webhook-timestamp}.{body}",
    encoding="base64",
    prefix="v1,",
    time="webhook-timestamp",
    in_base64="whsec_",
)


class Message(Shape):
    type: Literal["record_touch", "identify_customer"]
    timestamp: str | None = None
    data: dict[str, Any]


def translate(delivery: Delivery) -> list[Command]:
    """The command. Raises Invalid for any other message."""
    message = read(Message, delivery.json)
    if flaws := [Flaw(f"data.{name}", "unknown_field") for name in ("command", "id") if name in message.data]:
        raise Invalid(*flaws)
    id = delivery.headers.get("webhook-id") or digest(delivery.body)
    return [{**said({"occurred_at": message.timestamp}), **message.data, "command": message.type, "id": id}]

"""Foreign services as a door meets them; they sign with their own libraries where those sign at all."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook
from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator

from adapters.inbound.delivery import FORM, Delivery

CAPTURED = Path(__file__).parent / "captured"
SAMPLES: Mapping[str, Any] = json.loads((CAPTURED / "samples.json").read_text("utf-8"))
VECTORS: tuple[Mapping[str, Any], ...] = tuple(json.loads((CAPTURED / "signature-vectors.json").read_text("utf-8")))

BOT_SECRET = "Bot_secret-1"
TWILIO_TOKEN = "twilio-auth-token"
TWILIO_URL = "https://hub.example.org/v1/channels/sms"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENDGRID_KEY = ec.derive_private_key(0x1234567, ec.SECP256R1())
SENDGRID_PUBLIC = base64.b64encode(
    SENDGRID_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()


class Sent(NamedTuple):
    body: bytes
    headers: dict[str, str]

    def delivered(self, url: str = "") -> Delivery:
        return Delivery(self.body, {name.lower(): value for name, value in self.headers.items()}, url)


def telegram(update: Any, secret: str = BOT_SECRET) -> Sent:
    body = update if isinstance(update, bytes) else json.dumps(update).encode()
    return Sent(body, {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret})


def twilio(fields: Mapping[str, str] | Iterable[tuple[str, str]], url: str = TWILIO_URL) -> Sent:
    pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
    signature = RequestValidator(TWILIO_TOKEN).compute_signature(url, ImmutableMultiDict(pairs))
    return Sent(urlencode(pairs).encode(), {"Content-Type": FORM, "X-Twilio-Signature": signature})


def sendgrid(events: Any, at: float | None = None) -> Sent:
    body = events if isinstance(events, bytes) else json.dumps(events).encode() + b"\r\n"
    told = str(int(time.time() if at is None else at))
    signature = SENDGRID_KEY.sign(told.encode() + body, ec.ECDSA(hashes.SHA256()))
    return Sent(
        body,
        {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": told,
        },
    )


def standard(message: Any, id: str = "msg_1", at: float | None = None, secret: str = STANDARD_SECRET) -> Sent:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    when = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    return Sent(
        body,
        {
            "Content-Type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": Webhook(secret).sign(id, when, body.decode()),
        },
    )

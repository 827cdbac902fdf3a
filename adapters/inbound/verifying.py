"""Whether a delivery is from whom it says: the ways in which services sign, each over the bytes as they arrived.

Comparisons take the same time whatever was sent. A door may have several secrets at once, so that one can follow
another without a pause. Where a sender signs a time, what is older or newer than TOLERANCE is refused.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from adapters.inbound.delivery import Delivery
from hub.errors import Invalid

TOLERANCE = 300.0  # Seconds.
MOST_SIGNATURES = 16  # Of one header that are looked at; a service that changes its secret sends two.

Refusal = Literal["missing", "stale", "wrong"] | None


class Signature(Protocol):
    """How a service signs."""

    def key(self, secret: str) -> Any:
        """The secret, ready for use. Raises ValueError for what cannot be one."""

    def refuses(self, delivery: Delivery, keys: Sequence[Any], now: float) -> Refusal:
        """Why the delivery is not signed with one of these keys; None where it is. `now` is a Unix time."""


@dataclass(frozen=True)
class Hmac:
    """An HMAC over what `over` spells out: `{body}`, the values of headers, and what stands between them.

    The header may hold several signatures, separated by spaces; `prefix` stands before each that counts.
    """

    header: str
    over: str = "{body}"
    digest: Literal["sha1", "sha256"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    time: str | None = None  # The header with the time signed.
    in_base64: str | None = None  # What stands before a secret that is told in base64.

    def key(self, secret: str) -> bytes:
        if self.in_base64 is None:
            return _some(secret.encode())
        return _some(b64decode(secret.removeprefix(self.in_base64), validate=True))

    def refuses(self, delivery: Delivery, keys: Sequence[bytes], now: float) -> Refusal:
        told = delivery.headers.get(self.header)
        pieces = [_piece(each, delivery) for each in re.split(r"(\{[^}]+\})", self.over)]
        if told is None or None in pieces:
            return "missing"
        if self.time is not None and not _is_fresh(delivery.headers.get(self.time, ""), now):
            return "stale"
        signed = b"".join(each or b"" for each in pieces)
        given = [each.removeprefix(self.prefix) for each in told.split() if each.startswith(self.prefix)]
        made = [self._of(key, signed) for key in keys]
        return _judged(any(_alike(one, each) for one in made for each in given[:MOST_SIGNATURES]))

    def _of(self, key: bytes, signed: bytes) -> str:
        made = hmac.digest(key, signed, self.digest)
        return made.hex() if self.encoding == "hex" else b64encode(made).decode()


@dataclass(frozen=True)
class Equality:
    """A header with the secret itself: it says who sends, and nothing of what is sent."""

    header: str
    form: str = ".+"

    def key(self, secret: str) -> str:
        if re.fullmatch(self.form, secret) is None:
            raise ValueError
        return secret

    def refuses(self, delivery: Delivery, keys: Sequence[str], now: float) -> Refusal:
        told = delivery.headers.get(self.header)
        return "missing" if told is None else _judged(any(_alike(key, told) for key in keys))


@dataclass(frozen=True)
class Ecdsa:
    """ECDSA over P-256 and SHA-256 of a time and the body; the secret is the sender's public key, DER in base64."""

    header: str
    time: str

    def key(self, secret: str) -> ec.EllipticCurvePublicKey:
        key = load_der_public_key(b64decode(secret, validate=True))
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError
        return key

    def refuses(self, delivery: Delivery, keys: Sequence[ec.EllipticCurvePublicKey], now: float) -> Refusal:
        told, time = delivery.headers.get(self.header), delivery.headers.get(self.time)
        if told is None or time is None:
            return "missing"
        if not _is_fresh(time, now):
            return "stale"
        try:
            signature = b64decode(told, validate=True)
        except (ValueError, binascii.Error):
            return "wrong"
        return _judged(
            any(_verifies(key, signature, time.encode("latin-1", "replace") + delivery.body) for key in keys)
        )


@dataclass(frozen=True)
class UrlAndParams:
    """HMAC-SHA1 in base64 over the address called and, sorted, the fields of the form; of any other body its SHA-256
    stands in the address. After https://www.twilio.com/docs/usage/security.
    """

    header: str

    def key(self, secret: str) -> bytes:
        return _some(secret.encode())

    def refuses(self, delivery: Delivery, keys: Sequence[bytes], now: float) -> Refusal:
        told = delivery.headers.get(self.header)
        if told is None:
            return "missing"
        params = ""
        if delivery.is_form:
            try:
                params = "".join(name + value for name, value in sorted(set(delivery.form)))
            except Invalid:
                return "wrong"
        else:
            (named, *_) = parse_qs(urlsplit(delivery.url).query).get("bodySHA256", [""])
            if not _alike(hashlib.sha256(delivery.body).hexdigest(), named):
                return "wrong"
        signed = [(url + params).encode("utf-8", "replace") for url in _with_and_without_port(delivery.url)]
        made = [b64encode(hmac.digest(key, each, "sha1")).decode() for key in keys for each in signed]
        return _judged(any(_alike(each, told) for each in made))


@dataclass(frozen=True)
class Nothing:
    """Not signed at all: whoever reaches the door is believed."""

    def key(self, secret: str) -> str:
        raise ValueError

    def refuses(self, delivery: Delivery, keys: Sequence[Any], now: float) -> Refusal:
        return None


def _judged(verified: bool) -> Refusal:
    return None if verified else "wrong"


def _piece(spelled: str, delivery: Delivery) -> bytes | None:
    if spelled == "{body}":
        return delivery.body
    told = delivery.headers.get(spelled[1:-1]) if spelled.startswith("{") else spelled
    return None if told is None else told.encode("latin-1", "replace")  # As it arrived.


def _alike(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _is_fresh(told: str, now: float) -> bool:
    """Seconds since 1970, or a time as RFC 3339 writes it, with its offset."""
    if re.fullmatch("[0-9]{1,12}", told):
        return abs(now - float(told)) <= TOLERANCE
    try:
        time = datetime.fromisoformat(told)
        return time.tzinfo is not None and abs(now - time.timestamp()) <= TOLERANCE
    except (ValueError, OverflowError):
        return False


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _with_and_without_port(url: str) -> list[str]:
    """The sender may sign either, whichever it called."""
    parts = urlsplit(url)
    bare = re.sub(":[0-9]*$", "", parts.netloc)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return [parts._replace(netloc=spelled).geturl() for spelled in (bare, f"{bare}:{port}")]


def _some(secret: bytes) -> bytes:
    if not secret:
        raise ValueError
    return secret

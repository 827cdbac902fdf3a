"""What a foreign service delivered, byte for byte, and the few words in which translations speak."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.api.bodies import check_depth
from hub.errors import Flaw, Invalid
from hub.identity.normalise import is_code
from hub.intake import flaws_of, strange_characters

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 1000  # Of a form; they are read before its signature is verified.

Command = dict[str, Any]
M = TypeVar("M", bound="Shape")


class Shape(BaseModel):
    """The part of a delivery that a translation reads; what else is said there is kept, and not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


@dataclass(frozen=True)
class Delivery:
    """A request of the service. Names of headers are in lower case; `url` is the address it called, as it knows it."""

    body: bytes
    headers: Mapping[str, str]
    url: str = ""

    @property
    def is_form(self) -> bool:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM

    @property
    def form(self) -> list[tuple[str, str]]:
        """The fields in order; one may come several times. Raises Invalid."""
        try:
            return parse_qsl(self.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
        except ValueError:
            raise Invalid(Flaw("", "not_a_form")) from None

    @property
    def as_it_came(self) -> dict[str, str]:
        """Every byte of the body, as a text where it is one."""
        try:
            return {"text": self.body.decode()}
        except ValueError:
            return {"base64": b64encode(self.body).decode()}

    @property
    def json(self) -> Any:
        """Raises Invalid, also for what is nested deeper than any command, before anything parses it."""
        check_depth(self.body)
        try:
            return orjson.loads(self.body)
        except ValueError:
            raise Invalid(Flaw("", "not_json")) from None


def read(shape: type[M], told: Any) -> M:
    """Raises Invalid with every flaw."""
    try:
        return shape.model_validate(told)
    except ValidationError as error:
        raise Invalid(*flaws_of(error.errors(include_url=False, include_input=False))) from None


def at(seconds: float | None, path: str) -> Mapping[str, str]:
    """`occurred_at` of a Unix time, where one is told. Raises Invalid."""
    if seconds is None:
        return {}
    try:
        return {"occurred_at": datetime.fromtimestamp(seconds, UTC).isoformat()}
    except (ValueError, OverflowError, OSError):
        raise Invalid(Flaw(path, "not_a_time")) from None


def said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left open."""
    return {name: value for name, value in values.items() if value not in (None, "", {}, [])}


def set_aside(flaws: Iterable[Flaw], message: Any, id: str | None = None) -> Command:
    """What no touch can be made of waits in quarantine, whole; what cannot stand there as it is, in base64.

    Its id is not that of the touch, so that the message may still come right under its own.
    """
    flaw = next(iter(flaws))
    path = flaw.path.replace("*", "_")[:64].lower()
    if any(strange_characters(message)):
        message = {"base64": b64encode(orjson.dumps(message)).decode()}
    return {
        "command": "quarantine_touch",
        "id": f"{id or digest(orjson.dumps(message, option=orjson.OPT_SORT_KEYS))}:aside",
        "path": path if is_code(path) else "message",
        "reason": flaw.reason if is_code(flaw.reason) else "invalid",
        "message": message,
    }


def digest(told: bytes) -> str:
    """An id of what carries none."""
    return blake2b(told, digest_size=16).hexdigest()

"""Field types that commands share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from hub.identity.normalise import is_code, is_kind, looks_personal


def _code(value: str) -> str:
    if not is_code(value):
        raise ValueError("not_a_code")
    return value


def _kind(value: str) -> str:
    if not is_kind(value):
        raise ValueError("unknown_kind")
    return value


def _written_out(value: object) -> object:
    """RFC 3339, not the numbers and digits that pydantic would take for seconds."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        raise PydanticCustomError("not_a_time", "not a time")
    return value


_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:?\d{2})?")

Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out)]
CodeText = Annotated[str, AfterValidator(_code)]  # [a-z0-9_.:-]{1,64}, and not what could be a phone or a document
SourceName = Annotated[str, AfterValidator(_code)]
Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
KindName = Annotated[str, AfterValidator(_kind)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class EndPoint(BaseModel):
    """An identifier as a command names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: KindName
    value: Text


class SourceKey(BaseModel):
    """A record as its source knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: SourceName
    key: Text


def clear_and_sealed(data: dict[str, Any]) -> tuple[dict[str, int | bool | str], dict[str, Any]]:
    """Split data into what may stand in the log (codes, numbers, times) and what must be sealed.

    Numbers with a fraction become decimal strings: the log holds no floats.
    """
    clear: dict[str, int | bool | str] = {}
    sealed: dict[str, Any] = {}
    for name, value in data.items():
        text = repr(value) if isinstance(value, float) else str(value)
        if not is_code(name) or (isinstance(value, float) and looks_personal(f"{value:.0f}")):
            sealed[name] = value
        elif isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 63 and not looks_personal(text)):
            clear[name] = value
        elif isinstance(value, float) or (isinstance(value, str) and is_code(text)):
            clear[name] = text
        else:
            sealed[name] = value
    return clear, sealed

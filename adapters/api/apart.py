"""A batch that cannot be read as a whole, taken apart: what no parser holds is kept as it was written."""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any

import orjson

from adapters.api.bodies import check_depth
from adapters.inbound.segment import Unread
from hub.errors import Invalid

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)  # A text without an end is looked at once.
_LONGEST_NUMBER = 4000  # Digits; Python reads no more than 4,300.


class _TooLarge(ValueError):
    """A number that no number here can be."""


def read(text: bytes) -> Any:
    """JSON. Where it cannot be read as a whole, or not be written again, the items of its `batch` are bytes, each as
    it came. Raises ValueError, or RecursionError.
    """
    try:
        value = orjson.loads(text)
        orjson.dumps(value)  # It reads what is nested deeper than anything writes.
    except (ValueError, TypeError):
        return _apart(text)
    return value


def item(text: bytes) -> Any:
    """An item, or Unread where nothing holds it. Raises ValueError for what is no JSON."""
    try:
        check_depth(text)
        return loads(text)
    except Invalid:
        return Unread(text.decode(), "too_deep")
    except _TooLarge:
        return Unread(text.decode(), "too_large")


def _apart(text: bytes) -> Any:
    items: list[bytes] | None = None
    first = depth = 0
    before = None
    for token in _TOKENS.finditer(text):
        at = token.start()
        match text[at]:
            case 0x5B | 0x7B:
                depth += 1
                named = before is not None and before[0] == b'"batch"' and text[before.end() : at].strip() == b":"
                if depth == 2 and text[at] == 0x5B and named:
                    items, start, first = [], at + 1, at + 1
            case 0x2C if depth == 2 and items is not None:
                items.append(text[start:at].strip())
                start = at + 1
            case 0x5D | 0x7D:
                if depth == 2 and items is not None:
                    if items or text[start:at].strip():
                        items.append(text[start:at].strip())
                    return {**loads(text[:first] + text[at:]), "batch": items}
                depth -= 1
        before = token
    return loads(text)


def loads(text: bytes) -> Any:
    """JSON, also with halves of characters, which JavaScript cuts texts into. Raises ValueError, or RecursionError."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text, parse_constant=_no_number, parse_int=_whole, parse_float=_broken)


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _TooLarge
    return int(digits)


def _broken(digits: str) -> float:
    if isinf(number := float(digits)):
        raise _TooLarge
    return number


def _no_number(name: str) -> None:
    raise ValueError(name)

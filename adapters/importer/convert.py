"""Conversions: from a cell's text to what a command carries, by formats the mapping states."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

Convert = Callable[[str], str | int | float | bool]

REMEMBERED = 20_000  # Dates and phones repeat; parsing them is most of the cost of a row.


class Unfit(Exception):
    """A cell that cannot be what the mapping says it is; the argument is a code."""


def date_of(formats: Sequence[str], pivot: int | None) -> Convert:
    return lru_cache(REMEMBERED)(partial(_date, formats=formats, pivot=pivot))


def time_of(formats: Sequence[str], pivot: int | None, zone: ZoneInfo | None) -> Convert:
    """RFC 3339 with an offset: the text's own, or that of the zone."""
    return lru_cache(REMEMBERED)(partial(_time, formats=formats, pivot=pivot, zone=zone))


def phone_of(region: str) -> Convert:
    """The international form. What is no phone of the region goes on for the hub to set aside."""
    return lru_cache(REMEMBERED)(partial(_phone, region=region))


def number_of(point: str, thousands: str) -> Convert:
    """An integer where the text is one, else a float."""

    def number(text: str) -> int | float:
        plain = _plain(text, point, thousands)
        return float(plain) if "." in plain else int(plain)

    return number


def decimal_of(point: str, thousands: str) -> Convert:
    """Money and other exact numbers stay text, with a point."""

    def decimal(text: str) -> str:
        return _plain(text, point, thousands)

    return decimal


_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?", re.ASCII)
_SPACES = str.maketrans("", "", " \u00a0\u202f")


def _plain(text: str, point: str, thousands: str) -> str:
    if thousands:
        text = text.translate(_SPACES) if thousands == " " else text.replace(thousands, "")
    if point != ".":
        if "." in text:
            raise Unfit("not_a_number")
        text = text.replace(point, ".")
    if _NUMBER.fullmatch(text) is None:
        raise Unfit("not_a_number")
    return text


def _date(text: str, formats: Sequence[str], pivot: int | None) -> str:
    return _parsed(text, formats, pivot, "not_a_date").date().isoformat()


def _time(text: str, formats: Sequence[str], pivot: int | None, zone: ZoneInfo | None) -> str:
    at = _parsed(text, formats, pivot, "not_a_time")
    if at.tzinfo is None:
        if zone is None:
            raise Unfit("offset_missing")
        at = at.replace(tzinfo=zone)
    return at.isoformat()


def _parsed(text: str, formats: Sequence[str], pivot: int | None, reason: str) -> datetime:
    for format in formats:
        try:
            if format == "iso":
                return datetime.fromisoformat(text)
            if format in ("unix", "unix_ms"):
                return datetime.fromtimestamp(float(text) / (1000 if format == "unix_ms" else 1), ZoneInfo("UTC"))
            at = datetime.strptime(text, format)  # noqa: DTZ007 -- the zone is the mapping's
        except (ValueError, OverflowError, OSError):
            continue
        if pivot is not None and "%y" in format:
            at = at.replace(year=(1900 if at.year % 100 > pivot else 2000) + at.year % 100)
        return at
    raise Unfit(reason)


def _phone(text: str, region: str) -> str:
    import phonenumbers  # Its metadata take a while to load; most files have no phones.

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return text
    # Formatted even where it is not valid: read with another region it could become somebody else's phone.
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_format(format: str) -> bool:
    """Can strptime read it? Tried on a date written in it."""
    if format in ("iso", "unix", "unix_ms"):
        return True
    try:
        datetime.strptime(date(2001, 2, 3).strftime(format), format)  # noqa: DTZ007 -- only the format is tried
    except (ValueError, re.error):
        return False
    return "%" in format

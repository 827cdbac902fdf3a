"""Values as they are compared: one form for what means the same, and a check that the value can be what it claims.

Phones by the E.164 plan (ITU-T), checksums of INN and SNILS by the Russian tax service's order
(ФНС, приказ ЕД-7-14/559@) and the pension fund's (ПФР, постановление 192п).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache

KINDS = (
    "phone", "email", "telegram", "vk", "whatsapp", "facebook", "instagram",
    "login", "card", "device", "cookie", "inn", "snils", "passport",
)  # fmt: skip
MESSENGERS = frozenset({"telegram", "vk", "whatsapp", "facebook", "instagram"})
LONGEST = 1000  # Characters of an identifier.

_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\\\]]{1,64}@(?:[^@\s.]{1,63}\.)+[^@\s.]{2,63}")
_EXTENSION = re.compile(r"x-[a-z0-9_.-]{1,62}")
_HANDLE = re.compile(r"(?:https?://)?(?:www\.)?(?:t\.me|vk\.com|facebook\.com|instagram\.com|wa\.me)/", re.IGNORECASE)
_TEN_DIGITS = re.compile(r"(?:\d[\s\-_.:/()]*){10}")
_CODE = re.compile(r"[a-z0-9_.:-]{1,64}")


class Unfit(Exception):
    """A value that cannot be what it claims; the argument is a code."""


def identifier(kind: str, value: str, region: str = "RU") -> str:
    """The comparable form of an identifier. Raises Unfit with a code that says why it is none."""
    value = value.strip()
    if not value:
        raise Unfit("empty")
    if len(value) > LONGEST:
        raise Unfit("too_long")
    return _NORMALISERS.get(kind, _as_given)(value, region)


def is_kind(kind: str) -> bool:
    """May this stand in clear as a kind? One that starts with x- is a code too."""
    return kind in KINDS or (_EXTENSION.fullmatch(kind) is not None and is_code(kind))


def is_code(text: str) -> bool:
    """May this stand in clear? Codes that could be a phone or a document number may not."""
    return _CODE.fullmatch(text) is not None and not looks_personal(text)


def looks_personal(text: str) -> bool:
    """Ten digits in a row but for punctuation: a phone, a document, an account, or what cannot be told from one."""
    return "@" in text or (len(text) >= 10 and _TEN_DIGITS.search(text) is not None)


@lru_cache(maxsize=100_000)
def _phone(value: str, region: str) -> str:
    import phonenumbers  # Its metadata take seconds to load; a hub without phones need not wait.

    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        raise Unfit("not_a_phone") from None
    if not phonenumbers.is_possible_number(number) or not phonenumbers.is_valid_number(number):
        raise Unfit("not_a_phone")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(value: str, region: str) -> str:
    lower = value.lower()
    if _EMAIL.fullmatch(lower) is None:
        raise Unfit("not_an_email")
    return lower


def _handle(value: str, region: str) -> str:
    bare = _HANDLE.sub("", value).lstrip("@").rstrip("/").lower()
    if not bare:
        raise Unfit("empty")
    return bare


def _whatsapp(value: str, region: str) -> str:
    bare = _HANDLE.sub("", value)
    return _phone(bare if bare.startswith("+") or not bare.isdigit() or len(bare) < 11 else f"+{bare}", region)


def _digits(value: str) -> str:
    return re.sub(r"[\s\-./]", "", value)


def _inn(value: str, region: str) -> str:
    digits = _digits(value)
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (10, 12):
        raise Unfit("not_an_inn")
    d = [int(c) for c in digits]

    def control(weights: tuple[int, ...]) -> int:
        return sum(w * x for w, x in zip(weights, d, strict=False)) % 11 % 10

    if len(d) == 10:
        fits = control((2, 4, 10, 3, 5, 9, 4, 6, 8)) == d[9]
    else:
        fits = (
            control((7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == d[10] and control((3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == d[11]
        )
    if not fits:
        raise Unfit("checksum")
    return digits


def _snils(value: str, region: str) -> str:
    digits = _digits(value)
    if not digits.isascii() or not digits.isdigit() or len(digits) != 11:
        raise Unfit("not_a_snils")
    # Numbers up to 001-001-998 carry no checksum.
    if int(digits[:9]) > 1_001_998:
        control = sum((9 - n) * int(c) for n, c in enumerate(digits[:9])) % 101 % 100
        if control != int(digits[9:]):
            raise Unfit("checksum")
    return digits


def _passport(value: str, region: str) -> str:
    return re.sub(r"[\W_]", "", value).upper() or _raise("empty")


def _card(value: str, region: str) -> str:
    return _digits(value).lower() or _raise("empty")


def _as_given(value: str, region: str) -> str:
    return value


def _raise(reason: str) -> str:
    raise Unfit(reason)


_NORMALISERS: dict[str, Callable[[str, str], str]] = {
    "phone": _phone,
    "email": _email,
    "telegram": _handle,
    "vk": _handle,
    "facebook": _handle,
    "instagram": _handle,
    "whatsapp": _whatsapp,
    "inn": _inn,
    "snils": _snils,
    "passport": _passport,
    "card": _card,
}


def birth_date(value: str, today: date) -> str:
    """An ISO date of somebody who may be alive. Raises Unfit."""
    try:
        born = date.fromisoformat(value)
    except ValueError:
        raise Unfit("not_a_date") from None
    if not date(today.year - 130, 1, 1) <= born <= today:
        raise Unfit("impossible_date")
    return born.isoformat()

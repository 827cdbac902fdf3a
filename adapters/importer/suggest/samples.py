"""What samples of a column are: held against the very checks and conversions that an import makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from adapters.importer import convert
from hub.identity import normalise

MOST = 0.8  # Of the samples must be what a column is taken for.
REGIONS = ("RU", "US", "GB", "KZ", "BY", "UA")
SPLITS = (";", ",", "|", "/")
GENDERS = {
    "male": ("м", "муж", "мужской", "мужчина", "m", "male", "man"),
    "female": ("ж", "жен", "женский", "женщина", "f", "female", "w", "woman"),
}

_DATES = (
    (r"\d\d?\.\d\d?\.\d{4}", "%d.%m.%Y", "%m.%d.%Y"),
    (r"\d\d?\.\d\d?\.\d\d", "%d.%m.%y", "%m.%d.%y"),
    (r"\d{4}-\d\d?-\d\d?", "%Y-%m-%d"),
    (r"\d\d?/\d\d?/\d{4}", "%d/%m/%Y", "%m/%d/%Y"),
    (r"\d\d?/\d\d?/\d\d", "%d/%m/%y", "%m/%d/%y"),
    (r"\d\d?-\d\d?-\d{4}", "%d-%m-%Y", "%m-%d-%Y"),
    (r"\d{4}/\d\d?/\d\d?", "%Y/%m/%d"),
    (r"\d{4}\.\d\d?\.\d\d?", "%Y.%m.%d"),
    (r"(?:19|20)\d{6}", "%Y%m%d"),
    (r"\d\d?-[A-Za-z]{3}-\d\d", "%d-%b-%y"),
    (r"\d\d?-[A-Za-z]{3}-\d{4}", "%d-%b-%Y"),
    (r"\d\d? [A-Za-z]{3} \d{4}", "%d %b %Y"),
    (r"[A-Za-z]{3} \d\d? \d{4}", "%b %d %Y"),
    (r"[A-Za-z]{3} \d\d?, \d{4}", "%b %d, %Y"),
)
_TIMES = (("", ""), (r" \d\d?:\d\d", " %H:%M"), (r" \d\d?:\d\d:\d\d", " %H:%M:%S"))
_SHAPES = tuple(
    (re.compile(shape + more), [format + time for format in formats])
    for shape, *formats in _DATES
    for more, time in _TIMES
)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:T| \d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d)).*")
_UNIX = re.compile(r"1\d{9}(?:\d{3})?")
_PHONE = re.compile(r"[+\d][\d\s().\-]{8,20}\d")
_LOCAL = re.compile(r"\(\d{3,5}\)[\d\s\-]{6,10}")
_MASKED = re.compile(r"\d{3}-\d{3}-\d{3}[ -]\d\d")
_PATRONYMIC = re.compile(r"[А-ЯЁ][а-яё]+(?:вич|ич|вна|чна|шна)|[A-Z][a-z]+(?:vich|vna|ichna)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*", re.UNICODE)
_CODE = re.compile(r"[\w\-./]{1,64}", re.UNICODE)


class Dates(NamedTuple):
    formats: list[str]
    either: bool  # Day and month could as well be the other way round.

    @property
    def pivot(self) -> int | None:
        """Two-digit years up to this one's are of this century."""
        return datetime.now(UTC).year % 100 if any("%y" in format for format in self.formats) else None

    @property
    def has_offset(self) -> bool:
        return set(self.formats) <= {"unix", "unix_ms"}


class Number(NamedTuple):
    point: str
    thousands: str
    either: bool  # A comma could as well part thousands.


Fits = Callable[[str], bool]


def share(samples: Sequence[str], fits: Fits) -> float:
    return sum(map(fits, samples)) / len(samples) if samples else 0.0


def is_identifier(kind: str, region: str = "RU") -> Fits:
    """Does a text pass the hub's own check of this kind?"""

    def passes(text: str) -> bool:
        try:
            normalise.identifier(kind, text, region)
        except normalise.Unfit:
            return False
        return True

    return passes


def is_national(region: str) -> Fits:
    """Is it a number of this country, told without its code?"""
    import phonenumbers  # Its metadata take a while to load.

    def fits(text: str) -> bool:
        if _PHONE.fullmatch(text) is None and _LOCAL.fullmatch(text) is None:
            return False
        try:
            return phonenumbers.is_valid_number_for_region(phonenumbers.parse(text, region), region)
        except phonenumbers.NumberParseException:
            return False

    return fits


def region_of(samples: Sequence[str], home: str) -> str:
    """Where most of those without a country code are valid: home, unless another country is clearly better."""
    national = [text for text in samples if not text.startswith("+")]
    found = {region: share(national, is_national(region)) for region in dict.fromkeys((home, *REGIONS))}
    return next(region for region, valid in found.items() if valid >= max(found.values()) - 0.1)


def split_of(samples: Sequence[str], fits: Fits) -> str | None:
    """The sign between several values of one cell, where some cells have several that fit."""
    for sign in SPLITS:
        several = [[part.strip() for part in text.split(sign) if part.strip()] for text in samples if sign in text]
        if any(len(parts) > 1 and all(map(fits, parts)) for parts in several):
            return sign
    return None


def kind_of(samples: Sequence[str], home: str) -> str | None:
    """What these are, where that can be told from them alone."""
    if not samples:
        return None
    one = [part for text in samples for part in re.split(r"[;,|]\s*", text) if part]
    if share(one, is_identifier("email")) >= MOST:
        return "email"
    if share(samples, lambda text: bool(_MASKED.fullmatch(text)) and is_identifier("snils")(text)) >= MOST:
        return "snils"
    digits = [text for text in samples if text.isdecimal()]
    if len(digits) >= max(2, MOST * len(samples)):
        for kind in ("inn", "snils"):
            if share(digits, is_identifier(kind)) >= 0.9:
                return kind
    national, valid = is_national(home), is_identifier("phone", home)
    if share(one, lambda text: valid(text) if text.startswith("+") else national(text)) >= MOST:
        return "phone"
    if share(samples, lambda text: text.lower().strip(".") in (*GENDERS["male"], *GENDERS["female"])) >= MOST:
        return "gender"
    words = [_WORD.findall(text) for text in samples]
    if share(samples, lambda text: _PATRONYMIC.fullmatch(text) is not None) >= MOST:
        return "patronymic"
    if sum(len(each) == 3 and any(map(_PATRONYMIC.fullmatch, each)) for each in words) >= MOST * len(words):
        return "name"
    return None


def dates_of(samples: Sequence[str], month_first: bool) -> tuple[Dates, int] | None:
    """The formats these are written in, most frequent first, and how many of them they read."""
    left, formats, either, banned = list(samples), list[str](), False, set[str]()
    order = _order(samples)
    while left and len(formats) < 6:
        read = {format: {text for text in left if reads(text)} for format, reads in _readers(banned)}
        best = max(read, key=lambda format: len(read[format]))
        if not read[best]:
            break
        for _, pair in _SHAPES:
            if len(pair) == 2 and best in pair:
                day, month = pair
                swapped = month_first and "/" in day if order is None else order
                first, other = (month, day) if swapped else (day, month)
                either |= order is None and "." not in day and read[first] == read[other]
                best = first if len(read[first]) >= MOST * len(read[other]) else other
                banned |= set(pair) - {best}
        formats.append(best)
        left = [text for text in left if text not in read[best]]
    return (Dates(formats, either), len(samples) - len(left)) if formats else None


def _order(samples: Sequence[str]) -> bool | None:
    """Does the month come first? Told by the dates that can be read one way only; None where there are none."""
    told = 0
    for shape, pair in _SHAPES:
        if len(pair) == 2:
            day, month = (_reader(shape, format) for format in pair)
            told += sum(month(text) - day(text) for text in samples)
    return told > 0 if told else None


def _readers(banned: set[str]) -> list[tuple[str, Fits]]:
    found = [
        (format, _reader(shape, format)) for shape, formats in _SHAPES for format in formats if format not in banned
    ]
    return [*found, ("iso", _reader(_ISO, "iso")), ("unix", _seconds(10)), ("unix_ms", _seconds(13))]


def _seconds(digits: int) -> Fits:
    return lambda text: len(text) == digits and _UNIX.fullmatch(text) is not None


def _reader(shape: re.Pattern[str], format: str) -> Fits:
    read = convert.date_of([format], None)

    def reads(text: str) -> bool:
        if shape.fullmatch(text) is None:
            return False
        try:
            return 1900 <= int(str(read(text))[:4]) <= 2100 or "%y" in format
        except convert.Unfit:
            return False

    return reads


def number_of(samples: Sequence[str], comma_is_point: bool) -> tuple[Number, float]:
    """How these write numbers, and how many of them are numbers then."""
    commas, dots = ([text for text in samples if sign in text] for sign in ",.")
    either = False
    if any(text.rfind(",") > text.rfind(".") >= 0 for text in commas):
        point = ","
    elif any(text.rfind(".") > text.rfind(",") >= 0 for text in dots) or not commas:
        point = "."
    elif all(re.search(r",\d{3}$", text) and not text.startswith("0,") for text in commas):
        either, point = True, "," if comma_is_point else "."
    else:
        point = ","
    other = "." if point == "," else ","
    if any(re.search(r"\d[ \u00a0\u202f]\d{3}", text) for text in samples):
        thousands = " "
    else:
        thousands = other if any(other in text for text in samples) else ""
    read = convert.decimal_of(point, thousands)

    def reads(text: str) -> bool:
        try:
            return bool(read(text))
        except convert.Unfit:
            return False

    return Number(point, thousands, either), share(samples, reads)


def is_words(samples: Sequence[str], least: int) -> bool:
    """Are most of them so many words or more, of letters only?"""
    return sum(len(_WORD.findall(text)) >= least and not re.search(r"\d", text) for text in samples) >= MOST * len(
        samples
    )


def could_be_key(samples: list[str]) -> bool:
    """Short codes, of which no two rows have the same; but not the number of the row."""
    numbered = samples[:3] in (["1", "2", "3"][: len(samples)], ["0", "1", "2"][: len(samples)])
    return bool(samples) and not numbered and len(set(samples)) == len(samples) and all(map(_is_code, samples))


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None and any(map(str.isdigit, text))

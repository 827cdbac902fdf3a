"""How a column is written down in a mapping, once it is known what it means; and what in that was a guess."""

from __future__ import annotations

import re
from typing import Any

from adapters.importer.suggest import samples
from adapters.importer.suggest.columns import Column
from adapters.importer.suggest.words import comment

Field = tuple[Any, list[str]]  # The value as the mapping says it, and the doubts.

CHECKED = ("email", "inn", "snils")  # Identifiers whose check can fail.
ZONES = {"RU": "Europe/Moscow", "US": "America/New_York", "GB": "Europe/London"}
CHANNELS = {
    "call": ("call", "звонок", "телефон", "phone"),
    "sms": ("sms", "смс"),
    "email": ("email", "e-mail", "почта", "эл. почта"),
    "messenger": ("messenger", "мессенджер", "telegram", "whatsapp"),
    "chat": ("chat", "чат"),
    "social": ("social", "соцсети"),
    "web": ("web", "site", "website", "online", "сайт", "интернет", "онлайн"),
    "app": ("app", "mobile app", "приложение"),
    "visit": ("visit", "office", "визит", "офис"),
    "shop": ("shop", "store", "offline", "магазин", "офлайн", "розница"),
}
_OFFSET = re.compile(r"T.*(?:Z|[+-]\d\d:?\d\d)$")
CHANNEL_OF = {word: channel for channel, words in CHANNELS.items() for word in words}
GENDER_OF = {word: gender for gender, words in samples.GENDERS.items() for word in words}


class Fields:
    """Fields of a file from this country, with doubts in this language."""

    def __init__(self, region: str, lang: str) -> None:
        self._region, self._lang = region, lang

    def phone(self, column: Column) -> Field:
        several = [piece.strip() for text in column.unique() for piece in re.split(r"[;,|]", text) if piece.strip()]
        region = samples.region_of(several, self._region)
        passes = samples.is_identifier("phone", region)
        value = {"column": column.name, "type": "phone", "region": region}
        if split := samples.split_of(column.unique(), passes):
            value["split"] = split
        doubts = [] if all(each.startswith("+") for each in several) else [self._say("region", region=region)]
        return value, doubts + self._failing(several, passes)

    def identifier(self, kind: str, column: Column) -> Field:
        if kind not in CHECKED:
            return column.name, []
        passes = samples.is_identifier(kind)
        if split := samples.split_of(column.unique(), passes):
            return {"column": column.name, "split": split}, []
        return column.name, self._failing(column.unique(), passes)

    def gender(self, column: Column) -> Field:
        told = set(column.samples)
        known = {text: GENDER_OF[_word(text)] for text in sorted(told) if _word(text) in GENDER_OF}
        doubts = [self._say("others", other='""')] if len(known) < len(told) else []
        return {"column": column.name, "map": {**known, "*": ""}}, doubts

    def date(self, column: Column, type: str) -> Field:
        dates, read = samples.dates_of(column.unique(), self.month_first) or (samples.Dates(["iso"], False), 0)
        value: dict[str, Any] = {"column": column.name, "type": type}
        value["format"] = dates.formats[0] if len(dates.formats) == 1 else dates.formats
        if dates.pivot is not None:
            value["pivot"] = dates.pivot
        doubts = []
        if type == "time" and not (dates.has_offset or all(map(_OFFSET.search, column.unique()))):
            value["zone"] = ZONES.get(self._region, "UTC")
            doubts += [self._say("zone")]
        if dates.either:
            doubts.append(self._say("day_or_month"))
        if bad := len(column.unique()) - read:
            doubts.append(self._say("unread", bad=bad, all=len(column.unique())))
        return value, doubts

    def number(self, column: Column, type: str) -> Field:
        number, _ = samples.number_of(column.samples, self.comma_is_point)
        value: dict[str, Any] = {"column": column.name, "type": type}
        if number.point != ".":
            value["point"] = number.point
        if number.thousands:
            value["thousands"] = number.thousands
        return value, [self._say("comma")] if number.either else []

    def channel(self, column: Column) -> Field:
        known = {text: CHANNEL_OF[_word(text)] for text in column.unique() if _word(text) in CHANNEL_OF}
        value = {"column": column.name, "map": {**known, "*": "other"}, "default": "other"}
        return value, [self._say("others", other="other")]

    @property
    def month_first(self) -> bool:
        return self._region == "US"

    @property
    def comma_is_point(self) -> bool:
        return self._region not in ("US", "GB")

    def _failing(self, texts: list[str], passes: samples.Fits) -> list[str]:
        bad = sum(not passes(text) for text in texts)
        return [self._say("failing", bad=bad, all=len(texts))] if bad else []

    def _say(self, code: str, **values: object) -> str:
        return comment(code, self._lang, **values)


def _word(text: str) -> str:
    return text.lower().strip(".")

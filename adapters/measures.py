"""Numbers, times and sizes as a person reads them, in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from adapters.condition import Disk
from adapters.importer.words import number
from hub.texts import LANGUAGES, Told, told

_UNITS = ((86400, "days", "дн."), (3600, "hours", "ч"), (60, "minutes", "мин"), (1, "seconds", "с"))
_SIZES = ((1 << 30, "GB", "ГБ"), (1 << 20, "MB", "МБ"), (1 << 10, "KB", "КБ"), (1, "bytes", "байт"))


def both(english: str, russian: str, **values: object) -> Told:
    return told((english, russian), **values) if values else verbatim(english, russian)


def verbatim(english: str, russian: str) -> Told:
    """Text in which braces are braces."""
    return told(("{e}", "{r}"), e=english, r=russian)


def disk_space(disk: Disk) -> Told:
    words = ("{f} of {s} free where {d} lies", "свободно {f} из {s}, где лежит {d}")
    return both(*words, f=size_of(disk.free), s=size_of(disk.size), d=disk.folder)


def listed(items: Sequence[Told]) -> Told:
    return verbatim(*("; ".join(each.in_(language) for each in items) for language in LANGUAGES))


def counted(count: int) -> Told:
    return verbatim(*(number(count, language) for language in LANGUAGES))


def age(at: datetime | None) -> Told:
    return span((datetime.now(UTC) - at).total_seconds() if at else 0.0)


def span(seconds: float) -> Told:
    """A time in its largest unit: `3 minutes`."""
    unit, english, russian = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    count = max(0, int(seconds // unit))
    return verbatim(f"{count} {english if count != 1 else english[:-1]}", f"{count} {russian}")


def size_of(count: int) -> Told:
    unit, english, russian = next((each for each in _SIZES if count >= each[0]), _SIZES[-1])
    shown = f"{count / unit:.1f}" if unit > 1 else str(count)
    return verbatim(f"{shown} {english}", f"{shown.replace('.', ',')} {russian}")

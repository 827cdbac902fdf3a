"""Values: from what the mapping says of one field to a function that takes it out of a row.

A text names a column; a table says more: `{ value = "shop" }` outright, `{ column = …, type = … }` converted,
`{ join = [ … ] }` several as one text, `{ object = { … } }` several as one object, `{ each = …, … }` one for every
element of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.importer.convert import (
    Convert,
    Unfit,
    date_of,
    decimal_of,
    is_format,
    number_of,
    phone_of,
    time_of,
)
from adapters.importer.rows import Row
from adapters.importer.words import wrong
from hub.settings import is_region
from hub.texts import Told

Get = Callable[[Row], Any]  # None where the row has nothing to say.

TYPES = ("text", "number", "decimal", "date", "time", "phone")
KEYS = {
    "value": {"value"},
    "column": {"column", "type", "format", "zone", "pivot", "point", "thousands", "region", "map", "split", "default"},
    "join": {"join", "with"},
    "object": {"object"},
    "each": {"each", "column", "join", "object", "with", "type", "format", "zone", "pivot", "region", "map"},
}


class Unusable(Exception):
    """Something wrong in the mapping: what, and what to write instead."""

    def __init__(self, fix: Told) -> None:
        super().__init__(fix)
        self.fix = fix


class Unconvertible(Exception):
    """A cell that is not what the mapping says; the arguments are its column and a code."""


class Value(NamedTuple):
    """How to get a value, and the columns it comes from."""

    get: Get
    columns: tuple[str, ...]
    constant: Any = None
    shape: str = "any"  # "text" or "scalar" where it is never anything else, so that nobody need look.


class Columns:
    """The columns of the file: by name where it has a header, else by path into an object."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names
        self.shape = "any" if names is None else "text"

    def get(self, column: str | list[str]) -> Get:
        """Raises Unusable when the file has no such column."""
        if not isinstance(column, str) and not (
            isinstance(column, list) and all(isinstance(each, str) for each in column)
        ):
            raise Unusable(wrong("column_name"))
        if self._names is None:
            return _path(_segments(column))
        if not isinstance(column, str) or column not in self._names:
            raise Unusable(wrong("no_column", column=column, hint=self._like(column)))
        return _cell(self._names.index(column))

    def _like(self, column: str | list[str]) -> Told:
        """Only names like the one meant: what is taken for a header may be somebody's row."""
        close = get_close_matches(_name(column), self._names or (), 1, 0.5)
        return wrong("did_you_mean", close=close[0]) if close else wrong("look", count=len(self._names or ()))


def value_of(spec: Any, columns: Columns, *, lenient: bool = False) -> Value:
    """Compile one field. `lenient` hands over what cannot be converted, for the hub to set aside. Raises Unusable."""
    if isinstance(spec, str | list):
        return Value(columns.get(spec), (_name(spec),), shape=columns.shape)
    if not isinstance(spec, Mapping):
        raise Unusable(wrong("column_or_value"))
    form = next((form for form in ("value", "each", "join", "object", "column") if form in spec), None)
    if form is None:
        raise Unusable(wrong("no_form"))
    if extra := spec.keys() - KEYS[form]:
        raise Unusable(wrong("does_not_go", extra=sorted(extra)[0], form=form, known=", ".join(sorted(KEYS[form]))))
    match form:
        case "value":
            constant = spec["value"]
            return Value(lambda _: constant, (), constant)
        case "each":
            return _each(spec, columns, lenient)
        case "join":
            return _join(spec, columns)
        case "object":
            return _object(spec["object"], columns)
    return _column(spec, columns, lenient)


def _each(spec: Mapping[str, Any], columns: Columns, lenient: bool) -> Value:
    elements = columns.get(spec["each"])
    rest = {key: value for key, value in spec.items() if key != "each"}
    inner = value_of(rest, Columns(None), lenient=lenient)

    def each(row: Row) -> Any:
        found = elements(row)
        if not isinstance(found, list):
            found = [found] if isinstance(found, dict) else ()
        return [value for element in found if (value := inner.get(element)) is not None] or None

    return Value(each, tuple(f"{_name(spec['each'])}.{column}" for column in inner.columns))


def _join(spec: Mapping[str, Any], columns: Columns) -> Value:
    if not isinstance(spec["join"], list):
        raise Unusable(wrong("join_list"))
    parts = [value_of(part, columns) for part in spec["join"]]
    if not all(part.columns for part in parts):
        raise Unusable(wrong("join_columns"))
    between = spec.get("with", " ")

    def join(row: Row) -> Any:
        return between.join([text for part in parts if (text := _text(part.get(row)))]) or None

    return Value(join, tuple(column for part in parts for column in part.columns))


def _object(fields: Any, columns: Columns) -> Value:
    if not isinstance(fields, Mapping):
        raise Unusable(wrong("object_table"))
    parts = {name: value_of(part, columns) for name, part in fields.items()}

    def build(row: Row) -> Any:
        built = {name: value for name, part in parts.items() if (value := part.get(row)) is not None}
        return built or None

    return Value(build, tuple(column for part in parts.values() for column in part.columns))


def _column(spec: Mapping[str, Any], columns: Columns, lenient: bool) -> Value:
    name = _name(spec["column"])
    take, convert, default, split = columns.get(spec["column"]), _convert(spec), spec.get("default"), spec.get("split")
    meanings = spec.get("map")
    if meanings is not None and not isinstance(meanings, Mapping):
        raise Unusable(wrong("map_table"))

    if convert is None and meanings is None and default is None and split is None:
        return Value(take, (name,), shape=columns.shape)

    def one(raw: Any) -> Any:
        if meanings is not None and not isinstance(raw, list | dict):
            raw = meanings.get(str(raw), meanings.get("*", raw))
            if raw == "":
                return None
        if convert is None or not isinstance(raw, str):
            return raw
        try:
            return convert(raw)
        except Unfit as unfit:
            if lenient:
                return raw
            raise Unconvertible(name, str(unfit)) from None

    def get(row: Row) -> Any:
        raw = take(row)
        if raw is None:
            return default
        if split and isinstance(raw, str):
            raw = [text for part in raw.split(split) if (text := part.strip())]
        return [one(each) for each in raw] if isinstance(raw, list) else one(raw)

    if columns.shape == "text" and convert and not (lenient or split or meanings or default is not None):
        return Value(_converted(name, take, convert), (name,), shape="scalar" if spec["type"] == "number" else "text")
    return Value(get, (name,))


def _converted(name: str, take: Get, convert: Convert) -> Get:
    """Of a text that is only converted, which most are, and quicker so."""

    def get(row: Row) -> Any:
        raw = take(row)
        if raw is None:
            return None
        try:
            return convert(raw)
        except Unfit as unfit:
            raise Unconvertible(name, str(unfit)) from None

    return get


def _convert(spec: Mapping[str, Any]) -> Convert | None:
    formats = spec.get("format", [])
    formats = [formats] if isinstance(formats, str) else formats
    if unread := [format for format in formats if not is_format(format)]:
        raise Unusable(wrong("no_time_format", format=unread[0]))
    match spec.get("type", "text"):
        case "text":
            return None
        case "date" | "time" as type if not formats:
            raise Unusable(wrong("needs_format", type=type))
        case "date":
            return date_of(formats, spec.get("pivot"))
        case "time":
            return time_of(formats, spec.get("pivot"), _zone(spec.get("zone"), formats))
        case "number":
            return number_of(spec.get("point", "."), spec.get("thousands", ""))
        case "decimal":
            return decimal_of(spec.get("point", "."), spec.get("thousands", ""))
        case "phone":
            return phone_of(_region(spec.get("region")))
    raise Unusable(wrong("no_type", type=spec["type"], known=", ".join(TYPES)))


def _zone(name: str | None, formats: Sequence[str]) -> ZoneInfo | None:
    if name is None:
        if all("%z" in format or format in ("iso", "unix", "unix_ms") for format in formats):
            return None
        raise Unusable(wrong("needs_zone"))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Unusable(wrong("no_zone", zone=name)) from None


def _region(region: Any) -> str:
    if not isinstance(region, str) or not is_region(region):
        raise Unusable(wrong("needs_region"))
    return region


def _cell(index: int) -> Get:
    def cell(row: Row) -> Any:
        return row[index].strip() or None

    return cell


def _segments(path: str | list[str]) -> list[str]:
    """`a.b[].c`, or `["a", "b", "[]", "c"]` where a name has dots of its own."""
    if isinstance(path, list):
        return path
    return [part for part in path.replace("[]", ".[]").split(".") if part]


def _path(segments: list[str]) -> Get:
    def walk(value: Any, depth: int) -> Any:
        for n in range(depth, len(segments)):
            segment = segments[n]
            if segment == "[]":
                found = [walk(each, n + 1) for each in value] if isinstance(value, list) else []
                return [each for each in found if each is not None] or None
            value = value.get(segment) if isinstance(value, dict) else None
        if isinstance(value, str):
            return value.strip() or None
        return value

    return lambda row: walk(row, 0)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return "" if value is None else str(value)


def _name(path: str | list[str]) -> str:
    return path if isinstance(path, str) else ".".join(path)

"""Templates: a row becomes a command by filling one in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters.importer.rows import Row
from adapters.importer.values import Get, Value
from hub.attributes import CLEAR

ONE = CLEAR | {"birth_date", "gender"}  # Facts that take one value.


class Template:
    """One command a row becomes, and the way back from a path in it to the columns it came from."""

    def __init__(
        self,
        where: str,
        command: str,
        values: Mapping[str, Value],
        nested: Mapping[str, Mapping[str, Value]],
        when: Get | None,
        raw: bool,
    ) -> None:
        self.where, self.command, self.raw = where, command, raw
        self._when = when
        self._same = {"command": command, **_constants(values)}
        self._fields = [(name, _shaped("", name, value)) for name, value in values.items() if value.columns]
        self._tables = [
            (
                table,
                _constants(parts),
                [(name, _shaped(table, name, value)) for name, value in parts.items() if value.columns],
            )
            for table, parts in nested.items()
        ]
        self._columns = {name: value.columns for name, value in values.items()}
        for table, parts in nested.items():
            self._columns |= {f"{table}.{name}": value.columns for name, value in parts.items()}

    def fill(self, id: str, row: Row, whole: Callable[[Row], dict[str, Any]]) -> dict[str, Any] | None:
        """The command; None where the mapping makes none of this row. Raises Unconvertible."""
        if self._when is not None and self._when(row) is None:
            return None
        command: dict[str, Any] = self._same.copy()
        command["id"] = f"{id}:{self.where}"
        for name, get in self._fields:
            if (value := get(row)) is not None:
                command[name] = value
        for table, same, parts in self._tables:
            filled = same.copy()
            for name, get in parts:
                if (value := get(row)) is not None:
                    filled[name] = value
            if filled:
                command[table] = filled
        if self.raw:
            if self.command == "identify_customer":
                command["raw"] = whole(row)
            else:
                command.setdefault("content", {})["row"] = whole(row)
        return command

    def columns_of(self, path: str) -> str | None:
        """The columns behind a path of the command, however deep it goes."""
        while path:
            if path in self._columns:
                return " + ".join(dict.fromkeys(self._columns[path])) or None
            path = path.rpartition(".")[0]
        return None


def _constants(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: value.constant for name, value in values.items() if not value.columns}


def _shaped(table: str, name: str, value: Value) -> Get:
    """The value in the shape its field takes: one text, one value, texts, or whatever it is."""
    get = value.get
    if value.shape == "text":
        return get
    match table:
        case "content":
            return get
        case "facts" | "data" if value.shape == "scalar":
            return get
        case "identifiers":
            return lambda row: _texts(get(row))
        case "facts" if name not in ONE:
            return lambda row: _several(get(row))
        case "facts" | "data":
            return lambda row: _first(get(row))
        case _ if name in ("asks", "resolved", "identifier", "answers"):
            return get
    return lambda row: _as_text(get(row))


def _first(value: Any) -> Any:
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _as_text(value: Any) -> Any:
    value = _first(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _several(value: Any) -> Any:
    """Each value once; the list only where there is more than one."""
    if not isinstance(value, list):
        return value
    once = [each for n, each in enumerate(value) if each is not None and each not in value[:n]]
    return once if len(once) > 1 else _first(once)


def _texts(value: Any) -> Any:
    value = _several(value)
    return [_as_text(each) for each in value] if isinstance(value, list) else _as_text(value)

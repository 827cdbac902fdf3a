"""The columns of a file with samples of each, and how the file is written: all that a suggestion is made from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.importer.rows import DELIMITERS, FORMATS, Broken, FileError, Layout, rows_of, sniffed_encoding
from adapters.importer.suggest.samples import dates_of, is_identifier, is_national, number_of
from adapters.importer.words import wrong, wrong_in
from hub.texts import why

SAMPLED = 1_000  # Rows.
TELLING = 200  # Values of a column.
LINES = 50  # Of the file's beginning, for its delimiter and quotes.
HEADER = re.compile(r"[^\W\d_]", re.UNICODE)


@dataclass
class Column:
    """One column, or path into an object: as a mapping names it, what it is called, and what stands in it."""

    name: str | list[str]
    called: str
    samples: list[str] = field(default_factory=list)
    empty: bool = False  # In some rows.

    def unique(self) -> list[str]:
        """Enough of its values to tell what they are, each once."""
        return list(dict.fromkeys(self.samples))[:TELLING]


@dataclass(frozen=True)
class Seen:
    layout: Layout
    columns: list[Column]
    rows: int
    renamed: bool


def seen(file: Path) -> Seen:
    """Raises FileError."""
    layout, renamed = _layout(file)
    with rows_of(file, layout) as rows:
        found = [row for _, row in islice(rows, SAMPLED) if not isinstance(row, Broken)]
        if rows.columns is None:
            columns = _paths(found)
        else:
            columns = [Column(name, name) for name in rows.columns]
            for row in found:
                for column, cell in zip(columns, row, strict=True):
                    _take(column, cell)
    if not columns:
        raise FileError(wrong_in(file, wrong("no_rows")))
    return Seen(layout, columns, len(found), renamed)


def _take(column: Column, cell: str) -> None:
    if text := cell.strip():
        column.samples.append(text)
    else:
        column.empty = True


def _layout(file: Path) -> tuple[Layout, bool]:
    """How it is written, and whether columns had to be named anew."""
    try:
        with file.open("rb") as opened:
            start = opened.read(1 << 12)
            format = FORMATS.get(file.suffix.lower()) or ("parquet" if start.startswith(b"PAR1") else "")
            opened.seek(0)
            encoding = sniffed_encoding(opened, file) if format != "parquet" else None
    except OSError as error:
        raise FileError(wrong_in(file, why(error))) from None
    if format == "parquet":
        return Layout(format), False
    if b"\0" in start:  # A workbook, an archive: nothing written line by line.
        raise FileError(wrong_in(file, wrong("unknown_format")))
    with file.open(encoding=encoding, errors="replace", newline="") as text:
        lines = [line for line in islice(text, LINES) if line.strip()]
    if format == "ndjson" or (not format and lines and lines[0].startswith("{")):
        return Layout("ndjson"), False
    delimiter = _delimiter(lines)
    if format == "csv" or delimiter:
        delimiter = delimiter or ","
        quote = _quote(lines, delimiter)
        layout = Layout("csv", encoding, delimiter, quote=quote)
        try:
            return _headed(layout, next(csv.reader(lines, delimiter=delimiter, quotechar=quote), []))
        except csv.Error:
            raise FileError(wrong_in(file, wrong("no_header"))) from None
    return _headed(Layout("spaces", encoding), lines[0].split() if lines else [])


def _delimiter(lines: list[str]) -> str | None:
    """The sign that stands in most lines equally often; what stands in quotes separates nothing."""
    outside = ["".join(line.split('"')[::2]) for line in lines]
    counts = {sign: [line.count(sign) for line in outside] for sign in DELIMITERS}
    alike = {sign: sum(n == each[0] for n in each) for sign, each in counts.items() if each and each[0]}
    return max(alike, key=lambda sign: (alike[sign], counts[sign][0])) if alike else None


def _quote(lines: list[str], delimiter: str) -> str:
    """What stands on both sides of a cell."""

    def around(sign: str) -> int:
        cells = (cell.strip() for line in lines for cell in line.split(delimiter))
        return sum(len(cell) > 1 and cell[0] == cell[-1] == sign for cell in cells)

    return "'" if around("'") > around('"') else '"'


def _headed(layout: Layout, first: list[str]) -> tuple[Layout, bool]:
    """With its columns named where there is no header, or one that leaves some unnamed or alike."""
    names = [name.strip() for name in first]
    if any(_is_data(name) for name in names):
        return replace(layout, header=False, columns=tuple(f"column {n}" for n in range(1, len(names) + 1))), False
    if all(names) and len(set(names)) == len(names):
        return layout, False
    renamed: list[str] = []
    for n, name in enumerate(names, 1):
        wanted = name or f"column {n}"
        renamed.append(wanted if wanted not in renamed else f"{wanted} ({n})")
    return replace(layout, columns=tuple(renamed)), True


def _is_data(cell: str) -> bool:
    """Does this stand in rows rather than above them?"""
    if not cell:
        return False
    if HEADER.search(cell) is None and number_of([cell], False)[1]:
        return True
    dated = dates_of([cell], False)
    return (
        bool(dated and dated[1]) or is_identifier("email")(cell) or is_national("RU")(cell) or is_national("US")(cell)
    )


def _paths(rows: list[Any]) -> list[Column]:
    """A column for every path at which objects have a text, a number or a truth."""
    found: dict[tuple[str, ...], Column] = {}
    present: dict[tuple[str, ...], int] = {}
    for row in rows:
        in_row = set()
        for path, value in _leaves(row, ()):
            column = found.setdefault(path, Column(_named(path), next(p for p in reversed(path) if p != "[]")))
            if text := str(value).strip():
                column.samples.append(text)
                in_row.add(path)
        for path in in_row:
            present[path] = present.get(path, 0) + 1
    for path, column in found.items():
        column.empty = present.get(path, 0) < len(rows)
    return list(found.values())


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    match value:
        case dict():
            for key, each in value.items():
                yield from _leaves(each, (*path, key))
        case list():
            for each in value:
                yield from _leaves(each, (*path, "[]"))
        case str() | int() | float() if path:
            yield path, value


def _named(path: tuple[str, ...]) -> str | list[str]:
    """`a.b[].c`, or the list of its parts where a name has dots or brackets of its own."""
    if any("." in part or ("[]" in part and part != "[]") for part in path):
        return list(path)
    return ".".join(path).replace(".[]", "[]")

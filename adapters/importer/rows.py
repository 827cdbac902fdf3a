"""Reading a file row by row, never more than one in memory, and knowing on which line each begins."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from adapters.importer.words import wrong, wrong_in
from hub.errors import Misconfigured
from hub.texts import why

if TYPE_CHECKING:
    from adapters.importer.parquet import ParquetRows

Row = Any  # A list of cells, or the object of an NDJSON line.

CHUNK = 1 << 20
DELIMITERS = ",;\t|"
FORMATS = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}


class FileError(Misconfigured):
    """The file cannot be read as it is described."""


@dataclass(frozen=True)
class Layout:
    """How the file is written, as far as the mapping says; the rest is found out."""

    format: str | None = None  # csv, spaces, ndjson or parquet
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    quote: str = '"'


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not be read."""

    reason: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row ends, and what was found out of the file on the way there: enough to go on without what is above."""

    offset: int  # Bytes
    line: int  # Lines above.
    encoding: str
    delimiter: str | None


def rows_of(file: Path, layout: Layout, start: Place | None = None) -> Rows | ParquetRows:
    """The rows of a file of any format. Raises FileError."""
    if format_of(file, layout) != "parquet":
        return Rows(file, layout, start)
    try:
        from adapters.importer.parquet import ParquetRows  # Large, and not everybody has it.
    except ModuleNotFoundError:
        raise FileError(wrong_in(file, wrong("no_pyarrow"))) from None
    return ParquetRows(file, layout, start)


def format_of(file: Path, layout: Layout) -> str:
    if format := layout.format or FORMATS.get(file.suffix.lower()):
        return format
    raise FileError(wrong_in(file, wrong("unknown_format")))


class Rows:
    """The rows of a file in order, each with the number of the line it begins on. Iterate once.

    `start` skips what lies above it, all but the header.
    """

    def __init__(self, file: Path, layout: Layout, start: Place | None = None) -> None:
        self.format = format_of(file, layout)
        self._undecodable = False
        self._line = 0  # Lines read.
        self.columns: tuple[str, ...] | None = None
        try:
            self._file = file.open("rb")
        except OSError as error:
            raise FileError(wrong_in(file, why(error))) from None
        try:
            self._rows = self._opened(file, layout, start)
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[tuple[int, Row | Broken]]:
        return self._rows

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> int:
        """Bytes read so far."""
        return self._file.tell()

    def place(self) -> Place:
        """The end of the row that was given last."""
        return Place(self._file.tell(), self._line, self.encoding, self.delimiter)

    def whole(self, row: Row) -> dict[str, Any]:
        """The row as the source wrote it."""
        if self.columns is None:
            assert isinstance(row, dict)
            return row
        return dict(zip(self.columns, row, strict=True))

    def _opened(self, file: Path, layout: Layout, start: Place | None) -> Iterator[tuple[int, Row | Broken]]:
        try:
            self.total = file.stat().st_size
            encoding = start.encoding if start else layout.encoding or sniffed_encoding(self._file, file)
        except OSError as error:
            raise FileError(wrong_in(file, why(error))) from None
        self.encoding = "utf-8-sig" if encoding == "utf-8" else encoding  # Reads both, with a byte order mark or not.
        self.delimiter = start.delimiter if start else layout.delimiter
        self._quote = layout.quote
        if self.format == "ndjson":
            if start:
                self._go_on(start)
            return self._objects()
        cells = self._cells()
        try:
            first = next(cells) if layout.header else []
        except (StopIteration, csv.Error):
            raise FileError(wrong_in(file, wrong("no_header"))) from None
        self.columns = layout.columns or tuple(name.strip() for name in first)
        if len(set(self.columns)) < len(self.columns) or not self.columns:
            raise FileError(wrong_in(file, wrong("one_name")))
        if start:
            self._go_on(start)
            cells = self._cells()
        return self._lists(cells, len(self.columns))

    def _go_on(self, start: Place) -> None:
        self._file.seek(start.offset)
        self._line = start.line

    def _objects(self) -> Iterator[tuple[int, Row | Broken]]:
        for number, line in enumerate(self._file, self._line + 1):
            self._line = number
            text = line.removeprefix(codecs.BOM_UTF8).strip() if number == 1 else line.strip()
            if not text:
                continue
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError:
                yield number, Broken("not_json")
            else:
                yield number, row if isinstance(row, dict) else Broken("not_an_object")

    def _cells(self) -> Iterator[list[str]]:
        """The cells of one row after another, from where the file is."""
        if self.format == "spaces":
            return (line.split() for line in self._decoded())
        self.delimiter = self.delimiter or self._sniffed_delimiter()
        return csv.reader(self._decoded(), delimiter=self.delimiter, quotechar=self._quote)

    def _lists(self, cells: Iterator[list[str]], width: int) -> Iterator[tuple[int, Row | Broken]]:
        while True:
            line = self._line + 1
            try:
                row = next(cells)
            except StopIteration:
                return
            except csv.Error:  # A quote that is never closed runs into the limit of a field.
                yield line, Broken("bad_quoting")
                self._undecodable = False
                continue
            if not row:
                continue
            if len(row) != width:
                if len(row) < width or any(row[width:]):
                    yield line, Broken("too_few_columns" if len(row) < width else "too_many_columns")
                    self._undecodable = False
                    continue
                del row[width:]
            if self._undecodable:
                self._undecodable = False
                yield line, self._not_decoded(row)
                continue
            yield line, row

    def _decoded(self) -> Iterator[str]:
        encoding = self.encoding
        for line in self._file:
            self._line += 1
            try:
                yield line.decode(encoding)
            except UnicodeDecodeError:
                self._undecodable = True
                yield line.decode(encoding, "replace")

    def _not_decoded(self, row: list[str]) -> Broken:
        assert self.columns is not None
        column = next((name for name, cell in zip(self.columns, row, strict=True) if "\ufffd" in cell), None)
        return Broken("not_" + self.encoding.removesuffix("-sig"), column)

    def _sniffed_delimiter(self) -> str:
        start = self._file.tell()
        line = self._file.readline(CHUNK).decode(self.encoding, "replace")
        self._file.seek(start)
        outside = "".join(line.split(self._quote)[::2])  # What stands in quotes separates nothing.
        return max(DELIMITERS, key=outside.count)


def sniffed_encoding(opened: BinaryIO, file: Path) -> str:
    """utf-8 where the first bytes beyond ASCII are it, else cp1251; a byte order mark says it outright."""
    start = opened.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileError(wrong_in(file, wrong("utf_16")))
    opened.seek(0)
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    found = "utf-8"
    while chunk := opened.read(CHUNK):
        if not chunk.isascii():
            try:
                codecs.getincrementaldecoder("utf-8")().decode(chunk + opened.readline())
            except UnicodeDecodeError:
                found = "cp1251"
            break
    opened.seek(0)
    return found

"""Reading a Parquet file row by row, one row group after another, in the words a CSV file would have.

Dates are `2026-02-01`, moments `2026-02-01T10:00:00`, with the offset of their zone where they have one, decimals and
floats plain digits with a point, booleans `true` and `false`; what is null or not a number is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds
from pyarrow.parquet import ParquetFile

from adapters.importer.rows import Broken, FileError, Layout, Place, Row
from adapters.importer.words import wrong, wrong_in
from hub.texts import why

BATCH = 1_000  # Rows turned into text at once.
BUFFER = 1 << 20  # Bytes of a column read at once, however large its row group.

Words = Callable[[Any], str]


class ParquetRows:
    """Like Rows. A row has no line, so its number is told."""

    def __init__(self, file: Path, layout: Layout, start: Place | None = None) -> None:
        self._name, self._row = file, start.offset if start else 0
        try:
            self._file = ParquetFile(file, buffer_size=BUFFER)
        except pa.ArrowException:
            raise FileError(wrong_in(file, wrong("not_parquet"))) from None
        except OSError as error:
            raise FileError(wrong_in(file, why(error))) from None
        schema = self._file.schema_arrow
        self.columns = tuple(name.strip() for name in schema.names)
        self.total: int = self._file.metadata.num_rows
        try:
            if len(set(self.columns)) < len(self.columns) or not self.columns:
                raise FileError(wrong_in(file, wrong("one_name")))
            self._words = [self._words_of(name, schema.field(n).type) for n, name in enumerate(self.columns)]
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[tuple[int, Row | Broken]]:
        try:
            for columns in self._batches(self._row):
                for cells in zip(*columns, strict=True):
                    self._row += 1
                    yield self._row, next((cell for cell in cells if isinstance(cell, Broken)), list(cells))
        except (pa.ArrowException, OSError):
            raise FileError(wrong_in(self._name, wrong("not_parquet"))) from None

    def __enter__(self) -> ParquetRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> int:
        """Rows read so far."""
        return self._row

    def place(self) -> Place:
        return Place(self._row, self._row, "utf-8", None)

    def whole(self, row: Row) -> dict[str, Any]:
        return dict(zip(self.columns, row, strict=True))

    def _batches(self, skipped: int) -> Iterator[list[Sequence[str | Broken]]]:
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if skipped >= rows:
                skipped -= rows
                continue
            for batch in self._file.iter_batches(BATCH, row_groups=[group], use_threads=False):
                left = batch.slice(skipped)
                skipped -= batch.num_rows - left.num_rows
                yield [
                    _texts(column, words, name)
                    for column, words, name in zip(left.columns, self._words, self.columns, strict=True)
                ]

    def _words_of(self, name: str, type: Any) -> Words:
        if kinds.is_dictionary(type):
            type = type.value_type
        for fits, words in WORDS:
            if fits(type):
                return words
        raise FileError(wrong_in(self._name, wrong("nested", column=name, type=str(type))))


def _texts(column: Any, words: Words, name: str) -> Sequence[str | Broken]:
    if kinds.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    elif kinds.is_time64(column.type) and column.type.unit == "ns":
        column = column.cast(pa.time64("us"), safe=False)
    elif kinds.is_floating(column.type):
        column = column.cast(pa.string())  # The shortest digits that mean it, also for single precision.
    try:
        return ["" if value is None else words(value) for value in column.to_pylist()]
    except (ValueError, OverflowError):
        return [_text(value, words, name) for value in column]


def _text(value: Any, words: Words, name: str) -> str | Broken:
    """One by one where some value of the column is none that Python knows, like the year 10000."""
    try:
        found = value.as_py()
        return "" if found is None else words(found)
    except UnicodeDecodeError:
        return Broken("not_utf-8", name)
    except (ValueError, OverflowError):
        return Broken("not_a_date", name)


def _digits(text: str) -> str:
    if text == "nan":
        return ""
    return format(Decimal(text), "f") if "e" in text else text


WORDS: Sequence[tuple[Callable[[Any], bool], Words]] = (
    (lambda type: kinds.is_string(type) or kinds.is_large_string(type) or kinds.is_string_view(type), str),
    (kinds.is_boolean, lambda value: "true" if value else "false"),
    (kinds.is_integer, str),
    (kinds.is_floating, _digits),
    (kinds.is_decimal, lambda value: format(value, "f")),
    (lambda type: kinds.is_date(type) or kinds.is_timestamp(type) or kinds.is_time(type), lambda at: at.isoformat()),
    (lambda type: kinds.is_binary(type) or kinds.is_large_binary(type), lambda value: value.decode()),
    (kinds.is_null, str),
)

"""Parquet says the same as CSV: the same words, the same rows, one row group at a time."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import adapters.importer as importer
from adapters.importer import FileError, import_file
from adapters.importer.rows import Broken, Layout, Place, rows_of
from hub.texts import in_words
from hub.wiring import Hub
from tests.support.imports import interrupt, till

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MAPPING = till(day="iso")
MOSCOW = ZoneInfo("Europe/Moscow")


def written(folder: Path, columns: dict[str, Any], **how: Any) -> Path:
    file = folder / "rows.parquet"
    pq.write_table(pa.table(columns), file, **how)
    return file


def purchases(count: int) -> dict[str, Any]:
    return {
        "customer": [str(n % 7) for n in range(count)],
        "day": pa.array([date(2026, 2, n % 28 + 1) for n in range(count)]),
        "sum": pa.array([Decimal(n) + Decimal("0.50") for n in range(count)], pa.decimal128(12, 2)),
    }


def read(file: Path, start: Place | None = None) -> list[Any]:
    with rows_of(file, Layout(), start) as rows:
        return list(rows)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array(["Ёлка", None]), "Ёлка"),
        (pa.array(["a", None, "a"]).dictionary_encode(), "a"),
        (pa.array([date(2026, 2, 1), None]), "2026-02-01"),
        (pa.array([datetime(2026, 2, 1, 10), None], pa.timestamp("ms")), "2026-02-01T10:00:00"),  # noqa: DTZ001 -- told without a zone
        (pa.array([1769929200_123456789, None], pa.timestamp("ns")), "2026-02-01T07:00:00.123456"),
        (
            pa.array([datetime(2026, 2, 1, 7, tzinfo=UTC), None], pa.timestamp("us", "Europe/Moscow")),
            "2026-02-01T10:00:00+03:00",
        ),
        (pa.array([datetime(2026, 2, 1, 7, tzinfo=UTC), None], pa.timestamp("s", "UTC")), "2026-02-01T07:00:00+00:00"),
        (pa.array([time(10, 30), None]), "10:30:00"),
        (pa.array([Decimal("12450.00"), None]), "12450.00"),
        (pa.array([Decimal("0.00000001"), None]), "0.00000001"),
        (pa.array([11.77, None], pa.float32()), "11.77"),
        (pa.array([1e21, None]), "1" + "0" * 21),
        (pa.array([42, None]), "42"),
        (pa.array([True, None]), "true"),
        (pa.array([b"\xd0\x81", None]), "Ё"),
    ],
)
def test_every_type_is_told_in_the_words_of_csv_and_null_as_an_empty_cell(
    tmp_path: Path, values: Any, said: str
) -> None:
    found = read(written(tmp_path, {"column": values}))
    assert [cells for _, cells in found[:2]] == [[said], [""]]


def test_not_a_number_is_nothing(tmp_path: Path) -> None:
    assert read(written(tmp_path, {"sum": pa.array([float("nan")])})) == [(1, [""])]


def test_a_value_nobody_can_say_breaks_its_row_only(tmp_path: Path) -> None:
    days = pa.array([20_000, 5_000_000, 20_001], pa.date32())
    texts = pa.array([b"a", b"b", b"\xff"])
    found = read(written(tmp_path, {"day": days, "text": texts}))
    assert found == [(1, ["2024-10-04", "a"]), (2, Broken("not_a_date", "day")), (3, Broken("not_utf-8", "text"))]


@pytest.mark.parametrize(
    "nested", [pa.array([[1, 2]]), pa.array([{"a": 1}]), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))]
)
def test_a_nested_column_is_refused_by_its_name(tmp_path: Path, nested: Any) -> None:
    with pytest.raises(FileError, match="the column 'items' is") as error:
        read(written(tmp_path, {"customer": ["1"], "items": nested}))
    assert "столбец 'items'" in in_words(error.value, "ru")


def test_what_is_no_parquet_or_a_damaged_one_is_said(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"customer,day\n")
    with pytest.raises(FileError, match="no Parquet file, or a damaged one"):
        read(file)
    written(tmp_path, purchases(5_000), compression="zstd")
    damaged = bytearray(file.read_bytes())
    damaged[200:400] = bytes(200)
    file.write_bytes(damaged)
    with pytest.raises(FileError, match="no Parquet file, or a damaged one"):
        read(file)
    with pytest.raises(FileError, match="no such file"):
        read(tmp_path / "none.parquet")
    written(tmp_path, {"a": ["1"], " a": ["2"]})
    with pytest.raises(FileError, match="two columns have one name"):
        read(file)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, purchases(1))
    monkeypatch.delitem(sys.modules, "adapters.importer.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        FileError, match=r'rows\.parquet: Parquet needs pyarrow: pip install "hub\[parquet\]"$'
    ) as error:
        read(file)
    assert "нужен pyarrow" in in_words(error.value, "ru")


def test_row_groups_are_read_one_at_a_time(tmp_path: Path) -> None:
    columns = {"customer": [f"{n:0>100}" for n in range(200_000)]}
    file = written(tmp_path, columns, row_group_size=5_000, use_dictionary=False, compression="none")
    before = pa.total_allocated_bytes()
    with rows_of(file, Layout()) as rows:
        most = max(pa.total_allocated_bytes() for n, _ in rows if n % 1_000 == 1) - before
    assert most < file.stat().st_size / 5


def test_it_goes_on_in_the_middle_of_a_row_group(tmp_path: Path) -> None:
    file = written(tmp_path, purchases(5_300), row_group_size=1_700)
    whole = read(file)
    for row in (0, 1, 1_000, 1_699, 1_700, 1_701, 3_500, 5_299, 5_300):
        assert read(file, Place(row, row, "utf-8", None)) == whole[row:]


def test_the_same_rows_in_csv_are_the_same_touches(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAPPING)
    file = written(tmp_path, purchases(300))
    assert import_file(hub, file, tmp_path / "map.toml").new == 300
    with (tmp_path / "rows.csv").open("w") as opened:
        csv.writer(opened).writerows([("customer", "day", "sum"), *(cells for _, cells in read(file))])
    again = import_file(hub, tmp_path / "rows.csv", tmp_path / "map.toml")
    assert (again.new, again.replayed) == (0, 300)


def test_an_interrupted_one_goes_on_by_row(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "EVERY", 100)
    (tmp_path / "map.toml").write_text(MAPPING)
    file = written(tmp_path, purchases(2_000), row_group_size=300)
    interrupt(hub, file, tmp_path / "map.toml", monkeypatch)
    summary = import_file(hub, file, tmp_path / "map.toml")
    assert (summary.continued_at or 0) > 1
    assert summary.rows == summary.new + summary.replayed == 2_000

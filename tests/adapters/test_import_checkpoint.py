"""An import that dies goes on where it was: nothing is lost, nothing counts twice, nothing is read from the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

import adapters.importer as importer
from adapters.importer import Summary, import_file
from hub.database import connect
from hub.wiring import Hub
from tests.support.database import SharedServer
from tests.support.hubs import recorded
from tests.support.imports import interrupt, till

ROOT = Path(__file__).parents[2]
MAPPING = till()
BY_COLUMN = MAPPING.replace("[register]", '[row]\nid = "note"\n[register]')


def lines(count: int) -> Iterator[str]:
    """Purchases, every seventh made twice, some flawed, some over two lines, the first letters beyond ASCII late."""
    yield "customer,day,sum,note\n"
    for n in range(count):
        day = "someday" if n % 97 == 5 else f"{n % 28 + 1:02}.02.2026"
        note = f'"{n}\nЁлка"' if n > count / 2 and n % 50 == 1 else str(n // 7 if n % 7 == 1 else n)
        yield f"{n % 31},{day},{n // 7 * 7 if n % 7 == 1 else n}.50,{note}\n"
    yield "1,01.02.2026,0.50,0\n" * 3  # As the first row, thrice.


class Import:
    """A file and a mapping in a folder, and the hub they go into."""

    def __init__(self, url: str, folder: Path, mapping: str = MAPPING) -> None:
        self.url, self.folder = url, folder
        self.file, self.mapping, self.report = folder / "rows.csv", folder / "map.toml", folder / "report.ndjson"
        self.mapping.write_text(mapping)

    def begin(self, *more: str) -> subprocess.Popen[str]:
        words = ["import", str(self.file), "--map", str(self.mapping), "--report", str(self.report), "--json", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "hub", *words],
            cwd=ROOT,
            env={**os.environ, "HUB_DATABASE_URL": self.url, "HUB_DATA": str(self.folder), "HUB_LANG": "en"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, *more: str) -> tuple[dict[str, Any], str]:
        out, said = self.begin(*more).communicate(timeout=300)
        summary: dict[str, Any] = json.loads(out)
        return summary, said

    def killed_at(self, row: int) -> int:
        """Begin, and kill -9 when a checkpoint has reached this row; gives the row it reached."""
        process = self.begin()
        with connect(self.url, autocommit=True) as connection:
            while reached(connection) < row:
                assert process.poll() is None, "it was quicker than the test"
            process.kill()
            process.communicate(timeout=60)
            return reached(connection)

    def interrupt(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        interrupt(hub, self.file, self.mapping, monkeypatch, report=self.report)

    def events(self) -> Counter[Any]:
        """What was written, but for ids and times of recording."""
        with Hub(self.url, self.folder) as hub, hub.view() as view, view.snapshot():
            events = view.opened(range(1, hub.head() + 1)).values()
            return Counter(
                (each.event.stored_name, each.occurred_at, json.dumps(dict(each.opened), sort_keys=True, default=str))
                for each in events
                if each.event.stored_name != "source_registered"  # Happened when the import began.
            )


def reached(connection: Connection[Any]) -> int:
    (row,) = connection.execute("SELECT coalesce(max(after_row), 0) FROM import_checkpoint").fetchone() or (0,)
    return int(row)


def test_an_import_killed_at_several_points_ends_as_one_that_was_not(
    postgres: SharedServer, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    dying = Import(database_url, tmp_path / "killed")
    dying.file.write_text("".join(lines(6_500)))
    for row in (1, 2_001):  # A whole interval is left when it is killed, so that it cannot be done by then.
        killed_at = dying.killed_at(row)
    summary, said = dying.finish("--progress")
    assert summary["continued_at"] == killed_at + 1
    assert f"continued at row {killed_at + 1:,}" in said
    with postgres.database() as url:
        whole = Import(url, tmp_path / "whole")
        whole.file.write_bytes(dying.file.read_bytes())
        undisturbed, _ = whole.finish()
        assert undisturbed["continued_at"] is None
        for count in ("rows", "refused", "quarantined", "unchanged"):
            assert summary[count] == undisturbed[count]
        assert summary["new"] + summary["replayed"] == undisturbed["new"] == 6_503 - undisturbed["refused"]
        assert dying.report.read_text() == whole.report.read_text()
        assert dying.events() == whole.events()
    with connect(database_url, autocommit=True) as connection:
        assert reached(connection) == 0
        assert recorded(connection).count("touch_recorded") == undisturbed["new"]


@pytest.fixture
def job(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """An import of 2,003 rows with a checkpoint every hundred."""
    monkeypatch.setattr(importer, "EVERY", 100)
    job = Import(hub.url, tmp_path)
    job.file.write_text("".join(lines(2_000)))
    return job


def go_on(hub: Hub, job: Import) -> Summary:
    """The rest; whatever happened before, the end is the same."""
    summary = import_file(hub, job.file, job.mapping, report=job.report)
    assert (summary.rows, summary.refused, summary.new + summary.replayed) == (2_003, 21, 1_982)
    assert [json.loads(line)["reason"] for line in job.report.read_text().splitlines()] == ["not_a_time"] * 21
    with connect(hub.url, autocommit=True) as connection:
        assert recorded(connection).count("touch_recorded") == 1_982
    return summary


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_it_goes_on_in_any_encoding_and_on_the_right_line(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    job.file.write_bytes(job.file.read_bytes().decode().encode(encoding))
    job.interrupt(hub, monkeypatch)
    summary = go_on(hub, job)
    assert summary.continued_at is not None
    assert summary.continued_at > 1
    assert summary.continued_at % 100 == 1
    told = [json.loads(line)["line"] for line in job.report.read_text().splitlines()]
    text = job.file.read_bytes().decode(encoding).splitlines()
    assert told == [n for n, line in enumerate(text, 1) if "someday" in line]


def test_it_goes_on_in_ndjson(hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    header, *rows = "".join(lines(2_000)).replace("\nЁ", "Ё").splitlines()
    job.file = job.file.with_suffix(".ndjson")
    job.file.write_text(
        "".join(json.dumps(dict(zip(header.split(","), r.split(","), strict=True))) + "\n" for r in rows)
    )
    job.interrupt(hub, monkeypatch)
    assert (go_on(hub, job).continued_at or 0) > 1


def test_it_goes_on_with_columns_separated_by_spaces_and_rows_told_apart_by_one(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.mapping.write_text(BY_COLUMN + '[file]\nformat = "spaces"\n')
    days = ("someday" if n % 97 == 5 else "01.02.2026" for n in range(2_003))
    job.file.write_text("customer day sum note\n" + "".join(f" {n % 31}  {d} 1 {n}\n" for n, d in enumerate(days)))
    job.interrupt(hub, monkeypatch)
    assert (go_on(hub, job).continued_at or 0) > 1


def test_a_file_that_moved_is_the_same_file(hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    job.interrupt(hub, monkeypatch)
    job.file = job.file.rename(job.folder / "other.csv")
    assert go_on(hub, job).continued_at


@pytest.mark.parametrize("change", ["file", "mapping", "report"])
def test_what_has_changed_since_is_begun_anew(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    job.interrupt(hub, monkeypatch)
    match change:
        case "file":  # In the middle, and no longer than before.
            changed = job.file.read_text().replace(",1000.50,", ",1111.50,")
            assert len(changed) == len(job.file.read_text())
            job.file.write_text(changed)
        case "mapping":
            job.mapping.write_text(MAPPING + "# Another word.\n")
        case "report":
            job.report.unlink()
    if change == "file":
        summary = import_file(hub, job.file, job.mapping, report=job.report)
        assert summary.new > 1_982 - 1_900  # Also the changed row, far above where it was.
        with connect(hub.url, autocommit=True) as connection:
            assert recorded(connection).count("touch_recorded") == 1_983
    else:
        summary = go_on(hub, job)
    assert summary.continued_at is None


def test_one_begun_without_a_report_is_begun_anew_with_it(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = job.report
    monkeypatch.setattr(job, "report", None)
    job.interrupt(hub, monkeypatch)
    monkeypatch.setattr(job, "report", kept)
    assert go_on(hub, job).continued_at is None


def test_a_finished_import_is_read_again_when_asked_again(hub: Hub, job: Import) -> None:
    import_file(hub, job.file, job.mapping)
    again = import_file(hub, job.file, job.mapping)
    assert (again.continued_at, again.new, again.replayed) == (None, 0, 1_982)


def test_where_a_checkpoint_on_the_way_is_missing_it_begins_anew(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch, connection: Connection[Any]
) -> None:
    job.interrupt(hub, monkeypatch)
    connection.execute("DELETE FROM import_checkpoint WHERE after_row = 200")
    assert go_on(hub, job).continued_at is None


def test_what_was_given_up_a_month_ago_is_forgotten(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch, connection: Connection[Any]
) -> None:
    job.interrupt(hub, monkeypatch)
    with connect(hub.url, as_writer=False, autocommit=True) as owner:
        owner.execute("UPDATE import_checkpoint SET saved_at = saved_at - interval '31 days'")
    job.mapping.write_text(MAPPING.replace("till", "other"))
    import_file(hub, job.file, job.mapping)
    assert connection.execute("SELECT FROM import_checkpoint").fetchone() is None


def test_checkpoints_hold_nothing_a_row_could_be_guessed_from(
    hub: Hub, job: Import, monkeypatch: pytest.MonkeyPatch, connection: Connection[Any]
) -> None:
    from adapters.importer.identity import Identity

    job.interrupt(hub, monkeypatch)
    (seen,) = connection.execute("SELECT seen FROM import_checkpoint ORDER BY after_row").fetchone() or (b"",)
    guessing = Identity("till", [], b"")
    guessing.of("till", ["0", "01.02.2026", "0.50", "0"])
    assert len(seen) == 800
    assert guessing.recent().tobytes() != seen[:8]
    assert "Ёлка" not in str(connection.execute("SELECT state FROM import_checkpoint").fetchall())

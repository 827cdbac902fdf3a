"""What became of an import: the summary, the report of rows with a flaw, and the line that shows how far it is."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Literal, TextIO

import orjson

from adapters.importer.rows import FileError
from adapters.importer.words import WORDS, duration, number, wrong, wrong_in
from hub.texts import Told, why

FIELDS = ("line", "status", "command", "column", "path", "reason")
LONGEST = 1 << 16  # Bytes of a line, of which a column's name may take many.


@dataclass
class Summary:
    """Counts of rows, of the commands they became, and of what was wrong."""

    file: str
    rows: int = 0
    new: int = 0  # Commands that wrote something.
    unchanged: int = 0  # Commands that said nothing new.
    replayed: int = 0  # Commands answered before.
    refused: int = 0  # Rows of which at least one command was refused.
    quarantined: int = 0  # Values set aside.
    position: int = 0  # The last one written to or decided on.
    continued_at: int | None = None  # The first row read by this run; the counts are of all runs.
    seconds: float = 0.0  # Of this run.
    report: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def text(self, lang: str) -> str:
        words = WORDS[lang]
        counts = {name: getattr(self, name) for name in ("new", "unchanged", "replayed", "refused", "quarantined")}
        parts = [continued(self.continued_at, lang)] if self.continued_at else []
        parts += [f"{number(self.rows, lang)} {words['rows']}"]
        parts += [f"{words[name]}: {number(count, lang)}" for name, count in counts.items() if count]
        line = f"{Path(self.file).name}: {', '.join(parts)}; {words['took']} {duration(self.seconds, lang)}"
        return f"{line}\n{words['report']} {self.report}" if self.report else line


def continued(row: int, lang: str) -> str:
    return f"{WORDS[lang]['continued']} {number(row, lang)}"


@dataclass(frozen=True, slots=True)
class Flawed:
    """One thing wrong with a row: where, and why. Never the value."""

    line: int
    status: str  # refused or quarantined
    reason: str
    column: str | None = None
    path: str | None = None
    command: str | None = None


class Report:
    """One line a flaw, as CSV or NDJSON by the file's name. The file is made when the first is written."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._write: Callable[[dict[str, Any]], object] | None = None
        self._opened: TextIO | None = None

    def add(self, flawed: Flawed) -> None:
        if self.file is None:
            return
        if self._write is None:
            self._write = self._open(self.file)
        self._write({name: getattr(flawed, name) for name in FIELDS})

    def claim(self) -> None:
        """Raises FileError where something lies that is no report, and would be lost."""
        if self.file is None:
            return
        try:
            first = _first_line(self.file)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(self.file, why(error)) from None
        if first and not _is_report(first):
            raise self._refused(self.file, wrong("no_report"))

    def holds(self, reported: int, flawed: int) -> bool:
        """Are so many bytes of it, which an earlier run wrote about so many flaws, still there?"""
        if self.file is None:
            return True
        if not reported:
            return not flawed  # Else that run kept none.
        try:
            return self.file.stat().st_size >= reported
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._refused(self.file, why(error)) from None

    def go_on(self, reported: int) -> None:
        """Keep so many bytes of it and write behind them."""
        if self.file is not None and reported:
            self._write = self._open(self.file, "a")
            os.truncate(self.file, reported)

    def reported(self) -> int:
        """Its bytes, out of this process's hands."""
        if self._opened is None:
            return 0
        self._opened.flush()
        return os.fstat(self._opened.fileno()).st_size

    def close(self) -> None:
        """The report of an earlier run goes when this one has nothing to report."""
        if self._opened is not None:
            self._opened.close()
        elif self.file is not None:
            with suppress(OSError):
                if _is_report(_first_line(self.file)):
                    self.file.unlink()

    @property
    def written(self) -> str | None:
        return str(self.file) if self._opened is not None else None

    def _open(self, file: Path, mode: Literal["w", "a"] = "w") -> Callable[[dict[str, Any]], object]:
        self.claim()  # Once more: much may have come to lie there since the import began.
        try:
            opened = self._opened = file.open(mode, encoding="utf-8", newline="")
        except OSError as error:
            raise self._refused(file, why(error)) from None
        if file.suffix.lower() == ".csv":
            writer = csv.DictWriter(opened, FIELDS)
            if mode == "w":
                writer.writeheader()
            return writer.writerow
        return lambda entry: opened.write(orjson.dumps(entry).decode() + "\n")

    def _refused(self, file: Path, reason: Told) -> FileError:
        return FileError(wrong_in(file, wrong("report_refused", why=reason)))


def _first_line(file: Path) -> bytes:
    """Nothing of what keeps nothing: a terminal, a pipe. Raises OSError, of a folder too."""
    kind = file.stat().st_mode
    if not (S_ISREG(kind) or S_ISDIR(kind)):
        return b""
    with file.open("rb") as opened:
        return opened.readline(LONGEST)


def _is_report(first: bytes) -> bool:
    """Whether an import began a file with this line, and not somebody else."""
    if first.strip() == ",".join(FIELDS).encode():
        return True
    try:
        entry = orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return isinstance(entry, dict) and tuple(entry) == FIELDS


class Progress:
    """A line on a terminal, overwritten: rows, rate, time left by bytes read."""

    EVERY = 0.5

    def __init__(self, name: str, total: int, lang: str, stream: TextIO | None = None) -> None:
        self._name, self._total, self._lang = name, total, lang
        self._stream = stream or sys.stderr
        self._began = self._shown = time.monotonic()
        self._rows_before = self._read_before = 0

    def go_on(self, rows: int, read: int) -> None:
        """So much was done by an earlier run."""
        self._rows_before, self._read_before = rows, read
        self._stream.write(f"{self._name}: {continued(rows + 1, self._lang)}\n")

    def show(self, rows: int, read: Callable[[], int]) -> None:
        """`read` tells the bytes read; asked only when the line is due."""
        now = time.monotonic()
        if now - self._shown < self.EVERY:
            return
        self._shown, done = now, read()
        spent = now - self._began
        words = WORDS[self._lang]
        now_read = done - self._read_before
        left = duration(spent * (self._total - done) / now_read, self._lang) if now_read > 0 else "?"
        share = done * 100 // max(self._total, 1)
        self._stream.write(
            f"\r\x1b[K{self._name}  {share} %  {number(rows, self._lang)} {words['rows']}  "
            f"{number(int((rows - self._rows_before) / spent), self._lang)} {words['rate']}  {words['left']} {left}"
        )
        self._stream.flush()

    def clear(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()

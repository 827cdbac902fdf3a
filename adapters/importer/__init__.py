"""Import a file: every row becomes commands by a mapping, and the same row the same commands, however often."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.importer.checkpoint import EVERY, Checkpoint, Checkpoints
from adapters.importer.commands import Template
from adapters.importer.mapping import Mapped, MappingError
from adapters.importer.report import Flawed, Progress, Report, Summary
from adapters.importer.rows import Broken, FileError, Place, Rows, rows_of
from adapters.importer.values import Unconvertible
from adapters.importer.words import language, wrong, wrong_in
from hub.counter import Failed
from hub.decider import Principal
from hub.errors import Busy, Flaw, HubError, Invalid

if TYPE_CHECKING:
    from adapters.importer.parquet import ParquetRows
    from hub.wiring import Hub

__all__ = ["FileError", "MappingError", "Summary", "import_file"]


COUNTS = ("new", "unchanged", "replayed", "refused", "quarantined", "position")


@dataclass(frozen=True, slots=True)
class _Mark:
    """Between two rows: whatever stands before it is to be answered first, then this is a checkpoint."""

    row: int
    place: Place
    seen: array[int]


Waiting = tuple[int, Template] | Flawed | _Mark  # A command under way, or what is to be told or saved in its turn.


def import_file(
    hub: Hub, file: Path, mapping: Path, *, report: Path | None = None, progress: bool = False, lang: str | None = None
) -> Summary:
    """Raises MappingError or FileError before anything is written; whatever is wrong with a row goes to the report.

    Without a report the flaws are only counted. An import that was interrupted goes on from its last checkpoint.
    """
    mapped = Mapped(mapping)
    for taken in (file, mapping):
        if report is not None and report.exists() and report.samefile(taken):
            raise FileError(wrong_in(report, wrong("report_taken")))
    written = Report(report)
    written.claim()
    checkpoints = Checkpoints(hub, file, mapped.text)
    before = checkpoints.last()
    if before and not written.holds(before.reported, before.counts["refused"] + before.counts["quarantined"]):
        checkpoints.forget()  # From the start, so that the report becomes whole again.
        before = None
    with rows_of(file, mapped.layout, before.place if before else None) as rows:
        running = _Import(mapped, mapping, rows, Summary(str(file)), written, checkpoints)
        shown = Progress(file.name, rows.total, lang or language()) if progress else None
        if registration := mapped.registration():
            hub.do(registration)
        try:
            running.run(hub, before, shown)
        finally:
            if shown:
                shown.clear()
    return running.summary


def principal_for(hub: Hub, source: str | None) -> Principal:
    """Who imports: somebody at a terminal, under the source's idempotency ids, which its channel systems use, too."""
    return hub.local if source is None else Principal(hub.principals.channel(source).id, hub.local.role)


class _Import:
    """One run: rows go in as commands, answers come back in order and are counted."""

    def __init__(
        self,
        mapped: Mapped,
        mapping: Path,
        rows: Rows | ParquetRows,
        summary: Summary,
        report: Report,
        checkpoints: Checkpoints,
    ) -> None:
        self.summary = summary
        self._mapped, self._mapping, self._rows, self._report = mapped, mapping, rows, report
        self._checkpoints = checkpoints
        self._templates = mapped.templates(rows.columns)
        self._identity = mapped.identity(rows.columns, checkpoints.key)
        self._waiting: deque[Waiting] = deque()
        self._last_refused = 0

    def run(self, hub: Hub, before: Checkpoint | None, shown: Progress | None) -> None:
        began = time.monotonic()
        try:
            if before:
                self._go_on(before, shown)
            for answer in hub.do_many(self._commands(), principal_for(hub, self._mapped.source)):
                line, template = self._due()
                if isinstance(answer, Busy | Failed):
                    raise answer  # Not the row's fault, and the next would fare no better. The next run goes on here.
                if isinstance(answer, HubError):
                    self._refused(line, template, answer)
                else:
                    self._answered(line, template, answer)
                if shown:
                    shown.show(self.summary.rows, self._rows.read)
            self._settle()
            assert not self._waiting, "every command was answered"
            self._checkpoints.forget()
        finally:
            self.summary.seconds = time.monotonic() - began
            self._report.close()
            self.summary.report = self._report.written

    def _go_on(self, before: Checkpoint, shown: Progress | None) -> None:
        self._report.go_on(before.reported)
        self._identity.go_on(before.seen)
        for name, count in before.counts.items():
            setattr(self.summary, name, count)
        self.summary.continued_at = before.row + 1
        if shown:
            shown.go_on(before.row, self._rows.read())

    def _commands(self) -> Iterator[dict[str, Any]]:
        waiting, summary, rows = self._waiting, self.summary, self._rows
        identity, source = self._identity.of, self._mapped.source or ""
        for line, row in rows:
            summary.rows += 1
            if isinstance(row, Broken):
                waiting.append(Flawed(line, "refused", row.reason, row.column))
            elif (id := identity(source, row)) is None:
                waiting.append(Flawed(line, "refused", "id_missing"))
            else:
                for template in self._templates:
                    try:
                        command = template.fill(id, row, rows.whole)
                    except Unconvertible as error:
                        column, reason = error.args
                        waiting.append(Flawed(line, "refused", reason, column, None, template.command))
                        continue
                    if command is not None:
                        waiting.append((line, template))
                        yield command
            if summary.rows % EVERY == 0:
                waiting.append(_Mark(summary.rows, rows.place(), self._identity.recent()))
                self._settle()

    def _due(self) -> tuple[int, Template]:
        """The command that is answered next, when what stands before it is settled."""
        self._settle()
        due = self._waiting.popleft()
        assert isinstance(due, tuple), "all else was settled"
        return due

    def _settle(self) -> None:
        """Tell and save what stands before the first command that is still under way."""
        waiting = self._waiting
        while waiting:
            match waiting[0]:
                case Flawed() as flawed:
                    self._tell(flawed)
                case _Mark() as mark:
                    self._save(mark)
                case _:
                    return
            waiting.popleft()

    def _save(self, mark: _Mark) -> None:
        counts = {name: getattr(self.summary, name) for name in COUNTS} | {"rows": mark.row}
        self._checkpoints.save(Checkpoint(mark.row, mark.place, counts, self._report.reported(), mark.seen))

    def _tell(self, flawed: Flawed) -> None:
        self._report.add(flawed)
        if flawed.status == "quarantined":
            self.summary.quarantined += 1
        elif flawed.line != self._last_refused:
            self.summary.refused += 1
            self._last_refused = flawed.line

    def _answered(self, line: int, template: Template, answer: dict[str, Any]) -> None:
        summary = self.summary
        summary.position = max(summary.position, answer["position"])
        if answer["replayed"]:
            summary.replayed += 1
        elif answer["events"]:
            summary.new += 1
        else:
            summary.unchanged += 1
        for item in answer["quarantined"]:
            path, reason = item["path"], item["reason"]
            self._tell(Flawed(line, "quarantined", reason, template.columns_of(path), path, template.command))

    def _refused(self, line: int, template: Template, error: HubError) -> None:
        for flaw in _flaws(error):
            if flaw.path == "source" and flaw.reason == "not_registered" and self._mapped.source:
                fix = wrong("not_registered", source=self._mapped.source)
                raise MappingError(wrong_in(self._mapping, fix, "source"))
            column = template.columns_of(flaw.path)
            self._tell(Flawed(line, "refused", flaw.reason, column, flaw.path or None, template.command))


def _flaws(error: HubError) -> tuple[Flaw, ...]:
    """Each flaw of an invalid command; any other refusal under its own name."""
    if isinstance(error, Invalid):
        return error.flaws
    name = type(error).__name__
    return (Flaw("", "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")),)

"""Suggest a mapping: from what columns are called and what stands in them, for a person to check and keep."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.importer.mapping import Mapped
from adapters.importer.rows import Broken, rows_of
from adapters.importer.suggest.columns import seen
from adapters.importer.suggest.draft import Draft
from adapters.importer.values import Unconvertible

PREVIEWED = 10  # Rows.


@dataclass(frozen=True)
class Suggestion:
    """A mapping as TOML, and what it makes of the first rows."""

    mapping: str
    rows: list[dict[str, Any]]  # line, and the commands; or the column and reason, where it makes none.


def suggest(file: Path, lang: str, region: str) -> Suggestion:
    """`region` is where phones without a country code are from, unless they say otherwise. Raises FileError."""
    text = Draft(file, seen(file), lang, region).text()
    return Suggestion(text, _preview(file, Mapped(file.with_suffix(".toml"), text)))


def _preview(file: Path, mapped: Mapped) -> list[dict[str, Any]]:
    with rows_of(file, mapped.layout) as rows:
        templates, identity = mapped.templates(rows.columns), mapped.identity(rows.columns)
        previewed: list[dict[str, Any]] = []
        for line, row in islice(rows, PREVIEWED):
            if isinstance(row, Broken):
                previewed.append({"line": line, "column": row.column, "reason": row.reason})
                continue
            try:
                id = identity.of(mapped.source or "", row) or ""
                filled = [template.fill(id, row, rows.whole) for template in templates]
                previewed.append({"line": line, "commands": [command for command in filled if command is not None]})
            except Unconvertible as error:
                column, reason = error.args
                previewed.append({"line": line, "column": column, "reason": reason})
    return previewed

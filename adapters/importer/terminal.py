"""`hub import FILE --map MAPPING.toml`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from adapters.importer import import_file
from adapters.importer.words import WORDS, language
from hub import Hub
from hub.errors import HubError


def import_(
    file: Annotated[Path, typer.Argument(help="CSV, columns separated by spaces, or NDJSON.")],
    map: Annotated[Path, typer.Option("--map", help="How a row becomes commands: a TOML file.")],
    report: Annotated[Path | None, typer.Option(help="Where rows with a flaw are listed; .csv or .ndjson.")] = None,
    progress: Annotated[bool | None, typer.Option(help="Show progress though stderr is no terminal.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Import a file. A row imported before changes nothing; a row with a flaw stops nothing."""
    lang = language()
    report = report or file.with_name(f"{file.name}.report.ndjson")
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        with Hub.open() as hub:
            summary = import_file(hub, file, map, report=report, progress=shown, lang=lang)
    except HubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo(WORDS[lang]["interrupted"], err=True)
        raise typer.Exit(1) from None
    typer.echo(orjson.dumps(summary.as_json()).decode() if json else summary.text(lang))
    raise typer.Exit(1 if summary.refused else 0)

"""`hub import FILE --map MAPPING.toml`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import orjson
import psycopg
import typer

from adapters.importer import FileError, MappingError, import_file
from adapters.importer.suggest import suggest
from adapters.importer.suggest.words import comment
from adapters.importer.words import WORDS, language
from hub import Hub
from hub.errors import Busy, HubError, Misconfigured
from hub.settings import Settings
from hub.texts import in_words

LANGUAGE = language()
HELP = WORDS[LANGUAGE]


def import_(
    file: Annotated[Path, typer.Argument(help=HELP["help_file"])],
    mapping: Annotated[Path | None, typer.Option("--map", help=HELP["help_map"])] = None,
    suggest_: Annotated[bool, typer.Option("--suggest", help=HELP["help_suggest"])] = False,
    report: Annotated[Path | None, typer.Option(help=HELP["help_report"])] = None,
    progress: Annotated[bool | None, typer.Option(help=HELP["help_progress"])] = None,
    json: Annotated[bool, typer.Option("--json", help=HELP["help_json"])] = False,
) -> None:
    if (mapping is None) != suggest_:
        raise typer.BadParameter(HELP["map_or_suggest"])
    if mapping is None:
        _suggest(file, json)
        return
    report = report or file.with_name(f"{file.name}.report.ndjson")
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        with Hub.open() as hub:
            summary = import_file(hub, file, mapping, report=report, progress=shown, lang=LANGUAGE)
    except (MappingError, FileError) as error:
        _fail(in_words(error, LANGUAGE), json, 2)
    except HubError as error:
        _fail(in_words(error, LANGUAGE), json, 1)
    except psycopg.OperationalError:
        _fail(in_words(Busy(), LANGUAGE), json, 1)
    except KeyboardInterrupt:
        _fail(HELP["interrupted"], json, 1)
    typer.echo(orjson.dumps(summary.as_json()).decode() if json else summary.text(LANGUAGE))
    raise typer.Exit(1 if summary.refused else 0)


def _suggest(file: Path, json: bool) -> None:
    """The mapping on standard output, so that it can be kept; the rows beside it, for a person to see only."""
    try:
        suggested = suggest(file, LANGUAGE, Settings.from_environment().region)
    except Misconfigured as error:
        _fail(in_words(error, LANGUAGE), json, 2)
    if json:
        typer.echo(orjson.dumps({"mapping": suggested.mapping, "rows": suggested.rows}).decode())
        return
    typer.echo(suggested.mapping, nl=False)
    sys.stdout.flush()
    typer.echo(f"\n# {comment('rows', LANGUAGE)}", err=True)
    for row in suggested.rows:
        typer.echo(f"# {orjson.dumps(row).decode()}", err=True)


def _fail(detail: str, json: bool, code: int) -> NoReturn:
    if json:
        typer.echo(orjson.dumps({"detail": detail}).decode())
    else:
        typer.echo(detail, err=True)
    raise typer.Exit(code) from None


import_.__doc__ = HELP["help"]

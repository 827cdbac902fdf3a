"""What the commands at a terminal share: two languages, two forms of output, and how errors end them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import orjson
import psycopg
import typer

from adapters.api.problems import problem
from adapters.importer.words import language
from hub import texts
from hub.errors import Busy, HubError, Invalid

LANGUAGE = language()


def say(english: str, russian: str) -> str:
    return russian if LANGUAGE == "ru" else english


Json = Annotated[bool, typer.Option("--json", help=say("Machine-readable output.", "Машиночитаемый вывод."))]


def show(json: bool, document: Any, *lines: str) -> None:
    if json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_UTC_Z).decode())
    else:
        for line in lines:
            typer.echo(line)
    sys.stdout.flush()


@contextmanager
def told(json: bool) -> Iterator[None]:
    """What the hub refuses or cannot do ends the command: 1, or 2 where the input was wrong."""
    try:
        yield
    except HubError as error:
        _fail(json, error)
    except psycopg.OperationalError:
        _fail(json, Busy())


def _fail(json: bool, error: HubError) -> NoReturn:
    document = problem(error, LANGUAGE)
    if document["status"] == 500:  # Of the set-up, and so for whoever set it up: its own words name the fix.
        document["detail"] = texts.in_words(error, LANGUAGE)
    if json:
        show(json, document)
    else:
        typer.echo(document["detail"], err=True)
    raise typer.Exit(2 if isinstance(error, Invalid) else 1) from None

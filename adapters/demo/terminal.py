"""`hub demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.demo import run
from adapters.demo.words import WORDS
from adapters.importer.words import language
from adapters.serve import serve
from hub import Hub
from hub.errors import HubError

HELP = WORDS[language()]


def demo(
    serve_: Annotated[bool, typer.Option("--serve", help=HELP["help_serve"])] = False,
    json: Annotated[bool, typer.Option("--json", help=HELP["help_json"])] = False,
) -> None:
    try:
        with Hub.open() as hub:
            run(hub, serve_, json=json)
        if serve_:
            serve(lambda line, _: typer.echo(line))
    except HubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


demo.__doc__ = HELP["help"]

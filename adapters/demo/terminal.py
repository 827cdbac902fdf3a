"""`hub demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.demo import run
from adapters.demo.words import WORDS
from adapters.importer.words import language
from adapters.serve import lies_elsewhere, serve
from hub import Hub
from hub.errors import HubError
from hub.settings import Settings
from hub.texts import in_words

HELP = WORDS[language()]


def demo(
    serve_: Annotated[bool, typer.Option("--serve", help=HELP["help_serve"])] = False,
    json: Annotated[bool, typer.Option("--json", help=HELP["help_json"])] = False,
) -> None:
    try:
        with Hub.open() as hub:
            if hub.elsewhere and not serve_:
                typer.echo(lies_elsewhere(hub.elsewhere, Settings.from_environment().data), err=True)
            run(hub, serve_, json=json)
        if serve_:
            serve(lambda line, _: typer.echo(line))
    except HubError as error:
        typer.echo(in_words(error, language()), err=True)
        raise typer.Exit(1) from None


demo.__doc__ = HELP["help"]

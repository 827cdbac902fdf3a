"""`hub demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.demo import run
from hub import Hub
from hub.errors import HubError


def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Go on with `hub serve` afterwards.")] = False,
) -> None:
    """Fill the hub with sample data and tell what it holds. Doing it again changes nothing."""
    try:
        with Hub.open() as hub:
            run(hub, serve)
    except HubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None

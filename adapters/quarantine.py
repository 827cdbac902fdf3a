"""`hub quarantine`: what was set aside and waits for repair, at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from adapters.terminal import LANGUAGE, Json, say, show, told
from hub import Hub
from hub.texts import said
from projections.quarantine import quarantined


def quarantine(
    reason: Annotated[str | None, typer.Option(help=say("Only with this reason.", "Только с этой причиной."))] = None,
    source: Annotated[str | None, typer.Option(help=say("Only of this source.", "Только этого источника."))] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help=say("How many at most.", "Сколько самое большее."))] = 50,
    cursor: Annotated[
        str | None, typer.Option(help=say("Where the page before ended.", "Где кончилась прошлая."))
    ] = None,
    json: Json = False,
) -> None:
    with told(json), Hub.open(make=False) as hub:
        hub.wait(hub.head())
        with hub.view() as view:
            page = quarantined(view, limit, cursor, reason, source)
        show(json, page, *_lines(page))


def _lines(page: dict[str, Any]) -> Iterator[str]:
    for each in page["items"]:
        age = say(f"{each['age_days']} days", f"дней: {each['age_days']}")
        yield f"{each['item']}  {age}  {each['source'] or '-'}  {each['path']}: {said(each['reason'], LANGUAGE)}"
    if not page["items"]:
        yield say("Nothing waits.", "Ничего не ждёт.")
    if page["next"]:
        yield say(f"More: --cursor {page['next']}", f"Ещё: --cursor {page['next']}")

"""`hub feed`: where the log is sent to, how far each destination is, and its dead letters, at the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from adapters.measures import counted, span
from adapters.outbound.destinations import Destination, destinations
from adapters.outbound.places import SQL, FeedStanding, letters, standings
from adapters.outbound.words import failure, flaw
from adapters.terminal import LANGUAGE, Json, say, show, told
from hub import Hub
from hub.errors import Unknown
from hub.settings import Settings
from hub.view import as_id

app = typer.Typer(no_args_is_help=True, help=say("The feed out: where events are sent.", "Рассылка событий."))
Name = Annotated[str, typer.Argument(help=say("Of a destination.", "Имя получателя."))]


@app.command("list", help=say("The destinations in the file of feeds.", "Получатели из файла рассылок."))
def list_(json: Json = False) -> None:
    with told(json):
        found = destinations(Settings.from_environment())
        show(json, {"items": [_document(each) for each in found], "next": None}, *_listed(found))


@app.command(help=say("How far each destination is.", "Сколько отправлено каждому."))
def status(json: Json = False) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub, hub.view() as view:
        found = standings(view.connection)
        lines = [_line(each) for each in found] or [say("Nothing is sent anywhere.", "Ничего никуда не отправляется.")]
        show(json, {"items": [asdict(each) for each in found], "next": None}, *lines)


@app.command("letters", help=say("Events a destination did not take.", "События, которые получатель не принял."))
def letters_(
    name: Name,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help=say("How many at most.", "Сколько самое большее."))
    ] = 100,
    json: Json = False,
) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub, hub.view() as view:
        _known(view.connection, name)
        found = letters(view.connection, name, limit)
        lines = [
            f"{each.event}  {each.position}  {each.died_at:%Y-%m-%d %H:%M} UTC  {failure(each.error).in_(LANGUAGE)}"
            + (say("  (is sent again)", "  (отправляется снова)") if each.asked else "")
            for each in found
        ]
        show(json, {"items": [asdict(each) for each in found], "next": None}, *lines or [say("None.", "Таких нет.")])


@app.command(
    help=say(
        "Send a dead letter again, or all of a destination; one that fails once more stays.",
        "Отправить недоставленное снова, одно или всё; что не примут и теперь, останется.",
    )
)
def replay(
    name: Name,
    event: Annotated[str | None, typer.Argument(help=say("Id of one event.", "Id одного события."))] = None,
    json: Json = False,
) -> None:
    _change(
        "ask",
        name,
        event,
        json,
        lambda n: say(
            f"{n} will be sent again while the hub is served.", f"Будет отправлено снова, пока хаб запущен: {n}."
        ),
    )


@app.command(help=say("Forget a dead letter.", "Забыть недоставленное событие."))
def discard(name: Name, event: str, json: Json = False) -> None:
    _change("discard", name, event, json, lambda n: say(f"{n} forgotten.", f"Забыто: {n}."))


@app.command(
    help=say(
        "Go on sending to a destination that had answered 410.",
        "Снова отправлять получателю, ответившему 410.",
    )
)
def resume(name: Name, json: Json = False) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub, hub.pool.connection() as connection:
        _known(connection, name)
        count = connection.execute(SQL["resume"], (name,)).rowcount
        was = say("It was not switched off.", "Он и не был отключён.")
        show(json, {"resumed": count}, say("It goes on.", "Отправка продолжится.") if count else was)


def _change(query: str, name: str, event: str | None, json: bool, line: Any) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub, hub.pool.connection() as connection:
        _known(connection, name)
        id = as_id(event) if event else None
        count = connection.execute(SQL[query], {"name": name, "event": id}).rowcount
        if event and not count:
            raise Unknown(flaw("no_letter"))
        show(json, {"letters": count}, line(count))


def _known(connection: Any, name: str) -> None:
    if connection.execute(SQL["place"], (name,)).fetchone() is None:
        raise Unknown(flaw("no_feed"))


def _document(each: Destination) -> dict[str, Any]:
    """Where and what, without secrets; a path may hold one."""
    return {
        "name": each.name,
        "kind": each.kind,
        "host": each.url.hostname,
        "types": sorted(each.types) if each.types else None,
        "role": each.role,
        "open": [".".join((type, *path)) for type, paths in each.open.items() for path in paths],
        "start": each.start,
        "private": each.private,
    }


def _listed(found: Sequence[Destination]) -> Iterator[str]:
    for each in found:
        types = ", ".join(sorted(each.types)) if each.types else say("all events", "все события")
        yield f"{each.name}  {each.kind}  {each.url.hostname}  {types}"
    if not found:
        yield say("Nothing is sent anywhere; see docs/feed.md.", "Ничего никуда не отправляется; см. docs/feed.md.")


def _line(each: FeedStanding) -> str:
    state = (
        say("switched off", "отключена") if each.disabled else failure(each.error).in_(LANGUAGE) if each.error else "ok"
    )
    behind = f"{counted(each.lag).in_(LANGUAGE)} ({span(each.lag_seconds).in_(LANGUAGE)})"
    return f"{each.name}  {state}  " + say(
        f"sent {each.sent}, behind {behind}, dead letters {each.letters}",
        f"отправлено {each.sent}, отстаёт на {behind}, не доставлено {each.letters}",
    )

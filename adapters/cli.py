"""The `hub` command: a person at a terminal is a channel, too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import orjson
import psycopg
import typer

from adapters.api.problems import problem
from adapters.api.routes import status_of
from adapters.demo.story import program
from adapters.demo.terminal import demo
from adapters.importer.terminal import import_
from adapters.importer.words import language, number
from adapters.rebuild import rebuild
from adapters.serve import serve
from hub import Hub, texts
from hub.errors import Busy, HubError, Invalid
from hub.principals import ApiKey
from hub.projector import Standing
from hub.rows import ReadModel
from projections import READ_MODELS

LANGUAGE = language()


def say(english: str, russian: str) -> str:
    return russian if LANGUAGE == "ru" else english


Json = Annotated[bool, typer.Option("--json", help=say("Machine-readable output.", "Машиночитаемый вывод."))]

app = typer.Typer(
    name="hub",
    help=say("The customer-data hub.", "Хаб данных о клиентах."),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
key = typer.Typer(no_args_is_help=True, help=say("API keys.", "Ключи API."))
app.add_typer(key, name="key")
app.command("import")(import_)
app.command("demo")(demo)


@app.command(
    "serve", help=say("Run the hub: its API, its workers, its database.", "Запустить хаб: API, процессы, базу.")
)
def serve_(json: Json = False) -> None:
    with told(json):
        serve(lambda line, document: show(json, document, line))


@app.command(help=say("How the hub is.", "Как дела у хаба."))
def status(json: Json = False) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub:
        found = status_of(hub, failures=True) | {"migration": hub.migration()}
        show(json, found, *_status_lines(found))


@app.command(help=say("Who a customer is.", "Кто этот клиент."))
def card(
    id: Annotated[str, typer.Argument(help=say("Any record or customer id.", "Любой id записи или клиента."))],
    json: Json = False,
) -> None:
    with told(json), Hub.open(make=False) as hub:
        hub.wait(hub.head())
        found = hub.card(id)
        show(json, found, *_card_lines(found))


@app.command(
    "rebuild",
    help=say(
        "Fold a read model anew from the first event, for example one that failed.",
        "Построить представление заново с первого события, например остановленное из-за ошибки.",
    ),
)
def rebuild_(
    model: Annotated[str | None, typer.Argument(help=say("Its name, see hub status.", "Имя, см. hub status."))] = None,
    all_: Annotated[bool, typer.Option("--all", help=say("All of them, in turn.", "Все по очереди."))] = False,
    json: Json = False,
) -> None:
    models = {each.name: each for each in READ_MODELS}
    if (model is None) != all_:
        raise typer.BadParameter(say("name a read model, or say --all", "назовите представление или укажите --all"))
    if model is not None and model not in models:
        raise typer.BadParameter(texts.say("no_model", model=model, models=", ".join(models)).in_(LANGUAGE))
    with told(json), Hub.open(make=False) as hub:
        ends = [_rebuilt(hub, each) for each in (models.values() if model is None else [models[model]])]
        show(json, {"items": ends}, *map(_standing_line, ends))
    if any(each.state == "failed" for each in ends):
        raise typer.Exit(1)


@key.command("create", help=say("Make a key; it is shown this once.", "Создать ключ; он показывается один раз."))
def create(
    role: Annotated[str, typer.Option(help="channel operator analyst steward compliance admin auditor")],
    source: Annotated[str | None, typer.Option(help=say("A channel's source.", "Источник канала."))] = None,
    person: Annotated[str | None, typer.Option(help=say("Whose key it is.", "Чей это ключ."))] = None,
    days: Annotated[int, typer.Option(help=say("Days until it ends.", "Через сколько дней истекает."))] = 365,
    json: Json = False,
) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub:
        made, token = hub.principals.make(role, source=source, person=person, days=days)
        _show_key(json, made, token)


@key.command(
    "rotate",
    help=say(
        "Make another key for whom this one is of; it is shown this once, and the old one goes on until it is revoked.",
        "Создать ещё один ключ тому же владельцу; он показывается один раз, старый действует, пока его не отозвать.",
    ),
)
def rotate(
    id: str,
    days: Annotated[int, typer.Option(help=say("Days until it ends.", "Через сколько дней истекает."))] = 365,
    json: Json = False,
) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub:
        made, token = hub.principals.rotate(id, days=days)
        _show_key(json, made, token)


@key.command("list", help=say("Every key, without its secret.", "Все ключи без секретов."))
def list_(json: Json = False) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub:
        keys = hub.principals.all()
        lines = [
            f"{each.id}  {each.role:<10}  {each.source or each.person or '-'}  {each.expires_at:%Y-%m-%d}  "
            + (say("in force", "действует") if each.stands else say("ended", "не действует"))
            for each in keys
        ]
        show(json, {"items": keys, "next": None}, *lines)


@key.command("revoke", help=say("End a key at once.", "Отозвать ключ сразу."))
def revoke(id: str, json: Json = False) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub:
        hub.principals.revoke(id)
        show(json, {"id": id, "revoked": True}, say("The key is revoked.", "Ключ отозван."))


def main() -> None:
    app()


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


def _show_key(json: bool, made: ApiKey, token: str) -> None:
    ends = say(f"It ends on {made.expires_at:%Y-%m-%d}.", f"Истекает {made.expires_at:%d.%m.%Y}.")
    show(json, {"id": made.id, "key": token, "role": made.role, "expires_at": made.expires_at}, token, ends)


def _status_lines(status: dict[str, Any]) -> Iterator[str]:
    health = say("in order", "в порядке") if status["health"] == "ok" else say("degraded", "есть сбои")
    yield say(
        f"hub {status['version']}: {health}, {status['head']} events, migration {status['migration']}",
        f"hub {status['version']}: {health}, событий: {status['head']}, миграция {status['migration']}",
    )
    for each in status["read_models"]:
        behind = say(f"{each['lag']} events behind", f"отстаёт на {each['lag']}")
        yield f"  {each['name']:<16} {each['position']:>10}  {each['state']}  {behind if each['lag'] else ''}".rstrip()
        if each["state"] == "failed":
            yield "    " + _failure(each["failed_event"], each["failed_position"], each["error"])
            yield f"    {say('rebuild it:', 'построить заново:')} {program()} rebuild {each['name']}"


def _failure(event: str | None, position: int | None, error: str | None) -> str:
    return say(f"at event {event}, position {position}: {error}", f"на событии {event}, позиция {position}: {error}")


def _rebuilt(hub: Hub, model: ReadModel[Any]) -> Standing:
    """How it ended; on a terminal, how far it is meanwhile."""
    shown = sys.stderr.isatty()
    for each in rebuild(hub, model):
        if shown:
            place, end = (number(count, LANGUAGE) for count in (each.position, each.position + each.lag))
            typer.echo(f"\r\x1b[K{each.name}  {place} / {end}", nl=False, err=True)
    if shown:
        typer.echo("\r\x1b[K", nl=False, err=True)
    return each


def _standing_line(each: Standing) -> str:
    if each.state == "failed":
        failure = _failure(each.failed_event, each.failed_position, each.error)
        return say(f"{each.name} has failed again {failure}", f"{each.name}: снова ошибка {failure}")
    place = number(each.position, LANGUAGE)
    return say(f"{each.name} is live at position {place}", f"{each.name}: готово, позиция {place}")


def _card_lines(card: dict[str, Any]) -> Iterator[str]:
    yield f"{card['customer']}  {card['party']}"
    for name, fact in card["facts"].items():
        yield f"  {name}: {fact['value']}  ({fact['source']}, {fact['stated_at']})"
    for each in card["identifiers"]:
        yield f"  {each['kind']}: {each['value']}"
    touches = card["touches"]
    yield say(f"  {touches['count']} touches", f"  касаний: {touches['count']}") + (
        f", {touches['first']} – {touches['last']}" if touches["count"] else ""
    )
    for record in card["records"]:
        yield f"  {record['record']}  {record['source']}  {record['opened_at']}"

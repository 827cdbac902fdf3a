"""The `hub` command: a person at a terminal is a channel, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from adapters import audit
from adapters.demo.terminal import demo
from adapters.importer.terminal import import_
from adapters.outbound import terminal as feed
from adapters.quarantine import quarantine
from adapters.rebuild import rebuild
from adapters.serve import serve
from adapters.status import report
from adapters.terminal import LANGUAGE, Json, say, show, told
from hub import Hub
from hub.principals import ApiKey

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
app.add_typer(audit.app, name="audit")
app.add_typer(feed.app, name="feed")
app.command("import")(import_)
app.command("demo")(demo)
app.command("rebuild")(rebuild)
app.command("quarantine", help=say("What was set aside and waits for repair.", "Что отложено и ждёт исправления."))(
    quarantine
)


@app.command(
    "serve", help=say("Run the hub: its API, its workers, its database.", "Запустить хаб: API, процессы, базу.")
)
def serve_(json: Json = False) -> None:
    with told(json):
        serve(lambda line, document: show(json, document, line))


@app.command(help=say("How the hub is, and what to do.", "Как дела у хаба и что делать."))
def status(json: Json = False) -> None:
    with told(json):
        found = report()
    if json or found.condition is not None:
        show(json, found.document(LANGUAGE), *found.lines(LANGUAGE))
    else:
        typer.echo("\n".join(found.lines(LANGUAGE)), err=True)
    if not found.healthy:
        raise typer.Exit(1)


@app.command(help=say("Who a customer is.", "Кто этот клиент."))
def card(
    id: Annotated[str, typer.Argument(help=say("Any record or customer id.", "Любой id записи или клиента."))],
    json: Json = False,
) -> None:
    with told(json), Hub.open(make=False) as hub:
        hub.wait(hub.head())
        found = hub.card(id)
        show(json, found, *_card_lines(found))


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


def _show_key(json: bool, made: ApiKey, token: str) -> None:
    ends = say(f"It ends on {made.expires_at:%Y-%m-%d}.", f"Истекает {made.expires_at:%d.%m.%Y}.")
    show(json, {"id": made.id, "key": token, "role": made.role, "expires_at": made.expires_at}, token, ends)


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

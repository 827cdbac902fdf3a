"""Doors: which foreign services deliver to the hub, under which names; a TOML file, a table a door.

    [bot]
    format = "telegram"
    source = "bot"
    secret_env = "BOT_SECRET"

A door acts as its source: its commands are those that a key of the source could ask for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from adapters.inbound import sendgrid, standard_webhooks, telegram, twilio
from adapters.inbound.delivery import FORM, Command, Delivery, digest, set_aside
from adapters.inbound.verifying import Ecdsa, Nothing, Refusal, Signature, UrlAndParams
from adapters.toml import Table, read
from hub.errors import Invalid
from hub.identity.normalise import is_code
from hub.settings import Settings
from hub.texts import Both, Told, told


class Format(Protocol):
    """A module of this package: how its service signs, the header with the id that it signs, if any, and what its
    deliveries are in our words.
    """

    @property
    def SIGNATURE(self) -> Signature: ...  # noqa: N802 -- a constant of a module.

    @property
    def ID(self) -> str | None: ...  # noqa: N802 -- a constant of a module.

    @property
    def translate(self) -> Callable[[Delivery], list[Command]]: ...


FORMATS: Mapping[str, Format] = {
    "sendgrid": sendgrid,
    "standard-webhooks": standard_webhooks,
    "telegram": telegram,
    "twilio": twilio,
}
KEYS = frozenset({"format", "source", "secret", "secret_env", "signature", "url"})
TAKEN = frozenset({"segment"})  # Doors of their own, with keys instead of signatures.


@dataclass(frozen=True)
class Door:
    """Where one service delivers."""

    name: str
    source: str
    signature: Signature
    keys: tuple[Any, ...]
    translate: Callable[[Delivery], list[Command]]
    url: str = ""  # As the service knows it, without a query.
    id: str | None = None  # The header with the id of a delivery.

    def refuses(self, delivery: Delivery, now: float) -> Refusal:
        """Why it is not from this door's service; None where it is."""
        return self.signature.refuses(delivery, self.keys, now)

    def commands(self, delivery: Delivery) -> list[Command]:
        """What was delivered, in our words; set aside as a whole where it cannot be said in them."""
        try:
            return self.translate(delivery)
        except Invalid as error:
            own = delivery.headers.get(self.id) if self.id else None
            return [set_aside(error.flaws, _as_kept(delivery), own or digest(delivery.body))]


def _as_kept(delivery: Delivery) -> Any:
    try:
        return {FORM: delivery.form} if delivery.is_form else delivery.json
    except Invalid:
        return delivery.as_it_came


def doors_of(settings: Settings) -> dict[str, Door]:
    """The doors the file describes, by name; none where there is no file. Raises Misconfigured with place and fix."""
    if not settings.channels.exists() and settings.channels == settings.data / "channels.toml":
        return {}
    table = read(settings.channels)
    return {name: _door(table, name) for name in table.read}


def _door(file: Table, name: str) -> Door:
    if not re.fullmatch("[a-z0-9_-]{1,40}", name) or not is_code(name):
        file.fail(name, _fix("name"))
    if name in TAKEN:
        file.fail(name, _fix("taken"))
    if not isinstance(file.read[name], dict):
        file.fail(name, _fix("table", name=name))
    table = Table(file.file, file.read[name], name)
    table.only(KEYS)
    format = FORMATS[table.choice("format", FORMATS)]
    source = table.text("source")
    if not is_code(source):
        table.fail("source", _fix("source"))
    signature, keys = _signed(table, format.SIGNATURE)
    return Door(name, source, signature, keys, format.translate, _url(table, format.SIGNATURE), format.ID)


def _signed(table: Table, signature: Signature) -> tuple[Signature, tuple[Any, ...]]:
    secrets = table.secrets(public=isinstance(signature, Ecdsa))
    if "signature" in table.read:
        if table.choice("signature", ("none",)) and secrets:
            table.fail("signature", _fix("either"))
        return Nothing(), ()
    if not secrets:
        table.fail("secret", _fix("no_secret"))
    try:
        return signature, tuple(map(signature.key, secrets))
    except ValueError:  # Its words may quote the secret.
        table.fail("secret" if "secret" in table.read else "secret_env", _fix("secret"))


def _url(table: Table, signature: Signature) -> str:
    url = table.text("url")
    if not isinstance(signature, UrlAndParams):
        return table.fail("url", _fix("no_url")) if url else ""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", url) or {"?", "#", "@"} & set(url):
        table.fail("url", _fix("url", name=table.where))
    return url


def _fix(code: str, **values: object) -> Told:
    return told(_FIXES[code], **values)


_FIXES: Mapping[str, Both] = {
    "name": (
        'name the door with a-z, 0-9, "_" and "-"; it stands in the address the service calls',
        'назовите канал знаками a-z, 0-9, "_" и "-": имя стоит в адресе, куда обращается сервис',
    ),
    "taken": ("this name is taken; choose another", "это имя занято; выберите другое"),
    "table": ("write a table: [{name}]", "напишите таблицу: [{name}]"),
    "source": (
        'name the source the door speaks for: source = "shop"',
        'назовите источник, от имени которого говорит канал: source = "shop"',
    ),
    "either": (
        "leave out either the secrets or this; with it, whoever reaches the door is believed",
        "уберите либо секреты, либо это: так верят всем, кто достучится",
    ),
    "no_secret": (
        'give the secret the service signs with, name its variable as secret_env, or write signature = "none"',
        'укажите секрет, которым подписывает сервис, назовите переменную в secret_env или напишите signature = "none"',
    ),
    "secret": (
        "this cannot be a secret of that format; copy it once more from the service",
        "это не может быть секретом такого формата; скопируйте его из сервиса ещё раз",
    ),
    "url": (
        'write the address the service calls: url = "https://hub.example.org/v1/channels/{name}"',
        'напишите адрес, куда обращается сервис: url = "https://hub.example.org/v1/channels/{name}"',
    ),
    "no_url": ("this format does not sign its address; leave it out", "этот формат не подписывает адрес; уберите"),
}

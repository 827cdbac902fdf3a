"""Telegram: updates of a bot, as `setWebhook` has them delivered (https://core.telegram.org/bots/api#update).

An update of a private conversation is a touch; its key is the user's id. What comes from a group or a channel, names
nobody, or is of another kind than KINDS, is nobody's touch: it is set aside.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from adapters.inbound.delivery import Command, Delivery, Shape, at, read, said, set_aside
from adapters.inbound.verifying import Equality, Signature
from hub.errors import Flaw, Invalid

ID: str | None = None
SIGNATURE: Signature = Equality("x-telegram-bot-api-secret-token", "[A-Za-z0-9_-]{1,256}")
KINDS = frozenset({"message", "edited_message", "callback_query", "message_reaction", "my_chat_member"})


class Person(Shape):
    id: int
    is_bot: bool = False
    username: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    language_code: str | None = None


class Chat(Shape):
    type: str


class Shared(Shape):
    """A contact somebody sends, not always their own."""

    phone_number: str | None = None
    user_id: int | None = None


class About(Shape):
    """The message something happened to."""

    chat: Chat | None = None


class Happening(Shape):
    """What an update may hold under its one name, whichever that is."""

    sender: Person | None = Field(None, alias="from")
    user: Person | None = None
    chat: Chat | None = None
    message: About | None = None
    date: int | None = None
    edit_date: int | None = None
    text: str | None = None
    caption: str | None = None
    data: str | None = None
    contact: Shared | None = None


class Update(Shape):
    update_id: int


def translate(delivery: Delivery) -> list[Command]:
    """One touch an update. Raises Invalid for what is no update."""
    told = delivery.json
    id = str(read(Update, told).update_id)
    happened = [(kind, each) for kind, each in told.items() if kind != "update_id"]
    if len(happened) != 1:
        raise Invalid(Flaw("message", "missing"))
    ((kind, what),) = happened
    if kind not in KINDS:
        return [set_aside([Flaw(kind, "no_touch")], told, id)]
    happening = read(Happening, what)
    person = happening.sender or happening.user
    chat = happening.chat or (happening.message.chat if happening.message else None)
    if person is None or person.is_bot:
        return [set_aside([Flaw("from", "names_nobody")], told, id)]
    if chat is None or chat.type != "private":
        return [set_aside([Flaw("chat.type", "not_private")], told, id)]
    return [
        {
            "command": "record_touch",
            "id": id,
            "key": str(person.id),
            "channel": "messenger",
            "kind": kind,
            **at(happening.edit_date or happening.date, "date"),
            "facts": _facts(person),
            "identifiers": _identifiers(person, happening.contact),
            "identifier": {"kind": "telegram", "value": str(person.id)},
            "content": said({"text": happening.text or happening.caption or happening.data, "message": what}),
        }
    ]


def _facts(person: Person) -> dict[str, Any]:
    return said({"first_name": person.first_name, "last_name": person.last_name, "language": person.language_code})


def _identifiers(person: Person, shared: Shared | None) -> dict[str, Any]:
    """The handle, and the phone that somebody tells of themselves."""
    own = shared is not None and shared.user_id == person.id
    return said({"telegram": person.username, "phone": _international(shared.phone_number) if shared and own else None})


def _international(phone: str | None) -> str | None:
    """Telegram leaves out the plus of what is always an international number."""
    return f"+{phone}" if phone and phone.isdecimal() else phone

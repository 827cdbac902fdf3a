"""What Segment's libraries, and RudderStack's, send: identify, track, page, screen, group and alias calls as commands.

The form is Segment's HTTP tracking API (segment.com/docs/connections/sources/catalog/libraries/server/http-api), as
`segment-analytics-python` 2.4.0, `@segment/analytics-node` 3.1.0, `rudder-sdk-python` 2.1.9 and
`@rudderstack/rudder-sdk-node` 3.0.13 really send it.

- The record's key is `userId`, else `anonymous:` and the anonymousId, which is its identifier `cookie` either way.
- **identify** states facts. It records no touch: that somebody is known to the site is nothing that happened between
  the customer and the company, and libraries say it again with every login.
- **track, page, screen** are touches from the customer, in the app or else on the web.
- **group** states an organisation, a record of its own, and is a touch of the user that holds the group's id.
- **alias** is a touch that holds `previousId`. It merges nothing: that two ids are one person is decided elsewhere.
- What can be none of these waits in quarantine as it came. So every item makes at least one command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from adapters.api.bodies import check_depth
from hub.attributes import is_attribute
from hub.checks import is_value
from hub.errors import Invalid
from hub.identity.normalise import is_code

DOOR = "segment"  # Before every id, so that none is one that its source uses elsewhere.
LARGEST = 32 * 1024  # Bytes of one item, as the real service has it.
LONGEST_ID = 150  # Characters of a messageId that is used as it is; there is room for what tells commands apart.
LONGEST_TEXT = 1000
MOST_DATA = 200  # Names in the data of a touch; what is more lies with what is nested.

Commands = Sequence[dict[str, Any]]

FACTS: Mapping[str, str] = {
    "name": "name", "fullname": "name", "firstname": "first_name", "lastname": "last_name",
    "middlename": "patronymic", "patronymic": "patronymic", "email": "email", "phone": "phone",
    "birthday": "birth_date", "birthdate": "birth_date", "dateofbirth": "birth_date", "gender": "gender",
    "address": "address", "city": "city", "country": "country", "language": "language", "timezone": "time_zone",
    "company": "company", "title": "job_title", "jobtitle": "job_title",
}  # fmt: skip
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)T00:00(?::00(?:\.0+)?)?(?:Z|\+00:?00)?")
_WORDS = re.compile(r"[A-Za-z0-9_.: -]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MOBILE = re.compile(r"(?<![a-z])(ios|android|swift|kotlin|react-native|flutter|cordova|xamarin|unity)(?![a-z])")


@dataclass(frozen=True)
class Unread:
    """An item as it was written, which nothing here can hold otherwise, and why."""

    text: str
    reason: str


class NoTouch(Exception):
    """No touch can be made of this item: where, and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def translate(item: Any, fresh: str, received_at: datetime, sent_at: Any = None) -> Commands:
    """The commands of one item, in order. `fresh` is an id for an item that tells none of its own; `sent_at` is what
    the batch says, where the item says nothing itself.
    """
    at = happened_at(item, received_at, sent_at) if isinstance(item, dict) else received_at
    try:
        check(item)
        commands = CALLS[item["type"]](item, id_of(item, fresh))
    except NoTouch as no_touch:
        return [aside(item, fresh, no_touch.path, no_touch.reason, at)]
    return [{**each, "id": f"{DOOR}:{each['id']}", "occurred_at": at.isoformat()} for each in commands]


def aside(item: Any, fresh: str, path: str, reason: str, at: datetime) -> dict[str, Any]:
    """The command that keeps the item for a person to look at; as JSON in a text, where no command may hold it."""
    message = item.text if isinstance(item, Unread) else item
    told = {
        "command": "quarantine_touch",
        "path": path if is_code(path.lower()) else "message",
        "reason": reason if is_code(reason) else "invalid",
        "message": message if _may_be_held(message) else json.dumps(message),
    }
    return {**told, "id": f"{DOOR}:aside:{id_of(item, fresh)}", "occurred_at": at.isoformat()}


def check(item: Any) -> None:
    """Raises NoTouch for what is no item, or larger or deeper than one may be."""
    if isinstance(item, Unread):
        raise NoTouch("message", item.reason)
    if not isinstance(item, dict):
        raise NoTouch("message", "not_an_object")
    if not isinstance(kind := item.get("type"), str) or kind not in CALLS:
        raise NoTouch("type", "missing" if kind is None else "not_one_of_the_allowed")
    raw = _raw(item)
    if len(raw) > LARGEST:
        raise NoTouch("message", "too_large")
    try:
        check_depth(raw)
    except Invalid:
        raise NoTouch("message", "too_deep") from None


def id_of(item: Any, fresh: str) -> str:
    """What tells the item from others: its type and messageId, the first of which stands.

    Where it has none, but a time of its own, it is a digest of all but the time of sending, which a retry changes. Else
    nothing tells the same again from another just like it, and it is the fresh id.
    """
    if isinstance(item, Unread):
        return _digest(item.text) if '"messageId"' in item.text else f"fresh:{fresh}"
    if not isinstance(item, dict):
        return f"fresh:{fresh}"
    type, given = item.get("type"), item.get("messageId")
    if given:
        fits = isinstance(given, str) and len(given) <= LONGEST_ID and given.isprintable()
        return f"{type}:{given}" if fits and isinstance(type, str) and type in CALLS else _digest([type, given])
    if item.get("timestamp") or item.get("originalTimestamp"):
        return _digest({name: value for name, value in item.items() if name != "sentAt"})
    return f"fresh:{fresh}"


def _digest(said: Any) -> str:
    return f"sha256:{sha256(_raw(said)).hexdigest()}"


def happened_at(item: Mapping[str, Any], received_at: datetime, sent_at: Any = None) -> datetime:
    """When it happened by our clock: received − (sent − told), Segment's rule; never later than it was received."""
    told = _time(item.get("timestamp")) or _time(item.get("originalTimestamp"))
    if told is None:
        return received_at
    sent = _time(item.get("sentAt")) or _time(sent_at)
    try:
        at = told if sent is None else received_at - (sent - told)
        at = min(at, received_at).astimezone(UTC)
    except OverflowError:
        return received_at
    return at if at.year >= 1000 else received_at


def _identify(item: Mapping[str, Any], id: str) -> Commands:
    facts, rest = _facts({**_object(_object(item, "context"), "traits"), **_object(item, "traits")})
    told = {"command": "identify_customer", "id": id, **_whose(item), "facts": facts}
    return [{**told, "raw": {"traits": rest}} if rest else told]


def _track(item: Mapping[str, Any], id: str) -> Commands:
    event = item.get("event")
    if not isinstance(event, str) or not event.strip():
        raise NoTouch("event", "missing" if event in (None, "") else "wrong_type")
    kind = _code(event)
    return [_touch(item, id, kind or "event", {} if kind else {"event": event})]


def _page(item: Mapping[str, Any], id: str) -> Commands:
    return [_touch(item, id, item["type"], {})]


def _group(item: Mapping[str, Any], id: str) -> Commands:
    group = _id(item, "groupId")
    if group is None:
        raise NoTouch("groupId", "missing")
    touch = _touch(item, id, "group", {"group": group})
    facts, rest = _facts(_object(item, "traits"))
    if "name" in facts:
        facts["organisation_name"] = facts.pop("name")
    told = {
        "command": "identify_customer",
        "id": f"organisation:{id}",
        "key": f"group:{group}",
        "party": "organisation",
        "facts": facts,
    }
    return [{**told, "raw": {"traits": rest}} if rest else told, touch]


def _alias(item: Mapping[str, Any], id: str) -> Commands:
    previous = _id(item, "previousId")
    if previous is None:
        raise NoTouch("previousId", "missing")
    return [_touch(item, id, "alias", {"previousId": previous})]


CALLS = {
    "identify": _identify,
    "track": _track,
    "page": _page,
    "screen": _page,
    "group": _group,
    "alias": _alias,
}


def _touch(item: Mapping[str, Any], id: str, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    context = _object(item, "context")
    data: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for name, value in _object(item, "properties").items():
        plain = isinstance(value, str | bool | int | float) and len(data) < MOST_DATA
        (data if plain else nested)[name] = value
    for name in ("name", "category"):  # Of a page or a screen; libraries repeat them among the properties, or not.
        value = item.get(name)
        if value is not None and data.get(name) != value:
            into = data if isinstance(value, str) and name not in data and len(data) < MOST_DATA else content
            into[name] = value
    if nested:
        content["properties"] = nested
    if around := {name: value for name, value in context.items() if name != "library" and value not in (None, {}, [])}:
        content["context"] = around
    touch: dict[str, Any] = {
        "command": "record_touch",
        "id": id,
        **_whose(item),
        "channel": "app" if _is_mobile(item, context) else "web",
        "kind": kind,
    }
    told = context.get("campaign")
    if isinstance(told, dict) and (campaign := _code(told.get("name"))):
        touch["campaign"] = campaign
    if isinstance(given := item.get("messageId"), str) and 0 < len(given) <= LONGEST_TEXT:
        touch["source_event"] = given
    if data:
        touch["data"] = data
    if content:
        touch["content"] = content
    return touch


def _whose(item: Mapping[str, Any]) -> dict[str, Any]:
    user, anonymous = _id(item, "userId"), _id(item, "anonymousId")
    if user is None and anonymous is None:
        raise NoTouch("userId", "missing")
    whose: dict[str, Any] = {"key": user if user is not None else f"anonymous:{anonymous}"}
    if anonymous is not None:
        whose["identifiers"] = {"cookie": anonymous}
    return whose


def _id(item: Mapping[str, Any], name: str) -> str | None:
    """An id as text; libraries send null, or an empty text, where there is none."""
    value = item.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NoTouch(name, "wrong_type")
    if len(text := str(value)) > LONGEST_TEXT - len("anonymous:"):
        raise NoTouch(name, "too_long")
    return text


def _object(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = item.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NoTouch(name, "wrong_type")
    return value


def _facts(traits: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Traits as facts, and those that no fact can hold. Null takes a fact back; an empty text says nothing."""
    facts: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in traits.items():
        attribute = FACTS.get(re.sub("[_ -]", "", name).lower()) or f"x-{_code(name) or ''}"
        if attribute == "birth_date" and isinstance(value, str) and (date := _MIDNIGHT.fullmatch(value)):
            value = date[1]
        elif attribute == "company" and isinstance(value, dict):
            attribute, value = ("company", value["name"]) if value.keys() == {"name"} else ("x-company", value)
        if value == "":
            continue
        if attribute not in facts and is_attribute(attribute) and (value is None or is_value(value, attribute)):
            facts[attribute] = value
        else:
            rest[name] = value
    return facts, rest


def _code(name: object) -> str | None:
    """`Order Completed` and `orderCompleted` are `order_completed`; None where more than that would be lost."""
    if not isinstance(name, str) or not _WORDS.fullmatch(name):
        return None
    code = _HUMP.sub("_", "_".join(name.split())).lower()
    return code if is_code(code) else None


def _is_mobile(item: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    library = context.get("library")
    name = library.get("name") if isinstance(library, dict) else library
    return (
        item["type"] == "screen"
        or item.get("channel") == "mobile"
        or (isinstance(name, str) and _MOBILE.search(name.lower()) is not None)
    )


def _time(value: Any) -> datetime | None:
    """A time as libraries write it, in ISO 8601; without an offset it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _raw(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # Halves of characters, or nesting beyond measure.
        return json.dumps(value, sort_keys=True).encode()


def _may_be_held(item: Any) -> bool:
    try:
        raw = orjson.dumps(item)
        check_depth(raw)
    except (TypeError, Invalid):
        return False
    return b"\\u0000" not in raw

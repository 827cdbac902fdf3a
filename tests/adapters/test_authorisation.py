"""Every cell of the tables in docs/authorisation.md, asked over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from fastapi.routing import APIRoute

from adapters.api.app import create_app
from commands import CAPABILITIES
from hub.principals import ROLES
from tests.adapters.conftest import Served

PAGE = Path(__file__).parents[2] / "docs" / "authorisation.md"
PHONE = "+7 916 000-11-22"
_numbers = count(1)


class Row(NamedTuple):
    asked: str
    of: str
    cells: Mapping[str, str]  # By role; "no key" is one, too.


def rows() -> Iterator[Row]:
    columns: list[str] = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| asked |"):
            columns = cells[2:]
        elif line.startswith("| `"):
            yield Row(cells[0].strip("`"), cells[1], dict(zip(columns, cells[2:], strict=True)))


ROWS = tuple(rows())
ROUTES = tuple(row for row in ROWS if " " in row.asked)
COMMANDS = tuple(row for row in ROWS if " " not in row.asked)


class World:
    """Records of the asker's own source and of another one; each made for one question only."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def key(self, source: str = "shop") -> str:
        """The key of a record that has a fact and a phone."""
        key = f"k-{next(_numbers)}"
        self._served.hub.do(
            {
                "command": "identify_customer",
                "source": source,
                "key": key,
                "facts": {"last_name": "Петрова"},
                "identifiers": {"phone": PHONE},
            }
        )
        return key

    def record(self, source: str = "shop") -> str:
        return self._id("record", {"command": "identify_customer", "source": source, "key": self.key(source)})

    def customer(self, first: str = "shop", second: str = "mail") -> str:
        """The record of the first source, merged with one of the second."""
        one, other = self.record(first), self.record(second)
        self._served.hub.do({"command": "merge_customers", "customers": [one, other]})
        return one

    def merge(self) -> str:
        answer = self._served.hub.do(
            {"command": "merge_customers", "customers": [self.record("shop"), self.record("mail")]}
        )
        merge: str = answer["events"][0]["event"]
        return merge

    def parted(self) -> list[str]:
        """Two customers that a person took apart."""
        one, other = self.record("shop"), self.record("mail")
        self._served.hub.do({"command": "merge_customers", "customers": [one, other]})
        self._served.hub.do({"command": "unmerge_customers", "customer": one, "records": [other]})
        return [one, other]

    def aside(self, source: str = "shop") -> str:
        """A value of a record that waits in quarantine."""
        known = {"command": "identify_customer", "source": source, "key": f"k-{next(_numbers)}"}
        return self._item({**known, "facts": {"birth_date": "1980-02-30"}})

    def used(self) -> str:
        """An end point that waits in quarantine: the channel used it of a record of another source."""
        used = {"kind": "phone", "value": "12"}
        return self._item({"command": "record_touch", **TOUCH, "customer": self.record(OTHER), "identifier": used})

    def lost(self) -> str:
        """A touch of the channel's that waits in quarantine."""
        return self._item({"command": "record_touch", **TOUCH, "identifiers": {"phone": "12"}})

    def unread(self) -> str:
        """A message of the channel's that no touch could be made of."""
        return self._item({"command": "quarantine_touch", **MESSAGE})

    def _item(self, command: dict[str, Any]) -> str:
        """What waits of a command; of one that names no source the channel tells it."""
        answer = self._served.hub.do(command) if "source" in command else self._served.done(command)
        item: str = answer["quarantined"][0]["item"]
        return item

    def _id(self, name: str, command: dict[str, Any]) -> str:
        found = self._served.hub.do(command)[name]
        assert isinstance(found, str)
        return found


Sent = dict[str, Any]
END_POINT = {"identifier": {"kind": "phone", "value": PHONE}}
TOUCH = {"channel": "call"}
FACTS = {"facts": {"city": "Москва"}}
MESSAGE = {"path": "userId", "reason": "missing", "message": {"event": "Просмотр"}}

ITS, OTHER = "shop", "mail"


def both(named: Callable[[World], Sent], more: Sent) -> Callable[[World], Sent]:
    return lambda w: {**named(w), **more}


ASKED: Mapping[tuple[str, str], Callable[[World], Sent]] = {
    ("register_source", "a source"): lambda w: {"name": f"source-{next(_numbers)}"},
    ("identify_customer", "a key of its source"): lambda w: {"source": ITS, "key": w.key()},
    ("identify_customer", "a key of another source"): lambda w: {"source": OTHER, "key": w.key(OTHER)},
    ("identify_customer", "the same as a key of its source"): lambda w: {
        "source": ITS,
        "key": w.key(),
        "same_as": {"source": ITS, "key": w.key()},
    },
    ("identify_customer", "the same as a key of another source"): lambda w: {
        "source": ITS,
        "key": w.key(),
        "same_as": {"source": OTHER, "key": w.key(OTHER)},
    },
    ("record_touch", "a key of its source"): lambda w: {**TOUCH, "source": ITS, "key": w.key()},
    ("record_touch", "a key of another source"): lambda w: {**TOUCH, "source": OTHER, "key": w.key(OTHER)},
    ("record_touch", "a record of its source"): lambda w: {**TOUCH, "customer": w.record()},
    ("record_touch", "a record of another source"): lambda w: {**TOUCH, "customer": w.record(OTHER)},
    ("record_touch", "a record of its source, with facts"): lambda w: {**TOUCH, **FACTS, "customer": w.record()},
    ("record_touch", "a record of another source, with facts"): lambda w: {
        **TOUCH,
        **FACTS,
        "customer": w.record(OTHER),
    },
    ("record_touch", "a record of another source, with identifiers"): lambda w: {
        **TOUCH,
        "identifiers": {"email": "a@example.org"},
        "customer": w.record(OTHER),
    },
    ("quarantine_touch", "a message of its source"): lambda w: {**MESSAGE, "source": ITS},
    ("quarantine_touch", "a message of another source"): lambda w: {**MESSAGE, "source": OTHER},
    ("merge_customers", "two records of its source"): lambda w: {"customers": [w.record(), w.record()]},
    ("merge_customers", "records of two sources"): lambda w: {"customers": [w.record(), w.record(OTHER)]},
    ("unmerge_customers", "a merge"): lambda w: {"merge": w.merge()},
    ("unmerge_customers", "a record of a customer"): lambda w: {"customer": (a := w.customer()), "records": [a]},
    ("lift_distinct", "two customers"): lambda w: {"customers": w.parted()},
    ("repair_value", "a value of its source"): lambda w: {"quarantined": w.aside(), "value": "1980-02-28"},
    ("repair_value", "a value of another source"): lambda w: {"quarantined": w.aside(OTHER), "value": "1980-02-28"},
    ("repair_value", "an end point its source used of another source's record"): lambda w: {
        "quarantined": w.used(),
        "value": PHONE,
    },
    ("repair_touch", "a touch of its source, said to be of another source's record"): lambda w: {
        "quarantined": w.lost(),
        "touch": {"customer": w.record(OTHER), "identifiers": None},
    },
    ("repair_touch", "a message of its source that was no touch"): lambda w: {
        "quarantined": w.unread(),
        "touch": {**TOUCH, "key": w.key()},
    },
    ("repair_touch", "a touch nobody could be named for"): lambda w: {
        "quarantined": w.lost(),
        "touch": {"key": w.key()},
    },
    ("expire_quarantined", "a value of its source"): lambda w: {"items": [w.aside()]},
    **{
        (command, of): both(named, more)
        for command, more in (("retract_fact", {"attribute": "last_name"}), ("release_identifier", END_POINT))
        for of, named in {
            "a key of its source": lambda w: {"source": ITS, "key": w.key()},
            "a key of another source": lambda w: {"source": OTHER, "key": w.key(OTHER)},
            "a record of its source": lambda w: {"record": w.record()},
            "a record of another source": lambda w: {"record": w.record(OTHER)},
            "a customer named by a record of its source": lambda w: {"customer": w.customer(ITS, OTHER)},
            "a customer named by a record of another source": lambda w: {"customer": w.customer(OTHER, ITS)},
        }.items()
    },
}
OF: Mapping[str, Callable[[World], Sent]] = {
    "the hub": lambda w: {},
    "everything in it": lambda w: {},
    "a record of its source": lambda w: {"id": w.record()},
    "a record of another source": lambda w: {"id": w.record(OTHER)},
    "a customer of both": lambda w: {"id": w.customer()},
    "a key of its source": lambda w: {"json": {"source": ITS, "key": w.key()}},
    "a key of another source": lambda w: {"json": {"source": OTHER, "key": w.key(OTHER)}},
    "a phone": lambda w: {"json": {"identifiers": {"phone": PHONE}}},
    "a value of its source": lambda w: {"id": w.aside()},
    "a call of its source": lambda w: {
        "id": "track",
        "json": {"event": "Seen", "userId": "u-1", "messageId": f"m-{next(_numbers)}"},
    },
    "an empty one": lambda w: {"json": []},
    "a door, not signed": lambda w: {"id": "bot", "json": {}},
}


def asks(served: Served, role: str, method: str, path: str, **more: Any) -> httpx2.Response:
    if role == "no key":
        return served.client.request(method, path, **more)
    return served.ask(role, method, path, **more)


STATUS = {"yes": 200, "masked": 200, "no": 403, "key": 401, "signed": 401}


def test_a_route_answers_whom_the_page_says(shop: Served) -> None:
    world = World(shop)
    for row in ROUTES:
        if row.asked == "POST /v1/commands":
            continue  # By command, below.
        method, path = row.asked.split()
        asked = OF[row.of](world)
        path = re.sub("{.*}", asked.pop("id", ""), path)
        shop.hub.wait(before := shop.hub.head())
        for role, cell in row.cells.items():
            answer = asks(shop, role, method, path, **asked)
            assert answer.status_code == STATUS[cell], (row, role, answer.text)
            if row.asked == "GET /v1/customers/{id}":
                assert ("Петрова" in answer.text) == (cell == "yes"), (row, role)
            if cell == "no" or row.of != "a call of its source":
                assert shop.hub.head() == before, (row, role)
            before = shop.hub.head()


def test_a_command_is_done_for_whom_the_page_says(shop: Served) -> None:
    world = World(shop)
    for row in COMMANDS:
        for role, cell in row.cells.items():
            single = {"command": row.asked, **ASKED[row.asked, row.of](world)}
            line = {"command": row.asked, **ASKED[row.asked, row.of](world)}
            before = shop.hub.head()
            answer = asks(shop, role, "POST", "/v1/commands", json=single)
            batch = asks(shop, role, "POST", "/v1/commands/batch", json=[line])
            told = batch.json()[0] if batch.status_code == 200 else batch.json()
            for status, document in ((answer.status_code, answer.json()), (told["status"], told)):
                assert status == STATUS[cell], (row, role, document)
                if cell != "yes":
                    assert document["type"] == f"/problems/{'forbidden' if cell == 'no' else 'unauthenticated'}"
            assert cell == "yes" or shop.hub.head() == before, (row, role)


def test_every_route_and_every_command_has_a_row_for_every_role(served: Served) -> None:
    routes = {
        f"{method} {route.path}"
        for route in create_app(served.hub).routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    commands = {each.name for each in CAPABILITIES}
    assert routes == {row.asked for row in ROUTES}, "docs/authorisation.md lists every route"
    assert commands == {row.asked for row in COMMANDS}, "docs/authorisation.md lists every command"
    assert {(row.asked, row.of) for row in COMMANDS} == ASKED.keys()
    for row in ROWS:
        assert list(row.cells) == ["no key", *ROLES]


def test_what_commands_ask_of_roles_is_what_the_page_says() -> None:
    for each in CAPABILITIES:
        able = {role for row in COMMANDS if row.asked == each.name for role, cell in row.cells.items() if cell == "yes"}
        assert able == each.command.roles - {"local", "house"}, each.name


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer x", "Basic aHViOmh1Yg==", "Bearer hub_x_y", "Bearer hub__", "Bearer hub_é_y", "Bearer \xff"],
)
def test_without_a_good_key_nothing_is_answered(served: Served, authorization: str) -> None:
    for asked in {row.asked for row in ROUTES if row.cells["no key"] == "key"}:
        method, path = asked.split()
        headers = [(b"Authorization", authorization.encode("latin-1"))]
        answer = served.client.request(method, re.sub("{.*}", "x", path), headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "/problems/unauthenticated"

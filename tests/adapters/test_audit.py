"""`hub audit verify` at the terminal."""

from __future__ import annotations

from typing import Any

import orjson
from psycopg import Connection
from typer.testing import CliRunner, Result

from adapters.audit import KINDS
from adapters.cli import app
from adapters.verification import MARK
from hub.log import mark
from tests.adapters.conftest import Served, touch


def audit(shop: Served, *more: str) -> Result:
    place = {"HUB_DATABASE_URL": shop.hub.url, "HUB_DATA": str(shop.hub.data)}
    return CliRunner().invoke(app, ["audit", "verify", *more], env=place)


def test_every_kind_of_fault_has_its_words() -> None:
    assert KINDS.keys() == set(mark.KINDS)


def test_a_log_that_agrees_ends_well(shop: Served) -> None:
    last = shop.done(touch("1"))["position"]
    found = orjson.loads(audit(shop, "--json").stdout)
    assert (found["complete"], found["events"], found["faults"]) == (True, last, [])


def test_a_changed_event_is_named_and_ends_the_command_with_1(shop: Served, owner: Connection[Any]) -> None:
    place = shop.done(touch("1"))["position"]
    owner.execute("ALTER EVENT TRIGGER hub_ddl_command_end DISABLE")
    owner.execute("ALTER TABLE event DISABLE TRIGGER append_only")
    owner.execute("UPDATE event SET data = data || ' ' WHERE log = 1 AND position = %s", (place,))
    told = audit(shop)
    assert told.exit_code == 1
    assert f"main, position {place}: {KINDS['leaf'][0]}" in told.stdout
    found = orjson.loads(audit(shop, "--json").stdout)
    assert {"kind": "leaf", "log": "main", "position": place, "detail": ""} in found["faults"]
    assert found["kinds"] == {"leaf": 1, "guard": len(found["faults"]) - 1}


def test_what_has_not_enough_time_says_so_and_goes_on_next_time(shop: Served) -> None:
    shop.done(touch("1"))
    first = orjson.loads(audit(shop, "--seconds", "0", "--json").stdout)
    assert not first["complete"]
    assert (shop.hub.data / MARK).exists()
    again = 0
    while not orjson.loads(audit(shop, "--seconds", "0", "--json").stdout)["complete"]:
        again += 1
        assert again < 10
    assert not (shop.hub.data / MARK).exists()

"""A channel speaks for its own source's records only, and what looks personal never stands in clear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from hub.errors import Forbidden, Invalid
from hub.wiring import Hub
from tests.support.hubs import Sent, identify, source, touch


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as opened:
        opened.do(source())
        opened.do(source("crm"))
        yield opened


def asked(hub: Hub, role: str, command: Sent) -> Any:
    """The answer to the shop's channel, or to a person of another role."""
    principal = hub.principals.channel("shop")
    if role != "channel":
        principal = type(principal)(principal.id, role)
    (answer,) = hub.do_many([command], principal)
    return answer


def in_crm(key: str, **more: Any) -> Sent:
    return identify(key, **more) | {"source": "crm"}


def test_a_channel_may_touch_a_foreign_record_but_state_nothing_about_it(hub: Hub) -> None:
    ann = hub.do(in_crm("ann", facts={"first_name": "Анна"}, identifiers={"phone": "+79161234567"}))["record"]
    plain = {"command": "record_touch", "customer": ann, "channel": "call"}
    assert asked(hub, "channel", plain)["record"] == ann
    for more in ({"facts": {"first_name": "Eve"}}, {"identifiers": {"phone": "+79160000001"}}):
        assert isinstance(asked(hub, "channel", plain | more), Forbidden)
    used = asked(hub, "channel", plain | {"identifier": {"kind": "phone", "value": "+79160000001"}})
    assert [event["type"] for event in used["events"]] == ["touch_recorded"]
    for command in (
        {"command": "retract_fact", "record": ann, "attribute": "first_name"},
        {"command": "release_identifier", "customer": ann, "identifier": {"kind": "phone", "value": "+79161234567"}},
    ):
        assert isinstance(asked(hub, "channel", command), Forbidden)


def test_saying_that_two_are_the_same_is_merging(hub: Hub) -> None:
    hub.do(in_crm("ann"))
    command = identify("77", same_as={"source": "crm", "key": "ann"})
    for role in ("channel", "operator"):
        assert isinstance(asked(hub, role, command), Forbidden)
    assert len(asked(hub, "steward", command)["members"]) == 2
    own = identify("78", same_as={"source": "shop", "key": "77"})
    assert len(asked(hub, "channel", own)["members"]) == 3


@pytest.mark.parametrize("time", ["2026", "20260301", "1700000000", 1700000000, 1.5, "2026-03-01"])
def test_a_time_is_written_out(hub: Hub, time: Any) -> None:
    (answer,) = hub.do_many([touch("ann", occurred_at=time)])
    assert isinstance(answer, Invalid)
    assert [flaw.path for flaw in answer.flaws] == ["occurred_at"]


def test_a_city_that_is_more_than_a_city_is_sealed(hub: Hub, connection: Connection[Any]) -> None:
    hub.do(identify("ann", facts={"city": "Москва", "country": "Иванова Анна, паспорт 4509 123456"}))
    (data,) = connection.execute("SELECT string_agg(convert_from(data, 'UTF8'), '') FROM event").fetchone() or ("",)
    assert "Москва" in data
    assert "Иванова" not in data

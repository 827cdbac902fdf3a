"""Whatever is done to the log behind the hub's back is found, and named by its kind and place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from hub import clock
from hub.decider import Principal
from hub.events import VOCABULARY, Instant
from hub.log import verify
from hub.log.mark import KINDS, Fault, Mark
from hub.log.verify import Verification
from hub.vault import seal_digest
from hub.wiring import Hub

OPEN = (
    "seal IS NULL AND position = 7 AND tag = (SELECT min(tag::text)::uuid FROM tag WHERE position = 7 AND seal IS NULL)"
)
TURNED = "wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)"
DONE = {
    "leaf": ("UPDATE event SET data = data || ' ' WHERE position = 7", 7),
    "type": ("UPDATE event SET type = 99 WHERE position = 7", 7),
    "shape": ("UPDATE event SET data = 'x' WHERE position = 7", 7),
    "gap": ("DELETE FROM event WHERE position = 7", 7),
    "time": ("UPDATE event SET recorded_at = 1 WHERE position = 7", 7),
    "seal_changed": ("UPDATE seal SET box = box || 'x' WHERE position = 7 AND seal = 0", 7),
    "seal_missing": ("DELETE FROM seal WHERE position = 7", 7),
    "seal_stray": ("INSERT INTO seal SELECT log, 900, seal, record, class, key, box FROM seal WHERE position = 7", 900),
    "sealed_tag_stray": ("INSERT INTO tag SELECT log, tag, position, type, 9 FROM tag WHERE position = 7 LIMIT 1", 7),
    "key_damaged": (f"UPDATE record_key SET {TURNED} WHERE record = (SELECT max(record::text)::uuid FROM seal)", None),
    "tag_stray": ("INSERT INTO tag VALUES (1, gen_random_uuid(), 7, (SELECT type FROM event WHERE position = 7))", 7),
    "tag_changed": (f"UPDATE tag SET type = 99 WHERE {OPEN}", 7),
    "tag_missing": (f"DELETE FROM tag WHERE {OPEN}", 7),
    "tag_doubled": (f"INSERT INTO tag SELECT * FROM tag WHERE {OPEN}", 7),
    "guard": ("SELECT 1", None),  # What it takes to do any of these leaves a trace itself.
}
TAKEN_AWAY = """
    ALTER EVENT TRIGGER hub_ddl_command_end DISABLE;
    ALTER TABLE event DISABLE TRIGGER ALL; ALTER TABLE tag DISABLE TRIGGER ALL; ALTER TABLE seal DISABLE TRIGGER ALL
"""


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path) as hub:
        hub.do({"command": "register_source", "name": "shop", "title": "Лавка"})
        said = {"facts": {"first_name": "Анна", "city": "Тверь"}, "identifiers": {"phone": "+79161234567"}}
        for n in range(4):
            hub.do({"command": "record_touch", "source": "shop", "key": f"k{n}", "channel": "call", **said})
        yield hub


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short log has several."""
    monkeypatch.setattr(verify, "PAGE", 3)
    monkeypatch.setattr(verify, "KEYS", 2)
    monkeypatch.setattr(verify, "BLOCKS", 1)


def faults(hub: Hub) -> list[Fault]:
    verification = Verification(hub.questions.connection, VOCABULARY, hub.vault)
    found = [each for each in verification.run() if each]
    assert verification.complete
    return found


def test_a_log_nobody_touched_agrees(hub: Hub) -> None:
    verification = Verification(hub.questions.connection, VOCABULARY, hub.vault)
    assert [each for each in verification.run() if each] == []
    assert verification.complete
    assert verification.events == hub.head()
    assert verification.seals > 0 < verification.tags


def test_each_kind_of_fault_is_tried() -> None:
    assert DONE.keys() == set(KINDS)


@pytest.mark.parametrize("kind", DONE)
def test_what_was_done_is_found_and_named(hub: Hub, owner: Connection[Any], kind: str) -> None:
    statement, position = DONE[kind]
    owner.execute(TAKEN_AWAY.encode())
    assert owner.execute(statement.encode()).rowcount == 1
    found = faults(hub)
    assert (kind, position) in {(each.kind, each.position) for each in found}
    if kind not in ("leaf", "type", "shape", "gap", "time", "guard"):  # These show in more than one way.
        assert {each.kind for each in found} == {kind, "guard"}


@pytest.mark.parametrize("damage", ["wrapped = ''", "wrapped = 'short'", "epoch = 7"])
def test_a_damaged_key_is_named_by_its_record_and_class(hub: Hub, connection: Connection[Any], damage: str) -> None:
    rows = connection.execute("SELECT record::text FROM record_key ORDER BY record").fetchall()
    for (record,) in (rows[0], rows[-1]):
        connection.execute(f"UPDATE record_key SET {damage} WHERE record = %s".encode(), (record,))
    assert faults(hub) == [
        Fault("key_damaged", detail=f"record {record}, class 0, key 1") for (record,) in (rows[0], rows[-1])
    ]


def test_an_erased_record_is_no_fault(hub: Hub, connection: Connection[Any]) -> None:
    (record,) = connection.execute("SELECT record FROM seal WHERE position = 7 LIMIT 1").fetchone() or ("",)
    places = "SELECT position, seal FROM seal WHERE record = %s"
    connection.execute(f"DELETE FROM tag WHERE (position, seal) IN ({places})".encode(), (record,))
    connection.execute("DELETE FROM seal WHERE record = %s", (record,))
    connection.execute("UPDATE record_key SET wrapped = NULL, destroyed_at = 1 WHERE record = %s", (record,))
    assert faults(hub) == []


def test_what_finds_a_seal_that_is_gone_is_a_fault(hub: Hub, connection: Connection[Any]) -> None:
    """Its record may be erased: then what found it had to go as well."""
    record, position = connection.execute(
        "SELECT record, position FROM seal JOIN tag USING (log, position, seal) ORDER BY position LIMIT 1"
    ).fetchone() or ("", 0)
    connection.execute("DELETE FROM seal WHERE record = %s", (record,))
    connection.execute("UPDATE record_key SET wrapped = NULL, destroyed_at = 1 WHERE record = %s", (record,))
    found = faults(hub)
    assert {each.kind for each in found} == {"sealed_tag_stray"}
    assert position in {each.position for each in found}


def test_no_box_of_a_seal_is_held_but_its_digest(connection: Connection[Any], hub: Hub) -> None:
    rows = connection.execute(verify.SQL["seals"], (1, 0, hub.head())).fetchall()
    boxes = connection.execute("SELECT position, seal, box FROM seal WHERE log = 1").fetchall()
    digests = {(position, n): digest for position, n, _, _, digest in rows}
    assert digests == {(position, n): seal_digest(box).hex() for position, n, box in boxes} != {}


def test_what_was_let_go_is_no_fault_and_excuses_no_other_seal(
    hub: Hub, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "command": "identify_customer",
        "source": "shop",
        "key": "k0",
        "facts": {"first_name": "Инна", "birth_date": "x"},
    }
    answer = hub.do(said)
    item, stated = answer["quarantined"][0]["item"], answer["events"][0]["position"]
    much_later = Instant(clock.now() + 1000 * clock.DAY)
    monkeypatch.setattr(hub.intake, "_now", lambda: much_later)
    house = Principal(hub.installation.house, "house")
    asked = hub.intake.accept(house, {"command": "expire_quarantined", "items": [item]})
    assert hub.counter.submit(asked).result()["events"]
    assert faults(hub) == []
    owner.execute(TAKEN_AWAY.encode())
    assert owner.execute("DELETE FROM seal WHERE position = %s", (stated,)).rowcount == 1
    assert {(each.kind, each.position) for each in faults(hub)} == {
        ("guard", None),
        ("seal_missing", stated),
    }


def test_a_repaired_touch_is_no_fault(hub: Hub, owner: Connection[Any]) -> None:
    touch = {"command": "record_touch", "source": "shop", "channel": "call"}
    waits = hub.do({**touch, "identifiers": {"phone": "12"}})
    item = waits["quarantined"][0]["item"]
    hub.do({"command": "repair_touch", "quarantined": item, "touch": {"key": "k0", "identifiers": None}})
    assert faults(hub) == []
    owner.execute(TAKEN_AWAY.encode())
    owner.execute("UPDATE event SET data = 'x' WHERE position = %s", (waits["position"] + 1,))
    assert ("seal_missing", waits["position"]) in {(each.kind, each.position) for each in faults(hub)}


def test_what_has_not_enough_time_goes_on_where_it_stopped(hub: Hub, owner: Connection[Any]) -> None:
    owner.execute(TAKEN_AWAY.encode())
    owner.execute(DONE["tag_missing"][0].encode())
    owner.execute(DONE["leaf"][0].encode())
    mark, events, tags, found, runs = None, 0, 0, list[tuple[str, int | None]](), 0
    while True:
        verification = Verification(hub.questions.connection, VOCABULARY, hub.vault, mark)
        found += [(each.kind, each.position) for each in verification.run(seconds=0) if each and each.kind != "guard"]
        events, tags, runs = events + verification.events, tags + verification.tags, runs + 1
        if verification.complete:
            break
        hub.do({"command": "identify_customer", "source": "shop", "key": f"more{runs}"})  # Life goes on.
        mark = Mark.parse(verification.mark.text())
        if runs > 200:
            pytest.fail("it never ends")
    assert runs > 3
    assert sorted(found) == [("leaf", 7), ("tag_missing", 7)]


def run(hub: Hub, mark: Mark | None = None, *, pages: int | None = None) -> Verification:
    """A run to the end, or for so many pages."""
    verification = Verification(hub.questions.connection, VOCABULARY, hub.vault, mark and Mark.parse(mark.text()))
    for each in verification.run():
        pages = pages if each or pages is None else pages - 1
        if pages == 0:
            break
    return verification


def test_a_fault_is_told_by_every_run_until_a_whole_pass_does_not_find_it(hub: Hub, owner: Connection[Any]) -> None:
    (data,) = owner.execute("SELECT data FROM event WHERE position = 2").fetchone() or (b"",)
    owner.execute(TAKEN_AWAY.encode())
    owner.execute("UPDATE event SET data = data || ' ' WHERE position = 2")
    first = run(hub, pages=2)
    assert (first.faults["leaf"], first.complete) == (1, False)
    whole = run(hub, first.mark)
    assert (whole.faults, whole.complete) == (first.faults, True)
    owner.execute("UPDATE event SET data = %s WHERE position = 2", (data,))
    again = run(hub, whole.mark, pages=2)
    assert (again.faults, again.complete) == (first.faults, False)
    last = run(hub, again.mark)
    assert (set(last.faults), last.complete) == ({"guard"}, True)

"""The vault: keys of records are made once, seal what is said, and are never made again after their destruction."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from hub.errors import Erased, SealDamaged
from hub.keys import KeyFile
from hub.vault import RecordKey, Vault
from hub.wiring import Hub

RECORD = "00000000-0000-0000-0000-000000000001"


def store(connection: Connection[Any], vault: Vault, retention: int = 0, number: int = 1) -> RecordKey:
    key = replace(vault.make(RECORD, retention), number=number)
    connection.execute(
        "INSERT INTO record_key (record, class, key, epoch, wrapped) VALUES (%s, %s, %s, %s, %s)",
        (RECORD, retention, key.number, key.epoch, key.wrapped),
    )
    return key


def newest(vault: Vault, connection: Connection[Any], retention: int = 0) -> int:
    key = vault.keys_of(connection, [RECORD], retention)[RECORD]
    assert key is not None
    return key.number


def test_a_destroyed_key_is_gone_for_good(connection: Connection[Any]) -> None:
    keys = KeyFile.fresh()
    store(connection, Vault(keys, RECORD))
    assert Vault(keys, RECORD).keys_of(connection, [RECORD]).keys() == {RECORD}
    connection.execute("UPDATE record_key SET wrapped = NULL, destroyed_at = 1")
    assert Vault(keys, RECORD).keys_of(connection, [RECORD]) == {}
    with pytest.raises(Exception, match="record_key_pkey"):
        store(connection, Vault(keys, RECORD))


def test_the_newest_key_seals_and_the_key_a_seal_names_opens_it(connection: Connection[Any]) -> None:
    keys = KeyFile.fresh()
    maker, early = Vault(keys, RECORD), Vault(keys, RECORD)
    made = {(RECORD, 0, 1): store(connection, maker)}
    assert newest(early, connection) == 1
    for retention, number in ((0, 2), (1, 1), (1, 3)):
        made[RECORD, retention, number] = store(connection, maker, retention, number)
    boxes = {name: maker.seal(key, RECORD, bytes(16), 0, {"under": name}).box for name, key in made.items()}
    late = Vault(keys, RECORD)
    assert [newest(late, connection, retention) for retention in (0, 1)] == [2, 3]
    for vault in (early, late):
        named = vault.keys_named(connection, [*made, (RECORD, 0, 3), (RECORD, 2, 1)])
        assert named.keys() == made.keys()
        for name, box in boxes.items():
            key = named[name]
            assert key is not None
            assert vault.open(key, bytes(16), 0, box) == {"under": list(name)}
    maker.remember(RECORD, made[RECORD, 0, 1])
    maker.remember(RECORD, made[RECORD, 0, 2])
    connection.execute("UPDATE record_key SET wrapped = NULL, destroyed_at = 1 WHERE class = 0 AND key = 1")
    assert Vault(keys, RECORD).keys_named(connection, [(RECORD, 0, 1)]) == {}
    assert newest(maker, connection) == 2


DAMAGED = "wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)"


@pytest.mark.parametrize("damage", [DAMAGED, "wrapped = ''", "wrapped = 'short'", "epoch = 7"])
def test_a_damaged_key_is_told_from_a_destroyed_one_until_it_is_put_right(
    connection: Connection[Any], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyFile.fresh()
    whole = store(connection, Vault(keys, RECORD)).wrapped
    connection.execute(f"UPDATE record_key SET {damage}".encode())
    vault, name = Vault(keys, RECORD), (RECORD, 0, 1)
    assert vault.keys_of(connection, [RECORD]) == {RECORD: None}
    assert vault.keys_named(connection, [name, (RECORD, 0, 2)]) == {name: None}
    assert {each.getMessage() for each in caplog.records} == {f"key 1 of record {RECORD} in class 0 is damaged"}
    connection.execute("UPDATE record_key SET wrapped = %s, epoch = 1", (whole,))
    assert newest(vault, connection) == 1
    assert vault.keys_named(connection, [name])[name] is not None


def test_a_key_whose_epoch_is_over_is_gone(connection: Connection[Any]) -> None:
    old = KeyFile.fresh()
    store(connection, Vault(old, RECORD))
    new = KeyFile({2: KeyFile.fresh().key_encryption[1]}, old.fingerprint, old.receipt)
    assert Vault(new, RECORD).keys_of(connection, [RECORD]) == {}


def test_no_older_key_takes_the_place_of_a_damaged_one(connection: Connection[Any]) -> None:
    keys = KeyFile.fresh()
    for number in (1, 2):
        store(connection, Vault(keys, RECORD), number=number)
    connection.execute(f"UPDATE record_key SET {DAMAGED} WHERE key = 2".encode())
    vault = Vault(keys, RECORD)
    for _ in range(2):
        named = vault.keys_named(connection, [(RECORD, 0, 1), (RECORD, 0, 2)])
        assert {number: key is not None for (_, _, number), key in named.items()} == {1: True, 2: False}
        assert vault.keys_of(connection, [RECORD]) == {RECORD: None}


def test_a_seal_is_read_with_the_key_it_names(database_url: str, tmp_path: Path, connection: Connection[Any]) -> None:
    with Hub.open(database_url, tmp_path, follow=False) as hub:
        hub.do({"command": "register_source", "name": "shop"})
        record = identify(hub, "a", first_name="Анна")["record"]
        newer = replace(hub.vault.make(record), number=2)
        connection.execute(
            "INSERT INTO record_key (record, class, key, epoch, wrapped) VALUES (%s, 0, 2, %s, %s)",
            (record, newer.epoch, newer.wrapped),
        )
    with Hub.open(database_url, tmp_path, follow=False) as hub:
        identify(hub, "a", first_name="Ольга")
        assert connection.execute(
            "SELECT DISTINCT key FROM seal WHERE record = %s ORDER BY key", (record,)
        ).fetchall() == [
            (1,),
            (2,),
        ]
        events = hub.reader.open(connection, hub.reader.after(connection, 0, 100))
        assert all(each.opened for each in events if each.seals)


def test_nothing_is_sealed_for_the_erased_and_the_others_are_answered(
    database_url: str, tmp_path: Path, connection: Connection[Any]
) -> None:
    with Hub.open(database_url, tmp_path) as hub:
        hub.do({"command": "register_source", "name": "shop"})
        told = [identify(hub, key, first_name="Анна") for key in ("a", "b")]
        erased = told[0]["record"]
        connection.execute("UPDATE record_key SET wrapped = NULL, destroyed_at = 1 WHERE record = %s", (erased,))
    with Hub.open(database_url, tmp_path) as hub:
        answers = list(
            hub.do_many(
                {"command": "identify_customer", "source": "shop", "key": key, "facts": {"first_name": "Ольга"}}
                for key in ("a", "b", "c")
            )
        )
        assert isinstance(answers[0], Erased)
        assert [isinstance(each, dict) and each["events"][-1]["type"] for each in answers[1:]] == ["facts_stated"] * 2
        row = connection.execute("SELECT wrapped, destroyed_at FROM record_key WHERE record = %s", (erased,)).fetchall()
        assert row == [(None, 1)]


def test_what_a_damaged_key_keeps_shut_is_not_decided_on_and_not_written_anew(
    database_url: str, tmp_path: Path, connection: Connection[Any]
) -> None:
    with Hub.open(database_url, tmp_path, follow=False) as hub:
        hub.do({"command": "register_source", "name": "shop"})
        record = identify(hub, "a", first_name="Анна")["record"]
        identify(hub, "b", first_name="Анна")
        (whole,) = connection.execute("SELECT wrapped FROM record_key WHERE record = %s", (record,)).fetchone() or ("",)
        connection.execute(f"UPDATE record_key SET {DAMAGED} WHERE record = %s".encode(), (record,))
        stored = connection.execute("SELECT record, key, wrapped FROM record_key").fetchall()
    about = {"source": "shop", "key": "a"}
    asked: list[dict[str, Any]] = [
        {"command": "identify_customer", **about, "facts": {"first_name": "Ольга"}},
        {"command": "identify_customer", **about, "facts": {"first_name": "Анна"}},
        {"command": "identify_customer", **about, "facts": {"last_name": "Иванова"}},
        {"command": "record_touch", **about, "channel": "call", "content": {"text": "алло"}},
        {"command": "retract_fact", **about, "attribute": "first_name", "id": "again"},
        {"command": "record_touch", **about, "channel": "call"},
        {"command": "identify_customer", "source": "shop", "key": "b", "facts": {"first_name": "Ольга"}},
    ]
    with Hub.open(database_url, tmp_path, follow=False) as hub:
        answers = list(hub.do_many(asked))
        assert [isinstance(each, SealDamaged) for each in answers] == [True] * 5 + [False] * 2
        assert [isinstance(each, dict) and len(each["events"]) for each in answers[5:]] == [1, 1]
        assert connection.execute("SELECT record, key, wrapped FROM record_key").fetchall() == stored
        connection.execute("UPDATE record_key SET wrapped = %s WHERE record = %s", (whole, record))
        retracted = hub.do(asked[4])
        assert [each["type"] for each in retracted["events"]] == ["fact_retracted"]
        assert not retracted["replayed"]


def identify(hub: Hub, key: str, **facts: str) -> dict[str, Any]:
    return hub.do({"command": "identify_customer", "source": "shop", "key": key, "facts": facts})


FORKED = """
import os
from hub.clock import fresh_id
from hub.keys import KeyFile
from hub.vault import Vault

record = "00000000-0000-0000-0000-000000000001"
vault = Vault(KeyFile.fresh(), record)
key = vault.make(record)

def drawn():
    return vault.seal(key, record, bytes(16), 0, {}).box[:12] + fresh_id()[8:]

drawn()
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, drawn())
    os._exit(0)
os.wait()
his, mine = os.read(reading, 20), drawn()
assert len(his) == 20
assert his[:12] != mine[:12] and his[12:] != mine[12:]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_shares_neither_nonces_nor_ids_with_its_parent() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True)


FORKED_WHILE_DRAWING = """
import os
import signal
from hub import clock

with clock._lock:  # As another thread would hold it just then.
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        clock.fresh_id()
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_its_parent_draws_an_id_draws_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKED_WHILE_DRAWING], check=True)

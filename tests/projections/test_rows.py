"""Rows in the database: what the folds make, however they got there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from hub.projector import catch_up
from hub.rows import ReadModel, RowMismatch, Table, row_cursor
from projections import READ_MODELS
from projections.facts import facts
from projections.membership import membership
from tests.support.events import DAY, HOUR, NOON, Log, a_contact, aside, new_id
from tests.support.tally import emptied

Rows = dict[str, list[tuple[str, ...]]]


def everything(connection: Connection[Any]) -> Rows:
    """Every row of every read model, as text."""
    return {
        model.name: sorted(connection.execute(f"SELECT m::text FROM {model.name} m").fetchall())
        for model in READ_MODELS
    }


def a_history(log: Log) -> None:
    log.source("shop", "0.5", "Shop")
    log.source("crm", "0.9")
    a, b = log.open("shop", "1"), log.open("crm", "2")
    log.state(a, name="Anna", clear={"city": "Kazan"})
    log.state(b, NOON - DAY, name="Anya", x_size=38)
    log.state(a, NOON + DAY, clear={"city": "Moscow"})
    log.retract(b, "name")
    phone = log.identify(a, "phone", "+79161234567", since=NOON, until=NOON + DAY)
    log.identify(b, "email", "anna@example.com")
    log.release(a, phone, NOON + HOUR)
    contact = new_id()
    log.touch(a, data={"amount": 3}, quarantined=(aside(new_id()),))
    log.touch(a, channel="sms", direction="out", contact=a_contact(contact, a, sender=new_id()))
    log.touch(a, NOON + HOUR, channel="sms", direction="out", contact=a_contact(contact, a, outcome="delivered"))
    log.touch(b, NOON + DAY, {"text": "hello"}, kind="chat", topic='wh"at\\')
    log.quarantine()


@pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: str(model.name))
def test_a_row_is_its_tables_columns(model: ReadModel[Any], connection: Connection[Any]) -> None:
    assert is_dataclass(model.row)
    assert model.row.__dataclass_params__.frozen  # type: ignore[attr-defined]  # typeshed has no word of it
    assert hasattr(model.row, "__slots__")
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0", (model.name,)
    ).fetchall()
    assert [field.name for field in fields(model.row)] == [name for (name,) in columns]


@pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: str(model.name))
def test_a_models_key_is_its_tables_primary_key(model: ReadModel[Any], connection: Connection[Any]) -> None:
    key = connection.execute(
        "SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (n, place)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n"
        " WHERE i.indrelid = to_regclass(%s) AND i.indisprimary ORDER BY k.place",
        (model.name,),
    ).fetchall()
    assert [name for (name,) in key] == list(model.key)


def test_every_module_that_makes_a_read_model_is_listed() -> None:
    modules = Path(__file__).parents[2].joinpath("projections").glob("*.py")
    made = {name for module in modules for name in re.findall(r"^(\w+) = ReadModel", module.read_text(), re.MULTILINE)}
    assert made == {model.name for model in READ_MODELS}


def test_no_column_can_hold_a_ciphertext(connection: Connection[Any]) -> None:
    found = connection.execute(
        "SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " WHERE relname = ANY (%s) AND atttypid IN ('bytea'::regtype, 'json'::regtype, 'jsonb'::regtype)",
        ([model.name for model in READ_MODELS],),
    ).fetchall()
    assert found == []


def test_what_is_put_is_what_is_taken(log: Log, connection: Connection[Any], fold: Callable[[], None]) -> None:
    a_history(log)
    fold()
    events = log.reader.after(connection, 0, 1000)
    for model in READ_MODELS:
        expected = model.refold(events)
        table = Table(connection, model)
        with connection.transaction(force_rollback=True):
            assert table.by_key(table.take(expected)) == expected, model.name
            assert connection.execute(f"SELECT count(*) FROM {model.name}").fetchone() == (0,)


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_rows_are_the_same_in_batches_of_any_size(
    log: Log, connection: Connection[Any], fold: Callable[[], None], batch: int
) -> None:
    a_history(log)
    fold()
    live = everything(connection)
    emptied(connection, *READ_MODELS)
    assert not any(everything(connection).values())
    catch_up(connection, log.reader, READ_MODELS, batch)
    assert everything(connection) == live


def test_rows_folded_as_events_arrive_equal_those_folded_anew(
    log: Log, connection: Connection[Any], fold: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append

    def append_and_fold(said: Any) -> Any:
        done = append(said)
        fold()
        return done

    monkeypatch.setattr(log, "append", append_and_fold)
    a_history(log)
    live = everything(connection)
    emptied(connection, *READ_MODELS)
    fold()
    assert everything(connection) == live


def test_rows_are_blind_to_membership(log: Log, connection: Connection[Any], fold: Callable[[], None]) -> None:
    a_history(log)
    fold()
    before = everything(connection)
    records = [row.record for row in row_cursor(connection, membership.row).execute("TABLE membership ORDER BY opened")]
    merge = log.merge(*records)
    fold()
    merged = everything(connection)
    log.unmerge(merge, *([record] for record in records))
    fold()
    after = everything(connection)
    assert merged.pop("membership") != before.pop("membership")
    assert before == merged
    assert after | {"membership": []} == before | {"membership": []}


def test_a_table_with_other_columns_is_refused(connection: Connection[Any], owner: Connection[Any]) -> None:
    owner.execute("ALTER TABLE hub.facts ADD COLUMN extra text")
    with pytest.raises(RowMismatch, match="extra"):
        Table(connection, facts)

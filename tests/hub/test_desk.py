"""The desk: many commands at once, asked twice, at war with each other, and every one of them answered."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from commands.merge_customers import DeclaredDistinct
from commands.unmerge_customers import NotAMember
from hub import stream
from hub.errors import IdReused, Invalid, Unknown
from hub.log.wire import Prepared
from hub.wiring import Hub
from tests.support.hubs import identify, many, merge, opened, recorded, source, touch, types, unmerge

MakeHub = Callable[[], Hub]


@pytest.fixture
def make_hub(database_url: str, tmp_path: Path) -> Iterator[MakeHub]:
    """Hubs on one database, each as another process would have its own."""
    with ExitStack() as stack:

        def make() -> Hub:
            hub = stack.enter_context(Hub.open(database_url, tmp_path, follow=False))
            hub.do(source(id="the shop"))
            return hub

        yield make


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


def test_asking_again_is_answered_the_same_and_writes_nothing(hub: Hub, connection: Connection[Any]) -> None:
    sent = [
        identify("k", id="1", facts={"first_name": "Анна", "birth_date": "1980-02-30"}),
        identify("k", id="2"),
        touch("k", id="3", direction="out"),
    ]
    first = [hub.do(each) for each in sent]
    before = recorded(connection)
    again = [hub.do(each) for each in sent]
    assert [each["replayed"] for each in (*first, *again)] == [False] * 3 + [True] * 3
    assert [each | {"replayed": False} for each in again] == first
    assert [each | {"replayed": False} for each in many(hub, *sent)] == first
    assert recorded(connection) == before


def test_an_answer_replayed_after_a_merge_is_still_the_first(hub: Hub) -> None:
    first = hub.do(identify("a", id="1"))
    hub.do(merge(first["record"], *opened(hub, "b")))
    assert hub.do(identify("a", id="1")) == first | {"replayed": True}


def test_an_id_with_another_body_is_refused(hub: Hub, connection: Connection[Any]) -> None:
    hub.do(identify("k", id="1"))
    for other in (identify("k", id="1", facts={"name": "Анна"}), identify("other", id="1"), touch("k", id="1")):
        with pytest.raises(IdReused):
            hub.do(other)
    assert recorded(connection) == ["source_registered", "record_opened"]


def test_the_order_of_fields_makes_no_other_body(hub: Hub) -> None:
    hub.do({"id": "1", **identify("k")})
    assert hub.do(dict(reversed(identify("k", id="1").items())))["replayed"]


def test_twins_in_one_slice_are_written_once(hub: Hub, connection: Connection[Any]) -> None:
    answers = many(hub, touch("k", id="1"), touch("k", id="1"), touch("k", id="1", kind="other"), touch("k", id="2"))
    assert answers[1] == answers[0] | {"replayed": True}
    assert isinstance(answers[2], IdReused)
    assert types(answers[3]) == ["touch_recorded"]
    assert recorded(connection).count("touch_recorded") == 2


def test_twins_of_a_refused_command_are_refused_alike(hub: Hub) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    answers = many(hub, touch(customer=nobody, id="1"), touch(customer=nobody, id="1"))
    assert [type(each) for each in answers] == [Unknown, Unknown]


def test_a_refusal_holds_no_id_for_its_twins(hub: Hub, connection: Connection[Any]) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    sent = [touch(customer=nobody), touch(customer=nobody), touch("k"), touch("k"), touch(customer=nobody)]
    answers = many(hub, *(each | {"id": "1"} for each in sent))
    assert [type(each) for each in answers] == [Unknown, Unknown, dict, dict, IdReused]
    assert [each["replayed"] for each in answers[2:4]] == [False, True]
    assert recorded(connection).count("touch_recorded") == 1


def test_a_refused_id_may_be_used_again(hub: Hub) -> None:
    with pytest.raises(Invalid):
        hub.do({"command": "identify_customer", "source": "crm", "key": "k", "id": "1"})
    hub.do(source("crm"))
    assert not hub.do({"command": "identify_customer", "source": "crm", "key": "k", "id": "1"})["replayed"]


def test_the_same_id_from_two_hubs_at_once_is_written_once(make_hub: MakeHub, connection: Connection[Any]) -> None:
    hubs = [make_hub(), make_hub()]
    with ThreadPoolExecutor(8) as threads:
        for n in range(12):
            sent = [touch(f"k{n}", id=f"{n}.{i}") for i in range(3)]
            answers = list(threads.map(lambda hub, sent=sent: many(hub, *sent), hubs * 2))
            shown = {str([each | {"replayed": None} for each in answer]) for answer in answers}
            assert len(shown) == 1
    assert recorded(connection).count("touch_recorded") == 36
    assert recorded(connection).count("record_opened") == 12


def test_a_key_opened_by_two_hubs_at_once_is_one_record(make_hub: MakeHub, connection: Connection[Any]) -> None:
    hubs = [make_hub(), make_hub()]
    keys = [f"k{n}" for n in range(30)]

    def work(hub: Hub) -> list[Any]:
        told = (identify(key, facts={"first_name": key}, occurred_at="2026-03-01T10:00:00Z") for key in keys)
        return many(hub, *told, *(touch(key) for key in keys))

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(work, hubs * 2))
    for each in zip(*answers, strict=True):
        assert len({answer["record"] for answer in each}) == 1
    assert recorded(connection).count("record_opened") == 30
    assert recorded(connection).count("facts_stated") == 30
    assert recorded(connection).count("touch_recorded") == 120
    assert seals_that_do_not_open(hubs[0], connection) == 0


def test_merges_of_several_hubs_end_in_one_customer(make_hub: MakeHub, connection: Connection[Any]) -> None:
    hubs = [make_hub(), make_hub()]
    records = opened(hubs[0], *map(str, range(8)))
    pairs = [(a, b) for n, a in enumerate(records) for b in records[n + 1 :]]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: hubs[n % 2].do(merge(*pairs[n], id=str(n))), range(len(pairs))))
    assert sum(types(each) == ["customers_merged"] for each in answers) == 7
    last = hubs[1].do(touch(customer=records[-1]))
    assert last["members"] == records
    assert last["customer"] == records[0]


def test_a_batch_opens_merges_and_touches_one_customer(hub: Hub) -> None:
    a, b = opened(hub, "a", "b")
    answers = many(
        hub,
        identify("c", same_as={"source": "shop", "key": "a"}),
        merge(a, b),
        touch("c", identifiers={"phone": "+79161234567"}),
        touch(customer=a, identifier={"kind": "phone", "value": "8 916 123-45-67"}),
        identify("d", same_as={"source": "shop", "key": "c"}),
        touch(customer=b),
    )
    c, d = answers[0]["record"], answers[4]["record"]
    merged, touched = "customers_merged", "touch_recorded"
    assert [types(each)[-1] for each in answers] == [merged, merged, touched, touched, merged, touched]
    assert answers[3]["record"] == c, "the record that holds the identifier is meant"
    assert [each["members"] for each in answers] == [
        [a, c],
        [a, b, c],
        [a, b, c],
        [a, b, c],
        [a, b, c, d],
        [a, b, c, d],
    ]
    assert answers[-1]["record"] == b
    assert {each["customer"] for each in answers} == {a}


def test_a_line_builds_on_refusals_before_it(hub: Hub) -> None:
    a, b = opened(hub, "a", "b")
    merged = hub.do(merge(a, b))
    answers = many(
        hub,
        unmerge(merge=merged["events"][0]["event"]),
        merge(a, b),
        touch("a"),
        {"command": "lift_distinct", "customers": [a, b]},
        merge(b, a),
        touch("b"),
    )
    assert isinstance(answers[1], DeclaredDistinct)
    assert [each["members"] for each in answers if isinstance(each, dict)] == [[a], [a], [a], [a, b], [a, b]]


def test_lines_are_answered_in_order_whatever_becomes_of_them(hub: Hub) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    answers = list(
        hub.do_many([
            touch("a"), b"{", b"[]", b'{"command": ["x"]}', touch("a", surprise=1), touch(customer=nobody), touch("b"),
            {"command": "erase_everything"}, touch("a", facts={"shoe": 1}), touch("c", source="elsewhere"), touch("d"),
        ])
    )  # fmt: skip
    kinds = [type(each) for each in answers]
    assert kinds == [dict, Invalid, Invalid, Invalid, Invalid, Unknown, dict, Invalid, Invalid, Invalid, dict]


def test_slices_in_flight_build_on_each_other(hub: Hub, connection: Connection[Any]) -> None:
    """The same customers in every slice, each slice decided while the one before it is written."""
    keys = [f"k{n}" for n in range(40)]
    sent = [identify(key, facts={"first_name": f"{n}"}) for n in range(60) for key in keys]
    answers = many(hub, *sent)
    assert recorded(connection).count("record_opened") == 40
    assert recorded(connection).count("facts_stated") == len(sent)
    positions = [event["position"] for answer in answers for event in answer["events"]]
    assert positions == list(range(2, len(positions) + 2))
    again = many(hub, *sent[-40:])
    assert [types(each) for each in again] == [[]] * 40, "the last statements stand"


def test_ids_repeated_in_later_slices_are_replayed(hub: Hub, connection: Connection[Any]) -> None:
    sent = [touch(f"k{n % 7}", id=str(n)) for n in range(1100)]
    answers = many(hub, *sent, *sent)
    assert [each["replayed"] for each in answers] == [False] * 1100 + [True] * 1100
    assert [each | {"replayed": False} for each in answers[1100:]] == answers[:1100]
    assert recorded(connection).count("touch_recorded") == 1100


def test_a_command_sent_again_while_it_is_written_is_answered_the_same(hub: Hub, connection: Connection[Any]) -> None:
    a, b, c, d = opened(hub, "a", "b", "c", "d")
    many(hub, merge(a, b), merge(c, d))
    sent = [unmerge(customer=a, records=[b], id="1"), unmerge(customer=c, records=[d], id="2")]
    again = [sent[0], unmerge(customer=c, records=[a], id="2"), unmerge(customer=a, records=[b], id="3")]
    first, second = ([hub.intake.accept(hub.local, each) for each in each] for each in (sent, again))
    with hub.pool.connection() as busy:
        busy.execute("SELECT 1 FROM log WHERE id = 1 FOR UPDATE")
        before = hub.desk.begin(first)
        slice = hub.desk.begin(second, before)
        busy.rollback()
    foreseen = [type(each.error) for each in second]
    hub.desk.finish(before)
    hub.desk.finish(slice)
    assert foreseen == [NotAMember] * 3
    assert first[0].answer is not None
    assert second[0].answer == first[0].answer | {"replayed": True}
    assert [type(each.error) for each in second] == [type(None), IdReused, NotAMember]
    assert recorded(connection).count("customers_unmerged") == 2


def test_a_long_stream_holds_on_to_its_last_slices_only(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SLICE", 20)
    held = []
    for n, answer in enumerate(hub.do_many(touch(f"k{n % 7}") for n in range(400))):
        assert types(answer)[-1] == "touch_recorded"
        if n % 20 == 0:
            gc.collect()
            held.append(sum(isinstance(each, Prepared) for each in gc.get_objects()))
    assert len(held) == 20
    assert max(held) <= 3 * 20 + 10


def test_batches_and_merges_at_once_lose_and_double_nothing(make_hub: MakeHub, connection: Connection[Any]) -> None:
    hubs = [make_hub(), make_hub()]
    keys = [f"k{n}" for n in range(10)]
    records = opened(hubs[0], *keys)
    stop = threading.Event()
    merged: list[str] = []

    def disturb() -> None:
        n = 0
        while not stop.is_set():
            a, b = records[n % 10], records[(n * 3 + 1) % 10]
            if a != b:
                answer = hubs[1].do(merge(a, b))
                if answer["events"]:
                    hubs[1].do(unmerge(merge=answer["events"][0]["event"]))
                    hubs[1].do({"command": "lift_distinct", "customers": [a, b]})
                    merged.append(answer["events"][0]["event"])
            n += 1

    def load(part: int) -> list[Any]:
        return many(
            hubs[part % 2],
            *(
                identify(key, id=f"{part}.{n}.{key}", facts={"first_name": f"{part}.{n}"})
                for n in range(60)
                for key in keys
            ),
        )

    disturber = threading.Thread(target=disturb)
    disturber.start()
    with ThreadPoolExecutor(2) as threads:
        answers = [each for part in threads.map(load, range(2)) for each in part]
    stop.set()
    disturber.join()
    assert merged
    assert [type(each) for each in answers if not isinstance(each, dict)] == []
    assert recorded(connection).count("facts_stated") == 1200
    events = [event["event"] for answer in answers for event in answer["events"]]
    assert len(set(events)) == len(events)
    assert seals_that_do_not_open(hubs[0], connection) == 0


def test_bad_values_are_set_aside_and_the_touch_is_kept(hub: Hub) -> None:
    answer = hub.do(
        touch(
            "k",
            facts={"birth_date": "1980-02-30", "first_name": "Анна", "phone": ["+79161234567", "12"]},
            identifiers={"email": ["ok@example.com", "nonsense"], "inn": "1"},
            identifier={"kind": "phone", "value": "000"},
        )
    )
    assert types(answer) == [
        "record_opened", "facts_stated", "identifier_stated", "identifier_stated", "touch_recorded",
    ]  # fmt: skip
    assert {(each["path"], each["reason"]) for each in answer["quarantined"]} == {
        ("facts.birth_date", "not_a_date"),
        ("facts.phone.1", "not_a_phone"),
        ("identifiers.email.1", "not_an_email"),
        ("identifiers.inn", "not_an_inn"),
        ("identifier.value", "not_a_phone"),
    }
    assert {each["event"] for each in answer["quarantined"]} == {answer["events"][-1]["event"]}


def test_a_touch_without_a_name_waits_in_quarantine(hub: Hub, connection: Connection[Any]) -> None:
    answer = hub.do(touch(source="shop", identifiers={"phone": "12"}, id="1"))
    assert types(answer) == ["touch_quarantined"]
    assert answer["record"] is answer["customer"] is None
    assert [(each["path"], each["reason"]) for each in answer["quarantined"]] == [("identifiers.phone", "not_a_phone")]
    assert hub.do(touch(source="shop", identifiers={"phone": "12"}, id="1"))["replayed"]
    with pytest.raises(Invalid):
        hub.do(touch(source="elsewhere", identifiers={"phone": "12"}))


CANARIES = {
    "key": "canary-key-7731",
    "name": "Канарейкина",
    "phone": "+79161239987",
    "email": "canary@example.org",
    "text": "спой, птичка",
    "agent": "Агент Кенар",
    "matter": "matter-canary-1",
    "order": "order canary 2",
    "reason": "потому что канарейка",
    "id": "id-canary-55",
    "title": "Лавка Кенаря",
    "number": 79161239987,
}


def test_no_personal_value_is_in_the_database_but_as_ciphertext(hub: Hub, owner: Connection[Any]) -> None:
    c = CANARIES
    own = {key: c[key] for key in ("phone", "email")}
    hub.do(source("crm", title=c["title"]))
    first = hub.do(
        touch(
            str(c["key"]), id=c["id"], direction="out", facts={"last_name": c["name"], "x-note": c["text"], **own},
            identifiers={**own, "telegram": "canarytg"}, content={"text": c["text"]}, agent=c["agent"],
            matter=c["matter"], provider_id=c["order"], source_event=c["order"], correlation=c["order"],
            sender=c["agent"], branch=c["agent"], data={"note": c["text"], "caller": c["number"], c["phone"]: 1},
            identifier={"kind": "phone", "value": c["phone"]},
        )
    )  # fmt: skip
    hub.do(touch(source="shop", identifiers={"phone": c["text"]}, facts={"name": c["name"]}))
    hub.do(identify("other", raw={"row": c["text"]}, facts={"birth_date": c["text"]}))
    other = hub.do(identify("third", identifiers={"phone": {"value": c["phone"], "since": "2020-01-01T00:00:00Z"}}))
    merged = hub.do(merge(first["record"], other["record"], reason=c["reason"]))
    hub.do(unmerge(merge=merged["events"][0]["event"], reason=c["reason"]))
    hub.do({"command": "retract_fact", "record": first["record"], "attribute": "last_name", "reason": c["reason"]})
    hub.do({
        "command": "release_identifier", "record": first["record"], "reason": c["reason"],
        "identifier": {"kind": "phone", "value": c["phone"]},
    })  # fmt: skip
    hub.follow()
    hub.wait(hub.head())
    tables = owner.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    ).fetchall()
    assert len(tables) > 10
    for (table,) in tables:
        columns = "to_jsonb(t)" if table != "hub.seal" else "to_jsonb(t) - 'box'"
        for (row,) in owner.execute(f"SELECT {columns}::text FROM {table} t".encode()):
            for canary in (*map(str, c.values()), "canarytg", "79161239987", "9161239987"):
                assert canary not in row, table
                assert canary.encode().hex() not in row, table


def remembered(hub: Hub) -> set[str]:
    return {record for record, _ in hub.vault._cache}


def seals_that_do_not_open(hub: Hub, connection: Connection[Any]) -> int:
    """Seals under a key other than the one that is kept, for a cache that never heard of them."""
    hub.vault._cache.clear()
    rows = connection.execute(
        "SELECT s.record::text, s.class, s.key, e.id, s.seal, s.box FROM seal s JOIN event e USING (log, position)"
    ).fetchall()
    keys = hub.vault.keys_named(connection, {row[:3] for row in rows})
    assert rows
    for *name, id, n, box in rows:
        key = keys[tuple(name)]
        assert key is not None
        hub.vault.open(key, id.bytes, n, bytes(box))
    return 0


def test_a_slice_begun_after_the_one_before_was_written_sees_what_others_did_since(make_hub: MakeHub) -> None:
    hub, other = make_hub(), make_hub()
    a, b = opened(hub, "a", "b")
    first = [hub.intake.accept(hub.local, each) for each in (merge(a, b), identify("c"))]
    before = hub.desk.begin(first)
    assert before.append is not None
    before.append.done.result()  # Written, but not answered yet.
    found = other.do(identify("c", facts={"name": "Анна"}))
    merged = other.do(merge(a, b))["members"]
    assert merged == [a, b]
    merge_event = other.do(merge(a, found["record"]))["events"][0]["event"]
    other.do(unmerge(customer=a, records=[b]))
    asked = [
        hub.intake.accept(hub.local, each) for each in (touch("a"), touch("b"), identify("c", facts={"name": "Анна"}))
    ]
    slice = hub.desk.begin(asked, before)
    hub.desk.finish(before)
    hub.desk.finish(slice)
    answers = [each.answer or {} for each in asked]
    assert [each["members"] for each in answers] == [[a, found["record"]], [b], [a, found["record"]]]
    assert types(answers[2]) == [], "said already, in between, by somebody else"
    assert merge_event


def test_only_keys_that_are_stored_are_remembered(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, other = make_hub(), make_hub()
    asked = [hub.intake.accept(hub.local, identify(key)) for key in ("mine", "theirs")]
    with other.pool.connection() as connection:
        connection.execute("SELECT 1 FROM log WHERE id = 1 FOR UPDATE")
        slice = hub.desk.begin(asked)
        drawn = set(slice.made)
        connection.rollback()
    hub.desk.finish(slice)
    assert drawn == remembered(hub) - {hub.installation.house}

    asked = [hub.intake.accept(hub.local, identify(key)) for key in ("mine 2", "theirs 2")]
    submit = hub.writer.submit

    def late(append: Any) -> Any:
        monkeypatch.setattr(hub.writer, "submit", submit)
        other.do(identify("theirs 2"))
        return submit(append)

    monkeypatch.setattr(hub.writer, "submit", late)
    slice = hub.desk.begin(asked)
    drawn = set(slice.made)
    hub.desk.finish(slice)
    mine, theirs = (each.answer["record"] for each in asked if each.answer)
    assert mine in drawn
    assert theirs not in drawn
    assert drawn & remembered(hub) == {mine}


def test_starting_often_uses_up_no_numbers_of_types(hub: Hub, connection: Connection[Any]) -> None:
    hub.types.number("something_new")
    for _ in range(3):
        type(hub.types)(lambda: hub.types._connect()).ensure(hub.reader.vocabulary.types)
    hub.types.number("something_newer")
    numbers = [n for (n,) in connection.execute("SELECT id FROM event_type ORDER BY id")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"id": ""}, "id", "too_short"),
        ({"id": "x" * 201}, "id", "too_long"),
        ({"correlation": ""}, "correlation", "too_short"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at", "too_early"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at", "in_the_future"),
        ({"facts": {"name": "a\0b"}}, "facts.name", "nul_character"),
    ],
)
def test_what_cannot_be_taken_in_is_told_by_path_and_reason(
    hub: Hub, fields: dict[str, Any], path: str, reason: str
) -> None:
    with pytest.raises(Invalid) as caught:
        hub.do(touch("k", direction="out", **fields))
    assert [(flaw.path, flaw.reason) for flaw in caught.value.flaws] == [(path, reason)]


def test_a_refusal_that_rests_on_what_was_never_written_is_decided_again(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, other = make_hub(), make_hub()
    a, b = opened(hub, "a", "b")
    merged = hub.do(merge(a, b))["events"][0]["event"]
    submit = hub.writer.submit

    def late(append: Any) -> Any:
        monkeypatch.setattr(hub.writer, "submit", submit)
        other.do(unmerge(merge=merged))
        other.do({"command": "lift_distinct", "customers": [a, b]})
        return submit(append)

    monkeypatch.setattr(hub.writer, "submit", late)
    taking_back, joining = (hub.intake.accept(hub.local, each) for each in (unmerge(merge=merged), merge(a, b)))
    before = hub.desk.begin([taking_back])
    slice = hub.desk.begin([joining], before)
    foreseen: Exception | None = joining.error
    assert isinstance(foreseen, DeclaredDistinct), "they will be distinct"
    hub.desk.finish(before)
    hub.desk.finish(slice)
    assert taking_back.answer is not None
    assert types(taking_back.answer) == []
    assert joining.error is None
    assert joining.answer is not None
    assert joining.answer["members"] == [a, b]

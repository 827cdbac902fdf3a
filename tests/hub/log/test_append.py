"""The group-commit writer: what goes in together, what is refused, and what survives."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from hub.database import connect
from hub.errors import Busy, Conflict
from hub.log import append as module
from hub.log import recent, wire
from hub.log.append import AlreadyAnswered, Append, Appended, Writer
from tests.hub.log.conftest import MakeWriter
from tests.hub.log.entries import LOG, answer_to, append, item, outcomes, poison, prepared, receipt, stored, together


def test_events_are_numbered_from_one_without_gaps(writer: Writer, connection: Connection[Any]) -> None:
    appends = [append(prepared(), prepared()), append(prepared())]
    for each in appends:
        writer.submit(each).result()
    assert [(each.done.result().first, each.done.result().head) for each in appends] == [(1, 2), (3, 3)]
    assert stored(connection) == [(n, event.id) for n, event in enumerate([*appends[0].events, *appends[1].events], 1)]


def test_an_append_without_events_is_told_the_head(writer: Writer) -> None:
    writer.submit(append(prepared())).result()
    answer = writer.submit(append(receipts=[receipt(count=0)])).result()
    assert (answer.first, answer.head) == (2, 1)


def test_of_two_in_one_group_that_exclude_each_other_the_first_goes_in(
    writer: Writer, connection: Connection[Any]
) -> None:
    one, other = (append(prepared("seat"), items=[item("free"), item("seat")], after=0) for _ in range(2))
    third = append(prepared("elsewhere"), items=[item("elsewhere")], after=0)
    answers = together(writer, connection, one, other, third)
    assert answers[1] is Conflict
    assert isinstance(answers[0], Appended)
    assert isinstance(answers[2], Appended)
    error = other.done.exception()
    assert isinstance(error, Conflict)
    assert error.matched == {1}


def test_types_and_all_tags_must_match(writer: Writer) -> None:
    writer.submit(append(prepared("a", "b", type=1), prepared("a", type=2))).result()
    matching = [item("a", "b"), item("b", "a", types=[1, 3]), item("a", types=[2]), item(types=[2]), item()]
    others = [item("a", "b", types=[2]), item("b", types=[2]), item("c"), item(types=[3])]
    refused = append(prepared(), items=[*others, *matching], after=0)
    assert answer_to(writer, refused) is Conflict
    error = refused.done.exception()
    assert isinstance(error, Conflict)
    assert error.matched == set(range(len(others), len(others) + len(matching)))


def test_a_poison_fails_alone(writer: Writer, connection: Connection[Any]) -> None:
    fine, other = append(prepared()), append(prepared())
    answers = together(writer, connection, fine, append(poison()), other)
    assert isinstance(answers[0], Appended)
    assert isinstance(answers[1], type)
    assert issubclass(answers[1], psycopg.Error)
    assert [position for position, _ in stored(connection)] == [1, 2, 3]
    assert stored(connection)[1:] == [(2, fine.events[0].id), (3, other.events[0].id)]


def test_what_built_on_a_poison_is_refused_with_it(writer: Writer, connection: Connection[Any]) -> None:
    bad = append(poison())
    built = append(prepared(), predecessors=[bad])
    built_on_that = append(prepared(), predecessors=[built])
    answers = together(writer, connection, append(prepared()), bad, built, built_on_that)
    assert answers[2:] == [Conflict, Conflict]
    assert len(stored(connection)) == 2


def test_what_built_on_a_refused_append_is_refused_with_it(writer: Writer) -> None:
    writer.submit(append(prepared("seat"))).result()
    refused = append(prepared(), items=[item("seat")], after=0)
    built = append(prepared(), items=[item("x"), item("y")], after=1, predecessors=[refused])
    for each in (refused, built):
        writer.submit(each)
    assert outcomes([refused, built]) == [Conflict, Conflict]
    error = built.done.exception()
    assert isinstance(error, Conflict)
    assert error.matched == {0, 1}


def test_predecessors_are_let_go_when_the_outcome_is_known(writer: Writer) -> None:
    first = append(prepared("seat"))
    taken = append(prepared(), items=[item("seat")], after=0)
    chained = [append(prepared(), predecessors=[each]) for each in (first, taken)]
    assert [answer_to(writer, each) for each in (first, taken)][1] is Conflict
    assert isinstance(answer_to(writer, chained[0]), Appended)
    assert answer_to(writer, chained[1]) is Conflict
    assert [each.predecessors for each in chained] == [(), ()]


@pytest.mark.parametrize("kept", [50_000, 0])
def test_what_a_predecessor_adds_does_not_count_but_what_others_add_does(
    make_writer: MakeWriter, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(recent, "EVENTS_KEPT", kept)
    writer, stranger = make_writer(), make_writer()
    before = append(prepared("a"))
    writer.submit(before).result()
    writer.submit(append(prepared("b"), prepared("c"))).result()
    built = append(prepared("a"), items=[item("a")], after=0, predecessors=[before])
    assert isinstance(answer_to(writer, built), Appended)
    stranger.submit(append(prepared("a"))).result()
    late = append(prepared("a"), items=[item("a")], after=0, predecessors=[before])
    assert answer_to(writer, late) is Conflict


def test_a_receipt_is_written_once(make_writer: MakeWriter, connection: Connection[Any]) -> None:
    writer, other = make_writer(), make_writer()
    twice = [append(prepared(), receipts=[receipt()]) for _ in range(2)]
    answers = together(writer, connection, *twice)
    assert isinstance(answers[0], Appended)
    assert answers[1] is AlreadyAnswered
    later, elsewhere = (append(prepared(), receipts=[receipt()]) for _ in range(2))
    writer.submit(later)
    other.submit(elsewhere)
    assert outcomes([later, elsewhere]) == [AlreadyAnswered, AlreadyAnswered]
    fine, lone = append(prepared()), append(prepared(), receipts=[receipt()])
    answers = together(other, connection, lone, fine)
    assert answers[0] is AlreadyAnswered
    assert isinstance(answers[1], Appended)


@pytest.fixture(params=["in the window", "behind it", "window of another process", "new connection"])
def far_or_near(
    request: pytest.FixtureRequest,
    make_writer: MakeWriter,
    connection: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Writer:
    """A writer that sees ten events, of which it holds all, none, or only some in memory."""
    if request.param == "behind it":
        monkeypatch.setattr(recent, "EVENTS_KEPT", 3)
    writer = make_writer()
    appends = [append(prepared("all", f"n{n}", type=n % 3 + 1, sealed=[bytes([n]) * 16])) for n in range(10)]
    for n, each in enumerate(appends):
        (make_writer() if request.param == "window of another process" and n % 2 else writer).submit(each).result()
    if request.param == "new connection":
        writer = make_writer()
    return writer


@pytest.mark.parametrize("after", [None, 0, 4, 8, 9])
def test_a_condition_far_back_matches_as_one_nearby(far_or_near: Writer, after: int | None) -> None:
    conditions = [
        *(item(f"n{n}") for n in range(10)),
        *(item(f"n{n}", "all", types=[n % 3 + 1]) for n in range(10)),
        *(recent.Item(None, (bytes([n]) * 16, wire.tag_of("all"))) for n in range(10)),
    ]
    never = [item("n5", types=[1]), item("n5", "n6"), item("else"), item(types=[7])]
    asked = append(prepared(), items=[*conditions, *never], after=after)
    far_or_near.submit(asked)
    error = asked.done.exception(10)
    later = [n for n in range(10) if n + 1 > (after or 0)]
    assert isinstance(error, Conflict)
    assert error.matched == {n + ten for n in later for ten in (0, 10, 20)}
    only_never = append(prepared(), items=never, after=after)
    assert far_or_near.submit(only_never).result().head == 11


def test_a_condition_that_failed_far_back_fails_still_after_a_lost_connection(
    writer: Writer, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "EVENTS_KEPT", 1)
    for tag in ("seat", "b", "c"):
        writer.submit(append(prepared(tag))).result()
    bad = append(poison())  # Makes the whole group be tried again, one by one.
    refused = append(prepared("seat"), items=[item("seat")], after=0)
    assert together(writer, connection, bad, refused)[1] is Conflict


def test_several_writers_number_gapless_and_in_commit_order(
    make_writer: MakeWriter, connection: Connection[Any]
) -> None:
    writers = [make_writer() for _ in range(3)]
    appends = [append(*(prepared() for _ in range(random.randint(1, 4)))) for _ in range(90)]

    def submit(part: list[Append], writer: Writer) -> None:
        for each in part:
            writer.submit(each)
            if random.random() < 0.3:
                each.done.result()

    seen: list[int] = []
    stop = threading.Event()

    def watch(url: str) -> None:
        with connect(url, autocommit=True) as watching:
            while not stop.is_set():
                row = watching.execute("SELECT count(*), coalesce(max(position), 0) FROM event WHERE log = %s", (LOG,))
                count, head = row.fetchone() or (0, 0)
                assert count == head
                seen.append(head)

    watcher = threading.Thread(target=watch, args=(connection.info.dsn + f" password={connection.info.password}",))
    threads = [threading.Thread(target=submit, args=(appends[n::3], writer)) for n, writer in enumerate(writers)]
    for thread in (watcher, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    answers = outcomes(appends)
    stop.set()
    watcher.join()
    assert seen == sorted(seen)
    at: dict[int, bytes] = {}
    for each, answer in zip(appends, answers, strict=True):
        assert isinstance(answer, Appended)
        at.update(zip(range(answer.first, answer.head + 1), (event.id for event in each.events), strict=True))
    assert sorted(at.items()) == stored(connection)
    assert sorted(at) == list(range(1, len(at) + 1))
    times = connection.execute("SELECT recorded_at FROM event WHERE log = %s ORDER BY position", (LOG,)).fetchall()
    assert times == sorted(times)


def test_what_was_acknowledged_survives_connections_killed_at_random(
    make_writer: MakeWriter, owner: Connection[Any], connection: Connection[Any]
) -> None:
    writers = [make_writer() for _ in range(2)]
    until = time.monotonic() + 3
    kills = 0

    def kill() -> None:
        nonlocal kills
        while time.monotonic() < until:  # Not longer, else a slow machine never gets a word in.
            time.sleep(random.uniform(0.001, 0.03))
            kills += owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'hub %%' AND pid <> ALL (%s)"
                " ORDER BY random() LIMIT 1",
                ([owner.info.backend_pid, connection.info.backend_pid],),
            ).rowcount

    killer = threading.Thread(target=kill)
    killer.start()
    appends: list[Append] = []
    try:
        while time.monotonic() < until:
            before = appends[-1:]
            appends.append(
                append(
                    prepared("x"),
                    prepared("x"),
                    items=[item("never")],
                    after=0,
                    receipts=[receipt(str(len(appends)).encode(), 2)],
                )
            )
            writers[len(appends) % 2].submit(appends[-1])
            if before and random.random() < 0.5:
                before[0].done.result()
    finally:
        killer.join()
    answers = outcomes(appends)
    assert kills > 10
    assert not [answer for answer in answers if answer is Conflict]
    in_log = dict(stored(connection))
    for each, answer in zip(appends, answers, strict=True):
        if isinstance(answer, Appended):
            assert in_log[answer.first] == each.events[0].id
            assert in_log[answer.head] == each.events[1].id
            assert each.placed == range(answer.first, answer.head + 1)
        else:
            assert each.placed is None
    assert sorted(in_log) == list(range(1, len(in_log) + 1))
    acknowledged = {
        event.id for each, a in zip(appends, answers, strict=True) if isinstance(a, Appended) for event in each.events
    }
    assert set(in_log.values()) == acknowledged
    assert connection.execute("SELECT count(*) FROM receipt").fetchone() == (len(acknowledged) // 2,)


def test_a_commit_whose_answer_was_lost_is_found_again(
    writer: Writer, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies between COMMIT and its acknowledgement."""
    writer.submit(append(prepared())).result()
    lost = append(prepared(), receipts=[receipt()])
    built = append(prepared(), predecessors=[lost])
    died: list[bool] = []

    def commit_then_die(self: Any) -> None:
        psycopg_commit(self)
        if not died:
            died.append(True)
            self.close()
            raise psycopg.OperationalError("the server closed the connection unexpectedly")

    psycopg_commit = Connection.commit
    monkeypatch.setattr(Connection, "commit", commit_then_die)
    assert writer.submit(lost).result().head == 2
    assert writer.submit(built).result().head == 3
    assert died
    assert lost.placed == range(2, 3)
    assert len(stored(connection)) == 3


def test_a_lock_held_for_long_is_waited_for(
    writer: Writer, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.submit(append(prepared())).result()
    assert writer._connection is not None
    writer._connection.execute("SET lock_timeout = '50ms'")
    writer._connection.commit()
    with connection.transaction():
        connection.execute("SELECT 1 FROM log WHERE id = %s FOR UPDATE", (LOG,))
        waiting = append(prepared())
        writer.submit(waiting)
        time.sleep(0.3)
        assert not waiting.done.done()
    assert waiting.done.result(10).head == 2
    monkeypatch.setattr(module, "RECONNECT_FOR", 0.2)
    with connection.transaction():
        connection.execute("SELECT 1 FROM log WHERE id = %s FOR UPDATE", (LOG,))
        given_up = append(prepared())
        writer.submit(given_up)
        assert isinstance(given_up.done.exception(10), Busy)
    assert given_up.placed is None
    assert writer.submit(append(prepared())).result(10).head == 3


def test_nobody_waits_for_the_database_as_long_again_as_who_waited_before(
    writer: Writer, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_FOR", 0.3)
    writer.submit(append(prepared())).result()
    assert writer._connection is not None
    writer._connection.execute("SET lock_timeout = '50ms'")
    writer._connection.commit()
    attempts: list[list[Append]] = []
    attempt = writer._attempt

    def counted(group: list[Append]) -> None:
        attempts.append(group)
        attempt(group)

    monkeypatch.setattr(writer, "_attempt", counted)
    with connection.transaction():
        connection.execute("SELECT 1 FROM log WHERE id = %s FOR UPDATE", (LOG,))
        assert isinstance(writer.submit(append(prepared())).exception(10), Busy)
        assert len(attempts) > 1
        attempts.clear()
        assert isinstance(writer.submit(append(prepared())).exception(10), Busy)
        assert len(attempts) == 1
    assert writer.submit(append(prepared())).result(10).head == 2


def test_closing_finishes_what_was_submitted_and_takes_nothing_more(make_writer: MakeWriter) -> None:
    writer = make_writer()
    appends = [append(prepared()) for _ in range(50)]
    for each in appends:
        writer.submit(each)
    writer.close()
    assert all(isinstance(answer, Appended) for answer in outcomes(appends))
    with pytest.raises(Busy):
        writer.submit(append(prepared()))


def test_what_writes_nothing_leaves_nothing_in_memory(writer: Writer) -> None:
    writer.submit(append(prepared("seat"))).result()
    for _ in range(20):
        refused = append(prepared(), items=[item("seat")], after=0)
        writer.submit(refused)
        assert isinstance(refused.done.exception(10), Conflict)
    assert len(writer._recent[LOG]._chunks) <= 2

"""The library's contract, tested by the library's own test case, and what several writers need besides."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.persistence import DCBInfrastructureFactory
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError, ProgrammingError
from eventsourcing.utils import Environment
from psycopg import Connection

from hub.log import recorder as module
from hub.log.recorder import LogRecorder
from tests.hub.log.conftest import MakeRecorder


class Contract(DCBRecorderTestCase):
    """The installed library's case, unchanged."""

    __test__ = False

    def runTest(self) -> None:  # noqa: N802 -- unittest's name
        """Asked for by unittest."""


def event(type: str = "happened", *tags: str, data: bytes = b"") -> DCBEvent:
    return DCBEvent(type=type, data=data, tags=list(tags))


def query(*items: tuple[list[str], list[str]]) -> DCBQuery:
    return DCBQuery([DCBQueryItem(types=types, tags=tags) for types, tags in items])


def positions(recorder: LogRecorder, wanted: DCBQuery | None = None, **how: Any) -> list[int]:
    return [each.position for each in recorder.read(wanted, **how)]


def test_appending_and_reading_is_as_the_library_demands(recorder: LogRecorder) -> None:
    Contract()._test_append_read(recorder)


def test_subscribing_is_as_the_library_demands(recorder: LogRecorder) -> None:
    Contract()._test_append_subscribe(recorder)


def test_subscribing_late_is_as_the_library_demands(recorder: LogRecorder) -> None:
    recorder.append([event("before", "tagX")])
    Contract()._test_append_subscribe(recorder, initial_position=1)


def test_small_pages_tell_the_same(recorder: LogRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    Contract()._test_append_read(recorder)


def test_an_application_of_the_library_finds_its_log(database_url: str) -> None:
    env = {"PERSISTENCE_MODULE": "hub.log.recorder", "HUB_DATABASE_URL": database_url}
    factory: Any = DCBInfrastructureFactory.construct(env)
    try:
        assert factory.dcb_recorder().append([event()]) == 1
    finally:
        factory.close()


@pytest.mark.parametrize("name", ["main", "Main", "READS"])
def test_no_application_gets_a_log_of_the_hubs_own(database_url: str, make_recorder: MakeRecorder, name: str) -> None:
    with pytest.raises(ProgrammingError, match="the hub's own"):
        make_recorder(name)
    env = {"PERSISTENCE_MODULE": "hub.log.recorder", "HUB_DATABASE_URL": database_url}
    with pytest.raises(ProgrammingError, match="the hub's own"):
        DCBInfrastructureFactory.construct(Environment(name, env))


def test_an_empty_append_is_a_mistake(recorder: LogRecorder) -> None:
    with pytest.raises(ProgrammingError):
        recorder.append([])


def test_each_log_has_positions_of_its_own(make_recorder: MakeRecorder) -> None:
    one, other = make_recorder("one"), make_recorder("other")
    assert [one.append([event()]), one.append([event()]), other.append([event()])] == [1, 2, 1]
    assert positions(other) == [1]


def test_the_callers_bytes_and_tags_come_back_as_they_were(recorder: LogRecorder) -> None:
    sent = event("order:Placed", "naïve", "a,b", '{"c"}', "", "NULL", data=bytes(range(256)))
    recorder.append([sent])
    assert [each.event for each in recorder.read()] == [sent]


@pytest.mark.parametrize("page", [1, 2, 500])
@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], [1, 2, 3, 4, 5]),
        ([([], [])], [1, 2, 3, 4, 5]),
        ([(["a"], []), ([], [])], [1, 2, 3, 4, 5]),
        ([(["a"], [])], [1, 3]),
        ([(["a", "b"], [])], [1, 2, 3, 4]),
        ([([], ["x"])], [1, 2, 4]),
        ([([], ["x", "y"])], [1, 4]),
        ([([], ["y", "x", "y"])], [1, 4]),
        ([(["b"], ["x"])], [2, 4]),
        ([(["a"], []), (["b"], ["y"]), ([], ["x"])], [1, 2, 3, 4]),
        ([(["never"], []), ([], ["nowhere"])], []),
        ([(["c"], [])], [5]),
    ],
)
def test_queries_of_any_shape(
    recorder: LogRecorder,
    monkeypatch: pytest.MonkeyPatch,
    items: list[tuple[list[str], list[str]]],
    expected: list[int],
    page: int,
) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    recorder.append([event("a", "x", "y"), event("b", "x", "x"), event("a")])
    recorder.append([event("b", "y", "x"), event("c")])
    wanted = query(*items)
    assert positions(recorder, wanted) == expected
    assert positions(recorder, wanted, after=2) == [each for each in expected if each > 2]
    assert positions(recorder, wanted, limit=2) == expected[:2]
    if expected:
        with pytest.raises(IntegrityError):
            recorder.append([event()], DCBAppendCondition(wanted, after=expected[-1] - 1))
    assert recorder.append([event("d")], DCBAppendCondition(wanted, after=5)) == 6


def test_the_head_of_a_limited_read_is_its_last_event(recorder: LogRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    recorder.append([event() for _ in range(9)])
    limited = recorder.read(after=1, limit=5)
    assert next(limited).position == 2
    assert limited.head == 6
    assert [each.position for each in limited] == [3, 4, 5, 6]
    assert recorder.read(after=9, limit=5).head is None


def test_a_read_ends_where_the_log_ended_when_it_began(recorder: LogRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    recorder.append([event() for _ in range(4)])
    response = recorder.read()
    recorder.append([event()])
    assert [each.position for each in response] == [1, 2, 3, 4]
    assert response.head == 4


def test_one_of_many_writers_claims_what_all_want(make_recorder: MakeRecorder) -> None:
    recorders = [make_recorder() for _ in range(3)]
    seats = [f"seat{n}" for n in range(20)]

    def claim_all(recorder: LogRecorder) -> int:
        won = 0
        for seat in seats:
            try:
                recorder.append([event("claimed", seat)], DCBAppendCondition(query((["claimed"], [seat]))))
                won += 1
            except IntegrityError:
                pass
        return won

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(claim_all, recorders * 2)) == len(seats)
    assert positions(recorders[0]) == list(range(1, len(seats) + 1))


def test_a_type_first_seen_elsewhere_counts_in_conditions(make_recorder: MakeRecorder) -> None:
    here, there = make_recorder(), make_recorder()
    condition = DCBAppendCondition(query((["new_type"], [])))
    here.append([event("old_type")], condition)
    there.append([event("new_type")])
    with pytest.raises(IntegrityError):
        here.append([event("old_type")], condition)


def test_subscribers_get_what_matches_once_and_in_order(make_recorder: MakeRecorder) -> None:
    writers = [make_recorder() for _ in range(2)]
    got: list[int] = []

    def follow() -> None:
        for each in subscription:
            got.append(each.position)
            if len(got) == 40:
                return

    with writers[0].subscribe(query(([], ["mine"]))) as subscription:
        follower = threading.Thread(target=follow)
        follower.start()
        with ThreadPoolExecutor(2) as threads:
            for writer in writers * 20:
                threads.submit(writer.append, [event("a", "mine"), event("b", "other")])
        follower.join(10)
    assert got == positions(writers[0], query(([], ["mine"])))


def test_a_subscription_survives_its_connection(recorder: LogRecorder, owner: Connection[Any]) -> None:
    recorder.append([event()])
    with recorder.subscribe() as subscription:
        assert next(subscription).position == 1
        for expected in (2, 3):
            killed = owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).rowcount
            assert killed >= 1
            recorder.append([event()])
            assert next(subscription).position == expected


def test_stop_ends_a_reader_that_waits(recorder: LogRecorder) -> None:
    subscription = recorder.subscribe()
    ended = threading.Event()

    def follow() -> None:
        assert list(subscription) == []
        ended.set()

    threading.Thread(target=follow).start()
    time.sleep(0.2)
    subscription.stop()
    assert ended.wait(30)
    subscription.stop()
    assert list(subscription) == []

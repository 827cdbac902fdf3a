"""An application of the library on the hub's log: it saves, reads, subscribes, projects, and is guarded."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError, ProgrammingError, Tracking
from eventsourcing.projection import DCBApplicationSubscription, ProjectionRunner
from psycopg import Connection

from hub.events import VOCABULARY
from hub.log.mark import Fault
from hub.log.positions import Positions
from hub.log.recorder import ViewRecorder
from hub.log.verify import Verification
from hub.wiring import Hub
from tests.hub.log.courses import MOST, Courses, Enrol, Enrolments, Full, Rolls, StudentEnrolled, TooMany

PAGE = Path(__file__).parents[3] / "docs" / "library.md"
Env = dict[str, str]


@pytest.fixture
def env(database_url: str) -> Env:
    return {
        "PERSISTENCE_MODULE": "hub.log.recorder",
        "MAPPER_TOPIC": "eventsourcing.dcb.msgpack:MessagePackMapper",
        "HUB_DATABASE_URL": database_url,
    }


@pytest.fixture
def app(env: Env) -> Iterator[Courses]:
    with Courses(env) as app:
        yield app


@pytest.fixture
def rolls(owner: Connection[Any]) -> None:
    """The view's own table."""
    owner.execute("CREATE SCHEMA courses; CREATE TABLE courses.roll (course text PRIMARY KEY, students int NOT NULL)")


def projected(env: Env) -> ProjectionRunner[Courses, Rolls]:
    return ProjectionRunner(application_class=Courses, projection_class=Enrolments, view_class=Rolls, env=env)


def enrol(app: Courses, student: str, course: str) -> bool:
    """Until it is decided: who was too late decides again."""
    while True:
        try:
            app.enrol(student, course)
        except IntegrityError:
            continue
        except (Full, TooMany):
            return False
        return True


def head(app: Courses) -> int:
    return app.recorder.read().head or 0


def faults(hub: Hub) -> list[Fault]:
    return [each for each in Verification(hub.questions.connection, VOCABULARY, hub.vault).run() if each]


def test_what_is_decided_is_saved_and_read(app: Courses) -> None:
    app.offer("logic", 1)
    app.offer("logic", 5)  # Offered already.
    app.enrol("ann", "logic")
    with pytest.raises(Full):
        app.enrol("bob", "logic")
    decisions = [each.decision for each in app.events.read()]
    assert [type(each).__name__ for each in decisions] == ["CourseOffered", "StudentEnrolled"]
    assert decisions[1] == StudentEnrolled("logic", "ann")


def test_writers_at_once_never_give_away_more_than_there_is(env: Env) -> None:
    with ExitStack() as stack:
        apps = [stack.enter_context(Courses(env)) for _ in range(2)]  # Each with connections of its own.
        courses = [f"c{n}" for n in range(MOST + 1)]
        for course in courses:
            apps[0].offer(course, 5)
        wishes = [(apps[n % 2], f"s{n}", course) for course in courses for n in range(7)]
        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(lambda wish: enrol(*wish), wishes))
        found = [each.decision for each in apps[0].events.read() if isinstance(each.decision, StudentEnrolled)]
        assert len(found) == sum(got) == len({(each.course, each.student) for each in found})
        for course in courses:
            assert sum(each.course == course for each in found) <= 5
        assert max(sum(each.student == f"s{n}" for each in found) for n in range(7)) <= MOST
        assert sum(got) >= 5 * MOST
        positions = [each.position for each in apps[0].recorder.read()]
        assert positions == list(range(1, len(positions) + 1))


def test_who_decided_on_what_is_no_longer_so_is_refused(env: Env, app: Courses) -> None:
    app.offer("logic", 1)
    with Courses(env) as other:
        late = other.repository.advance(Enrol("bob", "logic"))
        app.enrol("ann", "logic")
        late.execute()
        with pytest.raises(IntegrityError):
            other.repository.save(late)


def test_a_subscriber_in_a_thread_hears_everything_once_and_in_order(app: Courses) -> None:
    app.offer("logic", 100)
    heard: list[tuple[int, str]] = []
    with DCBApplicationSubscription(app) as subscription:

        def listen() -> None:
            for tagged, tracking in islice(subscription, 31):
                heard.append((tracking.notification_id, type(tagged.decision).__name__))

        listener = threading.Thread(target=listen)
        listener.start()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: enrol(app, f"s{n}", "logic"), range(30)))
        listener.join(60)
    assert heard == [(1, "CourseOffered"), *((n, "StudentEnrolled") for n in range(2, 32))]


@pytest.mark.usefixtures("rolls")
def test_a_projection_goes_on_where_it_was_without_loss_or_doubling(env: Env, app: Courses) -> None:
    app.offer("logic", 1000)
    for n in range(5):
        app.enrol(f"a{n}", "logic")
    with projected(env) as runner:
        runner.wait(head(app), timeout=60)
        assert runner.view.rolls() == {"logic": 5}
        app.enrol("b", "logic")
        runner.wait(head(app), timeout=60)
    assert runner.view.rolls() == {"logic": 6}
    app.enrol("while nobody looked", "logic")
    with projected(env) as again:
        again.wait(head(app), timeout=60)
        assert again.view.rolls() == {"logic": 7}
        assert again.view.max_tracking_id("Courses") == 8


@pytest.mark.usefixtures("rolls")
def test_a_projection_that_fails_leaves_neither_row_nor_position(
    env: Env, app: Courses, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.offer("logic", 1000)
    for n in range(6):
        app.enrol(f"a{n}", "logic")
    with monkeypatch.context() as failing:
        failing.setattr(Enrolments, "fails_at", 4)
        with pytest.raises(RuntimeError, match="fails"), projected(env) as runner:
            runner.run_forever(60)
    assert runner.view.max_tracking_id("Courses") == 3
    assert runner.view.rolls() == {"logic": 2}
    with projected(env) as again:
        again.wait(head(app), timeout=60)
        assert again.view.rolls() == {"logic": 6}


@pytest.mark.usefixtures("rolls")
def test_of_two_that_project_the_same_one_ends(env: Env, app: Courses) -> None:
    app.offer("logic", 1000)
    with projected(env) as first:
        first.wait(head(app), timeout=60)
        tracking = next(DCBApplicationSubscription(app))[1]
        with pytest.raises(IntegrityError, match="already"):
            first.view.count("logic", 1, tracking)
        assert first.view.rolls() == {}


@pytest.mark.usefixtures("rolls")
def test_a_view_outlives_its_connection(env: Env, app: Courses, owner: Connection[Any]) -> None:
    app.offer("logic", 1000)
    with projected(env) as runner:
        runner.wait(head(app), timeout=60)
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(psycopg.OperationalError):
            runner.view.rolls()
        assert runner.view.rolls() == {}


@pytest.mark.parametrize("error", [RuntimeError, psycopg.errors.IdleInTransactionSessionTimeout])
def test_a_view_whose_connection_broke_on_the_way_gets_another(
    database_url: str, owner: Connection[Any], error: type[Exception]
) -> None:
    view = ViewRecorder(Positions(database_url, "one"))

    def fail() -> None:
        with view.transaction(Tracking("up", 1)) as connection:
            if error is RuntimeError:
                owner.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
                raise error
            connection.execute("SET idle_in_transaction_session_timeout = '50ms'")
            time.sleep(0.5)
            connection.execute("SELECT 1")

    with pytest.raises(error):
        fail()
    view.insert_tracking(Tracking("up", 1))
    assert view.max_tracking_id("up") == 1


def test_a_position_is_taken_once_and_never_behind_one_that_was(database_url: str) -> None:
    view, other = (ViewRecorder(Positions(database_url, name)) for name in ("one", "other"))
    for application, position in (("up", 21), ("up", 22), ("down", 21), ("up", 24)):
        view.insert_tracking(Tracking(application, position))
    for application, position in (("up", 21), ("up", 24), ("up", 23), ("down", 21)):
        with pytest.raises(IntegrityError, match=f"{application} {position} is in the view already"):
            view.insert_tracking(Tracking(application, position))
    assert [view.max_tracking_id(each) for each in ("up", "down", "nowhere")] == [24, 21, None]
    assert other.max_tracking_id("up") is None
    view.wait("up", 24)
    with pytest.raises(TimeoutError):
        view.wait("up", 25, timeout=0.1)


def test_aggregates_are_told_that_this_is_not_their_place(env: Env) -> None:
    with pytest.raises(ProgrammingError, match=r"eventsourcing\.dcb"):
        Application[Any]({**env, "MAPPER_TOPIC": ""})


def test_an_applications_log_is_guarded_and_verified_like_the_hubs(
    app: Courses, database_url: str, tmp_path: Path, connection: Connection[Any], owner: Connection[Any]
) -> None:
    app.offer("logic", 3)
    for student in ("ann", "bob"):
        app.enrol(student, "logic")
    with Hub(database_url, tmp_path) as hub:
        verification = Verification(hub.questions.connection, VOCABULARY, hub.vault)
        assert [each for each in verification.run() if each] == []
        assert verification.events == hub.head() + 3
        of_the_app = "log = (SELECT id FROM log WHERE name = 'courses') AND position = 2"
        for done in (
            "UPDATE event SET data = 'x' WHERE",
            "DELETE FROM event WHERE",
            "UPDATE tag SET position = 9 WHERE",
        ):
            with pytest.raises(psycopg.Error):
                connection.execute(f"{done} {of_the_app}".encode())
        assert faults(hub) == []
        owner.execute("ALTER EVENT TRIGGER hub_ddl_command_end DISABLE; ALTER TABLE event DISABLE TRIGGER ALL")
        owner.execute(f"UPDATE event SET data = 'x' WHERE {of_the_app}".encode())
        assert Fault("leaf", "courses", 2) in faults(hub)


def test_the_page_shows_an_application_that_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len([line for line in shown.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(folder)
    exec(compile(shown, "library.md", "exec"), {"__name__": "__main__"})

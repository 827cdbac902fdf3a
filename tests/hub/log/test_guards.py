"""What nobody may do to the log: docs/append-only.md says it, line by line, and here each line is tried."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from shutil import copy
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection

from hub.database import connect
from hub.guards import guards
from hub.migrate import migrate
from hub.rebuild import Renewal, clear_leftovers
from hub.wiring import Hub
from projections.timeline import timeline
from tests.support.database import SharedServer
from tests.support.tally import until

PAGE = (Path(__file__).parents[3] / "docs" / "append-only.md").read_text(encoding="utf-8")
ROLES = ("hub_reader", "hub_writer", "hub_owner", "superuser")
TRIED = [
    (statement, outcomes.split(" | "))
    for statement, outcomes in re.findall(r"^\| `(.*)` \| ((?:\w+ \| ){3}\w+) \|$", PAGE, re.MULTILINE)
]
SUPERUSERS = re.findall(r"^\| `(.*)` \| `(.*)` \|$", PAGE.partition("## What a superuser still")[2], re.MULTILINE)


@pytest.fixture
def told(database_url: str, tmp_path: Path) -> None:
    with Hub.open(database_url, tmp_path) as hub:
        hub.do({"command": "register_source", "name": "shop", "title": "Лавка"})
        hub.do({"command": "identify_customer", "id": "1", "source": "shop", "key": "k", "facts": {"name": "Анна"}})
        hub.principals.make("operator", person="Анна")


@pytest.fixture
def superuser(owner: Connection[Any]) -> Iterator[Connection[Any]]:
    """In a transaction of its own that is taken back, since some of it concerns more than this database."""
    with owner.transaction(force_rollback=True):
        yield owner


def outcome(connection: Connection[Any], role: str, statements: str) -> str:
    """What refused it: a right that is missing, a trigger, or a guard. Everything is taken back."""
    warned = list[str | None]()
    connection.add_notice_handler(handler := lambda notice: warned.append(notice.sqlstate))
    try:
        with connection.transaction(force_rollback=True):
            if role != "superuser":
                connection.execute(f"SET LOCAL ROLE {role}".encode())
            connection.execute(statements.encode())
    except psycopg.errors.InsufficientPrivilege as refused:
        said = refused.diag.message_primary or ""
        return "guard" if "is guarded" in said else "trigger" if " is refused: " in said else "right"
    except psycopg.errors.UndefinedTable as missed:  # What was to be dropped is what the guards themselves need.
        return "guard" if "hub_guard." in str(missed) else str(missed)
    finally:
        connection.remove_notice_handler(handler)
    return "nothing" if {"01006", "01007"} & {*warned} else "done"  # Privilege not revoked, not granted.


def test_each_statement_is_refused_as_the_page_says(told: None, superuser: Connection[Any]) -> None:
    assert len(TRIED) > 60
    found = {statement: [outcome(superuser, role, statement) for role in ROLES] for statement, _ in TRIED}
    assert {each: found[each] for each, wanted in TRIED if found[each] != wanted} == {}
    assert guards(superuser).state == "whole"


@pytest.mark.parametrize(("done", "shown"), SUPERUSERS)
def test_what_a_superuser_did_shows(superuser: Connection[Any], done: str, shown: str) -> None:
    superuser.execute(done.encode())
    after = guards(superuser)
    assert after.state == "broken"
    assert shown in after.breaches


def test_a_changed_role_stands_in_nobodys_way_and_shows(superuser: Connection[Any]) -> None:
    superuser.execute("ALTER ROLE hub_writer BYPASSRLS")
    assert outcome(superuser, "superuser", "CREATE TEMP TABLE passing ()") == "done"
    assert outcome(superuser, "superuser", "ALTER TABLE event DISABLE TRIGGER ALL") == "guard"
    assert guards(superuser).breaches == ("hub_guard.guarded: role hub_writer",)


def test_a_pass_is_good_for_its_transaction_and_is_kept(told: None, owner: Connection[Any]) -> None:
    with owner.transaction():
        owner.execute("SELECT hub_guard.open('a repair')")
        owner.execute("ALTER TABLE event ADD CONSTRAINT more CHECK (type > 0)")
        owner.execute("SELECT hub_guard.close()")
        assert outcome(owner, "superuser", "ALTER TABLE event DROP CONSTRAINT more") == "guard"
    assert guards(owner).state == "whole"
    assert outcome(owner, "superuser", "ALTER TABLE event DROP CONSTRAINT more") == "guard"
    assert ("a repair", True) in owner.execute("SELECT what, ended FROM hub_guard.pass").fetchall()
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        owner.execute("SELECT hub_guard.close()")


def test_what_is_left_of_an_unended_pass_is_noticed(told: None, owner: Connection[Any]) -> None:
    with owner.transaction():
        owner.execute("SELECT hub_guard.open('a repair')")
        owner.execute("GRANT UPDATE ON event TO hub_writer")
    assert guards(owner).breaches == ("event: grants",)
    assert outcome(owner, "superuser", "CREATE TABLE public.another ()") == "guard"


def test_a_copied_database_is_guarded_as_its_template(told: None, owner: Connection[Any]) -> None:
    """Every test's database is a copy of a template: OIDs and event triggers came along."""
    assert guards(owner).state == "whole"
    assert owner.execute("SELECT count(*) FROM hub_guard.pass WHERE what LIKE '0%'").fetchone() != (0,)


def copied_migrations(folder: Path) -> list[Path]:
    """The hub's own migrations in another folder, where more may follow."""
    own = [Path(str(each)) for each in files("migrations").iterdir() if each.name.endswith(".sql")]
    return [Path(copy(each, folder)) for each in own]


def test_a_later_migration_may_alter_and_what_it_makes_is_guarded(
    empty_database_url: str, tmp_path: Path, owner_of_empty: Connection[Any]
) -> None:
    number = len(copied_migrations(tmp_path)) + 1
    assert migrate(empty_database_url, tmp_path) == number - 1
    (tmp_path / f"{number:04}_more.sql").write_text(
        "SET ROLE hub_owner; SET search_path = hub; ALTER TABLE event ADD COLUMN more text; CREATE TABLE kept (a int);"
        " CREATE TRIGGER no_truncate BEFORE TRUNCATE ON kept FOR EACH STATEMENT EXECUTE FUNCTION refuse();"
        " ALTER TABLE kept ENABLE ALWAYS TRIGGER no_truncate"
    )
    assert migrate(empty_database_url, tmp_path) == number
    assert guards(owner_of_empty).state == "whole"
    assert outcome(owner_of_empty, "hub_owner", "DROP TABLE hub.kept") == "guard"
    assert outcome(owner_of_empty, "hub_owner", "ALTER TABLE hub.event DROP COLUMN more") == "guard"


@pytest.fixture
def owner_of_empty(empty_database_url: str) -> Iterator[Connection[Any]]:
    with connect(empty_database_url, as_writer=False, autocommit=True) as opened:
        yield opened


@pytest.fixture
def login(postgres: SharedServer) -> Iterator[str]:
    """A login of this test's own that may nothing yet. Asked for before a database, it outlives it."""
    name = f"login_{uuid4().hex}"
    with connect(postgres.url, as_writer=False, autocommit=True) as server:
        server.execute(f"CREATE ROLE {name} LOGIN".encode())
        yield name
        server.execute(f"DROP ROLE {name}".encode())


def url_as(login: str, url: str) -> str:
    return re.sub("//[^@]*@", f"//{login}@", url)


def test_the_hub_runs_with_a_login_that_may_not_migrate(
    login: str, database_url: str, tmp_path: Path, owner: Connection[Any]
) -> None:
    owner.execute(f"GRANT hub_writer, hub_reader TO {login}".encode())
    with Hub.open(url_as(login, database_url), tmp_path) as hub:
        answer = hub.do({"command": "register_source", "name": "shop", "title": "Лавка"})
        hub.wait(answer["position"])
    with connect(url_as(login, database_url), as_writer=False, autocommit=True) as connection:
        for statement in ("SET ROLE hub_owner", "SELECT hub_guard.open('x')", "DROP TABLE hub.event"):
            assert outcome(connection, "hub_writer", statement) == "right"


def test_a_login_that_may_not_fold_leaves_it_to_one_that_may(
    login: str, database_url: str, tmp_path: Path, owner: Connection[Any]
) -> None:
    owner.execute(f"GRANT hub_writer, hub_reader TO {login}".encode())
    owner.execute("INSERT INTO read_model (name, version) VALUES ('timeline', 0)")
    owner.execute("INSERT INTO hub_rebuild.read_model (name, version) VALUES ('left_by_the_dead', 1)")
    owner.execute("UPDATE hub_rebuild.read_model SET updated_at = now() - interval '9 days'")
    with Hub.open(url_as(login, database_url), tmp_path) as hub:
        renewal = Renewal(lambda: connect(hub.url), hub.reader, [timeline], 100)
        until(lambda: "hub-renewal" not in {each.name for each in threading.enumerate()})
        renewal.close()
        assert [each.state for each in hub.verify([timeline])] == ["refused"]
        assert clear_leftovers(lambda: connect(hub.url)) == 0
    with Hub.open(database_url, tmp_path, follow=False) as hub:
        assert hub.rebuild(timeline).state == "live"
        assert clear_leftovers(lambda: connect(hub.url)) == 1


def test_a_migrator_need_be_no_superuser(login: str, database_url: str, tmp_path: Path, owner: Connection[Any]) -> None:
    owner.execute(f"GRANT hub_migrator TO {login}".encode())
    number = len(copied_migrations(tmp_path)) + 1
    (tmp_path / f"{number:04}_more.sql").write_text("SET ROLE hub_owner; ALTER TABLE hub.event ADD COLUMN more text")
    assert migrate(url_as(login, database_url), tmp_path) == number
    assert guards(owner).state == "whole"


def test_without_a_superuser_there_are_no_event_triggers_and_the_guards_say_so(
    login: str, empty_database_url: str, owner_of_empty: Connection[Any]
) -> None:
    granted = "hub_owner, hub_writer, hub_reader, hub_migrator"
    owner_of_empty.execute(f"GRANT {granted} TO {login} WITH ADMIN OPTION".encode())
    owner_of_empty.execute(f"ALTER DATABASE {owner_of_empty.info.dbname} OWNER TO {login}".encode())
    migrate(url_as(login, empty_database_url))
    with connect(url_as(login, empty_database_url), as_writer=False, autocommit=True) as connection:
        assert guards(connection).state == "without_event_triggers"
        connection.execute("SET ROLE hub_owner")
        connection.execute("ALTER TABLE hub.event DISABLE TRIGGER append_only")
        assert guards(connection).breaches == ("event: trigger append_only",)

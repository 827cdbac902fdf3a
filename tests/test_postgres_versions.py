"""The hub speaks SQL that every PostgreSQL from 15 on understands: tried on whatever is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.binaries import OLDEST
from hub.database import connect
from hub.embedded import EmbeddedPostgres
from hub.guards import guards
from hub.migrate import migrate, version

INSTALLED = sorted(path for path in Path("/usr/lib/postgresql").glob("*/bin") if int(path.parent.name) >= OLDEST)


@pytest.mark.parametrize("programs", INSTALLED, ids=lambda path: path.parent.name)
def test_every_migration_applies(programs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PG_BIN", str(programs))
    server = EmbeddedPostgres(folder / "data", durable=False)
    url = server.start()
    try:
        assert server.cluster.version.split(".")[0] == programs.parent.name
        migrate(url)
        with connect(url) as connection:
            applied, available = version(connection)
            assert applied == available
    finally:
        server.stop()


@pytest.mark.parametrize("programs", [None, *INSTALLED], ids=lambda path: path.parent.name if path else "embedded")
def test_who_may_make_roles_need_be_no_superuser(
    programs: Path | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if programs:
        monkeypatch.setenv("HUB_PG_BIN", str(programs))
    server = EmbeddedPostgres(folder / "data", durable=False)
    url = server.start()
    try:
        with connect(url, as_writer=False, autocommit=True) as superuser:
            superuser.execute("CREATE ROLE app LOGIN CREATEROLE")
            superuser.execute("CREATE DATABASE apps OWNER app")
        url = url.replace("//hub@/hub?", "//app@/apps?")
        migrate(url)
        with connect(url) as connection:
            assert guards(connection).state == "without_event_triggers"
    finally:
        server.stop()

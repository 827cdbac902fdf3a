"""The hub speaks SQL that every PostgreSQL from 15 on understands: tried on whatever is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.binaries import OLDEST
from hub.database import connect
from hub.embedded import EmbeddedPostgres
from hub.migrate import migrate, version

INSTALLED = sorted(path for path in Path("/usr/lib/postgresql").glob("*/bin") if int(path.parent.name) >= OLDEST)


@pytest.mark.parametrize("programs", INSTALLED, ids=lambda path: path.parent.name)
def test_every_migration_applies(programs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PG_BIN", str(programs))
    server = EmbeddedPostgres(folder / "data", durable=False)
    url = server.start()
    try:
        assert server.version.split(".")[0] == programs.parent.name
        migrate(url)
        with connect(url) as connection:
            applied, available = version(connection)
            assert applied == available
    finally:
        server.stop()

"""The log as messages for one destination, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from psycopg import Connection

from adapters.api.evidence import contents
from adapters.outbound.destinations import Destination
from adapters.outbound.envelope import Message, let_out, message
from hub import Hub
from hub.database import load_queries
from hub.events.base import uuid_text
from hub.log.append import SQL as LOG_SQL

PAGE = 1_000  # Messages at most that are in memory, and under way, for a destination.
WINDOW = 20_000  # Positions looked through for a page, so that a rare type costs no walk through the whole log.

SQL = load_queries(__file__)


class Pages:
    """Reads with the connection of who sends. What was erased since, or whose key is damaged, is absent."""

    def __init__(self, hub: Hub, destination: Destination) -> None:
        self._reader, self._open = hub.reader, destination.open
        self._types = sorted(hub.types.numbers(destination.types)) if destination.types else None
        # Where seals are opened no more is read than goes out at once: what is erased meanwhile must not lie here.
        self._most = 1 if destination.open and destination.kind == "webhook" else PAGE
        self._source = f"/hub/{hub.installation.tenant}/main"

    def after(self, connection: Connection[Any], position: int) -> tuple[int, list[Message]]:
        """The next messages, and the position up to which there are no others."""
        log = self._reader.log
        head = connection.execute(LOG_SQL["head"], (log,), binary=True, prepare=True).fetchone()
        until = min(head[0] if head else 0, position + WINDOW)
        asked = {"log": log, "after": position, "until": until, "types": self._types, "limit": self._most}
        rows = connection.execute(SQL["page"], asked, binary=True, prepare=True).fetchall()
        return rows[-1][0] if len(rows) == self._most else max(until, position), self._messages(connection, rows)

    def at(self, connection: Connection[Any], position: int) -> Message:
        """The one that stands there."""
        rows = connection.execute(SQL["at"], (self._reader.log, position), binary=True).fetchall()
        return self._messages(connection, rows)[0]

    def _messages(self, connection: Connection[Any], rows: Sequence[Any]) -> list[Message]:
        name = self._reader.types.name
        to_open = [row for row in rows if name(row[2]) in self._open] if self._open else []
        found = contents(connection, self._reader, to_open) if to_open else {}
        made = []
        for position, id, number, recorded_at, data in rows:
            type, stored = name(number), orjson.loads(data)
            opened = [
                {"seal": seal["n"], "record": seal["record"], **out}
                for seal in (stored.get("seals", ()) if type in self._open else ())
                if (out := let_out(found.get((position, seal["n"]), {}), self._open[type]))
            ]
            made.append(message(self._source, position, uuid_text(id), type, recorded_at, stored, opened))
        return made

"""Whether the append-only tables are still guarded: what the catalogs say now, against what the last pass wrote down.

The guards themselves, and what counts as a difference, stand in migrations/0007_guards.sql; docs/append-only.md tells
what they refuse and what they cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from psycopg import Connection

from hub.database import load_queries

SQL = load_queries(__file__)


@dataclass(frozen=True)
class Guards:
    """How the guards are. Each of `breaches` is a table and what of it differs: `event: trigger append_only`.

    `without_event_triggers`: nothing differs, but who migrated was no superuser, and so DDL by the tables' owner is
    noticed here and not refused.
    """

    state: Literal["whole", "without_event_triggers", "broken"]
    breaches: tuple[str, ...] = ()


def guards(connection: Connection[Any]) -> Guards:
    """How the guards are now; some ten milliseconds of catalog reading."""
    breaches = tuple(each for (each,) in connection.execute(SQL["breaches"]))
    armed, switched_on = connection.execute(SQL["event_triggers"]).fetchone() or (False, True)
    if not switched_on:
        breaches = (*breaches, "setting event_triggers: off")
    if breaches:
        return Guards("broken", breaches)
    return Guards("whole" if armed else "without_event_triggers")

"""Imports to try: mappings, and one that is interrupted on its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.importer import import_file
from adapters.importer.report import Progress
from hub.wiring import Hub


def mapping(source: str, key: str, becomes: str, day: str = "%d.%m.%Y") -> str:
    """Rows of a source with its key and a day in Moscow, and the tables that say what they become."""
    return f"""
name = "{source}"
source = "{source}"
key = "{key}"
occurred_at = {{ column = "day", type = "time", format = "{day}", zone = "Europe/Moscow" }}
[register]
title = "{source.capitalize()}"
{becomes}"""


def till(day: str = "%d.%m.%Y", amount: str = "") -> str:
    """What a till sold to a customer on a day for a sum; `amount` says more of how that is written."""
    return mapping(
        "till",
        "customer",
        f"""[[touch]]
channel = {{ value = "shop" }}
kind = {{ value = "purchase" }}
data.amount = {{ column = "sum", type = "decimal"{amount} }}
""",
        day,
    )


def interrupt(hub: Hub, file: Path, by: Path, monkeypatch: pytest.MonkeyPatch, *, report: Path | None = None) -> None:
    """Import some 1,700 rows of it, no more."""

    def interrupted(self: Progress, rows: int, read: Callable[[], int]) -> None:
        if rows >= 1_700:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "show", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_file(hub, file, by, report=report, progress=True)

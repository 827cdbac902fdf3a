"""How far an import is, so that one that was killed goes on from there instead of from the start.

It lies in the database, beside the events it speaks of: one brought back from a backup knows no more rows than it has
events of. It is committed after them and without waiting for the disk, since losing it costs reading rows again and
changes nothing.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from adapters.importer.rows import FileError, Place
from adapters.importer.words import wrong_in
from hub.database import load_queries
from hub.texts import why

if TYPE_CHECKING:
    from hub.wiring import Hub

EVERY = 2_000  # Rows from one checkpoint to the next; half a second.
ENDS = 1 << 16  # Bytes at either end that tell files apart.

SQL = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All rows up to `row` are answered durably."""

    row: int
    place: Place
    counts: Mapping[str, int]  # Of the summary.
    reported: int  # Bytes of the report.
    seen: array[int]  # What tells rows apart, of every row since the checkpoint before; when read, of every row.


class Checkpoints:
    """Those of one import: this file as it is now, by this mapping. Where the file lies and its name do not matter."""

    def __init__(self, hub: Hub, file: Path, mapping: str) -> None:
        self.key = hub.fingerprints.of("import:row")
        self._pool = hub.pool
        self._import = hub.fingerprints.of("import:file", *_told_apart(file), mapping)
        self._last = 0

    def last(self) -> Checkpoint | None:
        """The newest; none where some on the way to it are missing."""
        with self._pool.connection() as connection:
            connection.execute(SQL["forget_abandoned"])
            saved = connection.execute(SQL["saved"], (self._import,)).fetchall()
        seen: array[int] = array("Q")
        for after, since, _, rows in saved:
            if since != self._last:  # Another process imported the same, and has finished meanwhile.
                self.forget()
                return None
            self._last = after
            seen.frombytes(rows)
        if not saved:
            return None
        state = saved[-1][2]
        return Checkpoint(self._last, Place(**state["place"]), state["counts"], state["reported"], seen)

    def save(self, reached: Checkpoint) -> None:
        state = {"place": asdict(reached.place), "counts": reached.counts, "reported": reached.reported}
        with self._pool.connection() as connection:
            connection.execute(SQL["without_waiting"])
            new = (self._import, reached.row, self._last, Jsonb(state), reached.seen.tobytes())
            connection.execute(SQL["save"], new)
        self._last = reached.row

    def forget(self) -> None:
        """The import has finished, or begins anew."""
        with self._pool.connection() as connection:
            connection.execute(SQL["forget"], (self._import,))
        self._last = 0


def _told_apart(file: Path) -> tuple[str, ...]:
    """What changes when a file does: its size, when it was written, its first and last bytes."""
    try:
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            ends = blake2b(opened.read(ENDS))
            opened.seek(max(found.st_size - ENDS, 0))
            ends.update(opened.read(ENDS))
    except OSError as error:
        raise FileError(wrong_in(file, why(error))) from None
    return str(found.st_size), str(found.st_mtime_ns), ends.hexdigest()

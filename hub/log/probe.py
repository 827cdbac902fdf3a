"""Conditions that reach back beyond what is in memory, asked of the tag index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from hub.database import load_queries

if TYPE_CHECKING:
    from hub.log.append import Append

SQL = load_queries(__file__)


def probe(connection: Connection[Any], log: int, appends: Sequence[Append]) -> list[frozenset[int]]:
    """Of each append the items that match what came after it and is not its predecessors'; asked of the index."""
    matched: list[set[int]] = [set() for _ in appends]
    together: dict[tuple[range, ...], list[int]] = {}  # All without predecessors are asked at once.
    for at, append in enumerate(appends):
        together.setdefault(tuple(each.placed for each in append.predecessors if each.placed), []).append(at)
    for own, places in together.items():
        spared = [each.start for each in own], [each.stop for each in own]
        tagged = [(at, n, item) for at in places for n, item in enumerate(appends[at].items) if item.tags]
        if tagged:
            rows = connection.execute(
                SQL["matched"],
                {
                    "log": log,
                    "tag": array(item.tags[0].hex() for _, _, item in tagged),
                    "others": array(_nested(tag.hex() for tag in item.tags[1:]) for _, _, item in tagged),
                    "types": array("NULL" if item.types is None else _nested(item.types) for _, _, item in tagged),
                    "after": array(appends[at].after or 0 for at, _, _ in tagged),
                    "from": spared[0],
                    "to": spared[1],
                },
                prepare=True,
            )
            for (i,) in rows:
                matched[tagged[i - 1][0]].add(tagged[i - 1][1])
        for at in places:
            for n, item in enumerate(appends[at].items):
                if not item.tags:
                    types = None if item.types is None else sorted(item.types)
                    asked = (log, appends[at].after or 0, types, types, *spared)
                    if connection.execute(SQL["matched_untagged"], asked).fetchone() == (True,):
                        matched[at].add(n)
    return [frozenset(each) for each in matched]


def array(elements: Iterable[object]) -> str:
    """An array as one text parameter, which costs far less to pass than a list."""
    return "{" + ",".join(map(str, elements)) + "}"


def _nested(elements: Iterable[object]) -> str:
    return f'"{array(elements)}"'

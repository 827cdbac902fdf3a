"""Which row this is, so that importing it again is the same command and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import orjson

from adapters.importer.rows import Row
from adapters.importer.values import Get


class Identity:
    """By the columns the mapping names; else by the row's whole content and its ordinal among identical rows.

    Counting identical rows takes some 70 bytes a row, so very large files better name the columns.
    """

    def __init__(self, name: str, ids: Sequence[Get]) -> None:
        self._name, self._ids = name, ids
        self._seen: set[int] = set()
        self._repeated: dict[int, int] = {}

    def of(self, source: str, row: Row) -> str | None:
        """The same text for the same row of the same source; None where the columns that tell it are empty."""
        if self._ids:
            parts = [get(row) for get in self._ids]
            if all(part is None for part in parts):
                return None
            return f"import:{self._name}:{_digest(source, parts).hex()}"
        digest = _digest(source, row)
        return f"import:{self._name}:{digest.hex()}{self._ordinal(int.from_bytes(digest[:8], 'little'))}"

    def _ordinal(self, content: int) -> str:
        if content not in self._seen:
            self._seen.add(content)
            return ""
        ordinal = self._repeated[content] = self._repeated.get(content, 0) + 1
        return f".{ordinal}"


def _digest(source: str, content: Row) -> bytes:
    text = orjson.dumps((source, content), option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=16).digest()

"""Which row this is, so that importing it again is the same command and changes nothing."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import orjson

from adapters.importer.rows import Row
from adapters.importer.values import Get


class Identity:
    """By the columns the mapping names; else by the row's whole content and its ordinal among identical rows.

    Counting identical rows takes some 70 bytes a row, so very large files better name the columns. What was counted
    outlives the process in checkpoints, under a key: nobody shall guess from them what a row says.
    """

    def __init__(self, name: str, ids: Sequence[Get], key: bytes) -> None:
        self._name, self._ids, self._key = name, ids, key
        self._seen: set[int] = set()
        self._repeated: dict[int, int] = {}
        self._recent = array("Q")

    def go_on(self, seen: Iterable[int]) -> None:
        """Count from what was seen before."""
        for content in seen:
            self._ordinal(content)
        self.recent()

    def recent(self) -> array[int]:
        """What was seen since this was asked last."""
        recent, self._recent = self._recent, array("Q")
        return recent

    def of(self, source: str, row: Row) -> str | None:
        """The same text for the same row of the same source; None where the columns that tell it are empty."""
        if self._ids:
            parts = [get(row) for get in self._ids]
            if all(part is None for part in parts):
                return None
            return f"import:{self._name}:{_digest(source, parts).hex()}"
        digest = _digest(source, row)
        return f"import:{self._name}:{digest.hex()}{self._ordinal(self._keyed(digest))}"

    def _keyed(self, digest: bytes) -> int:
        return int.from_bytes(blake2b(digest, digest_size=8, key=self._key).digest(), "little")

    def _ordinal(self, content: int) -> str:
        self._recent.append(content)
        if content not in self._seen:
            self._seen.add(content)
            return ""
        ordinal = self._repeated[content] = self._repeated.get(content, 0) + 1
        return f".{ordinal}"


def _digest(source: str, content: Row) -> bytes:
    text = orjson.dumps((source, content), option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=16).digest()

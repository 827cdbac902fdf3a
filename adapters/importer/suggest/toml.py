"""Writing TOML: a table of settings a person will read and change, with a comment behind what was guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Table:
    """A table's lines in order; its heading is "" at the top, `[file]` or `[[touch]]`."""

    heading: str = ""
    lines: list[str] = field(default_factory=list)

    def say(self, comment: str) -> None:
        self.lines.append(f"# {_line(comment)}")

    def set(self, key: str, value: Any, *comments: str) -> None:
        behind = "".join(f"  # {_line(' '.join(comments))}" if comments else "")
        self.lines.append(f"{_key(key)} = {written(value)}{behind}")

    def text(self) -> str:
        return "".join(f"{line}\n" for line in ([self.heading] if self.heading else []) + self.lines)


def written(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, too; only the DEL it leaves alone must not stand in TOML.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {written(each)}" for key, each in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value)


def _key(key: str) -> str:
    return key if all(map(_BARE.fullmatch, key.split("."))) else written(key)


def _line(comment: str) -> str:
    """What a file's columns are called may hold anything; a comment holds no control characters."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", comment)

"""What a verification finds, and how far it has come: kept between runs that have not enough time for all of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import orjson

NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not what was appended. `kind` is a code, see KINDS; `detail` holds ids and codes only."""

    kind: str
    log: str | None = None
    position: int | None = None
    detail: str = ""


KINDS = (
    "guard", "gap", "time", "type", "shape", "leaf", "seal_changed", "seal_missing", "seal_stray", "sealed_tag_stray",
    "key_damaged", "tag_stray", "tag_changed", "tag_missing", "tag_doubled",
)  # fmt: skip


@dataclass(slots=True)
class Mark:
    """How far a verification has come, and what it has found."""

    heads: dict[int, int] = field(default_factory=dict)  # Of each log, the last position verified.
    done: list[int] = field(default_factory=list)  # Logs whose events are through.
    record: str | None = NOBODY  # The last whose keys were verified; None when all are through.
    block: int = 0  # Of the tag table.
    blocks: int | None = None  # How many there were when the events were through.
    sums: dict[int, dict[int, int]] = field(default_factory=dict)  # By log and bucket; 0 when index and events agree.
    faults: dict[str, int] = field(default_factory=dict)  # By kind, of this pass so far.
    before: dict[str, int] = field(default_factory=dict)  # Of the last pass that came to its end.

    def text(self) -> str:
        """As JSON, in which a sum of 128 bits is its digits."""
        held = asdict(self)
        held["sums"] = {log: {k: str(v) for k, v in sums.items()} for log, sums in self.sums.items()}
        return orjson.dumps(held, option=orjson.OPT_NON_STR_KEYS).decode()

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Raises ValueError, KeyError, TypeError or AttributeError for what is no mark."""
        held = orjson.loads(text)
        sums = {int(log): {int(k): int(v) for k, v in of.items()} for log, of in held["sums"].items()}
        heads = {int(log): int(head) for log, head in held["heads"].items()}
        rest = {name: held[name] for name in ("done", "record", "block", "blocks")}
        return cls(heads=heads, sums=sums, faults=dict(held["faults"]), before=dict(held["before"]), **rest)

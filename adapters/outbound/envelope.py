"""An event as a CloudEvent 1.0 in structured JSON: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

The data is the event's clear body as it is stored, so that an event is the same message whenever it is sent: ids,
codes, numbers, times, and attributes declared clear. What seals hold is added only where a destination may have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from hub.events import Instant
from hub.view import shown

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_EXTENSIONS = {"origin": "source", "correlationid": "correlation", "causationid": "causation"}

Path = tuple[str, ...]  # Keys, from the outermost to the one that is opened with all that is below it.


class Message(NamedTuple):
    """What is sent."""

    position: int
    id: str
    type: str  # Without the prefix.
    data: bytes


def message(
    source: str,
    position: int,
    id: str,
    type: str,
    recorded_at: Instant,
    stored: Mapping[str, Any],
    opened: Sequence[Mapping[str, Any]] = (),
) -> Message:
    """`stored` is the event's JSON; `opened` what of its seals is let out.

    `time` is when it happened. `position` is text, since a CloudEvents integer ends at 2 147 483 647.
    """
    said: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": f"hub.{type}",
        "time": shown(Instant(stored["occurred_at"])),
        "datacontenttype": "application/json",
        "position": str(position),
        "recordedat": shown(recorded_at),
        "schemaversion": stored["schema"],
    }
    body = stored["body"]
    if isinstance(record := body.get("record"), str):
        said["subject"] = record
    said |= {name: stored[field] for name, field in _EXTENSIONS.items() if stored.get(field)}
    said["data"] = {**body, "opened": list(opened)} if opened else body
    return Message(position, id, type, orjson.dumps(said))


def let_out(content: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """Of what a seal holds, what lies at one of these paths."""
    found: dict[str, Any] = {}
    for path in paths:
        _copy(content, found, path)
    return found


def _copy(here: Mapping[str, Any], there: dict[str, Any], path: Path) -> None:
    name, *rest = path
    if name not in here:
        return
    if not rest:
        there[name] = here[name]
    elif isinstance(below := here[name], Mapping):
        inner: dict[str, Any] = dict(there.get(name, {}))
        _copy(below, inner, tuple(rest))
        if inner:
            there[name] = inner

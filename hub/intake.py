"""Intake: from the bytes or the dict somebody sent to a command that may be decided, or to every flaw it has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from hub import clock
from hub.decider import Decider, Known, Principal
from hub.errors import Flaw, Forbidden, Invalid
from hub.events import Instant, RecordId
from hub.keys import Fingerprints
from hub.settings import USUAL, Periods
from hub.slice import Asked

EARLIEST = clock.instant(datetime(1000, 1, 1, tzinfo=UTC))  # Before it, nothing was ever written down.

# pydantic's error types in the words of the contract; of the others those of types are "wrong_type", else "invalid".
_REASONS = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "json_invalid": "not_json",
    "model_type": "not_an_object",
    "literal_error": "not_one_of_the_allowed",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_many",
    "too_short": "too_few",
    "string_pattern_mismatch": "wrong_form",
    "greater_than_equal": "too_small",
    "less_than": "too_large",
    "less_than_equal": "too_large",
    "int_parsing_size": "too_large",
    "timezone_aware": "offset_missing",
    "not_a_time": "not_a_time",
    "datetime_parsing": "not_a_time",
    "datetime_from_date_parsing": "not_a_time",
}
_NAME = re.compile(r"[a-z0-9_.-]{1,40}")
# pydantic names the branch of a union it tried; callers do not know our types.
_BRANCH = re.compile(r"str|int|float|bool|Stated|EndPoint|constrained-\w+|\[key\]|[\w-]+\[.+\]")
_HALF = re.compile("[\ud800-\udfff]")  # Half of a character, which no text may hold.


class Intake:
    """Checks commands. What it lets through has the right shape, an allowed time, and a principal who may ask."""

    def __init__(
        self,
        capabilities: Iterable[Decider[Any, Any]],
        fingerprints: Fingerprints,
        house: RecordId,
        region: str,
        now: Callable[[], Instant] = clock.now,
        periods: Periods = USUAL,
    ) -> None:
        self._deciders = {each.name: each for each in capabilities}
        self._fingerprints, self._house, self._region, self._now = fingerprints, house, region, now
        self._periods = periods

    def accept(self, principal: Principal, sent: bytes | Mapping[str, Any]) -> Asked:
        """Raises Invalid with every flaw, or Forbidden."""
        try:
            parsed = orjson.loads(sent) if isinstance(sent, bytes) else sent
            canonical = orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS)
        except (ValueError, TypeError):
            raise not_json(sent) from None
        if isinstance(sent, bytes):
            check_names(sent, canonical)
        if not isinstance(parsed, Mapping):
            raise Invalid(Flaw("", "not_an_object"))
        name = parsed.get("command")
        decider = self._deciders.get(name) if isinstance(name, str) else None
        if decider is None:
            raise Invalid(Flaw("command", "unknown_command" if "command" in parsed else "missing"))
        if b"\\u0000" in canonical and (flaws := list(strange_characters(parsed))):
            raise Invalid(*flaws)
        try:
            command = decider.command.__pydantic_validator__.validate_json(canonical)  # model_validate_json, bare
        except ValidationError as error:
            raise Invalid(*flaws_of(error.errors(include_url=False, include_input=False))) from None
        now = self._now()
        occurred_at = now if command.occurred_at is None else clock.instant(command.occurred_at)
        if occurred_at > now + clock.FUTURE_ALLOWED:
            raise Invalid(Flaw("occurred_at", "in_the_future"))
        if occurred_at < EARLIEST:
            raise Invalid(Flaw("occurred_at", "too_early"))
        if principal.role not in decider.command.roles:
            raise Forbidden
        if principal.source is not None and getattr(command, "source", None) not in (None, principal.source):
            raise Forbidden
        known = Known(now, occurred_at, principal, self._fingerprints.of, self._region, self._house, self._periods)
        id = command.id or clock.fresh_id().hex()
        receipt = self._fingerprints.receipt
        request = receipt(principal.raw_id + id.encode())
        return Asked(principal, decider, command, id, request, receipt(canonical), known, command.id is not None)


def flaws_of(errors: Iterable[Any], skip: int = 0) -> list[Flaw]:
    """pydantic's errors in our words, each place once, the innermost only; without the first `skip` parts of the place.

    Names that are none of ours, and of no form that a name has, are not repeated.
    """
    found: dict[tuple[str, ...], str] = {}
    for each in errors:
        path = tuple(
            text if _NAME.fullmatch(text := str(part)) else "*"
            for n, part in enumerate(each["loc"][skip:])
            if n == 0 or isinstance(part, int) or not _BRANCH.fullmatch(part)
        )
        kind = str(each["type"])
        if kind == "value_error":  # Our own validators raise ValueError with a code.
            reason = str(each["msg"]).removeprefix("Value error, ")
        else:
            reason = _REASONS.get(kind, "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid")
        found.setdefault(path, reason)
    around = {path[:n] for path in found for n in range(1, len(path))}
    return [Flaw(".".join(path), reason) for path, reason in found.items() if path not in around]


def not_json(sent: object) -> Invalid:
    """What is wrong with what orjson refuses: halves of characters, where they are; else that it is no JSON."""
    try:
        flaws = list(strange_characters(json.loads(sent) if isinstance(sent, bytes) else sent))
    except (ValueError, RecursionError):
        flaws = []
    return Invalid(*(flaws or [Flaw("", "not_json")]))


def check_names(sent: bytes, canonical: bytes) -> None:
    """Raises Invalid where an object says a name twice, of which parsers keep the last.

    Without escapes every colon of the one stands in the other, but those of what was left out.
    """
    if b"\\" in sent or sent.count(b":") != canonical.count(b":"):
        parsed = json.loads(sent, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
        if flaws := list(_said_twice(parsed)):
            raise Invalid(*flaws)


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written."""


def _said_twice(value: object, path: str = "") -> Iterator[Flaw]:
    if isinstance(value, _Pairs):
        said = set()
        for name, each in value:
            within = _within(path, name)
            if name in said:
                yield Flaw(within, "said_twice")
            said.add(name)
            yield from _said_twice(each, within)
    elif isinstance(value, list):
        for n, each in enumerate(value):
            yield from _said_twice(each, _within(path, str(n)))


def _within(path: str, name: object) -> str:
    shown = name if isinstance(name, str) and _NAME.fullmatch(name) else "*"
    return f"{path}.{shown}" if path else shown


def strange_characters(value: object, path: str = "") -> Iterator[Flaw]:
    """Where a text, or a name, holds what no text may."""
    if isinstance(value, str):
        if "\0" in value:
            yield Flaw(path, "nul_character")
        if _HALF.search(value):
            yield Flaw(path, "lone_surrogate")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from strange_characters(name, path)
            yield from strange_characters(each, _within(path, name))
    elif isinstance(value, list | tuple):
        for n, each in enumerate(value):
            yield from strange_characters(each, _within(path, str(n)))

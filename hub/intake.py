"""Intake: from the bytes or the dict somebody sent to a command that may be decided, or to every flaw it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from hub import clock
from hub.decider import Decider, Known, Principal
from hub.desk import Asked
from hub.errors import Flaw, Forbidden, Invalid
from hub.events import Instant, RecordId
from hub.keys import Fingerprints

FUTURE_ALLOWED = 5 * 60 * 1_000_000  # Microseconds; clocks of channels are not ours.
EARLIEST = clock.instant(datetime(1000, 1, 1, tzinfo=UTC))  # Before it, nothing was ever written down.

# pydantic's error types in the words of the contract; anything else is "invalid".
_REASONS = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "value_error": "invalid",
    "literal_error": "not_one_of_the_allowed",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_many",
    "too_short": "too_few",
    "string_pattern_mismatch": "wrong_form",
    "greater_than_equal": "too_small",
    "less_than_equal": "too_large",
    "timezone_aware": "offset_missing",
}


class Intake:
    """Checks commands. What it lets through has the right shape, an allowed time, and a principal who may ask."""

    def __init__(
        self,
        capabilities: Iterable[Decider[Any, Any]],
        fingerprints: Fingerprints,
        house: RecordId,
        region: str,
        now: Callable[[], Instant] = clock.now,
    ) -> None:
        self._deciders = {_name(each): each for each in capabilities}
        self._fingerprints, self._house, self._region, self._now = fingerprints, house, region, now

    def accept(self, principal: Principal, sent: bytes | Mapping[str, Any]) -> Asked:
        """Raises Invalid with every flaw, or Forbidden."""
        try:
            parsed = orjson.loads(sent) if isinstance(sent, bytes) else sent
            canonical = orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS)
        except (ValueError, TypeError):  # Not JSON, not UTF-8, a lone surrogate, or deeper than any command.
            raise Invalid(Flaw("", "not_json")) from None
        if not isinstance(parsed, Mapping):
            raise Invalid(Flaw("", "not_an_object"))
        name = parsed.get("command")
        decider = self._deciders.get(name) if isinstance(name, str) else None
        if decider is None:
            raise Invalid(Flaw("command", "unknown_command" if "command" in parsed else "missing"))
        if b"\\u0000" in canonical and (nul := [Flaw(path, "nul_character") for path in _with_nul(parsed)]):
            raise Invalid(*nul)
        try:
            command = decider.command.model_validate_json(canonical)
        except ValidationError as error:
            raise Invalid(*_flaws(error)) from None
        now = self._now()
        occurred_at = now if command.occurred_at is None else clock.instant(command.occurred_at)
        if occurred_at > now + FUTURE_ALLOWED:
            raise Invalid(Flaw("occurred_at", "in_the_future"))
        if occurred_at < EARLIEST:
            raise Invalid(Flaw("occurred_at", "too_early"))
        if principal.role not in decider.command.roles:
            raise Forbidden
        if principal.source is not None and getattr(command, "source", None) not in (None, principal.source):
            raise Forbidden
        known = Known(now, occurred_at, principal, self._fingerprints.of, self._region, self._house)
        id = command.id or clock.fresh_id().hex()
        receipt = self._fingerprints.receipt
        request = receipt(principal.raw_id + id.encode())
        return Asked(principal, decider, command, id, request, receipt(canonical), known, command.id is not None)


def _name(decider: Decider[Any, Any]) -> str:
    (name,) = decider.command.model_fields["command"].annotation.__args__
    assert isinstance(name, str)
    return name


def _flaws(error: ValidationError) -> Iterable[Flaw]:
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(part) for part in each["loc"] if not _is_branch(part))
        kind = each["type"]
        if kind == "value_error":  # Our own validators raise ValueError with a code or a short rule.
            yield Flaw(path, each["msg"].removeprefix("Value error, "))
        else:
            yield Flaw(path, _REASONS.get(kind, "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid"))


def _is_branch(part: int | str) -> bool:
    """pydantic names the branch of a union it tried; callers do not know our types."""
    return isinstance(part, str) and (
        "[" in part or part in ("str", "int", "float", "bool", "Stated", "constrained-str")
    )


def _with_nul(value: Any, path: str = "") -> Iterable[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if "\0" in name:
                yield path
            yield from _with_nul(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for n, each in enumerate(value):
            yield from _with_nul(each, f"{path}.{n}")

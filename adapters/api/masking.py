"""What an analyst sees of a card: everything that is no personal value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.attributes import CLEAR

_KEPT = ("customer", "party", "records", "touches", "consents", "contact", "position")


def masked(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card with null in place of every sealed value."""
    return {
        **{name: card[name] for name in _KEPT if name in card},
        "facts": {name: fact if name in CLEAR else _without_value(fact) for name, fact in card["facts"].items()},
        "identifiers": [{**each, "value": None} for each in card["identifiers"]],
        "links": [],
    }


def _without_value(fact: Mapping[str, Any]) -> dict[str, Any]:
    runner_up = fact.get("runner_up")
    return {**fact, "value": None, "runner_up": {**runner_up, "value": None} if runner_up else None}

"""A message that no touch could be made of is set aside, as it came."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from commands.quarantine_touch import QuarantineTouch, quarantine_touch
from hub.decider import Secret
from hub.errors import Invalid
from hub.events import TouchQuarantined
from tests.commands.stories import the_shop_speaks
from tests.support.scenario import HOUSE, Scenario

scenario = Scenario(quarantine_touch).given(the_shop_speaks).asked_by("channel", "shop")


def message(told: Any, **more: Any) -> dict[str, Any]:
    return {"command": "quarantine_touch", "path": "userId", "reason": "missing", "message": told, **more}


@pytest.mark.parametrize("told", [{"event": "Просмотр", "touch": {"key": "7"}}, ["a"], "a", 5, False])
def test_whatever_came_is_sealed_under_the_house(told: Any) -> None:
    (draft,) = scenario.when(message(told)).then(TouchQuarantined)
    assert isinstance(draft.event, TouchQuarantined)
    assert (draft.event.path, draft.event.reason) == ("userId", "missing")
    assert draft.secrets == (Secret(HOUSE, {"message": told}),)


def test_its_source_speaks() -> None:
    nobody = Scenario(quarantine_touch).asked_by("channel", "shop")
    assert str(nobody.when(message({})).rejected(Invalid)) == "source: not_registered"
    assert str(Scenario(quarantine_touch).when(message({})).rejected(Invalid)) == "source: missing"


@pytest.mark.parametrize("path", ["", "user id", "anna@example.org", "8-916-123-45-67", "a" * 65, "имя"])
def test_where_it_failed_stands_in_clear_and_holds_nothing_personal(path: str) -> None:
    with pytest.raises(ValidationError, match="not_a_code"):
        QuarantineTouch.model_validate(message({}, path=path))
    with pytest.raises(ValidationError, match="not_a_code"):
        QuarantineTouch.model_validate(message({}, reason=path))

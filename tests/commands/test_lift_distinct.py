"""That two are distinct no longer stands."""

from __future__ import annotations

from typing import Any

from commands.lift_distinct import lift_distinct
from hub.decider import Secret
from hub.errors import Unknown
from hub.events import DistinctLifted
from tests.commands.stories import ANN, BOB, ann_opened, bob_opened, that_was_lifted, they_were_parted
from tests.support.scenario import Scenario

scenario = Scenario(lift_distinct).given(ann_opened, bob_opened)


def lifting(*customers: str, **fields: Any) -> dict[str, Any]:
    return {"command": "lift_distinct", "customers": customers, **fields}


def test_what_was_declared_is_lifted() -> None:
    (draft,) = scenario.given(they_were_parted).when(lifting(ANN, BOB, reason="всё-таки он")).then(that_was_lifted)
    assert draft.secrets == (Secret(ANN, {"reason": "всё-таки он"}),)
    scenario.given(they_were_parted).when(lifting(BOB, ANN)).then(DistinctLifted)


def test_what_was_never_declared_needs_no_lifting() -> None:
    scenario.when(lifting(ANN, BOB)).nothing_happened()


def test_what_was_lifted_is_not_lifted_again() -> None:
    scenario.given(they_were_parted, that_was_lifted).when(lifting(ANN, BOB)).nothing_happened()


def test_strangers_are_refused() -> None:
    Scenario(lift_distinct).given(ann_opened).when(lifting(ANN, BOB)).rejected(Unknown)

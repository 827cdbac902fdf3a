"""An end point no longer leads to somebody."""

from __future__ import annotations

from typing import Any

from commands.release_identifier import release_identifier
from hub.decider import Secret
from hub.errors import Invalid, Unknown
from hub.events import IdentifierReleased
from tests.commands.stories import (
    ANN,
    BOB,
    ann_and_bob_were_merged,
    ann_opened,
    holds,
    let_go,
    the_shop_speaks,
)
from tests.support.scenario import Scenario, at

PHONE = "+79161234567"
scenario = Scenario(release_identifier).given(ann_opened)


def releasing(value: str = "8 916 123 45 67", **fields: Any) -> dict[str, Any]:
    return {"command": "release_identifier", "identifier": {"kind": "phone", "value": value}, **fields}


def test_an_identifier_is_let_go_however_it_is_written() -> None:
    (draft,) = (
        scenario.given(holds(ANN, "phone", PHONE))
        .when(releasing(record=ANN, reason="сменила"))
        .then(let_go(ANN, "phone", PHONE))
    )
    assert draft.secrets == (Secret(ANN, {"reason": "сменила"}),)


def test_it_is_let_go_from_the_instant_given() -> None:
    until = "2026-03-01T08:00:00Z"
    scenario.given(holds(ANN, "phone", PHONE)).when(releasing(record=ANN, until=until)).then(
        lambda event: isinstance(event, IdentifierReleased) and event.until == at(60)
    )


def test_of_a_customer_it_is_let_go_everywhere() -> None:
    given = scenario.given(ann_and_bob_were_merged, holds(ANN, "phone", PHONE), holds(BOB, "phone", PHONE))
    given.when(releasing(customer=ANN)).then(let_go(ANN, "phone", PHONE), let_go(BOB, "phone", PHONE))


def test_what_is_not_held_is_not_let_go() -> None:
    scenario.given(holds(ANN, "phone", "+79160000000")).when(releasing(record=ANN)).nothing_happened()
    released = scenario.given(holds(ANN, "phone", PHONE), let_go(ANN, "phone", PHONE))
    released.when(releasing(record=ANN)).nothing_happened()


def test_what_is_no_phone_is_a_mistake() -> None:
    error = Scenario(release_identifier).when(releasing("12", record=ANN)).rejected(Invalid)
    assert str(error) == "identifier.value: not_a_phone"


def test_a_key_never_met_is_unknown() -> None:
    Scenario(release_identifier).given(the_shop_speaks).when(releasing(source="shop", key="nobody")).rejected(Unknown)

"""What was stated no longer stands."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from commands.retract_fact import RetractFact, retract_fact
from hub.decider import Secret
from hub.errors import Unknown
from hub.events import FactRetracted
from tests.commands.stories import ANN, BOB, ann_and_bob_were_merged, ann_opened, stated, the_shop_speaks
from tests.support.scenario import Happened, Scenario, at

scenario = Scenario(retract_fact).given(ann_opened)
anns = FactRetracted(record=ANN, attribute="name")


def retracting(**fields: Any) -> dict[str, Any]:
    return {"command": "retract_fact", "attribute": "name", **fields}


def test_a_fact_of_a_record_is_retracted() -> None:
    (draft,) = scenario.given(stated(ANN, name="Анна")).when(retracting(record=ANN, reason="опечатка")).then(anns)
    assert draft.secrets == (Secret(ANN, {"reason": "опечатка"}),)


def test_of_a_customer_it_is_retracted_wherever_it_was_stated() -> None:
    given = scenario.given(ann_and_bob_were_merged, stated(ANN, name="Анна"), stated(BOB, name="Аня"))
    given.when(retracting(customer=ANN)).then(anns, FactRetracted(record=BOB, attribute="name"))


def test_of_a_record_only_its_own_is() -> None:
    given = scenario.given(ann_and_bob_were_merged, stated(ANN, name="Анна"))
    given.when(retracting(record=ANN)).then(anns)


def test_what_nobody_stated_is_not_retracted() -> None:
    scenario.when(retracting(record=ANN)).nothing_happened()


def test_what_is_retracted_already_is_not_retracted_again() -> None:
    scenario.given(stated(ANN, name="Анна"), anns).when(retracting(record=ANN)).nothing_happened()


def test_what_was_stated_since_is_retracted_anew() -> None:
    early = Happened(stated(ANN, name="Анна"), at(-9))
    scenario.given(early, anns, Happened(stated(ANN, name="Аня"), at(1))).when(retracting(record=ANN)).then(anns)


def test_a_source_names_the_record_by_its_key() -> None:
    scenario.given(the_shop_speaks, stated(ANN, name="Анна")).when(retracting(source="shop", key="ann")).then(anns)


def test_a_key_never_met_is_unknown() -> None:
    Scenario(retract_fact).given(the_shop_speaks).when(retracting(source="shop", key="nobody")).rejected(Unknown)


@pytest.mark.parametrize(
    "fields", [{}, {"record": ANN, "customer": ANN}, {"record": ANN, "key": "ann", "source": "shop"}]
)
def test_one_thing_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RetractFact(command="retract_fact", attribute="name", **fields)

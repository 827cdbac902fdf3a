"""A source may speak from now on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from commands.register_source import RegisterSource, register_source
from hub.decider import Draft, Secret
from hub.events import SourceRegistered
from tests.support.scenario import HOUSE, Scenario

scenario = Scenario(register_source)
the_shop = RegisterSource(command="register_source", name="shop", title="Лавка", trust=0.7, logins=("login", "card"))
registered = SourceRegistered(source="shop", trust="0.7", logins=("card", "login"))
was_registered = Draft(registered, (Secret(HOUSE, {"title": "Лавка"}),))


def test_a_source_is_registered_and_its_title_sealed() -> None:
    (draft,) = scenario.when(the_shop).then(registered)
    assert draft.secrets == (Secret(HOUSE, {"title": "Лавка"}),)


def test_the_same_again_changes_nothing() -> None:
    scenario.given(was_registered).when(the_shop).nothing_happened()


@pytest.mark.parametrize("change", [{"title": "Склад"}, {"trust": 0.5}, {"party": "organisation"}, {"title": None}])
def test_other_words_are_said(change: dict[str, object]) -> None:
    scenario.given(was_registered).when(the_shop.model_copy(update=change)).then(SourceRegistered)


@pytest.mark.parametrize(("trust", "written"), [(0, "0"), (1, "1"), (0.1 + 0.2, "0.30000000000000004"), (1e-7, "1E-7")])
def test_trust_is_kept_as_a_decimal(trust: float, written: str) -> None:
    asked = RegisterSource(command="register_source", name="shop", trust=trust)
    scenario.when(asked).then(SourceRegistered(source="shop", trust=written))


@pytest.mark.parametrize("name", ["Shop", "+79161234567", "79161234567", "a b", "", "я", "a" * 65])
def test_a_name_is_a_code_and_no_phone(name: str) -> None:
    with pytest.raises(ValidationError):
        RegisterSource(command="register_source", name=name)

"""What nobody repaired in time is let go."""

from __future__ import annotations

from typing import Any

from commands.expire_quarantined import expire_quarantined
from hub.decider import Draft, Secret
from hub.errors import Unknown
from hub.events import FactsStated, Quarantined, QuarantineExpired, TouchQuarantined, ValueRepaired
from tests.commands.stories import ANN
from tests.support.scenario import HOUSE, Happened, Scenario, at, id_of

ONE, TWO, TOUCH = id_of("one"), id_of("two"), id_of("touch")
DUE, NOT_DUE = at(-90 * 24 * 60), at(-90 * 24 * 60 + 1)
scenario = Scenario(expire_quarantined).asked_by("house")
parts = tuple(
    Quarantined(item=item, path=f"facts.phone.{n}", reason="not_a_phone") for n, item in enumerate((ONE, TWO))
)
KEPT = {"quarantined": {ONE: "1", TWO: "2"}}


def facts(*contents: Any, recorded_at: Any = DUE) -> Happened:
    event = FactsStated(record=ANN, attributes=("name",), quarantined=parts)
    return Happened(Draft(event, tuple(Secret(ANN, each) for each in contents)), recorded_at=recorded_at)


def these(*items: str) -> dict[str, Any]:
    return {"command": "expire_quarantined", "items": list(items)}


def expired(*items: str, unsealed: tuple[int, ...] = ()) -> QuarantineExpired:
    return QuarantineExpired(items=items, after=90, unsealed=tuple((id_of("event 1"), n) for n in unsealed))


def test_what_has_waited_long_enough_is_let_go_and_its_seal_with_it() -> None:
    decided = scenario.given(facts({"facts": {"name": "Анна"}}, KEPT)).when(these(ONE, TWO))
    decided.then(expired(ONE, TWO, unsealed=(1,)))
    assert decided.outcome is not None
    assert decided.outcome.unsealed == ((id_of("event 1"), 1),)


def test_what_is_not_due_waits_on() -> None:
    scenario.given(facts(KEPT, recorded_at=NOT_DUE)).when(these(ONE, TWO)).nothing_happened()


def test_a_seal_stays_while_another_value_in_it_waits() -> None:
    decided = scenario.given(facts(KEPT)).when(these(ONE))
    decided.then(expired(ONE))
    assert decided.outcome is not None
    assert decided.outcome.unsealed == ()
    last = scenario.given(facts(KEPT), expired(ONE)).when(these(TWO))
    last.then(expired(TWO, unsealed=(0,)))
    assert last.outcome is not None
    assert last.outcome.unsealed == ((id_of("event 1"), 0),)


def test_a_seal_that_holds_something_else_stays() -> None:
    decided = scenario.given(facts({"facts": {"name": "Анна"}, **KEPT})).when(these(ONE, TWO))
    decided.then(expired(ONE, TWO))
    assert decided.outcome is not None
    assert decided.outcome.unsealed == ()


def test_what_was_repaired_meanwhile_is_passed_over() -> None:
    given = scenario.given(facts(KEPT), ValueRepaired(record=ANN, item=ONE))
    given.when(these(ONE)).nothing_happened()
    given.when(these(ONE, TWO)).then(expired(TWO, unsealed=(0,)))


def test_of_a_whole_touch_everything_goes() -> None:
    event = TouchQuarantined(item=TOUCH, path="identifiers.phone", reason="not_a_phone")
    names = Secret(HOUSE, {"names": {"correlation": "talk 1"}})
    decided = scenario.given(Happened(Draft(event, (Secret(HOUSE, {"touch": {}}), names)), recorded_at=DUE)).when(
        these(TOUCH)
    )
    decided.then(expired(TOUCH, unsealed=(0, 1)))
    assert decided.outcome is not None
    assert decided.outcome.unsealed == ((id_of("event 1"), 0), (id_of("event 1"), 1))


def test_what_is_not_there_is_unknown() -> None:
    scenario.when(these(ONE)).rejected(Unknown)


def test_it_is_an_act_of_the_house_alone() -> None:
    assert expire_quarantined.command.roles == {"house"}

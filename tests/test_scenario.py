"""The harness for stories tells when a story and a boundary do not fit together."""

from __future__ import annotations

import pytest

from commands.retract_fact import retract_fact
from hub.events import TouchRecorded
from tests.commands.stories import ANN, BOB, ann_opened, bob_opened, stated
from tests.support.scenario import Scenario

retracting = {"command": "retract_fact", "record": ANN, "attribute": "name"}
scenario = Scenario(retract_fact).given(ann_opened, stated(ANN, name="Анна"))


def test_a_given_event_outside_every_scope_is_a_failure() -> None:
    for stray in (bob_opened, TouchRecorded(record=ANN, channel="call", direction="in"), stated(BOB, name="Боб")):
        decided = scenario.given(stray).when(retracting)
        with pytest.raises(AssertionError, match="outside every scope"):
            decided.then(lambda event: True)


def test_more_and_fewer_events_than_expected_are_failures() -> None:
    decided = scenario.when(retracting)
    for expected in ((), (lambda event: True,) * 2):
        with pytest.raises(AssertionError):
            decided.then(*expected)
    with pytest.raises(AssertionError):
        decided.nothing_happened()

"""What /v1/openapi.json says is what the hub does: requests made from it, valid and not, asked as every role."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.adapters.conftest import Served

NDJSON = "application/x-ndjson"
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
CONFIG = {"generation": {"with-security-parameters": False}}  # Keys are not made up here.
Known = Mapping[str, list[Any]]
Case = schemathesis.Case[Any]
Operation = schemathesis.APIOperation[Any, Any, Any, Any]


@schemathesis.serializer(NDJSON)
def as_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return "\n".join(map(json.dumps, value if isinstance(value, list) else [value])).encode()


@schemathesis.deserializer(NDJSON)
def from_lines(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> list[Any]:
    return [json.loads(line) for line in response.content.splitlines()]


@pytest.fixture
def known(shop: Served) -> Known:
    """By name, values that lead somewhere; chance would find none."""
    records = []
    for key in ("1", "2", "3"):
        facts = {"last_name": "Петрова", "birth_date": "1980-02-30"}
        said = {"source": "shop", "key": key, "facts": facts, "identifiers": {"phone": "+79160001122"}}
        records.append(shop.done({"command": "identify_customer", **said})["record"])
        shop.done({"command": "record_touch", "key": key, "channel": "email", "direction": "out"})
    merge = shop.done({"command": "merge_customers", "customers": records[:2]}, role="steward")["events"][0]["event"]
    aside = shop.get("/v1/quarantine", role="steward", params={"at_least": shop.hub.head()}).json()["items"]
    return {
        "name": ["anybody"],
        **dict.fromkeys(("id", "record", "customer"), records),
        "merge": [merge],
        "source": ["shop", None],
        "key": ["1", "2", "3", None],
        "item": (items := [each["item"] for each in aside]),
        "quarantined": items,
        "attribute": ["last_name"],
        "path": ["userId"],
        "reason": ["missing"],
        "message": [{"event": "Просмотр"}],
        "facts": [{}, {"city": "Москва"}],
        "identifiers": [None, {"phone": "+79160001122"}],
        "identifier": [{"kind": "phone", "value": "+79160001122"}],
        "cursor": [None],
        "correlation": [None],
        "occurred_at": [None],
    }


def led(draw: Callable[[Any], Any], made: Any, known: Known) -> Any:
    """The same, with some of what it names led somewhere."""
    if isinstance(made, list):
        return [led(draw, each, known) for each in made]
    if not isinstance(made, dict):
        return made
    found = {name: draw(st.sampled_from([*known.get(name, ()), value])) for name, value in made.items()}
    return {name: value for name, value in found.items() if value is not None}


def try_out(operation: Operation, known: Known, examples: int, ask: Callable[[Case], None], first: int) -> None:
    """Ask so many times as the description allows, and as often as it does not; `first` is where chance begins."""
    takes_something = operation.path_parameters or operation.query or operation.body
    for mode in GenerationMode if takes_something else (GenerationMode.POSITIVE,):

        @seed(first)
        @settings(
            max_examples=examples,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data(), operation.as_strategy(mode))
        def one(data: st.DataObject, case: Case) -> None:
            case.path_parameters = led(data.draw, case.path_parameters, known)
            case.query = led(data.draw, case.query, known)
            case.body = led(data.draw, case.body, known)
            if str(case.query.get("at_least", "")).isdigit():
                case.query["at_least"] = 0  # Nobody waits here for what will not come.
            ask(case)

        one()


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.drill)])
def test_every_answer_is_as_described(shop: Served, known: Known, examples: int) -> None:
    document = shop.client.get("/v1/openapi.json").json()
    described = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(CONFIG))
    answered: Counter[tuple[str, int]] = Counter()

    def ask(case: Case) -> None:
        for role, key in shop.keys.items():
            answer = case.call(shop.base, session, {"Authorization": f"Bearer {key}"})
            answered[case.operation.label, answer.status_code] += 1
            case.validate_response(answer, CHECKS)
            assert answer.status_code != 500, (role, case)

    with requests.Session() as session:
        for path, methods in document["paths"].items():
            for method in methods:
                operation = described[path][method]
                is_rich = bool(operation.body)  # A dozen commands, for one.
                for first in range(1, 9):  # Until one is taken; few of those that are allowed mean something.
                    try_out(operation, known, examples * (6 if is_rich else 1), ask, first)
                    if answered[operation.label, 200] or answered[operation.label, 204]:
                        break
                else:
                    pytest.fail(f"nothing was taken by {operation.label}")

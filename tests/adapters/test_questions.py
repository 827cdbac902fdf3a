"""Questions over HTTP."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from adapters.api import answers
from tests.adapters.conftest import Served, touch


@pytest.fixture
def ivan(shop: Served) -> dict[str, Any]:
    return shop.done(
        touch(
            "1",
            identifiers={"phone": "+79161234567"},
            facts={"first_name": "Иван", "city": "Тверь"},
            occurred_at="2026-03-01T10:00:00+03:00",
        )
    )


def test_a_card_that_is_asked_for_after_a_write_has_seen_it(shop: Served, ivan: dict[str, Any]) -> None:
    answer = shop.get(f"/v1/customers/{ivan['customer']}?at_least={ivan['position']}")
    card = answer.json()
    assert answer.status_code == 200
    assert card["customer"] == ivan["customer"]
    assert card["facts"]["first_name"]["value"] == "Иван"
    assert card["identifiers"][0]["value"] == "+79161234567"
    assert card["touches"]["count"] == 1
    assert card["position"] >= ivan["position"]


def test_any_spelling_of_an_id_and_any_member_leads_to_the_card(shop: Served, ivan: dict[str, Any]) -> None:
    other = shop.done(touch("2"))
    merged = shop.done(
        {"command": "merge_customers", "customers": [ivan["customer"], other["customer"]]}, role="steward"
    )
    for id in (ivan["customer"].upper(), other["customer"], ivan["customer"].replace("-", "")):
        card = shop.get(f"/v1/customers/{id}?at_least={merged['position']}").json()
        assert card["customer"] == ivan["customer"]


def test_an_analyst_sees_no_personal_value(shop: Served, ivan: dict[str, Any]) -> None:
    answer = shop.get(f"/v1/customers/{ivan['customer']}?at_least={ivan['position']}", role="analyst")
    card = answer.json()
    assert card["facts"]["first_name"]["value"] is None
    assert card["facts"]["city"]["value"] == "Тверь"
    assert card["identifiers"][0]["value"] is None
    assert "Иван" not in answer.text
    assert "9161234567" not in answer.text


def test_the_past_is_answered(shop: Served, ivan: dict[str, Any]) -> None:
    later = shop.done({"command": "identify_customer", "source": "shop", "key": "1", "facts": {"first_name": "Пётр"}})
    path = f"/v1/customers/{ivan['customer']}?at_least={later['position']}"
    assert shop.get(path).json()["facts"]["first_name"]["value"] == "Пётр"
    assert shop.get(f"{path}&known_at={ivan['position']}").json()["facts"]["first_name"]["value"] == "Иван"
    for as_of in ("2026-03-01T12:00:00%2B03:00", "2026-03-01T12:00:00+03:00", "2026-03-01T09:00:00Z"):
        assert shop.get(f"{path}&as_of={as_of}").json()["facts"]["first_name"]["value"] == "Иван"
    assert shop.get(f"{path}&as_of=2026-02-01T12:00:00Z").json()["facts"] == {}


@pytest.mark.parametrize(
    ("query", "path", "reason"),
    [
        ("as_of=yesterday", "as_of", "not_a_time"),
        ("as_of=2026-03-01T10:00:00", "as_of", "offset_missing"),
        ("known_at=-1", "known_at", "too_small"),
        ("at_least=x", "at_least", "wrong_type"),
        ("at_least=99999999999999999999999", "at_least", "too_large"),
    ],
)
def test_what_is_wrong_with_a_question_is_told(
    shop: Served, ivan: dict[str, Any], query: str, path: str, reason: str
) -> None:
    answer = shop.get(f"/v1/customers/{ivan['customer']}?{query}")
    assert answer.status_code == 422
    assert {"path": path, "reason": reason} in answer.json()["errors"]


def test_a_position_that_is_not_reached_is_waited_for_then_refused(shop: Served, ivan: dict[str, Any]) -> None:
    began = time.monotonic()
    answer = shop.get(f"/v1/customers/{ivan['customer']}?at_least=1000000")
    assert time.monotonic() - began > 4.5
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("/behind")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("part", ["", "/timeline", "/contacts"])
@pytest.mark.parametrize("id", ["0198c0de-0000-7000-8000-000000000000", "nobody", "%00", "1%2F2"])
def test_nobody_is_not_found(shop: Served, part: str, id: str) -> None:
    assert shop.get(f"/v1/customers/{id}{part}").status_code == 404


def test_whoever_holds_an_identifier_is_found(shop: Served, ivan: dict[str, Any]) -> None:
    path = f"/v1/customers/find?at_least={ivan['position']}"
    for sought in ({"identifiers": {"phone": "8 916 123-45-67"}}, {"source": "shop", "key": "1"}):
        answer = shop.ask("operator", "POST", path, json=sought)
        assert [each["customer"] for each in answer.json()["items"]] == [ivan["customer"]]
    nobody = shop.ask("operator", "POST", path, json={"identifiers": {"phone": "+79167654321"}})
    assert nobody.json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "sought",
    [
        {},
        {"identifiers": {}},
        {"identifiers": {"shoe": "42"}},
        {"identifiers": {"phone": 5}},
        {"source": "shop"},
        {"key": "1"},
        {"source": "shop", "key": "1", "identifiers": {"phone": "+79161234567"}},
        {"identifiers": {"phone": "12"}},
        [],
        {"name": "Иван"},
    ],
)
def test_a_search_without_an_end_is_refused(shop: Served, sought: object) -> None:
    answer = shop.ask("operator", "POST", "/v1/customers/find", json=sought)
    assert answer.status_code == 422
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    ("sought", "path"),
    [
        ({"source": "shop", "key": "1\0"}, "key"),
        ({"identifiers": {"phone": "\0"}}, "identifiers.phone"),
        ({"identifiers": {"email": ["a@b.ru", "\0"]}}, "identifiers.email.1"),
    ],
)
def test_a_search_for_what_no_text_may_hold_is_refused(shop: Served, sought: object, path: str) -> None:
    answer = shop.ask("operator", "POST", "/v1/customers/find", json=sought)
    assert answer.json()["errors"] == [{"path": path, "reason": "nul_character"}]


def test_contacts_come_in_pages(shop: Served, ivan: dict[str, Any]) -> None:
    for _ in range(3):
        last = shop.done(touch("1", channel="sms", direction="out"))
    path = f"/v1/customers/{ivan['customer']}/contacts?limit=2&at_least={last['position']}"
    first = shop.get(path).json()
    rest = shop.get(f"{path}&cursor={first['next']}").json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    for part in ("contacts", "timeline"):
        forged = shop.get(f"/v1/customers/{ivan['customer']}/{part}?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkgMQ")
        assert forged.status_code == 422
        assert forged.json()["errors"] == [{"path": "cursor", "reason": "not_a_cursor"}]


def test_the_timeline_comes_in_pages(shop: Served, ivan: dict[str, Any]) -> None:
    for day in range(2, 6):
        last = shop.done(touch("1", occurred_at=f"2026-03-0{day}T10:00:00+03:00", kind=f"visit-{day}"))
    path = f"/v1/customers/{ivan['customer']}/timeline?limit=2&at_least={last['position']}"
    seen: list[str] = []
    cursor = ""
    while True:
        page = shop.get(path + cursor).json()
        seen.extend(each["occurred_at"] for each in page["items"])
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    some = shop.get(f"{path}&from=2026-03-03T00:00:00Z&to=2026-03-05T00:00:00Z&channel=shop").json()
    assert [each["kind"] for each in some["items"]] == ["visit-4", "visit-3"]
    assert shop.get(f"{path}&channel=pigeon").status_code == 422
    assert shop.get(f"{path}&cursor=zzz").status_code == 422
    assert shop.get(f"{path}&limit=100000").status_code == 422


def test_an_outgoing_touch_is_a_contact(shop: Served, ivan: dict[str, Any]) -> None:
    call = shop.done(touch("1", direction="out", channel="call", purpose="service"))
    (contact,) = shop.get(f"/v1/customers/{ivan['customer']}/contacts?at_least={call['position']}").json()["items"]
    assert contact["record"] == ivan["record"]
    assert (contact["channel"], contact["purpose"]) == ("call", "service")
    assert contact["event"]
    assert contact["at"]
    assert contact["state"]


def test_read_models_say_how_far_they_are(shop: Served, ivan: dict[str, Any]) -> None:
    answer = shop.get(f"/v1/read-models?at_least={ivan['position']}", role="auditor").json()
    assert answer["next"] is None
    for model in answer["items"]:
        assert {"name", "version", "position", "lag", "lag_seconds", "state"} <= model.keys()


def test_the_status_needs_no_key(shop: Served, ivan: dict[str, Any]) -> None:
    answer = shop.client.get("/v1/status")
    assert answer.status_code == 200
    assert list(answer.json()) == ["version", "head", "health", "read_models"]
    assert answer.json()["head"] == ivan["position"]
    assert answer.json()["health"] == "ok"


def test_every_answer_has_the_shape_that_is_described(shop: Served, ivan: dict[str, Any]) -> None:
    said = {"facts": {"first_name": "Пётр", "birth_date": "x"}, "identifiers": {"phone": "+79161234567"}}
    other = shop.done({"command": "identify_customer", "source": "shop", "key": "2", **said})
    merged = shop.done(
        {"command": "merge_customers", "customers": [ivan["customer"], other["customer"]]}, role="steward"
    )
    undone = shop.done({"command": "unmerge_customers", "merge": merged["events"][0]["event"]}, role="steward")
    sent = touch("1", direction="out", identifiers={"email": "x"}, content={"a": 1}, provider_id="p-1")
    last = shop.done(sent)
    path, at_least = f"/v1/customers/{ivan['customer']}", f"at_least={last['position']}"
    for answer in (ivan, other, merged, undone, last):
        answers.Answer.model_validate(answer)
    answers.Problem.model_validate(shop.do({"command": "x"}).json())
    for role in ("operator", "analyst"):
        for at in ("", f"&known_at={merged['position']}"):
            answers.Card.model_validate(shop.get(f"{path}?{at_least}{at}", role=role).json())
    found = shop.ask("operator", "POST", "/v1/customers/find", json={"identifiers": said["identifiers"]}).json()
    pages = (
        (answers.Page[answers.Found], found),
        (answers.Page[answers.Touch], shop.get(f"{path}/timeline?{at_least}").json()),
        (answers.Page[answers.Contact], shop.get(f"{path}/contacts?{at_least}").json()),
        (answers.Page[answers.Waiting], shop.get(f"/v1/quarantine?{at_least}", role="steward").json()),
        (answers.Page[answers.ReadModelInFull], shop.get("/v1/read-models", role="auditor").json()),
    )
    for shape, page in pages:
        assert page["items"]
        shape.model_validate(page)
    answers.Status.model_validate(shop.client.get("/v1/status").json())


def test_the_description_names_every_command_and_every_route(shop: Served) -> None:
    from commands import CAPABILITIES

    described = shop.client.get("/v1/openapi.json").json()
    union = described["components"]["schemas"]["Command"]["discriminator"]["mapping"]
    assert len(union) == len(CAPABILITIES)
    for ref in union.values():
        assert ref.rpartition("/")[2] in described["components"]["schemas"]
    assert set(described["paths"]) == {
        "/v1/channels/segment/v1/{call}",
        "/v1/channels/segment/{call}",
        "/v1/channels/{name}",
        "/v1/commands",
        "/v1/commands/batch",
        "/v1/customers/{id}",
        "/v1/customers/find",
        "/v1/customers/{id}/timeline",
        "/v1/customers/{id}/contacts",
        "/v1/log",
        "/v1/quarantine",
        "/v1/quarantine/{item}",
        "/v1/read-models",
        "/v1/status",
    }
    text = shop.client.get("/v1/openapi.json").text
    for schema in described["components"]["schemas"]:
        assert schema
    for ref in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert ref in described["components"]["schemas"]
    for path in described["paths"].values():
        for operation in path.values():
            if "204" in operation["responses"]:
                continue  # Answered without a word.
            (answer,) = {str(each["schema"]) for each in operation["responses"]["200"]["content"].values()}
            assert "$ref" in answer
    assert "HTTPValidationError" not in text

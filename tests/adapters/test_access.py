"""Who may do what: every role at every endpoint, and what a key is worth."""

from __future__ import annotations

import time

import pytest

from adapters.api.access import MAY
from hub.errors import Invalid, Unauthenticated, Unknown
from hub.principals import ROLES, SeparationOfDuties
from tests.adapters.conftest import Served, touch

NOBODY = "0198c0de-0000-7000-8000-000000000000"
CALLS: dict[str, tuple[str, str, object]] = {
    "card": ("GET", f"/v1/customers/{NOBODY}", None),
    "find": ("POST", "/v1/customers/find", {"source": "shop", "key": "1"}),
    "timeline": ("GET", f"/v1/customers/{NOBODY}/timeline", None),
    "contacts": ("GET", f"/v1/customers/{NOBODY}/contacts", None),
    "quarantine": ("GET", "/v1/quarantine", None),
    "read_models": ("GET", "/v1/read-models", None),
    "metrics": ("GET", "/metrics", None),
    "commands": ("POST", "/v1/commands", {}),
    "batch": ("POST", "/v1/commands/batch", []),
}
ALLOWED = {
    "card": {"operator", "steward", "compliance", "analyst"},
    "find": {"operator", "steward", "compliance"},
    "timeline": {"operator", "steward", "compliance"},
    "contacts": {"operator", "steward", "compliance"},
    "quarantine": {"steward", "compliance"},
    "read_models": set(ROLES),
    "metrics": {"admin", "auditor"},
    "commands": set(ROLES),
    "batch": set(ROLES),
}
ASKS = {
    "record_touch": {"channel", "operator", "steward", "compliance"},
    "identify_customer": {"channel", "operator", "steward"},
    "merge_customers": {"steward"},
    "register_source": {"admin"},
}
COMMANDS: dict[str, dict[str, object]] = {
    "record_touch": touch("1", source="shop"),
    "identify_customer": {"command": "identify_customer", "source": "shop", "key": "1"},
    "merge_customers": {"command": "merge_customers", "customers": [NOBODY, NOBODY]},
    "register_source": {"command": "register_source", "name": "shop"},
}


def test_every_role_at_every_endpoint(served: Served) -> None:
    assert CALLS.keys() | {"status", "description"} == MAY.keys()
    for name, (method, path, body) in CALLS.items():
        for role in ROLES:
            status = served.ask(role, method, path, **({"json": body} if body is not None else {})).status_code
            assert (status != 403) == (role in ALLOWED[name]), (role, name, status)
            assert status not in (401, 500)


def test_every_role_and_a_command_of_each_kind(shop: Served) -> None:
    for name, command in COMMANDS.items():
        for role in ROLES:
            status = shop.do(command, role=role).status_code
            assert (status != 403) == (role in ASKS[name]), (role, name, status)
            line = shop.ask(role, "POST", "/v1/commands/batch", json=[command]).json()[0]
            assert (line["status"] != 403) == (role in ASKS[name])


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic aHViOmh1Yg==", "Bearer hub_x_y", "Bearer hub__", "Bearer hub_é_y"],
)
def test_without_a_good_key_nothing_is_answered(served: Served, name: str, authorization: str | None) -> None:
    method, path, body = CALLS[name]
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    answer = served.client.request(method, path, headers=headers, json=body)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"].endswith("/unauthenticated")


def test_a_key_with_another_secret_is_refused(served: Served) -> None:
    _, id, secret = served.keys["operator"].split("_", 2)
    _, other, _ = served.keys["steward"].split("_", 2)
    for token in (f"hub_{other}_{secret}", f"hub_{id}_{secret[:-1]}", f"hub_{id}_{secret}x"):
        answer = served.client.get("/v1/read-models", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_a_revoked_key_stops_within_a_second_everywhere(served: Served) -> None:
    from hub.principals import Principals

    assert served.get("/v1/read-models").status_code == 200
    Principals(served.hub.pool).revoke(served.keys["operator"].split("_")[1])  # As another process would.
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if served.get("/v1/read-models").status_code == 401:
            return
        time.sleep(0.05)
    pytest.fail("the key is still good")


def test_a_key_that_ran_out_is_refused(served: Served) -> None:
    made, token = served.hub.principals.make("auditor", person="Анна", days=1)
    headers = {"Authorization": f"Bearer {token}"}
    assert served.client.get("/v1/read-models", headers=headers).status_code == 200
    with served.hub.pool.connection() as connection:
        connection.execute("UPDATE api_key SET expires_at = now() - interval '1 second' WHERE id = %s", (made.id,))
    time.sleep(0.6)
    assert served.client.get("/v1/read-models", headers=headers).status_code == 401


def test_a_secret_is_never_stored(served: Served) -> None:
    with served.hub.pool.connection() as connection:
        stored = str(connection.execute("SELECT * FROM api_key").fetchall())
    for token in served.keys.values():
        assert token.split("_", 2)[2] not in stored


@pytest.mark.parametrize(
    ("role", "more"),
    [
        ("king", {}),
        ("channel", {}),
        ("channel", {"source": "Not A Code"}),
        ("channel", {"source": "shop", "person": "Анна"}),
        ("operator", {"source": "shop"}),
        ("operator", {"person": ""}),
        ("operator", {"person": "Анна", "days": 366}),
        ("operator", {"person": "Анна", "days": 0}),
    ],
)
def test_what_makes_no_sense_makes_no_key(served: Served, role: str, more: dict[str, str]) -> None:
    before = len(served.hub.principals.all())
    with pytest.raises(Invalid):
        served.hub.principals.make(role, **more)  # type: ignore[arg-type]
    assert len(served.hub.principals.all()) == before


def test_nobody_both_administers_and_reads(served: Served) -> None:
    principals = served.hub.principals
    admin, _ = principals.make("admin", person="Анна")
    with pytest.raises(SeparationOfDuties):
        principals.make("operator", person="Анна")
    principals.make("operator", person="Борис")
    principals.make("steward", person="Борис")
    with pytest.raises(SeparationOfDuties):
        principals.make("admin", person="Борис")
    principals.revoke(admin.id)
    principals.make("operator", person="Анна")


def test_an_unknown_key_cannot_be_revoked(served: Served) -> None:
    with pytest.raises(Unknown):
        served.hub.principals.revoke("nothing")
    with pytest.raises(Unauthenticated):
        served.hub.principals.authenticate("hub_nothing_nothing")


def test_keys_are_guarded_by_the_database(served: Served) -> None:
    import psycopg

    id = served.keys["operator"].split("_")[1]
    with served.hub.pool.connection() as connection:
        connection.execute("UPDATE api_key SET revoked_at = now() WHERE id = %s", (id,))
    for statement in (
        "DELETE FROM api_key",
        "UPDATE api_key SET role = 'admin'",
        "UPDATE api_key SET revoked_at = NULL",
        "UPDATE api_key SET expires_at = expires_at + interval '1 day'",
        "TRUNCATE api_key",
        "DELETE FROM principal",
        "UPDATE principal SET person = 'x'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), served.hub.pool.connection() as connection:
            connection.execute(statement.encode())

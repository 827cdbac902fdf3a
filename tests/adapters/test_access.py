"""What a key is worth: made, shown once, changed for another, ended."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hub.errors import Invalid, Unauthenticated, Unknown
from hub.principals import KeyEnded, SeparationOfDuties
from tests.adapters.conftest import Served, touch
from tests.support.tally import until


def post(served: Served, token: str, command: dict[str, Any]) -> dict[str, Any]:
    answer = served.client.post("/v1/commands", json=command, headers={"Authorization": f"Bearer {token}"})
    document: dict[str, Any] = answer.json()
    return document


def test_a_key_with_another_secret_is_refused(served: Served) -> None:
    _, id, secret = served.keys["operator"].split("_", 2)
    _, other, _ = served.keys["steward"].split("_", 2)
    for token in (f"hub_{other}_{secret}", f"hub_{id}_{secret[:-1]}", f"hub_{id}_{secret}x"):
        answer = served.client.get("/v1/read-models", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_a_key_revoked_elsewhere_stops_here_soon(served: Served) -> None:
    from hub.principals import Principals

    assert served.get("/v1/read-models").status_code == 200
    Principals(served.hub.pool).revoke(served.keys["operator"].split("_")[1])  # As another process would.
    until(lambda: served.get("/v1/read-models").status_code == 401, 30)


def test_a_key_revoked_here_stops_here_at_once(served: Served) -> None:
    assert served.get("/v1/read-models").status_code == 200
    served.hub.principals.revoke(served.keys["operator"].split("_")[1])
    assert served.get("/v1/read-models").status_code == 401


@pytest.mark.parametrize("role", ["channel", "operator"])
@pytest.mark.parametrize("is_named", [True, False])
def test_changing_the_key_keeps_the_idempotency_ids(shop: Served, role: str, is_named: bool) -> None:
    principals = shop.hub.principals
    person = "Анна" if is_named and role == "operator" else None
    old, old_token = principals.make(role, source="shop" if role == "channel" else None, person=person)
    command = touch("1", id="said-once", source="shop")
    said = post(shop, old_token, command)
    new, new_token = principals.rotate(old.id, days=30)
    assert new.id != old.id
    assert new.principal == old.principal
    for token in (new_token, old_token):  # Both go on, so that nothing pauses.
        again = post(shop, token, command)
        assert again == {**said, "replayed": True}
        assert post(shop, token, {**command, "channel": "call"})["type"] == "/problems/id-reused"
    principals.revoke(old.id)
    assert post(shop, old_token, command)["type"] == "/problems/unauthenticated"
    assert post(shop, new_token, command)["replayed"]


def test_a_key_is_not_changed_into_one_that_may_not_be(served: Served) -> None:
    principals = served.hub.principals
    with pytest.raises(Unknown):
        principals.rotate("nothing")
    with pytest.raises(Invalid):
        principals.rotate(served.keys["auditor"].split("_")[1], days=366)


def test_a_key_that_ended_is_not_changed_into_one_that_stands(served: Served) -> None:
    principals = served.hub.principals
    revoked, _ = principals.make("operator", person="Анна")
    principals.revoke(revoked.id)
    expired, _ = principals.make("operator", person="Борис")
    with served.hub.pool.connection() as connection:
        connection.execute("UPDATE api_key SET expires_at = now() - interval '1 second' WHERE id = %s", (expired.id,))
    for ended in (revoked, expired):
        with pytest.raises(KeyEnded):
            principals.rotate(ended.id)
    assert sum(each.person in ("Анна", "Борис") for each in principals.all()) == 2


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
def test_what_makes_no_sense_makes_no_key(served: Served, role: str, more: dict[str, Any]) -> None:
    before = len(served.hub.principals.all())
    with pytest.raises(Invalid):
        served.hub.principals.make(role, **more)
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

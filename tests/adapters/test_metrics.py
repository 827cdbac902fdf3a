"""What Prometheus reads: how much is done and how well, and nothing about anybody."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import Connection
from typer.testing import CliRunner

from adapters.cli import app
from hub.database import connect
from hub.log.append import Append, Appended
from hub.wiring import Hub
from tests.adapters.conftest import Served, touch
from tests.support.hubs import merge, opened, unmerge

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(served: Served) -> Samples:
    answer = served.get("/metrics", role="auditor")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_commands_are_counted_by_name_and_outcome(shop: Served) -> None:
    shop.done(touch("1", id="a"))
    shop.done(touch("1", id="a"))
    shop.do(touch("2", id="a"))
    shop.do({"command": "no_such_command"})
    lines = [touch("3"), {"command": "no_such_command"}]
    shop.ask("channel", "POST", "/v1/commands/batch", json=lines)
    found = scraped(shop)
    told = {
        (labels["command"], labels["outcome"]): count
        for (name, pairs), count in found.items()
        if name == "hub_commands_total" and (labels := dict(pairs))
    }
    assert told == {
        ("register_source", "done"): 2,
        ("record_touch", "done"): 2,
        ("record_touch", "replayed"): 1,
        ("record_touch", "id-reused"): 1,
        ("-", "invalid"): 2,
    }


def test_commits_have_a_size_and_a_duration(shop: Served) -> None:
    shop.ask("channel", "POST", "/v1/commands/batch", json=[touch(str(n)) for n in range(20)])
    found = scraped(shop)
    commits = value(found, "hub_commit_seconds_count")
    assert commits == value(found, "hub_commit_appends_count") == value(found, "hub_commit_events_count")
    assert value(found, "hub_commit_events_sum") == value(found, "hub_log_head", log="main") == 42
    assert value(found, "hub_commit_appends_sum") == value(found, "hub_append_seconds_count") == commits == 3
    assert value(found, "hub_append_seconds_sum") > 0


def test_a_conflict_and_what_was_decided_again_are_counted(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = shop.hub
    a, b, c = opened(hub, "a", "b", "c")
    hub.do(merge(a, b))
    submit = hub.writer.submit

    def late(append: Append) -> Future[Appended]:
        monkeypatch.undo()
        with Hub(hub.url, hub.data) as other:  # Another process, whose appends our writer does not foresee.
            other.do(unmerge(customer=a, records=[b]))
        return submit(append)

    assert value(scraped(shop), "hub_conflicts_total") == 0
    monkeypatch.setattr(hub.writer, "submit", late)
    hub.do(merge(a, c))
    found = scraped(shop)
    assert value(found, "hub_conflicts_total") == 1
    assert value(found, "hub_redecided_total") == 1


def test_requests_are_counted_by_route_and_status(shop: Served) -> None:
    path = "/v1/customers/0198c0de-0000-7000-8000-000000000000"
    assert shop.get(path).status_code == 404
    assert shop.client.get("/nothing/+79161234567").status_code == 404
    found = scraped(shop)
    name = "hub_http_request_seconds_count"
    assert value(found, name, method="GET", route="/v1/customers/{id}", status="404") == 1
    assert value(found, name, method="GET", route="-", status="404") == 1
    assert value(found, name, method="POST", route="/v1/commands", status="200") == 2


def test_the_read_side_is_told_with_lag_and_state(shop: Served, connection: Connection[Any]) -> None:
    connection.execute(
        "UPDATE read_model SET state = 'failed', position = 1, failed_event = gen_random_uuid(), failed_position = 2,"
        " error = 'x' WHERE name = 'timeline'"
    )
    last = shop.done(touch("1"))["position"]
    shop.hub.wait(last)
    found = scraped(shop)
    assert value(found, "hub_read_model_lag_events", model="timeline") == last - 1
    assert value(found, "hub_read_model_lag_seconds", model="timeline") > 0
    assert value(found, "hub_read_model_lag_events", model="facts") == 0
    states = {
        dict(labels)["state"]: on
        for (name, labels), on in found.items()
        if name == "hub_read_model_state" and ("model", "timeline") in labels
    }
    assert states == {"live": 0, "catching_up": 0, "failed": 1}


def test_quarantine_is_told_with_the_age_of_its_oldest(shop: Served) -> None:
    assert value(scraped(shop), "hub_quarantine_oldest_seconds") == 0
    shop.done(touch("1", facts={"birth_date": "1985-02-30"}, occurred_at="2020-01-01T00:00:00Z"))
    shop.hub.wait(shop.hub.head())
    found = scraped(shop)
    assert value(found, "hub_quarantine_items") == 1
    assert 0 < value(found, "hub_quarantine_oldest_seconds") < 3600  # Since it was recorded, not since it happened.


def test_a_guard_that_was_taken_away_is_told(shop: Served) -> None:
    assert value(scraped(shop), "hub_guard_healthy") == 1
    with connect(shop.hub.url, as_writer=False) as owner:
        owner.execute("ALTER EVENT TRIGGER hub_ddl_command_end DISABLE")
        owner.execute("ALTER TABLE hub.seal DISABLE TRIGGER unchanging")
    assert value(scraped(shop), "hub_guard_healthy") == 0
    assert shop.client.get("/v1/status").json()["health"] == "degraded"
    told = CliRunner().invoke(app, ["status"], env={"HUB_DATABASE_URL": shop.hub.url, "HUB_DATA": str(shop.hub.data)})
    assert "    seal: trigger unchanging" in told.output.splitlines()


def test_the_process_its_pools_and_its_disk_are_told(shop: Served) -> None:
    found = scraped(shop)
    for name in ("process_resident_memory_bytes", "hub_threads", "hub_database_bytes"):
        assert value(found, name) > 0
    assert value(found, "hub_disk_free_bytes", folder="data") <= value(found, "hub_disk_size_bytes", folder="data")
    pools = {labels: count for (name, labels), count in found.items() if name == "hub_pool_connections"}
    assert len(pools) == 6
    assert sum(count for labels, count in pools.items() if ("state", "idle") in labels) > 0
    (build,) = (dict(labels) for (name, labels) in found if name == "hub_build_info")
    assert build.keys() == {"version", "python", "postgres", "migration"}


def test_no_label_holds_an_id_or_a_value(shop: Served) -> None:
    said = {"facts": {"first_name": "Анна"}, "identifiers": {"phone": "+79161234567"}}
    record = shop.done(touch("secret-key", id="secret-id", **said))["record"]
    shop.get(f"/v1/customers/{record}?at_least=1")
    shop.get(f"/v1/customers/{record}/timeline?cursor=%2B79161234567")
    shop.client.request("PROPFIND", "/+79161234567")
    shop.do({"command": "secret-command"})
    text = shop.get("/metrics", role="admin").text
    for secret in ("secret", record, "79161234567", "Анна", *(each.split("_")[1] for each in shop.keys.values())):
        assert secret not in text

"""What is deployed beside the hub names only what is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from psycopg import Connection

from adapters import serve
from hub import embedded
from tests.adapters.conftest import Served, touch
from tests.adapters.conftest import served as served
from tests.adapters.conftest import shop as shop

DEPLOY = Path(__file__).parent.parent / "deploy"
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
PROMETHEUS_OWN = {"up"}  # Whether the scrape itself went well.


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])


def metrics_of(expression: str) -> set[str]:
    """The metrics an expression asks for: names that are no function, no keyword and no label."""
    bare = re.sub(r"\[[^\]]*\]|\{[^}]*\}|\b(?:by|without)\s*\([^)]*\)", "", expression)
    return {name for name in re.findall(r"\b[a-z][a-z_]*\b(?!\s*\()", bare) if name not in ("and", "or", "unless")}


def labels_of(expression: str) -> set[str]:
    matched = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
    grouped = re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression)
    return {*matched, *(name.strip() for names in grouped for name in names.split(","))}


def test_every_metric_and_label_that_is_named_exists(shop: Served, connection: Connection[Any]) -> None:
    connection.execute("INSERT INTO job_run (job, due) VALUES ('tidy', now())")
    connection.execute("INSERT INTO feed (name, position) VALUES ('crm', 0)")
    shop.done(touch("1"))
    shop.hub.wait(shop.hub.head())
    families = list(text_string_to_metric_families(shop.get("/metrics", role="auditor").text))
    there = {sample.name for family in families for sample in family.samples} | PROMETHEUS_OWN
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    asked = list(expressions())
    assert len(asked) > 20
    for expression in asked:
        assert metrics_of(expression), expression
        assert metrics_of(expression) <= there, expression
        assert labels_of(expression) <= labels | {"job", "instance"}, expression


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "action"}


def test_a_log_nobody_writes_to_is_no_alert() -> None:
    assert not any("hub_log" in rule["expr"] for rule in RULES)


def test_every_panel_has_a_place_and_an_id_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(covered)) == len(covered)
    assert max(x for x, _ in covered) < 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(DEPLOY / "alerts.yml")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "hub.service").read_text(encoding="utf-8").splitlines():
        name, given, value = line.partition("=")
        if given and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_service_waits_as_long_as_a_clean_stop_may_take() -> None:
    (database,) = re.findall(r'"stop", "--mode=fast", "--timeout=(\d+)"', Path(embedded.__file__).read_text())
    assert int(unit()["TimeoutStopSec"][0]) >= int(database) + serve.PATIENCE + 10 + 8


def test_the_service_is_confined_and_runs_as_a_user_of_its_own() -> None:
    found = unit()
    assert found["User"] == ["hub"]
    assert found["CapabilityBoundingSet"] == [""]
    assert {name: found[name] for name in ("NoNewPrivileges", "ProtectSystem", "ProtectHome", "Restart")} == {
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
        "ProtectHome": ["yes"],
        "Restart": ["on-failure"],
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "hub.service").read_text(encoding="utf-8")
    there = tmp_path / "hub.service"
    there.write_text(text.replace("/opt/hub/.venv/bin/hub", "/bin/true"), encoding="utf-8")
    checked = subprocess.run(["systemd-analyze", "verify", str(there)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_image_holds_every_package_and_runs_as_nobody_in_particular() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line}
    assert copied >= {"requirements.txt", "hub", "commands", "projections", "adapters", "migrations"}
    assert "--require-hashes" in " ".join(lines)
    assert all(":" in line.split()[1] for line in lines if line.startswith("FROM "))
    assert lines.index("USER hub") < next(n for n, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_the_health_check_of_the_image_asks_where_the_hub_listens(
    shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for port, code in ((shop.base.rpartition(":")[2], 0), ("1", 1)):
        monkeypatch.setenv("HUB_LISTEN", f"0.0.0.0:{port}")
        asked = subprocess.run([sys.executable, *json.loads(command)[1:]], capture_output=True)
        assert asked.returncode == code

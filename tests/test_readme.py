"""The README is executed: what it shows works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from commands import CAPABILITIES
from projections import READ_MODELS
from tests.adapters.conftest import Served, served, shop

__all__ = ["served", "shop"]  # Fixtures of the API's tests, used here once.

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_tour_runs_from_top_to_bottom(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    tour = blocks("python")
    assert len(tour) > 5
    names: dict[str, Any] = {}
    try:
        for block in tour:
            exec(compile(block, "README.md", "exec"), names)
    finally:
        if "hub" in names:
            names["hub"].close()


def test_the_requests_shown_are_answered(shop: Served) -> None:
    shown = [line for line in "\n".join(blocks("sh")).replace("\\\n", " ").splitlines() if line.startswith("curl")]
    assert len(shown) == 2
    for line in shown:
        words = shlex.split(line)
        headers = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
        role = {"Bearer $ADMIN": "admin", "Bearer $KEY": "channel"}[headers.pop("Authorization")]
        body = words[words.index("-d") + 1]
        path = words[1].removeprefix("http://127.0.0.1:8080")
        answer = shop.ask(role, "POST", path, headers=headers, content=body.encode())
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] == json.loads(body).get("id", answer.json()["id"])


def test_start_names_two_commands() -> None:
    (start,) = re.findall(r"## Start\n\n((?:    .*\n)+)", README)
    assert [line.split("#")[0].split() for line in start.splitlines()] == [["make", "run"], ["make", "test"]]


def test_everything_that_can_be_asked_is_listed_where_the_readme_says() -> None:
    for module in (ROOT / "commands").glob("[a-z]*.py"):
        assert any(module.stem == each.decide.__module__.split(".")[-1] for each in CAPABILITIES), module.name
    for model in READ_MODELS:
        assert (ROOT / "projections" / f"{model.name}.py").exists()

"""The demo: what it tells is true, and doing it again changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import demo
from adapters.demo.words import WORDS
from adapters.importer.mapping import Mapped
from adapters.importer.rows import Rows
from adapters.program import program
from hub.wiring import Hub
from projections.card import card_of
from projections.identifiers import find

SMALL = {file: mapping for file, mapping in demo.FILES.items() if not file.startswith("cdnow")}


@pytest.fixture
def hub(database_url: str, folder: Path) -> Iterator[Hub]:
    with Hub(database_url, folder) as hub:
        hub.follow()
        yield hub


@pytest.fixture(autouse=True)
def a_smaller_shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first three hundred purchases take the same way as all of them."""
    shop = demo.HERE / "cdnow/CDNOW_master.txt"
    few = tmp_path / "CDNOW_master.txt"
    few.write_text("\n".join(shop.read_text().splitlines()[:301]))
    monkeypatch.setattr(demo, "FILES", {**SMALL, str(few): "cdnow/purchases.toml"})


def test_a_second_run_changes_nothing_and_tells_the_same(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    demo.run(hub, lang="en")
    first, head = capsys.readouterr().out, hub.head()
    demo.run(hub, lang="en")
    second = capsys.readouterr().out
    assert hub.head() == head
    what = WORDS["en"]["holds"]
    assert first.partition(what)[2] == second.partition(what)[2]
    assert "imported before: 300" in second


def test_the_story_is_what_the_hub_holds(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    demo.run(hub, lang="en")
    told = capsys.readouterr().out
    with hub.view() as view, view.snapshot():
        ((records, customers),) = view.ask(
            lambda *row: row, "SELECT count(*), count(DISTINCT customer) FROM membership"
        ).fetchall()
    assert records - customers == 3  # Four merges, one of them taken back.
    assert f"{records} records of {customers} customers, 307 touches, {hub.head():,} events" in told
    assert "last_name: Kusha (customers, trust 0.6; watchlist says Knight)" in told
    assert "x-ssn: 294-66-9999 (in 2 of the records)" in told
    assert "customers/1001 and customers/1002 are one customer." in told
    assert "customers/1001 and watchlist/1008 are two customers" in told


def test_every_reason_for_a_merge_is_true(hub: Hub) -> None:
    """Evidence that is named can be looked up on the card, and the merge taken back has none."""
    position = max(summary.position for summary in demo.load(hub, "en"))
    records = demo.merge(hub, position, "en")
    with hub.view() as view:
        robert, knight = (card_of(view, records[end]) for end in (("customers", "1001"), ("customers", "1009")))
        (smith,) = find(view, source="watchlist", key="1008")
    assert [len(robert["records"]), len(knight["records"])] == [3, 2]
    assert {each["kind"]: len(each["records"]) for each in robert["identifiers"]} == {"phone": 2, "email": 1}
    assert {each["kind"]: len(each["records"]) for each in knight["identifiers"]} == {"email": 1, "x-ssn": 2}
    assert smith["customer"] not in {each["record"] for each in robert["records"]}


def test_the_demo_speaks_russian(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    demo.run(hub, lang="ru")
    told = capsys.readouterr().out
    assert WORDS["en"].keys() == WORDS["ru"].keys()
    assert WORDS["ru"]["holds"] in told
    assert WORDS["en"]["holds"] not in told


def test_the_demo_tells_a_program_too(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    demo.run(hub, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["holds"]["touches"] == 307
    assert [each["together"] for each in told["merges"]] == [True, True, True, False]
    assert told["imports"][0]["rows"] == 120


@pytest.mark.parametrize(("file", "mapping"), [*SMALL.items(), ("cdnow/CDNOW_master.txt", "cdnow/purchases.toml")])
def test_every_mapping_of_the_demo_fits_its_file(file: str, mapping: str) -> None:
    mapped = Mapped(demo.HERE / mapping)
    with Rows(demo.HERE / file, mapped.layout) as rows:
        assert mapped.templates(rows.columns)
        assert mapped.registration()


def test_every_data_set_has_its_licence_beside_it() -> None:
    assert "MIT License" in (demo.HERE / "cdnow/LICENSE.txt").read_text()
    assert "Apache License" in (demo.HERE / "truth_set/LICENSE.txt").read_text()


def test_what_to_type_works_as_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = tmp_path / "a clone" / ".venv" / "bin"
    environment.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path / "a clone")
    assert program() == ".venv/bin/python -m hub"
    (environment / "hub").touch(mode=0o755)
    assert program() == ".venv/bin/hub"
    monkeypatch.chdir(tmp_path)
    assert program() == "'a clone/.venv/bin/hub'"
    monkeypatch.setenv("PATH", str(environment))
    assert program() == "hub"


@pytest.mark.parametrize("lang", ["en", "ru"])
def test_a_demo_that_goes_on_to_serve_leaves_the_first_keys_to_that(
    hub: Hub, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    demo.run(hub, serve=True, lang=lang)
    told = capsys.readouterr().out
    assert WORDS[lang]["keys"] not in told
    assert f"{program()} card " in told
    hub.principals.first(lambda _: None)
    demo.run(hub, serve=True, lang=lang)
    told = capsys.readouterr().out
    assert WORDS[lang]["keys"] in told
    assert "admin" in told

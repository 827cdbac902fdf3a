"""Importing files: by a mapping, twice with the same result, bad rows told by place and never by value."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from adapters.demo import HERE
from adapters.importer import FileError, MappingError, Summary, import_file
from adapters.importer.report import Flawed, Report
from adapters.importer.rows import Broken, Layout, rows_of
from adapters.importer.words import FLAWS, language
from hub.texts import in_words
from hub.wiring import Hub
from tests.support.imports import till

PURCHASES = till(amount=', point = ",", thousands = " "')
CUSTOMERS = """
name = "crm"
source = "crm"
key = "id"
[register]
title = "CRM"
[customer.facts]
last_name = "surname"
birth_date = { column = "born", type = "date", format = "%d.%m.%Y" }
[customer.identifiers]
phone = { column = "phones", split = ";", type = "phone", region = "US" }
email = "mail"
"""


Run = Callable[..., tuple[Summary, list[dict[str, Any]]]]


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Run:
    """Import this text by this mapping; gives the summary and the report."""
    numbers = count()

    def run(mapping: str, text: str | bytes, name: str = "rows.csv") -> tuple[Summary, list[dict[str, Any]]]:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        (folder / "map.toml").write_text(mapping, "utf-8")
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        report = folder / "report.ndjson"
        summary = import_file(hub, folder / name, folder / "map.toml", report=report)
        assert (summary.report is not None) == report.exists()
        return summary, told(report)

    return run


def told(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text("utf-8").splitlines()] if report.exists() else []


def opened(hub: Hub, type: str) -> list[tuple[Any, dict[int, Any]]]:
    """Every event of a type with the content of its seals."""
    with hub.questions.connection() as connection:
        rows = connection.execute("SELECT e.position FROM event e ORDER BY e.position").fetchall()
    with hub.view() as view, view.snapshot():
        events = view.opened(position for (position,) in rows)
    return [(each.event, dict(each.opened)) for each in events.values() if each.event.stored_name == type]


def test_a_row_becomes_a_touch_with_its_row_sealed(hub: Hub, run: Run) -> None:
    summary, report = run(PURCHASES, 'customer,day,sum\n7,01.02.2026,"12 450,00"\n')
    assert (summary.rows, summary.new, summary.refused, report) == (1, 1, 0, [])
    ((touch, seals),) = opened(hub, "touch_recorded")
    assert (touch.channel, touch.kind, dict(touch.data)) == ("shop", "purchase", {"amount": "12450.00"})
    assert seals[0]["content"]["row"] == {"customer": "7", "day": "01.02.2026", "sum": "12 450,00"}


def test_importing_twice_changes_nothing(hub: Hub, run: Run) -> None:
    rows = "customer,day,sum\n" + "".join(f"{n % 7},0{n % 9 + 1}.02.2026,{n}\n" for n in range(50))
    run(PURCHASES, rows)
    head = hub.head()
    again, _ = run(PURCHASES, rows.replace("\n", "\r\n").encode("utf-8-sig"), "other name.csv")
    assert (again.new, again.replayed, hub.head()) == (0, 50, head)


def test_a_report_takes_the_place_of_nothing_that_the_import_reads(hub: Hub, tmp_path: Path) -> None:
    file, mapping = tmp_path / "rows.csv", tmp_path / "map.toml"
    mapping.write_text(PURCHASES, "utf-8")
    file.write_text("customer,day,sum\n7,01.02.2026,10\n", "utf-8")
    for taken in (file, mapping):
        before = taken.read_bytes()
        with pytest.raises(FileError, match=r"choose another place for the report with --report"):
            import_file(hub, file, mapping, report=taken)
        assert taken.read_bytes() == before


@pytest.mark.parametrize("day", ["someday", "01.02.2026"])
@pytest.mark.parametrize("mine", ["mine", "\n", '{"line": 7}\n', '["line"]\n', "line,status\n", "x" * 100_000])
def test_a_report_takes_the_place_of_nothing_but_a_report(hub: Hub, tmp_path: Path, day: str, mine: str) -> None:
    file, mapping, report = tmp_path / "rows.csv", tmp_path / "map.toml", tmp_path / "notes.csv"
    mapping.write_text(PURCHASES, "utf-8")
    file.write_text(f"customer,day,sum\n7,{day},10\n", "utf-8")
    report.write_text(mine)
    head = hub.head()
    with pytest.raises(FileError, match=r"notes\.csv: it is there already and is no report .* --report") as refused:
        import_file(hub, file, mapping, report=report)
    assert speaks_russian(refused.value)
    assert (report.read_text(), hub.head()) == (mine, head)


def test_what_came_to_lie_in_the_place_of_a_report_meanwhile_is_not_lost(tmp_path: Path) -> None:
    report = Report(tmp_path / "notes.txt")
    report.claim()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match="is no report"):
        report.add(Flawed(1, "refused", "not_a_time"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("day", ["someday", "01.02.2026"])
def test_a_report_may_be_an_empty_file_or_go_where_nothing_is_kept(hub: Hub, tmp_path: Path, day: str) -> None:
    file, mapping, empty = tmp_path / "rows.csv", tmp_path / "map.toml", tmp_path / "empty"
    mapping.write_text(PURCHASES, "utf-8")
    file.write_text(f"customer,day,sum\n7,{day},10\n", "utf-8")
    empty.touch()
    import_file(hub, file, mapping, report=empty)
    assert len(told(empty)) == (day == "someday")
    (tmp_path / "link").symlink_to(os.devnull)
    import_file(hub, file, mapping, report=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["report.csv", "report.ndjson"])
def test_a_report_of_an_earlier_import_goes_when_nothing_is_wrong_any_more(hub: Hub, tmp_path: Path, name: str) -> None:
    file, mapping, report = tmp_path / "rows.csv", tmp_path / "map.toml", tmp_path / name
    mapping.write_text(PURCHASES, "utf-8")
    for day in ("someday", "01.02.2026"):
        file.write_text(f"customer,day,sum\n7,{day},10\n", "utf-8")
        summary = import_file(hub, file, mapping, report=report)
        assert report.exists() == (summary.refused > 0) == (day == "someday")


def test_a_row_that_is_not_utf_8_and_never_ends_does_not_spoil_the_next(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b'a,b\n"\xff' + b"x" * 140_000 + b"\n1,2\n")
    with rows_of(file, Layout(encoding="utf-8")) as rows:
        assert list(rows) == [(2, Broken("bad_quoting")), (3, ["1", "2"])]


def test_two_identical_purchases_on_one_day_both_count(hub: Hub, run: Run) -> None:
    rows = "customer,day,sum\n7,01.02.2026,10\n7,01.02.2026,10\n7,01.02.2026,10\n"
    summary, _ = run(PURCHASES, rows)
    again, _ = run(PURCHASES, rows)
    assert (summary.new, again.new, again.replayed) == (3, 0, 3)
    assert len(opened(hub, "touch_recorded")) == 3


def test_a_file_that_grew_adds_only_what_is_new(run: Run) -> None:
    run(PURCHASES, "customer,day,sum\n7,01.02.2026,10\n")
    summary, _ = run(PURCHASES, "customer,day,sum\n8,01.02.2026,10\n7,01.02.2026,10\n7,01.02.2026,10\n")
    assert (summary.new, summary.replayed) == (2, 1)


def test_bad_rows_are_told_by_line_column_and_reason_and_stop_nothing(run: Run) -> None:
    rows = (
        "customer,day,sum\n"
        "1,01.02.2026,10\n"
        "2,SECRET,10\n"
        '3,01.02.2026,"SECRET\nSECRET"\n'
        "4,01.02.2026\n"
        "5,01.02.2026,10,SECRET\n"
        ",01.02.2026,10\n"
        "6,01.02.2126,10\n"
        "7,01.02.2026,10\n"
    )
    summary, report = run(PURCHASES, rows)
    assert (summary.rows, summary.new, summary.refused) == (8, 2, 6)
    assert [(each["line"], each["column"], each["reason"], each["path"]) for each in report] == [
        (3, "day", "not_a_time", None),
        (4, "sum", "not_a_number", None),
        (6, None, "too_few_columns", None),
        (7, None, "too_many_columns", None),
        (8, "customer", "missing", "key"),
        (9, "day", "in_the_future", "occurred_at"),
    ]
    assert {each["status"] for each in report} == {"refused"}
    assert "SECRET" not in json.dumps(report)


def test_what_the_hub_set_aside_is_told_and_not_refused(run: Run) -> None:
    rows = "id,surname,born,phones,mail\n1,A,31.02.1990,(702) 919-1300; 12,nobody\n"
    summary, report = run(CUSTOMERS, rows)
    assert (summary.new, summary.refused, summary.quarantined) == (1, 0, 3)
    assert {(each["line"], each["status"], each["column"], each["reason"]) for each in report} == {
        (2, "quarantined", "born", "not_a_date"),
        (2, "quarantined", "phones", "not_a_phone"),
        (2, "quarantined", "mail", "not_an_email"),
    }


def test_a_report_may_be_csv_and_goes_when_nothing_is_wrong(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(PURCHASES)
    file, report = tmp_path / "rows.csv", tmp_path / "report.csv"
    file.write_text("customer,day,sum\n1,x,10\n")
    assert import_file(hub, file, tmp_path / "map.toml", report=report).report == str(report)
    with report.open(newline="") as opened:
        (entry,) = csv.DictReader(opened)
    assert (entry["line"], entry["column"], entry["reason"]) == ("2", "day", "not_a_time")
    file.write_text("customer,day,sum\n1,01.02.2026,10\n")
    assert import_file(hub, file, tmp_path / "map.toml", report=report).report is None
    assert not report.exists()


def test_a_national_phone_is_one_of_the_mappings_region(hub: Hub, run: Run) -> None:
    run(CUSTOMERS, "id,surname,born,phones,mail\n1,A,,702-919-1300;+7 912 345-67-81,\n")
    stated = [seals[0]["normal"] for _, seals in opened(hub, "identifier_stated")]
    assert stated == ["+17029191300", "+79123456781"]


def test_a_phone_that_is_none_in_its_region_is_not_read_in_another(run: Run) -> None:
    _, report = run(CUSTOMERS, "id,surname,born,phones,mail\n1,A,,481-285-6234,\n")  # In Russia it would be Smolensk.
    assert [each["reason"] for each in report] == ["not_a_phone"]


def test_a_changed_row_of_a_customer_states_what_is_new(hub: Hub, run: Run) -> None:
    run(CUSTOMERS, "id,surname,born,phones,mail\n1,Ivanova,,,\n")
    summary, _ = run(CUSTOMERS, "id,surname,born,phones,mail\n1,Petrova,,,\n")
    assert summary.new == 1
    assert [seals[0]["facts"] for _, seals in opened(hub, "facts_stated")] == [
        {"last_name": "Ivanova"},
        {"last_name": "Petrova"},
    ]


def test_a_corrected_mapping_is_refused_under_its_name_and_taken_under_a_new_one(run: Run, hub: Hub) -> None:
    text = "id,surname,born,phones,mail,given\n1,Anna,,,,Ivanova\n2,Petrova,,,,\n"
    run(CUSTOMERS, text)
    corrected = CUSTOMERS.replace('"surname"', '"given"')
    summary, report = run(corrected, text)
    assert (summary.new, [each["reason"] for each in report]) == (0, ["id-reused", "id-reused"])
    summary, report = run(corrected.replace('name = "crm"', 'name = "crm-2"'), text)
    assert (summary.new, summary.unchanged, report) == (1, 1, [])  # Of the second row nothing is new.
    assert [seals[0]["facts"] for _, seals in opened(hub, "facts_stated")][2:] == [{"last_name": "Ivanova"}]


def test_touches_count_again_under_a_new_name_only(run: Run, hub: Hub) -> None:
    text = "customer,day,sum\n7,01.02.2026,10\n"
    run(PURCHASES, text)
    assert run(PURCHASES, text)[0].replayed == 1
    assert run(PURCHASES.replace('name = "till"', 'name = "till-2"'), text)[0].new == 1
    assert len(opened(hub, "touch_recorded")) == 2


def test_rows_named_by_a_column_are_one_whatever_else_they_say(run: Run) -> None:
    mapping = PURCHASES.replace("[register]", '[row]\nid = "receipt"\n[register]')
    run(mapping, "receipt,customer,day,sum\n1,7,01.02.2026,10\n2,7,01.02.2026,10\n")
    summary, report = run(mapping, "receipt,customer,day,sum\n2,7,01.02.2026,10\n1,7,01.02.2026,99\n,7,01.02.2026,1\n")
    assert (summary.replayed, summary.refused) == (1, 2)
    assert [(each["line"], each["reason"]) for each in report] == [(3, "id-reused"), (4, "id_missing")]


def test_russian_rows_in_cp1251(hub: Hub, tmp_path: Path) -> None:
    report = tmp_path / "report.ndjson"
    summary = import_file(hub, HERE / "russian/clients.csv", HERE / "russian/clients.toml", report=report)
    assert (summary.rows, summary.new, summary.refused, summary.quarantined) == (10, 17, 0, 3)
    assert [(each["line"], each["column"], each["reason"]) for each in told(report)] == [
        (6, "Дата рождения", "not_a_date"),
        (7, "Телефоны", "not_a_phone"),
        (8, "Эл. почта", "not_an_email"),
    ]
    facts = {seals[0]["raw"]["Код"]: seals[0]["facts"] for _, seals in opened(hub, "facts_stated")}
    assert facts["К-0001"]["birth_date"] == "1987-11-04"
    assert facts["К-0004"]["address"] == "Тверская ул., д. 7; вход со двора"
    touches = [dict(touch.data) for touch, _ in opened(hub, "touch_recorded")]
    assert touches[0] == {"amount": "12450.00"}
    assert len(touches) == 7


def test_bytes_of_another_encoding_are_refused_with_their_column(run: Run) -> None:
    text = "id,surname,born,phones,mail\n1,Ёлкина,,,\n".encode() + "2,Ёлкин,,,\n".encode("cp1251")
    mapping = CUSTOMERS.replace("[customer.facts]", '[file]\nencoding = "utf-8"\n[customer.facts]')
    summary, report = run(mapping, text)
    assert (summary.new, summary.refused) == (1, 1)
    assert [(each["line"], each["column"], each["reason"]) for each in report] == [(3, "surname", "not_utf-8")]


NESTED = """
name = "nested"
source = "nested"
key = "id"
[register]
title = "Nested"
[customer]
party = { column = "FEATURES[].TYPE", map = { P = "person", O = "organisation" } }
[customer.facts]
city = "home.city"
name = { each = "FEATURES[]", join = ["FIRST", "LAST"] }
address = { each = "FEATURES[]", object = { street = "LINE", postcode = "ZIP" } }
x-tier = ["a.b", "tier"]
[customer.identifiers]
phone = { column = "FEATURES[].PHONE", type = "phone", region = "US" }
passport = { each = "FEATURES[]", join = [{ column = "COUNTRY", map = { USA = "US" } }, "PASSPORT"], with = "" }
"""


def test_nested_paths_of_ndjson(hub: Hub, run: Run) -> None:
    features = [
        {"TYPE": "O"},
        {"FIRST": "Robert", "LAST": "Smith"},
        {"FIRST": "Bob", "LAST": "Smith"},
        {"LINE": "1 Main St", "ZIP": 89132},
        {"PHONE": "702-919-1300"},
        {"PHONE_KIND": "home"},
        {"PHONE": "+1 702 919 1300"},
        {"PASSPORT": "123", "COUNTRY": "USA"},
    ]
    row = {"id": 7, "FEATURES": features, "home": {"city": "Las Vegas"}, "a.b": {"tier": 3}}
    summary, report = run(NESTED, f"{json.dumps(row)}\n\nnonsense\n[1]\n", "rows.jsonl")
    assert (summary.rows, summary.new, summary.refused) == (3, 1, 2)
    assert [(each["line"], each["reason"]) for each in report] == [(3, "not_json"), (4, "not_an_object")]
    ((event, seals),) = opened(hub, "facts_stated")
    assert dict(event.clear) == {"city": "Las Vegas"}
    assert seals[0]["facts"] == {
        "name": ["Robert Smith", "Bob Smith"],
        "address": {"street": "1 Main St", "postcode": 89132},
        "x-tier": 3,
    }
    assert seals[0]["raw"] == row
    assert [record.party for record, _ in opened(hub, "record_opened")] == ["organisation"]
    assert [seals[0]["normal"] for _, seals in opened(hub, "identifier_stated")] == ["US123", "+17029191300"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "till"', "name = ", "not TOML"),
        ('name = "till"', 'name = "A till"', "map.toml: name: give the mapping a name"),
        (
            'key = "customer"',
            'key = "custmer"',
            "map.toml: key: the file has no column 'custmer'; did you mean 'customer'?",
        ),
        ('key = "customer"', 'key = "Käufer"', "map.toml: key: the file has no column 'Käufer'; look at the 3 in its"),
        ('key = "customer"', 'clef = "customer"', "map.toml: clef: there is no such key"),
        ("data.amount", "data.amount.x", "map.toml: touch.data.amount: say where it comes from"),
        ('{ value = "shop" }', '{ value = "bazaar" }', "map.toml: touch.channel: "),
        ('kind = { value = "purchase" }', 'sort = "sum"', "map.toml: touch.sort: there is no such key"),
        ('zone = "Europe/Moscow"', 'zone = "Moskau"', "map.toml: occurred_at: there is no time zone 'Moskau'"),
        (', zone = "Europe/Moscow"', "", "map.toml: occurred_at: a time without an offset needs a zone"),
        ('format = "%d.%m.%Y"', 'format = "dd.mm.yyyy"', "map.toml: occurred_at: 'dd.mm.yyyy' is no format"),
        ('type = "decimal"', 'type = "money"', "map.toml: touch.data.amount: there is no type 'money'"),
        (
            "[[touch]]",
            "[customer.facts]\nnick = 'sum'\n[[touch]]",
            "map.toml: customer.facts.nick: there is no such fact",
        ),
        (
            "[[touch]]",
            "[customer.identifiers]\nicq = 'sum'\n[[touch]]",
            "customer.identifiers.icq: there is no such kind",
        ),
        ('title = "Till"', "trust = 7", "map.toml: register.trust: "),
    ],
)
def test_a_wrong_mapping_names_file_key_and_fix_before_anything_is_written(
    hub: Hub, run: Run, old: str, new: str, said: str
) -> None:
    head = hub.head()
    assert old in PURCHASES
    with pytest.raises(MappingError) as error:
        run(PURCHASES.replace(old, new), "customer,day,sum\n1,01.02.2026,10\n")
    assert said in str(error.value)
    assert speaks_russian(error.value)
    assert hub.head() == head


def test_an_unregistered_source_is_one_error_and_nothing_is_written(hub: Hub, run: Run) -> None:
    head = hub.head()
    with pytest.raises(MappingError, match="'till' is not registered") as error:
        run(PURCHASES.replace('[register]\ntitle = "Till"\n', ""), "customer,day,sum\n1,01.02.2026,10\n")
    assert speaks_russian(error.value)
    assert hub.head() == head


def test_a_source_registered_otherwise_since_is_left_alone(hub: Hub, run: Run) -> None:
    run(PURCHASES, "customer,day,sum\n")
    hub.do({"command": "register_source", "name": "till", "title": "Till", "trust": 0.9})
    run(PURCHASES, "customer,day,sum\n")
    assert [event.trust for event, _ in opened(hub, "source_registered")] == ["0.5", "0.9"]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (b"day,day,sum\n", "rows.csv", "two columns have one name"),
        (b"", "rows.csv", "no header line"),
        ("customer,day,sum\n".encode("utf-16"), "rows.csv", "UTF-16"),
        (b"", "rows.xlsx", "cannot tell its format"),
    ],
)
def test_what_is_no_table_of_rows_is_said(run: Run, text: bytes, name: str, said: str) -> None:
    with pytest.raises(FileError, match=said) as error:
        run(PURCHASES, text, name)
    assert speaks_russian(error.value)


def test_what_is_not_there_or_cannot_be_written_is_said(hub: Hub, tmp_path: Path) -> None:
    rows, mapping = tmp_path / "rows.csv", tmp_path / "map.toml"
    with pytest.raises(MappingError, match=r"map\.toml: no such file") as error:
        import_file(hub, rows, mapping)
    assert speaks_russian(error.value)
    mapping.write_text(PURCHASES)
    with pytest.raises(FileError, match=r"rows\.csv: no such file") as no_rows:
        import_file(hub, rows, mapping)
    assert speaks_russian(no_rows.value)
    rows.write_text("customer,day,sum\n1,someday,10\n")
    with pytest.raises(FileError, match="it is a folder; choose another place with --report") as no_report:
        import_file(hub, rows, mapping, report=tmp_path)
    assert speaks_russian(no_report.value)


def speaks_russian(error: MappingError | FileError) -> bool:
    return bool(re.search("[а-я]", in_words(error, "ru")))


def test_every_flaw_has_the_same_places_in_both_languages() -> None:
    for english, russian in FLAWS.values():
        assert sorted(re.findall(r"(?<!{){\w+", english)) == sorted(re.findall(r"(?<!{){\w+", russian))


def test_columns_separated_by_spaces_and_without_a_header(run: Run) -> None:
    layout = '[file]\nformat = "spaces"\nheader = false\ncolumns = ["customer", "day", "sum"]\n[register]'
    summary, _ = run(PURCHASES.replace("[register]", layout), "  1   01.02.2026  10\r\n 2 01.02.2026 3,5", "rows.txt")
    assert (summary.rows, summary.new) == (2, 2)


def test_the_whole_file_is_never_in_memory(hub: Hub, tmp_path: Path) -> None:
    """Rows are read as commands are taken, a slice or two ahead."""
    from adapters.importer import _Import
    from adapters.importer.checkpoint import Checkpoints
    from adapters.importer.mapping import Mapped
    from adapters.importer.rows import Rows

    (tmp_path / "map.toml").write_text(PURCHASES)
    file = tmp_path / "rows.csv"
    file.write_text("customer,day,sum\n" + "1,01.02.2026,10\n" * 50_000)
    mapped = Mapped(tmp_path / "map.toml")
    with Rows(file, mapped.layout) as rows:
        checkpoints = Checkpoints(hub, file, mapped.text)
        running = _Import(mapped, tmp_path / "map.toml", rows, Summary("rows.csv"), Report(None), checkpoints)
        list(islice(running._commands(), 100))
        assert running.summary.rows == 100
        assert rows.read() < rows.total / 2


def test_the_summary_speaks_english_and_russian() -> None:
    summary = Summary("a/rows.csv", rows=12345, new=12000, refused=345, seconds=3.21, report="r.csv")
    assert summary.text("en") == "rows.csv: 12,345 rows, new: 12,000, rows refused: 345; took 3.2 s\nSee r.csv"
    assert summary.text("ru").startswith("rows.csv: 12\u00a0345 строк, новых: 12\u00a0000, строк отклонено: 345;")
    assert (language({"LANG": "ru_RU.UTF-8"}), language({"HUB_LANG": "en", "LANG": "ru_RU"}), language({})) == (
        "ru",
        "en",
        "en",
    )


def test_the_mapping_in_the_documentation_works(run: Run) -> None:
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    summary, report = run(
        example,
        "Client ID;Surname;Born;Segment;Phones;Last order;Sum\n"
        "1;Petrova;04.11.87;A;8 912 345-67-81;01.02.2026 10:00;1 200,50\n"
        "2;Ivanov;04.11.1987;B;;;\n",
    )
    assert (summary.rows, summary.new, report) == (2, 3, [])

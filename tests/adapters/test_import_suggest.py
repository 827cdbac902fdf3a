"""Suggesting a mapping: headers in two languages, samples where headers do not tell, and always one that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adapters.demo import FILES, HERE
from adapters.importer import FileError, import_file
from adapters.importer.suggest import Suggestion, suggest
from adapters.importer.suggest.headers import MEANINGS, meaning_of, plain
from adapters.importer.suggest.samples import dates_of, number_of
from adapters.importer.suggest.words import DOUBTS
from hub.wiring import Hub

ROOT = Path(__file__).parents[2]
RUSSIAN = """№ п/п;ФИО;Дата рожд.;Моб. тел.;Тел. дом.;Эл. почта;ИНН;СНИЛС;Дата покупки;Сумма, руб.;Канал;Менеджер
1;Соколова Анна Игоревна;04.11.1987;8 (912) 345-67-81;+7 343 311-22-33;;500100732259;;14.02.2026;12 450,00;Сайт;Ян
2;Кузнецов Михаил Андреевич;30.06.1979;8-921-555-01-02;;a@example.ru;7707083893;;01.03.2026;1 999,90;Магазин;Ян
3;Иванов Пётр Сергеевич;1.12.1990;9035550103;;p@example.ru;;112-233-445 95;02.03.2026;540,50;Авито;Ян
"""
ENGLISH = """Customer ID,First Name,Surname,DOB,Mobile,E-mail,City,Order date,Order total
C-17,Anna,Smith,04/25/1987,(702) 919-1300,anna@example.com,Las Vegas,2026-02-14T10:00:00-08:00,"1,200.50"
C-18,John,Doe,01/14/1990,(702) 919-1301,,Reno,2026-02-15T11:30:00-08:00,99.90
"""
TRANSLITERATED = """id_klienta\tFamiliya\tImya\tOtchestvo\tData_rozhdeniya\tTelefon\tPochta\tGorod\tSumma\tData_pokupki
17\tSokolova\tAnna\tIgorevna\t1987-11-04\t+79123456781\ta@example.ru\tTomsk\t1200.50\t2026-02-14 10:00
18\tPetrov\tIvan\tIvanovich\t1990-01-14\t+79123456782\t\tOmsk\t1300.00\t2026-02-15 11:00
"""


def suggested(folder: Path, text: str, name: str = "rows.csv", encoding: str = "utf-8") -> tuple[Any, Suggestion]:
    """The suggestion, read as TOML, and as it is."""
    file = folder / name
    file.write_bytes(text.encode(encoding))
    found = suggest(file, "en", "RU")
    return tomllib.loads(found.mapping), found


@pytest.mark.parametrize("encoding", ["cp1251", "utf-8", "utf-8-sig"])
def test_a_russian_export_in_any_encoding(hub: Hub, tmp_path: Path, encoding: str) -> None:
    mapping, found = suggested(tmp_path, RUSSIAN, "клиенты 2026.csv", encoding)
    assert mapping["file"] == {"format": "csv", "encoding": encoding, "delimiter": ";"}
    assert mapping["name"] == mapping["source"] == "klienty-2026"
    mobile = {"column": "Моб. тел.", "type": "phone", "region": "RU"}
    assert mapping["key"] == mobile  # The number of a row is nobody's key.
    assert mapping["customer"] == {
        "facts": {
            "name": "ФИО",
            "birth_date": {"column": "Дата рожд.", "type": "date", "format": "%d.%m.%Y"},
            "phone": {"column": "Тел. дом.", "type": "phone", "region": "RU"},
        },
        "identifiers": {"phone": mobile, "email": "Эл. почта", "inn": "ИНН", "snils": "СНИЛС"},
    }
    (touch,) = mapping["touch"]
    assert touch["occurred_at"]["format"] == "%d.%m.%Y"
    assert touch["data"]["amount"] == {"column": "Сумма, руб.", "type": "decimal", "point": ",", "thousands": " "}
    assert touch["channel"]["map"] == {"Сайт": "web", "Магазин": "shop", "*": "other"}
    assert "Not mapped, but kept sealed with the row: № п/п, Менеджер" in found.mapping
    first = found.rows[0]["commands"]
    assert [command["command"] for command in first] == ["identify_customer", "record_touch"]
    assert first[1]["data"] == {"amount": "12450.00"}
    (tmp_path / "map.toml").write_text(found.mapping)
    summary = import_file(hub, tmp_path / "клиенты 2026.csv", tmp_path / "map.toml")
    assert (summary.rows, summary.new, summary.refused, summary.quarantined) == (3, 6, 0, 0)


def test_an_english_export(hub: Hub, tmp_path: Path) -> None:
    mapping, found = suggested(tmp_path, ENGLISH)
    assert mapping["key"] == "Customer ID"
    assert mapping["customer"]["facts"] == {
        "first_name": "First Name",
        "last_name": "Surname",
        "birth_date": {"column": "DOB", "type": "date", "format": "%m/%d/%Y"},  # The 25th is no month.
        "city": "City",
    }
    assert mapping["customer"]["identifiers"]["phone"]["region"] == "US"
    (touch,) = mapping["touch"]
    assert touch["occurred_at"] == {"column": "Order date", "type": "time", "format": "iso"}
    assert touch["data"]["amount"] == {"column": "Order total", "type": "decimal", "thousands": ","}
    (tmp_path / "map.toml").write_text(found.mapping)
    summary = import_file(hub, tmp_path / "rows.csv", tmp_path / "map.toml")
    assert (summary.new, summary.refused, summary.quarantined) == (4, 0, 0)


def test_russian_headers_in_latin_letters(tmp_path: Path) -> None:
    mapping, _ = suggested(tmp_path, TRANSLITERATED, "rows.txt")
    assert mapping["file"]["delimiter"] == "\t"
    assert mapping["key"] == "id_klienta"
    facts = mapping["customer"]["facts"]
    assert (facts["last_name"], facts["first_name"], facts["patronymic"]) == ("Familiya", "Imya", "Otchestvo")
    assert facts["birth_date"]["column"] == "Data_rozhdeniya"
    assert mapping["customer"]["identifiers"]["email"] == "Pochta"
    assert mapping["touch"][0]["occurred_at"]["zone"] == "Europe/Moscow"


def test_samples_decide_where_headers_do_not(tmp_path: Path) -> None:
    mapping, found = suggested(
        tmp_path,
        "a,b,c,d,e,f,g\n"
        "X-1,anna@example.ru,+7 912 345-67-81,112-233-445 95,500100732259,Анна Игоревна Соколова,04.11.1987\n"
        "X-2,ivan@example.ru,8 912 345-67-82,112-233-445 95,7707083893,Иван Иванович Петров,30.06.1979\n",
    )
    assert mapping["key"] == "a"
    assert mapping["customer"]["facts"]["name"] == "f"
    assert mapping["customer"]["facts"]["birth_date"]["column"] == "g"
    assert mapping["customer"]["identifiers"]["email"] == "b"
    assert mapping["customer"]["identifiers"]["phone"]["column"] == "c"
    assert mapping["customer"]["identifiers"]["snils"] == "d"
    assert mapping["customer"]["identifiers"]["inn"] == "e"
    assert found.mapping.count("? By what stands in the rows.") == 6


def test_a_header_that_samples_contradict_is_not_believed(tmp_path: Path) -> None:
    mapping, _ = suggested(tmp_path, "id,phone,Контакт\n7,a@example.ru,8 912 345-67-81\n8,b@example.ru,89123456782\n")
    identifiers = mapping["customer"]["identifiers"]
    assert (identifiers["email"], identifiers["phone"]["column"]) == ("phone", "Контакт")


def test_what_fails_its_check_is_counted_in_a_comment(tmp_path: Path) -> None:
    _, found = suggested(tmp_path, "id,ИНН\n1,7707083893\n2,7707083894\n3,500100732259\n")
    assert 'inn = "ИНН"  # ? 1 of 3 samples fail the check; those are set aside.' in found.mapping


def test_several_values_of_a_cell_are_taken_apart(tmp_path: Path) -> None:
    mapping, _ = suggested(tmp_path, 'id,Телефоны\n1,"8 912 345-67-81, 8 912 345-67-82"\n2,8 912 345-67-83\n')
    assert mapping["customer"]["identifiers"]["phone"]["split"] == ","


@pytest.mark.parametrize(
    ("samples", "formats", "either"),
    [
        (["04.11.1987", "1.12.90"], ["%d.%m.%Y", "%d.%m.%y"], False),
        (["04/25/1987", "01/02/1990"], ["%m/%d/%Y"], False),
        (["25/04/1987", "01/02/1990"], ["%d/%m/%Y"], False),
        (["04/05/1987", "01/02/1990"], ["%d/%m/%Y"], True),
        (["3/31/1954", "1/7/80", "2/7/81", "3/8/82"], ["%m/%d/%y", "%m/%d/%Y"], False),
        (["19870425"], ["%Y%m%d"], False),
        (["14.02.2026 18:05", "14.02.2026 18:05:10"], ["%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"], False),
        (["2026-02-14T10:00:00+03:00"], ["iso"], False),
        (["1771053000"], ["unix"], False),
    ],
)
def test_dates_tell_their_formats_and_their_order(samples: list[str], formats: list[str], either: bool) -> None:
    found = dates_of(samples, month_first=False)
    assert found is not None
    assert (found[0].formats, found[0].either, found[1]) == (formats, either, len(samples))


@pytest.mark.parametrize(
    ("samples", "point", "thousands", "either"),
    [
        (["12 450,00", "99"], ",", " ", False),
        (["12,450.00", "99.5"], ".", ",", False),
        (["12.450,00"], ",", ".", False),
        (["1,5", "2"], ",", "", False),
        (["1,999"], ",", "", True),
        (["11.77"], ".", "", False),
    ],
)
def test_numbers_tell_their_point(samples: list[str], point: str, thousands: str, either: bool) -> None:
    number, share = number_of(samples, comma_is_point=True)
    assert (number, share) == ((point, thousands, either), 1.0)


def test_an_order_of_day_and_month_that_cannot_be_told_is_marked(tmp_path: Path) -> None:
    _, found = suggested(tmp_path, "id,birth date\n7,04/05/1987\n8,01/02/1990\n")
    assert "# ? Day and month could as well be the other way round." in found.mapping


def test_quotes_and_headers_are_found_out(tmp_path: Path) -> None:
    mapping, _ = suggested(tmp_path, "'customer id','name'\n'1','Smith, John'\n'2','Doe, Jane'\n")
    assert (mapping["file"]["quote"], mapping["customer"]["facts"]["name"]) == ("'", "name")
    mapping, found = suggested(tmp_path, "17|04/25/1987|a@example.com\n18|01/14/1990|b@example.com\n", "rows.txt")
    assert (mapping["file"]["header"], mapping["file"]["columns"]) == (False, ["column 1", "column 2", "column 3"])
    assert len(found.rows) == 2
    mapping, _ = suggested(tmp_path, "id,Телефон,Телефон,\n1,+79123456781,+79123456782,x\n2,,,\n")
    assert mapping["file"]["columns"] == ["id", "Телефон", "Телефон (3)", "column 4"]


def test_a_name_with_anything_in_it_is_written_as_toml(tmp_path: Path) -> None:
    mapping, _ = suggested(tmp_path, '"E-mail ""work"" \\ [1]",id\na@example.ru,7\n')
    assert mapping["customer"]["identifiers"]["email"] == 'E-mail "work" \\ [1]'
    mapping, _ = suggested(tmp_path, '{"id": 7, "a.b": {"email": "a@example.ru"}}\n', "rows.ndjson")
    assert mapping["customer"]["identifiers"]["email"] == ["a.b", "email"]


@pytest.mark.parametrize("text", ["a;b\n1;2\n", "x\n", "1\n2\n", '"a\n', "id,when,sum\n7,14 февраля 2026,1 200 руб.\n"])
def test_where_nothing_is_recognised_the_mapping_still_works(tmp_path: Path, text: str) -> None:
    mapping, found = suggested(tmp_path, text)
    assert mapping["customer"] == {"raw": True}
    assert all(row["commands"][0]["raw"] for row in found.rows)


def test_parquet_is_suggested_for_as_well(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"customer_id": ["7", "8"], "email": ["a@example.ru", None]}), tmp_path / "rows.parquet")
    found = suggest(tmp_path / "rows.parquet", "en", "RU")
    assert tomllib.loads(found.mapping)["file"] == {"format": "parquet"}
    assert [row["commands"][0]["key"] for row in found.rows] == ["7", "8"]


@pytest.mark.parametrize(("file", "shipped"), FILES.items())
def test_what_is_suggested_for_the_demo_says_most_of_what_its_mappings_say(file: str, shipped: str) -> None:
    found = tomllib.loads(suggest(HERE / file, "ru", "RU").mapping)
    by_hand = tomllib.loads((HERE / shipped).read_text())
    assert found["key"] == by_hand["key"]
    rows = (HERE / file).read_bytes().decode("cp1251" if "russian" in file else "utf-8")
    for table in ("facts", "identifiers"):
        for name, spec in by_hand.get("customer", {}).get(table, {}).items():
            column = spec["column"] if isinstance(spec, dict) and "column" in spec else spec
            if isinstance(column, str) and column.rpartition(".")[2] in rows and not name.startswith("x-"):
                said = found["customer"][table][name]
                assert (said["column"] if isinstance(said, dict) else said) == column
    for touch in by_hand.get("touch", []):
        assert found["touch"][0]["data"]["amount"]["column"] == touch["data"]["amount"]["column"]


def test_the_demo_goes_in_by_what_was_suggested(hub: Hub, tmp_path: Path) -> None:
    for file in FILES:
        found = suggest(HERE / file, "en", "RU").mapping
        (tmp_path / "map.toml").write_text(found)
        if "cdnow" in file:  # The beginning of a long one.
            beginning = (HERE / file).read_text().splitlines(keepends=True)[:500]
            (tmp_path / "CDNOW_master.txt").write_text("".join(beginning))
            assert import_file(hub, tmp_path / "CDNOW_master.txt", tmp_path / "map.toml").refused == 0
        else:
            summary = import_file(hub, HERE / file, tmp_path / "map.toml")
            assert summary.new > 0
            assert summary.refused <= summary.rows / 10


def test_every_phrase_of_a_header_is_as_it_is_looked_up() -> None:
    phrases = [phrase.strip() for phrases in MEANINGS.values() for phrase in phrases.split(",")]
    assert [phrase for phrase in phrases if plain(phrase) != phrase] == []
    assert sorted(phrases) == sorted(set(phrases))  # None means two things.
    assert (meaning_of("Дата_рожд."), meaning_of("lastName"), meaning_of("PHONE_TYPE")) == (
        ("birth_date", True),
        ("last_name", True),
        (None, False),
    )


def test_what_a_suggestion_says_exists_in_both_languages(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(RUSSIAN)
    assert "Предложено для rows.csv по строкам: 3" in suggest(file, "ru", "RU").mapping
    for english, russian in DOUBTS.values():
        assert english.count("{") == russian.count("{")


def test_a_file_with_nothing_in_it_is_said(tmp_path: Path) -> None:
    for name in ("rows.csv", "rows.ndjson"):
        with pytest.raises(FileError, match=r"no header line|nothing in it to suggest from"):
            suggested(tmp_path, "", name)
    with pytest.raises(FileError, match="cannot tell its format"):
        suggested(tmp_path, "PK\x03\x04\x00\x00", "rows.xlsx")
    with pytest.raises(FileError, match="no such file"):
        suggest(tmp_path / "none.csv", "en", "RU")


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HUB_DATA": str(folder / "data"), "HUB_LANG": "en"}
    return subprocess.run(
        [sys.executable, "-m", "hub", "import", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_the_terminal_prints_the_mapping_and_beside_it_the_rows_and_opens_no_hub(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(RUSSIAN)
    shown = typed(tmp_path, str(file), "--suggest")
    assert shown.returncode == 0
    assert tomllib.loads(shown.stdout)["file"]["delimiter"] == ";"
    assert "Соколова" not in shown.stdout  # So that keeping the mapping keeps nobody's data.
    assert "Соколова Анна Игоревна" in shown.stderr
    assert not (tmp_path / "data").exists()
    document = json.loads(typed(tmp_path, str(file), "--suggest", "--json").stdout)
    assert document["mapping"] == shown.stdout
    assert [row["line"] for row in document["rows"]] == [2, 3, 4]
    for words in ([], ["--suggest", "--map", str(file)]):
        refused = typed(tmp_path, str(file), *words)
        assert (refused.returncode, "--map MAPPING.toml" in refused.stderr) == (2, True)

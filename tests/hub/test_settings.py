"""Settings, and what is said when a hub cannot be opened with them: which variable, the fix, and no password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.embedded import EmbeddedPostgres
from hub.errors import Misconfigured, WrongKeys
from hub.settings import Periods, Settings
from hub.texts import in_words
from hub.texts.sentences import SENTENCES
from hub.wiring import Hub


def refused(error: Misconfigured) -> str:
    """What is said in Russian, once it is sure that both languages say something."""
    english, russian = in_words(error, "en"), in_words(error, "ru")
    assert not re.search("[а-я]", english)
    assert re.search("[а-я]", russian)
    assert "secret" not in english + russian
    return english


@pytest.mark.parametrize("listen", ["8080", ":8080", "here:", "here:²", "here:65536", "here:-1"])
def test_an_address_must_be_one(listen: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Settings.from_environment({"HUB_LISTEN": listen})
    assert refused(error.value).startswith("HUB_LISTEN must be")


@pytest.mark.parametrize("region", ["XX", "ru", "RUS", "7"])
def test_a_region_must_have_phones(region: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Settings.from_environment({"HUB_REGION": region})
    assert refused(error.value).startswith("HUB_REGION must be")
    assert Settings.from_environment({"HUB_REGION": "KZ"}).region == "KZ"


def test_an_attribute_may_age_faster_slower_or_never() -> None:
    told = Settings.from_environment({"HUB_CONFIRM_AFTER": "phone=180, city=0,x-tariff=30", "HUB_QUARANTINE_DAYS": "7"})
    assert told.periods.confirm_after == {
        "address": 365, "email": 365, "company": 365, "job_title": 365, "phone": 180, "x-tariff": 30,
    }  # fmt: skip
    assert told.periods.quarantine == 7
    assert Settings.from_environment({}).periods == Periods()


@pytest.mark.parametrize("told", ["phone", "phone=x", "phone=-1", "nonsense=3", "phone=99999", "=", "phone:3", ","])
def test_confirmation_intervals_are_attributes_and_days(told: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Settings.from_environment({"HUB_CONFIRM_AFTER": told})
    assert refused(error.value).startswith("HUB_CONFIRM_AFTER lists")


@pytest.mark.parametrize("told", ["0", "-1", "x", "1.5", "99999"])
def test_a_quarantine_lasts_for_some_days(told: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Settings.from_environment({"HUB_QUARANTINE_DAYS": told})
    assert refused(error.value).startswith("HUB_QUARANTINE_DAYS must")


@pytest.mark.parametrize("rate", ["0", "-1", "1.5", "many", "²"])
def test_a_rate_must_be_a_whole_number(rate: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Settings.from_environment({"HUB_RATE": rate})
    assert refused(error.value).startswith("HUB_RATE must be")
    assert Settings.from_environment({"HUB_RATE": "7"}).rate == 7


@pytest.mark.parametrize("zone", ["Nowhere/At_All", "../etc/passwd", "Europe", "\0"])
def test_a_time_zone_must_be_known(zone: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Settings.from_environment({"HUB_TIME_ZONE": zone})
    assert refused(error.value).startswith("HUB_TIME_ZONE must be")
    assert str(Settings.from_environment({"HUB_TIME_ZONE": "Europe/Moscow"}).zone) == "Europe/Moscow"
    assert str(Settings.from_environment({}).zone) == "UTC"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense:secret", "no PostgreSQL URL"),
        ("mysql://hub:secret@127.0.0.1/hub", "no PostgreSQL URL"),
        ("postgresql://hub:secret@[::1/hub", "no PostgreSQL URL"),
        ("postgresql://hub:x@127.0.0.1/hub?secret=secret", "no PostgreSQL URL"),
        ("postgresql://hub:secret@127.0.0.1:1/hub", "nobody answers"),
        ("postgresql://hub:x@secret@nowhere.invalid/hub", "the host is not known"),
        ("postgresql:///hub?host=/nowhere", "nobody answers"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Hub.open(url, tmp_path)
    assert "HUB_DATABASE_URL" in refused(error.value)
    assert said in str(error.value)
    assert error.value.__cause__ is None


def test_a_database_that_is_not_there_is_told(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Hub.open(database_url.replace("@/", "@/no_"), tmp_path)
    assert "there is no such database" in refused(error.value)


@pytest.mark.parametrize("below", ["file/data", "/proc/data"])
def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / below
    monkeypatch.setenv("HUB_DATA", str(folder))
    with pytest.raises(Misconfigured) as error:
        Hub.open()
    assert str(folder) in refused(error.value)
    assert "HUB_DATA" in str(error.value)


def test_keys_that_cannot_be_written_are_told(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured) as error:
        Hub.open(database_url, tmp_path / "file")
    assert str(tmp_path / "file") in refused(error.value)


def test_missing_keys_name_the_database_they_belong_to(
    folder: Path, database_url: str, empty_database_url: str
) -> None:
    Hub.open(database_url, folder, follow=False).close()
    (folder / "keys.json").rename(folder / "moved.json")
    with pytest.raises(WrongKeys) as error:
        Hub.open(database_url, folder)
    assert f"{folder / 'keys.json'} is missing, and the database in HUB_DATABASE_URL" in refused(error.value)
    (folder / "keys.json").write_text("{}")
    with pytest.raises(Misconfigured, match=r"keys\.json are damaged") as damaged:
        Hub.open(database_url, folder)
    refused(damaged.value)
    Hub.open(empty_database_url, folder / "other", follow=False).close()
    (folder / "keys.json").write_text((folder / "other" / "keys.json").read_text())
    with pytest.raises(WrongKeys, match=r"keys\.json do not belong to the database in HUB_DATABASE_URL") as wrong:
        Hub.open(database_url, folder)
    refused(wrong.value)


def test_missing_keys_name_the_embedded_databases_folder(folder: Path) -> None:
    Hub.open(data=folder / "data", follow=False).close()
    (folder / "data" / "keys.json").unlink()
    with pytest.raises(WrongKeys) as error:
        Hub.open(data=folder / "data")
    assert str(EmbeddedPostgres(folder / "data").cluster.folder) in refused(error.value)


def test_a_hub_is_made_only_where_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as error:
        Hub.open(data=tmp_path / "none", make=False)
    assert refused(error.value) == (
        f"There is no hub in {tmp_path / 'none'}; set HUB_DATA or start one with hub serve."
    )
    assert not (tmp_path / "none").exists()


def test_every_sentence_has_the_same_places_in_both_languages() -> None:
    for english, russian in SENTENCES.values():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", russian))
        assert re.search("[а-я]", russian)
        assert not re.search("[а-я]", english)

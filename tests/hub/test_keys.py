"""The key file: made once, for its owner alone, and belonging to one database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hub.errors import Misconfigured, WrongKeys
from hub.installation import KEY_FILE, installation
from hub.keys import Fingerprints, KeyFile


def test_the_key_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = KeyFile.load_or_make(tmp_path / "deep" / KEY_FILE, may_make=True)
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / KEY_FILE]
    assert KeyFile.load_or_make(tmp_path / "deep" / KEY_FILE, may_make=False) == made


def test_a_key_file_is_made_whatever_an_earlier_start_left_behind(tmp_path: Path) -> None:
    stale = tmp_path / f"keys.{os.getpid()}"
    stale.touch()
    made = KeyFile.load_or_make(tmp_path / KEY_FILE, may_make=True)
    assert KeyFile.load_or_make(tmp_path / KEY_FILE, may_make=False) == made


def test_a_key_file_outlasts_a_power_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    link, fsync = os.link, os.fsync

    def watched_link(*names: Path) -> None:
        link(*names)
        done.append("linked")

    def watched_fsync(file: int) -> None:
        fsync(file)
        done.append(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "link", watched_link)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    KeyFile.load_or_make(tmp_path / KEY_FILE, may_make=True)
    assert done == [(tmp_path / KEY_FILE).stat().st_ino, "linked", tmp_path.stat().st_ino]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_key_file_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space"):
        KeyFile.load_or_make(tmp_path / KEY_FILE, may_make=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key_encryption": {}, "fingerprint": "", "receipt": ""}'])
def test_a_damaged_key_file_is_no_key_file(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(Misconfigured):
        KeyFile.load_or_make(tmp_path / KEY_FILE, may_make=True)
    assert (tmp_path / KEY_FILE).read_text() == text


def test_keys_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFile.fresh()
    monkeypatch.setenv("HUB_KEYS", keys.text())
    assert KeyFile.load_or_make(tmp_path / KEY_FILE, may_make=False) == keys
    assert not (tmp_path / KEY_FILE).exists()


def test_starting_again_finds_the_same_installation(database_url: str, tmp_path: Path) -> None:
    assert installation(database_url, tmp_path) == installation(database_url, tmp_path)


def test_the_database_refuses_keys_that_are_not_its_own(database_url: str, tmp_path: Path) -> None:
    right = installation(database_url, tmp_path).keys
    strange = KeyFile.fresh()
    for wrong in (
        strange,
        KeyFile(strange.key_encryption, right.fingerprint, right.receipt),
        KeyFile(right.key_encryption, strange.fingerprint, right.receipt),
        KeyFile(right.key_encryption, right.fingerprint, strange.receipt),
        KeyFile({2: right.key_encryption[1]}, right.fingerprint, right.receipt),
    ):
        (tmp_path / KEY_FILE).write_text(wrong.text())
        with pytest.raises(WrongKeys):
            installation(database_url, tmp_path)


def test_a_lost_key_file_is_not_replaced_by_a_fresh_one(database_url: str, tmp_path: Path) -> None:
    installation(database_url, tmp_path)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(WrongKeys):
        installation(database_url, tmp_path)
    assert not (tmp_path / KEY_FILE).exists()


def test_fingerprints_differ_by_kind_and_by_where_one_value_ends() -> None:
    of = Fingerprints(KeyFile.fresh()).of
    assert of("phone", "1", "2") == of("phone", "1", "2")
    assert len({of("phone", "1", "2"), of("phone", "12"), of("email", "1", "2"), of("phone", "", "12")}) == 4


def test_two_databases_share_no_fingerprint() -> None:
    assert Fingerprints(KeyFile.fresh()).of("phone", "1") != Fingerprints(KeyFile.fresh()).of("phone", "1")

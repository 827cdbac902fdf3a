"""The file that says which doors there are: what is wrong with it is told by place and fix, and no secret is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.inbound.doors import Door, doors_of
from hub.errors import Misconfigured
from hub.settings import Settings
from hub.texts import in_words
from tests.adapters.inbound.senders import SENDGRID_PUBLIC, STANDARD_SECRET, telegram

GOOD = f"""
[bot]
format = "telegram"
source = "tg"
secret_env = ["OLD_SECRET", "NEW_SECRET"]
[sms]
format = "twilio"
source = "sms"
secret = ["one", "other"]
url = "https://hub.example.org:8443/v1/channels/sms"
[mail]
format = "sendgrid"
source = "mail"
secret = "{SENDGRID_PUBLIC}"
[partner]
format = "standard-webhooks"
source = "shop"
secret = "{STANDARD_SECRET}"
[inside]
format = "standard-webhooks"
source = "shop"
signature = "none"
"""


def doors(folder: Path, text: str, mode: int = 0o640) -> dict[str, Door]:
    file = folder / "channels.toml"
    file.write_text(text, "utf-8")
    file.chmod(mode)
    return doors_of(Settings.from_environment({"HUB_DATA": str(folder)}))


def test_a_door_has_a_name_a_format_a_source_and_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_SECRET", "old")
    monkeypatch.setenv("NEW_SECRET", "new newer")
    found = doors(tmp_path, GOOD)
    assert {name: (door.source, len(door.keys)) for name, door in found.items()} == {
        "bot": ("tg", 3), "sms": ("sms", 2), "mail": ("mail", 1), "partner": ("shop", 1), "inside": ("shop", 0),
    }  # fmt: skip
    for secret in ("old", "new", "newer"):
        assert found["bot"].refuses(telegram({}, secret).delivered(), 0) is None
    assert found["bot"].refuses(telegram({}, "newest").delivered(), 0) == "wrong"


def test_without_the_file_there_are_no_doors_but_one_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert doors_of(Settings.from_environment({"HUB_DATA": str(tmp_path)})) == {}
    with pytest.raises(Misconfigured, match=r"nowhere\.toml: no such file"):
        doors_of(Settings.from_environment({"HUB_CHANNELS": str(tmp_path / "nowhere.toml")}))


def test_a_secret_is_nothing_for_everybody_to_read_but_a_public_key_is(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"bot\.secret: everybody .* chmod 600"):
        doors(tmp_path, f'[bot]\n{BOT}secret = "s3cret"', mode=0o644)
    assert doors(tmp_path, f'[m]\nformat = "sendgrid"\nsource = "m"\nsecret = "{SENDGRID_PUBLIC}"', mode=0o644)
    assert doors(tmp_path, f'[bot]\n{BOT}signature = "none"', mode=0o644)


BOT = 'format = "telegram"\nsource = "tg"\n'


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("[", "", "not TOML"),
        (f'[segment]\n{BOT}secret = "s3cret"', "segment", "taken"),
        (f'["a b"]\n{BOT}secret = "s3cret"', "a b", "name the door"),
        (f'[b79161234567]\n{BOT}secret = "s3cret"', "b79161234567", "name the door"),
        ("bot = 5", "bot", "[bot]"),
        (f'[bot]\n{BOT}secret = "s3cret"\ncolour = 1', "bot.colour", "no such key"),
        ('[bot]\nformat = "fax"\nsource = "tg"\nsecret = "s3cret"', "bot.format", "telegram, twilio"),
        ('[bot]\nsource = "tg"\nsecret = "s3cret"', "bot.format", "telegram, twilio"),
        ('[bot]\nformat = "telegram"\nsecret = "s3cret"', "bot.source", "name the source"),
        ('[bot]\nformat = "telegram"\nsource = "T G"\nsecret = "s3cret"', "bot.source", "name the source"),
        (f"[bot]\n{BOT}", "bot.secret", "signature ="),
        (f'[bot]\n{BOT}secret = "s3cret"\nsignature = "none"', "bot.signature", "leave out either"),
        (f'[bot]\n{BOT}secret = ""', "bot.secret", "cannot be a secret"),
        (f'[bot]\n{BOT}secret = "s3cret s3cret"', "bot.secret", "cannot be a secret"),
        (f"[bot]\n{BOT}secret = 5", "bot.secret", "list of texts"),
        (f"[bot]\n{BOT}secret = []", "bot.secret", "give the secret"),
        (f'[bot]\n{BOT}secret_env = "NOWHERE"', "bot.secret_env", "NOWHERE"),
        (f'[bot]\n{BOT}signature = "some"', "bot.signature", "none"),
        (f'[bot]\n{BOT}secret = "s3cret"\nurl = "https://a.example"', "bot.url", "leave it out"),
        ('[sms]\nformat = "twilio"\nsource = "sms"\nsecret = "s3cret"', "sms.url", "/v1/channels/sms"),
        ('[sms]\nformat = "twilio"\nsource = "sms"\nsecret = "s3cret"\nurl = "https://a/?b=c"', "sms.url", "write the"),
        ('[sms]\nformat = "twilio"\nsource = "sms"\nsecret = "s3cret"\nurl = "https://a:b/"', "sms.url", "write the"),
        ('[sms]\nformat = "twilio"\nsource = "sms"\nsecret = "s3cret"\nurl = ["a"]', "sms.url", "a text"),
        ('[m]\nformat = "sendgrid"\nsource = "m"\nsecret = "s3cret"', "m.secret", "copy it once more"),
    ],
)
def test_what_is_wrong_is_told_by_place_and_fix(tmp_path: Path, text: str, place: str, fix: str) -> None:
    with pytest.raises(Misconfigured) as error:
        doors(tmp_path, text)
    english, russian = (in_words(error.value, language) for language in ("en", "ru"))
    assert english.startswith(f"{tmp_path / 'channels.toml'}: {place}")
    assert fix in english
    assert "s3cret" not in english + russian
    assert re.search("[а-я]", russian.removeprefix(str(tmp_path))) or fix == "not TOML"

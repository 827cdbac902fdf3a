"""The file of feeds is checked whole: what cannot be is told with its place and the fix, and no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from adapters.outbound.address import checked
from adapters.outbound.carrier import Failure
from adapters.outbound.destinations import destinations
from adapters.outbound.envelope import let_out, message
from adapters.outbound.words import _FAILURES, failure
from hub.errors import Misconfigured
from hub.settings import Settings
from hub.texts import in_words
from tests.support.events import NOON
from tests.support.feeds import SECRET, read, webhook, written

URL = "https://crm.example/hub?token=geheim"


def refused(data: Path, *feeds: dict[str, Any]) -> str:
    """What is said in English, once it is sure that Russian is said, too, and nothing that may be secret."""
    with pytest.raises(Misconfigured) as error:
        read(data, *feeds)
    english, russian = in_words(error.value, "en"), in_words(error.value, "ru")
    assert not re.search("[а-я]", english)
    assert re.search("[а-я]", russian)
    assert "geheim" not in english + russian
    assert str(data / "feeds.toml") in english
    return english


def test_without_a_file_nothing_is_sent(tmp_path: Path) -> None:
    assert destinations(Settings.from_environment({"HUB_DATA": str(tmp_path)})) == []


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such file"):
        destinations(Settings.from_environment({"HUB_FEEDS": str(tmp_path / "other.toml")}))


def test_what_is_not_said_is_as_careful_as_can_be(tmp_path: Path) -> None:
    (made,) = read(tmp_path, {"url": URL, "secret": SECRET})
    assert (made.private, made.role, made.types) == (False, None, None)
    assert not made.open
    assert SECRET not in repr(made)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"kind": "geheim"}, "feed.crm.kind: write one of: webhook, nats"),
        ({"name": "Geheim"}, "feed.Geheim.name: give it a name"),
        ({"nonsense": "geheim"}, "feed.crm.nonsense: there is no such key"),
        ({"stream": "geheim"}, "feed.crm.stream: there is no such key"),
        ({"url": "http://crm.example/geheim"}, "feed.crm.url: unencrypted only within"),
        ({"url": "ftp://crm.example/geheim"}, "feed.crm.url: write https://host/path"),
        ({"url": "https://user:geheim@crm.example/"}, "feed.crm.url: write https://host/path"),
        ({"url": "https://crm.example:geheim/"}, "feed.crm.url: write https://host/path"),
        ({"url": "https://crm.example/\\u000dgeheim"}, "feed.crm.url: write https://host/path"),
        ({"url": ""}, "feed.crm.url: write https://host/path"),
        ({"secret": "geheim"}, "feed.crm.secret: give it a secret"),
        ({"secret": "whsec_Z2VoZWlt"}, "feed.crm.secret: give it a secret"),
        ({"secret": []}, "feed.crm.secret: give it a secret"),
        ({"secret": 7}, "feed.crm.secret: write a list of texts"),
        ({"secret_env": "HUB_NOWHERE"}, "feed.crm.secret_env: the variable HUB_NOWHERE is not set"),
        ({"types": ["geheim"]}, None),
        ({"types": "nonsense"}, "feed.crm.types: nonsense is no type of event"),
        ({"start": "geheim"}, "feed.crm.start: write one of: beginning, now"),
        ({"private": "geheim"}, "feed.crm.private: write true or false"),
        ({"give_up_after": 0}, "feed.crm.give_up_after: write a whole number"),
        ({"ca": "geheim.pem"}, "feed.crm.ca: there are no certificates"),
        ({"open": ["facts_stated"]}, "feed.crm.open: write the type of event"),
        ({"open": ["facts_stated.facts"]}, "feed.crm.open: nothing sealed may be opened without a role"),
        *(
            ({"open": ["facts_stated.facts"], "role": role}, "feed.crm.open: nothing sealed may be opened")
            for role in ("channel", "analyst", "admin", "auditor", "geheim")
        ),
        ({"role": "geheim"}, "feed.crm.role: write one of"),
        ({"open": ["facts_stated.raw"], "role": "steward"}, "feed.crm.open: the role steward does not see raw"),
        (
            {"open": ["facts_stated.facts"], "role": "operator", "types": ["touch_recorded"]},
            "feed.crm.open: facts_stated is not among the types",
        ),
        ({"kind": "nats", "url": "tls://mq.example", "secret": []}, "feed.crm.stream: name the stream"),
        ({"kind": "nats", "url": "nats://mq.example", "secret": [], "stream": "HUB"}, "unencrypted only within"),
        ({"kind": "nats", "url": URL, "secret": [], "stream": "HUB"}, "feed.crm.url: write tls://host:4222"),
        ({"kind": "nats", "url": "tls://mq", "secret": [], "stream": "H", "subject": "a.>"}, "feed.crm.subject: write"),
        (
            {"kind": "nats", "url": "tls://mq", "secret": ["geheim", "geheim-too"], "stream": "H"},
            "feed.crm.secret: a NATS server is shown one token",
        ),
    ],
)
def test_what_cannot_be_is_told_with_place_and_fix(tmp_path: Path, told: dict[str, Any], said: str | None) -> None:
    if said is None:
        with pytest.raises(Misconfigured):
            read(tmp_path, {"url": URL, "secret": SECRET, **told})
    else:
        assert said in refused(tmp_path, {"url": URL, "secret": SECRET, **told})


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "feed.crm.name: another one has this name" in refused(tmp_path, webhook(URL), webhook(URL))


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, {"url": URL, "secret": SECRET})
    settings = Settings.from_environment({"HUB_DATA": str(tmp_path)})
    file.chmod(0o604)
    with pytest.raises(Misconfigured, match="chmod 600"):
        destinations(settings)
    monkeypatch.setenv("CRM_SECRET", SECRET)
    written(tmp_path, {"url": URL, "secret_env": "CRM_SECRET"}).chmod(0o604)
    assert destinations(settings)[0].secrets


@pytest.mark.parametrize("text", ["[[feed]", 'secret = "geheim', "feed = 1", "feed = [1]"])
def test_what_is_no_toml_or_no_list_of_feeds_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "feeds.toml").write_text(text, "utf-8")
    with pytest.raises(Misconfigured) as error:
        destinations(Settings.from_environment({"HUB_DATA": str(tmp_path)}))
    assert "geheim" not in in_words(error.value, "en")
    assert str(tmp_path / "feeds.toml") in in_words(error.value, "ru")


def test_a_role_sees_what_it_sees_elsewhere_and_compliance_everything(tmp_path: Path) -> None:
    (made,) = read(tmp_path, webhook(URL, role="operator", open=["facts_stated.facts", "touch_recorded.content.text"]))
    assert made.open == {"facts_stated": (("facts",),), "touch_recorded": (("content", "text"),)}
    (made,) = read(tmp_path, webhook(URL, role="compliance", open="facts_stated.raw"))
    assert made.open == {"facts_stated": (("raw",),)}


OUTSIDE = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
OWN = ("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "::1", "fd12::1")
NEVER = (
    "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.192", "168.63.129.16",
    "100.100.100.200", "198.18.0.1", "203.0.113.1", "::", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "fe80::1",
    "fe80::1%1", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "2001::1", "fd00:ec2::254",
    "fd20:ce::254", "fd00:c1::a9fe:a9fe",
)  # fmt: skip


def may(*addresses: str, private: bool = False, encrypted: bool = True) -> bool:
    try:
        found = checked(addresses, private=private, encrypted=encrypted)
    except Failure:
        return False
    return [str(each) for each in found] == [*addresses]


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_may_be_sent_to_where_that_is_encrypted(address: str) -> None:
    assert may(address)
    assert may(address, private=True)
    assert not may(address, private=True, encrypted=False)


@pytest.mark.parametrize("address", OWN)
def test_an_address_of_ones_own_only_where_that_is_said(address: str) -> None:
    assert not may(address)
    assert not may(OUTSIDE[0], address)
    assert may(address, private=True)
    assert may(address, private=True, encrypted=False)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("private", [False, True])
def test_what_is_reserved_is_never_sent_to(address: str, private: bool) -> None:
    assert not may(address, private=private)
    assert not may(OUTSIDE[1], address, private=private)


def test_an_event_is_a_cloud_event() -> None:
    stored = {
        "v": 1, "schema": 2, "occurred_at": NOON, "principal": "p", "role": "local", "source": "shop",
        "correlation": "c", "body": {"record": "r", "kind": "visit"},
    }  # fmt: skip
    made = message("/hub/t/main", 3_000_000_000, "e", "touch_recorded", NOON, stored)
    assert made[:3] == (3_000_000_000, "e", "touch_recorded")
    assert made.data == (
        b'{"specversion":"1.0","id":"e","source":"/hub/t/main","type":"hub.touch_recorded",'
        b'"time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","position":"3000000000",'
        b'"recordedat":"2026-03-01T12:00:00Z","schemaversion":2,"subject":"r","origin":"shop","correlationid":"c",'
        b'"data":{"record":"r","kind":"visit"}}'
    )


def test_of_a_seal_only_what_was_named_is_let_out() -> None:
    content = {"facts": {"first_name": "Анна", "address": {"city": "Казань", "street": "…"}}, "raw": {"a": 1}}
    assert let_out(content, [("facts", "address", "city"), ("facts", "first_name")]) == {
        "facts": {"address": {"city": "Казань"}, "first_name": "Анна"}
    }
    assert let_out(content, [("facts", "last_name"), ("facts", "first_name", "x"), ("content",)]) == {}
    assert let_out(content, [("raw",)]) == {"raw": {"a": 1}}


@pytest.mark.parametrize("code", [*_FAILURES, "http_503"])
def test_why_something_fails_is_told_in_both_languages(code: str) -> None:
    told = failure(code)
    assert told.in_("en") != told.in_("ru")

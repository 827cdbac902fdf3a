"""`hub serve` as a process: it starts with nothing, ends cleanly, and a kill loses nothing that was answered."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest

from hub import Hub
from hub.embedded import EmbeddedPostgres
from hub.keys import KeyFile
from tests.adapters.conftest import touch
from tests.support.serving import Server
from tests.support.tally import until


def post(client: httpx2.Client, key: str, command: dict[str, Any]) -> httpx2.Response:
    return client.post("/v1/commands", json=command, headers={"Authorization": f"Bearer {key}"})


def test_the_first_start_makes_two_keys_and_says_them_once(server: Server) -> None:
    kept = Path(server.environment["HUB_DATA"]) / "first-keys.txt"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().split() == [
        word for role in ("admin", "operator") for word in (f"{role}:", server.key(role))
    ]
    with httpx2.Client(base_url=server.base) as client:
        assert post(client, server.key("admin"), {"command": "register_source", "name": "shop"}).status_code == 200
        assert post(client, server.key("operator"), touch("1", source="shop")).status_code == 200
    server.end()
    server.said.clear()
    server.start()
    assert server.said == [f"hub: {server.base}"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_and_takes_its_children_along(server: Server, number: int) -> None:
    children = server.children()
    assert len(children) == 2
    assert server.end(number) == 0
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_told_to_stop_just_before_it_answers_it_ends(folder: Path, database_url: str) -> None:
    program = """
import os, signal
from adapters import serve
before = serve.traced
def told(*given, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    return before(*given, **named)
serve.traced = told
from adapters.cli import main
main()
"""
    server = Server(folder / "data", database_url, program=("-c", program))
    ended = server.hub("serve")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_read_side_and_the_schedule_are_started_again_when_they_die(server: Server) -> None:
    children = server.children()
    for child in children:
        os.kill(child, signal.SIGKILL)
    with httpx2.Client(base_url=server.base, timeout=30) as client:
        position = post(client, server.key("admin"), {"command": "register_source", "name": "shop"}).json()["position"]
        deadline = time.monotonic() + 60
        headers = {"Authorization": f"Bearer {server.key('operator')}"}
        while client.get(f"/v1/read-models?at_least={position}", headers=headers).status_code != 200:
            assert time.monotonic() < deadline
        while len(again := server.children()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not {*again} & {*children}


def test_the_read_side_and_the_schedule_end_when_their_parent_was_killed(server: Server) -> None:
    children = server.children()
    server.end(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def load(
    server: Server, key: str, stop: Event, thread: int, answered: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    """Send commands until the server is gone; tells each that was answered, with its answer."""
    with httpx2.Client(base_url=server.base, timeout=10) as client:
        for n in range(100_000):
            if stop.is_set():
                break
            command = touch(f"{thread}-{n % 10}", source="shop", id=f"{thread}-{n}")
            try:
                answer = post(client, key, command)
            except httpx2.HTTPError:
                break
            if answer.status_code == 200:
                answered.append((command, answer.json()))
            elif answer.status_code != 503:
                raise AssertionError(answer.text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_answered_is_lost_and_nothing_sent_again_is_doubled(server: Server, number: int) -> None:
    with httpx2.Client(base_url=server.base) as client:
        assert post(client, server.key("admin"), {"command": "register_source", "name": "shop"}).status_code == 200
    key = server.key("operator")
    stop = Event()
    with ThreadPoolExecutor(8) as threads:
        answered: list[tuple[dict[str, Any], dict[str, Any]]] = []
        running = [threads.submit(load, server, key, stop, n, answered) for n in range(8)]
        try:
            until(lambda: len(answered) > 50, 60)
            code = server.end(number)
        finally:
            stop.set()
        for each in running:
            each.result()
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    server.start()
    with httpx2.Client(base_url=server.base, timeout=30) as client, ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda pair: post(client, key, pair[0]).json(), answered))
    for (_, first), again in zip(answered, told, strict=True):
        assert again == {**first, "replayed": True}
    written = [event["position"] for _, answer in answered for event in answer["events"]]
    assert len(written) == len(set(written))


def test_a_batch_under_way_ends_in_order_when_the_server_stops(server: Server) -> None:
    with httpx2.Client(base_url=server.base) as client:
        post(client, server.key("admin"), {"command": "register_source", "name": "shop"})
    key = server.key("operator")
    began = Event()

    def lines() -> Iterator[bytes]:
        for n in range(400):
            yield json.dumps(touch(str(n), source="shop", id=f"b-{n}")).encode() + b"\n"
            if n == 50:
                began.set()
            time.sleep(0.02)

    received = b""

    def send() -> None:
        nonlocal received
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        with (
            suppress(httpx2.HTTPError),
            httpx2.Client(base_url=server.base, timeout=30) as client,
            client.stream("POST", "/v1/commands/batch", content=lines(), headers=headers) as answer,
        ):
            for part in answer.iter_bytes():
                received += part

    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send)
        began.wait(20)
        time.sleep(0.3)
        assert server.end() == 0
        sending.result()
    answers = [json.loads(line) for line in received.splitlines() if line.endswith(b"}")]
    done = [each["id"] for each in answers if each["status"] == 200]
    server.start()
    with httpx2.Client(base_url=server.base) as client:
        for id in done:
            again = post(client, key, touch(id.removeprefix("b-"), source="shop", id=id))
            assert again.json()["replayed"] is True


def test_an_address_in_use_is_told(server: Server) -> None:
    told = server.hub("serve")
    assert told.returncode == 1
    assert "HUB_LISTEN" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("words", [("status",), ("card", "1"), ("key", "list"), ("rebuild", "facts")])
def test_a_question_makes_no_hub_where_there_is_none(folder: Path, words: tuple[str, ...]) -> None:
    told = Server(folder / "data", None).hub(*words, HUB_LANG="ru")
    assert told.returncode == 1
    assert f"В {folder / 'data'} нет хаба" in told.stderr
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("command", "setting", "value", "said"),
    [
        ("serve", "HUB_LISTEN", f"{'x' * 70}:80", "HUB_LISTEN"),
        ("serve", "HUB_LISTEN", "192.0.2.1:80", "такого адреса здесь нет"),
        *(
            (command, *rest)
            for command in ("serve", "demo")
            for rest in (
                ("HUB_LISTEN", "127.0.0.1", "HUB_LISTEN задаётся"),
                ("HUB_DATA", "/proc/data", "Папку данных /proc/data использовать нельзя"),
                ("HUB_DATABASE_URL", "postgresql://hub:secret@127.0.0.1:1/hub", "никто не отвечает"),
            )
        ),
    ],
)
def test_what_is_set_up_wrongly_is_one_line(folder: Path, command: str, setting: str, value: str, said: str) -> None:
    told = Server(folder / "data", None).hub(command, **{"HUB_LANG": "ru", setting: value})
    assert told.returncode == 1
    (line,) = told.stderr.splitlines()
    assert said in line
    assert "secret" not in line


def test_first_keys_are_kept_where_there_was_no_folder(folder: Path, database_url: str) -> None:
    server = Server(folder / "data", database_url)
    server.environment["HUB_KEYS"] = KeyFile.fresh().text()
    server.start()
    assert (folder / "data" / "first-keys.txt").exists()
    assert server.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the database as somebody else")
def test_a_database_outside_the_data_folder_is_said_at_the_start(folder: Path) -> None:
    (folder / "home").mkdir(mode=0o700)
    server = Server(folder / "home" / "data", None)
    server.start()
    assert server.end() == 0
    home = (folder / "home" / "data" / "postgres.where").read_text().splitlines()[0]
    assert home in server.said[0]
    (folder / "home" / "data" / "keys.json").unlink()
    assert f"{home}/postgres" in server.hub("status").stderr
    shutil.rmtree(home)


def test_with_nothing_at_all_it_brings_its_own_database(folder: Path) -> None:
    server = Server(folder / "data", None)
    server.start()
    try:
        with httpx2.Client(base_url=server.base) as client:
            assert (
                post(client, server.key("admin"), {"command": "register_source", "name": "shop"}).json()["position"]
                == 1
            )
        status = server.hub("status", "--json")
        assert json.loads(status.stdout)["head"] == 1
    finally:
        assert server.end() == 0


def test_keys_at_the_terminal(server: Server) -> None:
    made = server.hub("key", "create", "--role", "steward", "--person", "Анна", "--days", "30", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    with httpx2.Client(base_url=server.base) as client:
        headers = {"Authorization": f"Bearer {key['key']}"}
        assert client.get("/v1/quarantine", headers=headers).status_code == 200
        listed = json.loads(server.hub("key", "list", "--json").stdout)["items"]
        assert next(each for each in listed if each["id"] == key["id"])["person"] == "Анна"
        assert "secret" not in str(listed)
        assert server.hub("key", "revoke", key["id"]).returncode == 0
        time.sleep(0.6)
        assert client.get("/v1/quarantine", headers=headers).status_code == 401
    plain = server.hub("key", "create", "--role", "auditor")
    assert re.match(r"hub_\w{12}_\S{43}\n", plain.stdout)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("key", "create", "--role", "king"), 2),
        (("key", "create", "--role", "channel"), 2),
        (("key", "create"), 2),
        (("nonsense",), 2),
        (("card",), 2),
        (("key", "revoke", "nothing"), 1),
        (("card", "0198c0de-0000-7000-8000-000000000000"), 1),
        (("card", "nobody"), 1),
        (("key", "list"), 0),
    ],
)
def test_the_terminal_says_how_it_went(folder: Path, database_url: str, words: tuple[str, ...], code: int) -> None:
    told = Server(folder / "data", database_url).hub(*words, HUB_LANG="ru")
    assert told.returncode == code, told.stderr
    assert "Traceback" not in told.stderr
    if code == 1:
        assert re.search("[а-я]", told.stderr)


def test_a_card_at_the_terminal(folder: Path, database_url: str) -> None:
    server = Server(folder / "data", database_url)
    with Hub(database_url, folder / "data") as hub:
        hub.do({"command": "register_source", "name": "shop"})
        id = hub.do(touch("1", source="shop", facts={"first_name": "Иван"}))["customer"]
    assert json.loads(server.hub("card", id, "--json").stdout)["facts"]["first_name"]["value"] == "Иван"
    assert "Иван" in server.hub("card", id).stdout


def test_the_quarantine_at_the_terminal(folder: Path, database_url: str) -> None:
    server = Server(folder / "data", database_url)
    with Hub(database_url, folder / "data") as hub:
        hub.do({"command": "register_source", "name": "shop"})
        items = [hub.do(touch(key, source="shop", identifiers={"phone": "12"})) for key in "12"]
    first, second = (each["quarantined"][0]["item"] for each in items)
    told = server.hub("quarantine", "--reason", "not_a_phone", "--limit", "1").stdout
    assert f"{second}  0 days  shop  identifiers.phone: is not a phone number" in told
    (_, cursor) = told.strip().rsplit(" ", 1)
    assert [
        each["item"] for each in json.loads(server.hub("quarantine", "--cursor", cursor, "--json").stdout)["items"]
    ] == [first]
    assert server.hub("quarantine", "--source", "crm").stdout == "Nothing waits.\n"


def test_while_the_database_is_away_everybody_is_asked_to_come_again(folder: Path) -> None:
    database = EmbeddedPostgres(folder / "elsewhere", durable=False)
    server = Server(folder / "data", database.start())
    server.start()
    try:
        command = {"command": "register_source", "name": "shop", "id": "1"}
        with httpx2.Client(base_url=server.base, timeout=60) as client:
            assert post(client, server.key("admin"), command).status_code == 200
            database.stop()
            headers = {"Authorization": f"Bearer {server.key('operator')}"}
            for _ in range(2):
                began = time.monotonic()
                for answer in (client.get("/v1/read-models", headers=headers), client.get("/v1/status")):
                    assert answer.status_code == 503
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert answer.headers["retry-after"]
                assert time.monotonic() - began < 20
            database = EmbeddedPostgres(folder / "elsewhere", durable=False)
            database.start()
            deadline = time.monotonic() + 30
            while (again := post(client, server.key("admin"), {**command})).status_code != 200:
                assert again.status_code == 503
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert again.json()["replayed"] is True
    finally:
        assert server.end() == 0
        database.stop()

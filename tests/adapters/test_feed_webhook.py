"""Events go out as signed webhooks: in order, at least once, and only where they may."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from adapters.outbound import following
from adapters.outbound import webhook as hook
from adapters.outbound.envelope import Message
from adapters.outbound.places import SQL, letters
from hub import Hub
from tests.support.feeds import OTHER, ROOT, SECRET, feeding, process, read, standing, until, webhook
from tests.support.hubs import many, source, touch
from tests.support.receiver import TAKEN, Answer, Got, Receiver, authority, receiving

(FIVE_LINES,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "feed.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with Hub(database_url, tmp_path / "data") as hub:
        many(hub, source("shop"), *(touch(str(n)) for n in range(5)))
        yield hub


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another sooner."""
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.01)


def failing(times: int, answer: Answer = (500, {})) -> Any:
    """What a receiver answers that fails so often."""
    left = iter(range(times))
    return lambda _: TAKEN if next(left, None) is None else answer


def slowly(_: Got) -> Answer:
    time.sleep(0.002)
    return TAKEN


def test_every_event_arrives_once_and_in_order(hub: Hub, receiver: Receiver, connection: Connection[Any]) -> None:
    with feeding(hub, webhook(receiver.url)):
        until(lambda: len(receiver.taken) == hub.head())
        head = hub.do(touch("more"))["position"]
        until(lambda: len(receiver.taken) == head)
        until(lambda: standing(connection).lag == 0)
    assert receiver.positions == list(range(1, head + 1))
    assert standing(connection).sent == head
    rows = connection.execute("SELECT id::text FROM event WHERE log = 1 ORDER BY position").fetchall()
    assert [each.event["id"] for each in receiver.taken] == [id for (id,) in rows]


def test_another_library_verifies_the_signature_by_each_secret(hub: Hub, receiver: Receiver) -> None:
    with feeding(hub, webhook(f"{receiver.url}/in?key=1", secret=[SECRET, OTHER])):
        until(lambda: bool(receiver.taken))
    got = receiver.taken[0]
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(got.body, dict(got.headers)) == got.event
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(got.body.replace(b"hub.", b"hub_"), dict(got.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(bytes(32)).decode()).verify(got.body, dict(got.headers))
    for body in (got.body, got.body + b" "):
        given = {"headers": got.headers, "body": body}
        with nullcontext() if body == got.body else pytest.raises(AssertionError):
            exec(FIVE_LINES.replace("whsec_…", SECRET), given)
    assert got.headers["webhook-id"] == got.event["id"]
    assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert got.path == "/in?key=1"


def test_of_the_types_asked_for_only_and_from_now_on(hub: Hub, receiver: Receiver, connection: Connection[Any]) -> None:
    before = hub.head()
    with feeding(hub, webhook(receiver.url, types=["touch_recorded"], start="now")):
        many(hub, *(touch(f"new-{n}") for n in range(3)))
        until(lambda: standing(connection).lag == 0)
    assert [each.event["type"] for each in receiver.taken] == ["hub.touch_recorded"] * 3
    assert receiver.positions[0] > before
    assert standing(connection).position == hub.head()


@pytest.mark.usefixtures("quick")
def test_what_fails_is_tried_again_and_holds_back_what_follows(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.answer = failing(4)
    with feeding(hub, webhook(receiver.url)):
        until(lambda: len(receiver.taken) == hub.head())
        until(lambda: standing(connection).lag == 0)
    assert [each.position for each in receiver.got[:5]] == [1, 1, 1, 1, 1]
    assert receiver.positions == list(range(1, hub.head() + 1))
    assert (standing(connection).failures, standing(connection).tries, standing(connection).error) == (4, 0, None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(hub: Hub, receiver: Receiver, status: int, as_date: bool) -> None:
    came: list[float] = []

    def answer(_: Got) -> Answer:
        came.append(time.monotonic())
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return TAKEN if len(came) > 1 else (status, {"Retry-After": at if as_date else "1"})

    receiver.answer = answer
    with feeding(hub, webhook(receiver.url)):
        until(lambda: len(came) > 1)
    assert came[1] - came[0] > 0.9


@pytest.mark.usefixtures("quick")
def test_410_switches_a_destination_off_until_it_is_resumed(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.answer = lambda _: (410, {})
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).disabled)
        time.sleep(0.3)
        assert len(receiver.got) == 1
        receiver.answer = lambda _: TAKEN
        connection.execute(SQL["resume"], ("crm",))
        until(lambda: standing(connection).lag == 0)
    assert receiver.positions == list(range(1, hub.head() + 1))


@pytest.mark.usefixtures("quick")
def test_what_the_receiver_finds_fault_with_becomes_a_dead_letter_and_the_rest_goes_on(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.answer = lambda got: (422, {}) if got.position == 2 else TAKEN
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).lag == 0)
        assert receiver.positions == [1, *range(3, hub.head() + 1)]
        (letter,) = letters(connection, "crm", 10)
        assert (letter.position, letter.error, letter.tries) == (2, "http_422", following.REFUSALS)
        connection.execute(SQL["ask"], {"name": "crm", "event": letter.event})
        until(lambda: not letters(connection, "crm", 10)[0].asked)
        assert letters(connection, "crm", 10)[0].tries == following.REFUSALS + 1
        receiver.answer = lambda _: TAKEN
        connection.execute(SQL["ask"], {"name": "crm", "event": None})
        until(lambda: not letters(connection, "crm", 10))
    assert receiver.positions == [1, *range(3, hub.head() + 1), 2]
    assert receiver.taken[-1].event["id"] == letter.event
    assert standing(connection).sent == hub.head()


@pytest.mark.usefixtures("quick")
def test_what_fails_for_too_long_becomes_a_dead_letter(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.answer = lambda got: (500, {}) if got.position == 3 else TAKEN
    with feeding(hub, webhook(receiver.url, give_up_after=1)):
        until(lambda: standing(connection).lag == 0)
    (letter,) = letters(connection, "crm", 10)
    assert (letter.position, letter.error) == (3, "http_500")
    assert letter.tries > 1
    assert receiver.positions == [1, 2, *range(4, hub.head() + 1)]


@pytest.mark.usefixtures("quick")
def test_a_redirect_is_not_followed(hub: Hub, receiver: Receiver, connection: Connection[Any]) -> None:
    with receiving() as elsewhere:
        receiver.answer = lambda _: (307, {"Location": elsewhere.url})
        with feeding(hub, webhook(receiver.url)):
            until(lambda: len(receiver.got) > 2)
        assert not elsewhere.got
    assert standing(connection).error == "redirect"


@pytest.mark.usefixtures("quick")
def test_proxies_of_the_environment_are_not_used(hub: Hub, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with feeding(hub, webhook(receiver.url)):
            until(lambda: len(receiver.taken) == hub.head())
        assert not proxy.got


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"])
def test_a_name_that_leads_to_this_machine_is_refused_unless_it_may(
    hub: Hub, tmp_path: Path, connection: Connection[Any], host: str
) -> None:
    ca, certificate = authority(tmp_path, "localhost", "127.0.0.1")
    with receiving(certificate) as receiver:
        port = receiver.url.rpartition(":")[2]
        with feeding(hub, webhook(f"https://{host}:{port}", private=False, ca=str(ca))):
            until(lambda: standing(connection).tries > 1)
        assert standing(connection).error == "refused_address"
        assert not receiver.got


def test_over_tls_the_name_is_proved_by_the_certificate(hub: Hub, tmp_path: Path) -> None:
    ca, certificate = authority(tmp_path, "localhost")
    with receiving(certificate) as receiver, feeding(hub, webhook(receiver.url, ca=str(ca))):
        until(lambda: len(receiver.taken) == hub.head())
    assert receiver.positions == list(range(1, hub.head() + 1))
    assert receiver.taken[0].headers["host"] == receiver.url.removeprefix("https://")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("name", "known"), [("example.org", True), ("localhost", False)])
def test_a_certificate_of_another_name_or_of_an_unknown_authority_is_refused(
    hub: Hub, tmp_path: Path, connection: Connection[Any], name: str, known: bool
) -> None:
    ca, certificate = authority(tmp_path, name)
    trusted = {"ca": str(ca)} if known else {}
    with receiving(certificate) as receiver:
        with feeding(hub, webhook(receiver.url, **trusted)):
            until(lambda: standing(connection).tries > 1)
        assert not receiver.got
    assert standing(connection).error == "certificate"


@pytest.mark.usefixtures("quick")
def test_an_answer_that_comes_too_slowly_counts_as_none_and_others_do_not_wait(
    hub: Hub, receiver: Receiver, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "ANSWER", 0.3)
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        while not over.is_set():
            try:
                taken, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drops, args=(taken,), daemon=True).start()

    def drops(taken: socket.socket) -> None:
        with taken:
            try:
                taken.sendall(b"HTTP/1.1 200 OK\r\n")
                while not over.is_set():
                    taken.sendall(b"X: y\r\n")
                    time.sleep(0.05)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        slow = webhook(f"http://127.0.0.1:{server.getsockname()[1]}", name="slow")
        with feeding(hub, slow, webhook(receiver.url)):
            until(lambda: len(receiver.taken) == hub.head())
            until(lambda: standing(connection, "slow").tries > 1)
        over.set()
    assert standing(connection, "slow").error == "timeout"
    assert standing(connection, "slow").position == 0


@pytest.mark.usefixtures("quick")
def test_a_long_answer_is_not_read_to_its_end(hub: Hub) -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            nonlocal sent
            taken, _ = server.accept()
            with taken:
                taken.recv(1 << 16)
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
                try:
                    while True:
                        sent += taken.send(bytes(1 << 16))
                except OSError:
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        with feeding(hub, webhook(f"http://127.0.0.1:{server.getsockname()[1]}")):
            thread.join(10)
    assert not thread.is_alive()
    assert sent < 50_000_000


@pytest.mark.usefixtures("quick")
def test_nobody_there_is_tried_until_somebody_is(hub: Hub, connection: Connection[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with feeding(hub, webhook(f"http://127.0.0.1:{port}")):
        until(lambda: standing(connection).tries > 2)
    assert standing(connection).error == "unreachable"
    assert standing(connection).failing_since


def test_of_several_processes_one_sends(hub: Hub, receiver: Receiver, connection: Connection[Any]) -> None:
    to = webhook(receiver.url)
    with feeding(hub, to), feeding(hub, to):
        many(hub, *(touch(f"more-{n}") for n in range(50)))
        until(lambda: standing(connection).lag == 0)
    assert receiver.positions == list(range(1, hub.head() + 1))


def test_killed_in_the_midst_of_it_nothing_is_lost_and_the_order_is_kept(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    many(hub, *(touch(f"more-{n}", data={"n": n}) for n in range(300)))
    receiver.answer = slowly
    head = hub.head()
    for wanted in (50, 150, head):
        with process(hub, webhook(receiver.url)) as feed:
            until(lambda: len({*receiver.positions}) >= wanted)  # noqa: B023 -- asked at once
            if wanted < head:
                os.kill(feed.pid, signal.SIGKILL)
                feed.wait()
            else:
                until(lambda: standing(connection).lag == 0)
    assert list(dict.fromkeys(receiver.positions)) == list(range(1, head + 1))
    assert len(receiver.positions) <= head + 2 * 2  # A kill repeats what was under way, and no more.


NAME, PHONE = "Канарейкина", "79031234567"


def test_no_personal_value_leaves_or_is_logged(
    hub: Hub, receiver: Receiver, connection: Connection[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    said = {"facts": {"last_name": NAME}, "identifiers": {"phone": f"+{PHONE}"}, "content": {"text": NAME}}
    hub.do(touch(NAME, agent=NAME, matter=NAME, id=NAME, **said))
    hub.do(touch("bad", facts={"birth_date": NAME}))
    receiver.answer = failing(2)
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).lag == 0)
    out, error = capfd.readouterr()
    told = "".join(f"{each.headers}{json.dumps(each.event, ensure_ascii=False)}" for each in receiver.got)
    assert len(receiver.taken) == hub.head()
    for value in (NAME, PHONE):
        assert value not in told + out + error
    for secret in (SECRET, receiver.url):
        assert secret not in out + error


def test_what_a_role_may_see_is_opened_where_it_is_asked_for(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    said = {"facts": {"last_name": NAME, "first_name": "Анна"}, "content": {"text": "Алло", "more": "?"}}
    answers = [hub.do(touch(key, **said)) for key in ("a", "b")]
    for table in ("tag", "seal"):  # As an erasure leaves it.
        gone = [each["position"] for each in answers[1]["events"]]
        connection.execute(f"DELETE FROM {table} WHERE position = ANY (%s) AND seal IS NOT NULL".encode(), (gone,))
    opened = ["facts_stated.facts.last_name", "touch_recorded.content.text"]
    with feeding(hub, webhook(receiver.url, role="operator", open=opened)):
        until(lambda: standing(connection).lag == 0)
    first, second = (
        {
            each.event["type"]: each.event["data"]
            for each in receiver.taken
            if each.event.get("subject") == answer["record"]
        }
        for answer in answers
    )
    record = answers[0]["record"]
    assert first["hub.facts_stated"]["opened"] == [{"seal": 0, "record": record, "facts": {"last_name": NAME}}]
    assert first["hub.touch_recorded"]["opened"] == [{"seal": 0, "record": record, "content": {"text": "Алло"}}]
    assert "opened" not in first["hub.record_opened"]
    assert not any("opened" in data for data in second.values())


@pytest.mark.parametrize(("version", "headers"), [("HTTP/1.1", {"Connection": "close"}), ("HTTP/1.0", {})])
def test_a_receiver_that_keeps_no_connection_open_is_no_failure(
    hub: Hub, receiver: Receiver, connection: Connection[Any], version: str, headers: dict[str, str]
) -> None:
    receiver.version, receiver.answer = version, lambda _: (200, headers)
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).lag == 0)
    assert standing(connection).failures == 0
    assert receiver.positions == list(range(1, hub.head() + 1))


def test_time_that_an_answer_took_is_not_taken_from_the_next_request(receiver: Receiver, tmp_path: Path) -> None:
    (destination,) = read(tmp_path, webhook(receiver.url))
    carrier = hook.Webhook(destination)
    with closing(carrier):
        assert carrier.carry([Message(1, "a", "t", b"{}")]) == 1
        kept = carrier._connection
        assert kept
        kept.sock.settimeout(0)  # As an answer leaves it that came at the last moment.
        assert carrier.carry([Message(2, "b", "t", b'{"position":"' + b"2" * (16 << 20) + b'"}')]) == 1
        assert carrier._connection is kept


def test_what_comes_before_the_answer_is_passed_over(hub: Hub, connection: Connection[Any]) -> None:
    def answer() -> None:
        with suppress(OSError), server.accept()[0] as taken, taken.makefile("rb") as said:
            while said.readline():
                headers = dict(line.split(b": ", 1) for line in iter(said.readline, b"\r\n"))
                said.read(int(headers[b"Content-Length"]))
                taken.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
                taken.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        with feeding(hub, webhook(f"http://127.0.0.1:{server.getsockname()[1]}")):
            until(lambda: standing(connection).lag == 0 or standing(connection).tries > 0)
    thread.join(10)
    assert (standing(connection).failures, standing(connection).lag) == (0, 0)


@pytest.mark.usefixtures("quick")
def test_what_is_erased_while_others_are_sent_is_not_sent(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    erased = threading.Event()

    def erases(_: Got) -> Answer:
        if not erased.is_set():
            connection.execute("DELETE FROM tag WHERE seal IS NOT NULL")
            connection.execute("DELETE FROM seal")
            erased.set()
        return TAKEN

    hub.do(touch("secret", content={"text": NAME}))
    receiver.answer = erases
    with feeding(hub, webhook(receiver.url, role="operator", open=["touch_recorded.content"])):
        until(lambda: standing(connection).lag == 0)
    assert erased.is_set()
    assert not any(NAME in json.dumps(each.event, ensure_ascii=False) for each in receiver.taken)


@pytest.mark.usefixtures("quick")
def test_a_date_beyond_all_dates_asks_for_nothing(hub: Hub, receiver: Receiver, connection: Connection[Any]) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": "Thu, 01 Jan 2026 00:00:00 +99999999999999999999"})
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).tries > 1)
    assert standing(connection).error == "http_503"


@pytest.mark.usefixtures("quick")
def test_what_breaks_while_it_sends_is_counted_and_given_up_in_the_end(
    hub: Hub, receiver: Receiver, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "_judge", lambda status, _: [][status])
    receiver.answer = lambda _: TAKEN
    with feeding(hub, webhook(receiver.url, give_up_after=1)):
        until(lambda: bool(letters(connection, "crm", 1)))
    (letter,) = letters(connection, "crm", 1)
    assert (letter.position, letter.error) == (1, "broken")
    assert letter.tries > 1


@pytest.mark.usefixtures("quick")
def test_a_refusal_after_an_outage_is_the_first_of_its_kind(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    answers: Iterator[Answer] = iter([*[(502, {})] * following.REFUSALS, (400, {})])
    receiver.answer = lambda _: next(answers, TAKEN)
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).lag == 0)
    assert not letters(connection, "crm", 1)
    assert receiver.positions == list(range(1, hub.head() + 1))


@pytest.mark.usefixtures("quick")
def test_letters_not_tried_in_an_outage_are_tried_after_it(
    hub: Hub, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.answer = lambda got: (422, {}) if got.position <= 3 else TAKEN
    with feeding(hub, webhook(receiver.url)):
        until(lambda: standing(connection).lag == 0)
        before = len(receiver.got)
        receiver.answer = failing(1, (503, {"Retry-After": "1"}))
        connection.execute(SQL["ask"], {"name": "crm", "event": None})
        until(lambda: not any(each.asked for each in letters(connection, "crm", 10)))
    assert [each.position for each in receiver.got[before:]] == [1, 2, 3]
    (letter,) = letters(connection, "crm", 10)
    assert (letter.position, letter.error) == (1, "http_503")

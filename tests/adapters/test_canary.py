"""Personal values through a hub of its own process: whatever it is told and whatever fails, they are told to nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from psycopg import Connection, sql

from hub import Hub
from hub.principals import ROLES
from tests.adapters.conftest import touch
from tests.adapters.inbound.senders import BOT_SECRET, TWILIO_TOKEN, TWILIO_URL, Sent, telegram, twilio
from tests.support.imports import mapping
from tests.support.serving import Server

NAME, PHONE, EMAIL, HANDLE = PERSONAL = "Канарейкина", "79031234567", "kanareikina@example.org", "kanareikina_tg"
SPELLINGS = [each for value in PERSONAL for each in (value.lower(), value.encode().hex(), ascii(value)[1:-1])]
MAPPING = mapping(
    "crm",
    "id",
    """[customer.facts]
last_name = "surname"
birth_date = { column = "born", type = "date", format = "%d.%m.%Y" }
[customer.identifiers]
phone = { column = "phone", type = "phone", region = "RU" }
email = "mail"
[[touch]]
channel = { value = "call" }
content.text = "text"
""",
)
DOORS = f"""
[bot]
format = "telegram"
source = "shop"
secret = "{BOT_SECRET}"
[sms]
format = "twilio"
source = "shop"
secret = "{TWILIO_TOKEN}"
url = "{TWILIO_URL}"
"""
ROWS = f"""id,day,surname,born,phone,mail,text
{PHONE},01.02.2026,{NAME},01.02.1980,+{PHONE},{EMAIL},{NAME}
1,{NAME},{NAME},01.02.1980,+{PHONE},{EMAIL},{NAME}
2,01.02.2026,{EMAIL},{NAME},{NAME},{PHONE},{EMAIL}
3,01.02.2026,{NAME}
4,01.02.2026,{NAME},01.02.1980,+{PHONE},{EMAIL},{NAME},{HANDLE}
,01.02.2026,{NAME},31.02.{PHONE},{HANDLE},{NAME},{HANDLE}
"""


def sayings() -> list[dict[str, Any]]:
    """Everything an operator may tell, with personal values wherever one may be."""
    strings = dict.fromkeys(("sender", "matter", "agent", "provider_id", "source_event"), NAME)
    identifiers = {"phone": f"+{PHONE}", "email": EMAIL, "telegram": f"@{HANDLE}"}
    facts = {"last_name": NAME, "address": f"ул. {NAME}, 1", "phone": f"+{PHONE}", "x-note": NAME}
    shop, mail = {"source": "shop", "key": NAME}, {"source": "mail", "key": EMAIL}
    return [
        {"command": "identify_customer", **shop, "facts": facts, "raw": {NAME: [EMAIL]}},
        {"command": "identify_customer", **mail, "identifiers": identifiers, "id": NAME},
        touch(f"+{PHONE}", source="shop", content={NAME: {"text": EMAIL}}, data={"note": NAME, NAME: 1}, **strings),
        touch(
            EMAIL, source="shop", direction="out", identifiers={"phone": NAME}, facts={"birth_date": NAME}, **strings
        ),
        touch("1", source="shop", identifier={"kind": "email", "value": EMAIL}, data={"phone": PHONE}),
        {"command": "retract_fact", **shop, "attribute": "last_name", "reason": NAME},
        {
            "command": "release_identifier",
            **mail,
            "identifier": {"kind": "phone", "value": f"+{PHONE}"},
            "reason": EMAIL,
        },
    ]


def delivered() -> list[tuple[str, Sent]]:
    """What services tell at the hub's doors, right and wrong."""
    person = {"id": int(PHONE), "username": HANDLE, "first_name": NAME}
    told: list[dict[str, Any]] = [
        {
            "message": {
                "from": person,
                "date": 1,
                "text": EMAIL,
                "contact": {"user_id": int(PHONE), "phone_number": PHONE},
            }
        },
        {"message": {"from": person, "chat": {"type": "group", "title": NAME}}},
        {NAME: {"from": person}},
        {"message": {"from": {NAME: PHONE}}},
        {"message": {"from": person, "date": "4000000000000000"}, NAME: EMAIL},
    ]
    updates = [telegram({"update_id": n, **each}) for n, each in enumerate(told)]
    forms: list[dict[str, str]] = [
        {"MessageSid": NAME, "From": f"+{PHONE}", "Body": EMAIL},
        {"MessageSid": PHONE, "MessageStatus": NAME, "To": NAME},
        {"CallSid": EMAIL, "CallStatus": PHONE, "From": HANDLE},
        {NAME: PHONE},
    ]
    return [
        *(("bot", each) for each in (*updates, telegram(NAME.encode()))),
        *(("sms", twilio(each)) for each in forms),
    ]


def deliver(heard: Heard, door: str, sent: Sent) -> httpx2.Response:
    return heard.ask("channel", "POST", f"/v1/channels/{door}", content=sent.body, headers=sent.headers)


@pytest.fixture
def folder(folder: Path) -> Path:
    """With the doors of the hub that is started there."""
    (folder / "data").mkdir()
    (folder / "data" / "channels.toml").write_text(DOORS)
    (folder / "data" / "channels.toml").chmod(0o600)
    return folder


@pytest.fixture
def keys(server: Server, database_url: str) -> dict[str, str]:
    with Hub(database_url, Path(server.environment["HUB_DATA"])) as hub:
        return {
            role: hub.principals.make(role, source="shop" if role == "channel" else None, person=None)[1]
            for role in ROLES
        }


class Heard:
    """Asks the hub, and keeps what it answers: each answer, with where it is from."""

    def __init__(self, client: httpx2.Client, keys: dict[str, str]) -> None:
        self._client, self._keys = client, keys
        self.all: list[tuple[str, str]] = []

    def add(self, where: str, told: str) -> None:
        self.all.append((where, told))

    def ask(self, role: str, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self._keys[role]}", **more.pop("headers", {})}
        answer = self._client.request(method, path, headers=headers, **more)
        told = answer.text.replace(f'"id":"{NAME}"', "")  # An answer names the id it answers.
        self.add(f"{method} as {role}: {answer.status_code}", f"{answer.headers}\n{told}")
        return answer

    def done(self, role: str, command: dict[str, Any]) -> dict[str, Any]:
        answer = self.ask(role, "POST", "/v1/commands", json=command)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def tell(heard: Heard) -> list[str]:
    """Everything that is right; the records it is about."""
    for name in ("shop", "mail"):
        heard.done("admin", {"command": "register_source", "name": name, "title": NAME})
    records = [heard.done("operator", each)["record"] for each in sayings()]
    for door, sent in delivered():
        assert deliver(heard, door, sent).status_code == 204
        assert deliver(heard, door, sent._replace(headers={"Content-Type": NAME.encode().hex()})).status_code == 401
    merge = heard.done("steward", {"command": "merge_customers", "customers": records[:2], "reason": NAME})
    heard.done("steward", {"command": "unmerge_customers", "merge": merge["events"][0]["event"], "reason": EMAIL})
    return records


def tell_wrongly(heard: Heard) -> None:
    wrong = {"command": NAME, NAME: EMAIL, "key": [PHONE]}
    for role in ("channel", "operator"):
        heard.ask(role, "POST", "/v1/commands", json=wrong)
        heard.ask(role, "POST", "/v1/commands/batch", json=[wrong, NAME, *sayings()])
        heard.ask(role, "POST", "/v1/commands", content=json.dumps(sayings()[0])[:-1].encode())
    heard.ask("operator", "POST", "/v1/customers/find", json={"identifiers": {NAME: PHONE}})
    headers = {"X-Name": EMAIL, "Accept-Language": PHONE}
    for path in (NAME, f"customers/{EMAIL}", f"read-models?{NAME}={PHONE}", f"quarantine?cursor={EMAIL}"):
        heard.ask("steward", "GET", f"/v1/{path}", headers=headers)
    heard.ask("steward", "GET", "/v1/read-models", headers={"Authorization": f"Bearer hub_{HANDLE}_{PHONE}"})


def ask_who_may_not_see(heard: Heard, records: list[str], head: int) -> None:
    for record in records[:2]:
        card = heard.ask("analyst", "GET", f"/v1/customers/{record}?at_least={head}")
        assert card.status_code == 200
        assert card.json()["facts"] or card.json()["identifiers"]
    assert heard.ask("auditor", "GET", "/v1/log?limit=500").json()["items"]
    assert heard.ask("steward", "GET", "/v1/quarantine").json()["items"]


def bring_in(server: Server, heard: Heard, folder: Path) -> None:
    """A file with good rows and bad ones. Its report has the line, the column and the reason, no more."""
    (folder / "map.toml").write_text(MAPPING, "utf-8")
    (folder / "rows.csv").write_text(ROWS, "utf-8")
    run(server, heard, "import", str(folder / "rows.csv"), "--map", str(folder / "map.toml"), code=1)
    report = (folder / "rows.csv.report.ndjson").read_text("utf-8")
    flaws = [json.loads(line) for line in report.splitlines()]
    assert {each["line"] for each in flaws} >= {3, 4, 7}
    assert {each["status"] for each in flaws} == {"refused", "quarantined"}
    heard.add("the report", report)


def run(server: Server, heard: Heard, *words: str, code: int = 0) -> None:
    told = server.hub(*words)
    heard.add(f"hub {words[0]}", told.stdout + told.stderr)
    assert told.returncode == code, told


def fail(owner: Connection[Any], table: str) -> None:
    """From here on the database refuses new rows of this table, in words that quote them, as PostgreSQL's own do."""
    quoted = f"Failing row contains ({NAME}, {PHONE}, {EMAIL}, {HANDLE})."
    with owner.transaction():
        owner.execute("SELECT hub_guard.open('a test')")
        owner.execute(
            sql.SQL(
                "CREATE OR REPLACE FUNCTION public.fails() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE check_violation USING MESSAGE = 'new row violates a check', DETAIL = {}; END $$"
            ).format(quoted)
        )
        owner.execute(
            sql.SQL("CREATE TRIGGER fails BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION public.fails()").format(
                sql.Identifier(table)
            )
        )
        owner.execute("SELECT hub_guard.close()")


def meet_failures(server: Server, heard: Heard, owner: Connection[Any], folder: Path) -> None:
    """The database refuses to fold, and then to write."""
    fail(owner, "timeline")
    heard.done("operator", touch(NAME, source="shop", content={"text": EMAIL}))
    wait_for(lambda: heard.ask("admin", "GET", "/v1/status").json()["health"] == "degraded")
    assert any(each["error"] for each in heard.ask("admin", "GET", "/v1/read-models").json()["items"])
    run(server, heard, "status", code=1)
    fail(owner, "event")
    said = touch(NAME, source="shop", content={"text": PHONE})
    assert heard.ask("operator", "POST", "/v1/commands", json=said).status_code == 500
    (line,) = heard.ask("operator", "POST", "/v1/commands/batch", json=[said]).json()
    assert line["status"] == 500
    (folder / "more.csv").write_text(ROWS.replace("\n", "\n9", 1), "utf-8")  # Of somebody new.
    run(server, heard, "import", str(folder / "more.csv"), "--map", str(folder / "map.toml"), code=1)


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def rows(owner: Connection[Any]) -> Iterator[tuple[str, str]]:
    """Every row of every table as text."""
    tables = owner.execute(
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema'"
    ).fetchall()
    for table in tables:
        for (row,) in owner.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(*table))):
            yield ".".join(table), row


def test_a_personal_value_is_in_no_answer_no_log_no_metric_and_no_clear_column(
    server: Server, keys: dict[str, str], owner: Connection[Any], folder: Path
) -> None:
    with httpx2.Client(base_url=server.base, timeout=60) as client:
        heard = Heard(client, keys)
        records = tell(heard)
        tell_wrongly(heard)
        bring_in(server, heard, folder)
        ask_who_may_not_see(heard, records, client.get("/v1/status").json()["head"])
        meet_failures(server, heard, owner, folder)
        assert heard.ask("admin", "GET", "/metrics").status_code == 200
    server.end()
    log = server.log.read_text()
    heard.add("stderr", log)
    heard.add("stdout", "\n".join(server.said))
    for file in Path(server.environment["HUB_DATA"]).rglob("*"):
        if file.is_file():
            heard.add(file.name, file.read_bytes().decode("utf-8", "replace"))
    for table, row in rows(owner):
        heard.add(table, row)
    (written,) = owner.execute("SELECT pg_read_file(pg_current_logfile())").fetchone() or ("",)
    assert "new row violates a check" in written
    heard.add("the database's log", written)
    assert len(heard.all) > 200
    for where, told in heard.all:
        assert not [each for each in SPELLINGS if each in told.lower()], (where, told[:2000])
    assert log.count("CheckViolation") == 3  # Of folding, of a command, and of a line of a batch.

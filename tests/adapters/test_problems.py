"""What goes wrong is told in the reader's language, and never with a value that was sent."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.api import problems
from hub.desk import Desk
from hub.errors import Flaw, HubError, Invalid
from hub.texts import chosen, code_of
from hub.texts.errors import ERRORS
from hub.texts.reasons import REASONS
from hub.texts.sentences import SENTENCES
from tests.adapters.conftest import Served, touch

ROOT = Path(__file__).parents[2]
CANARY = "canary-7f3a"
PHONE = "+79160001122"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Everything anybody logs."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record) + repr(record.args))

    root = logging.getLogger()
    keeper, level = Keeper(), root.level
    logging.getLogger("httpx2").setLevel(logging.ERROR)
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    with structlog.testing.capture_logs() as events:
        yield lines
    lines.extend(map(repr, events))
    root.removeHandler(keeper)
    root.setLevel(level)


def wrong_requests(served: Served) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for command in (
        {"command": CANARY},
        {"command": {CANARY: 1}},
        {"command": [CANARY]},
        touch(CANARY, channel=CANARY),
        touch(CANARY, kind=CANARY.upper(), purpose=PHONE, topic={"x": CANARY}),
        touch("1", occurred_at=CANARY),
        touch("1", facts={CANARY: CANARY}),
        touch("1", identifiers={"phone": CANARY}, facts={"birth_date": CANARY}),
        touch("1", identifiers={"phone": {"value": CANARY, "since": CANARY}}),
        touch("1", source=CANARY),
        touch("1", customer=CANARY),
        touch(f"{CANARY}\0"),
        touch("1", customer="0198c0de-0000-7000-8000-000000000000", id=CANARY),
        touch("1", content={"text": CANARY}, occurred_at="2999-01-01T00:00:00Z"),
        CANARY,
        [CANARY],
    ):
        yield "POST", "/v1/commands", {"json": command}
        yield "POST", "/v1/commands/batch", {"json": [command]}
    for content in (CANARY.encode(), b"{" + CANARY.encode(), f'"{CANARY}'.encode(), b'"' + CANARY.encode() + b'\xff"'):
        for path in ("/v1/commands", "/v1/commands/batch", "/v1/customers/find"):
            yield "POST", path, {"content": content, "headers": {"Content-Type": "application/json"}}
    yield "POST", "/v1/commands", {"content": CANARY.encode(), "headers": {"Content-Type": f"text/{CANARY}"}}
    yield (
        "POST",
        "/v1/commands/batch",
        {"content": CANARY.encode(), "headers": {"Content-Encoding": CANARY, "Content-Type": "application/json"}},
    )
    yield "POST", "/v1/commands", {"content": CANARY.encode() * 10_000, "headers": {"Content-Type": "application/json"}}
    for sought in ({"identifiers": {"phone": CANARY}}, {"identifiers": CANARY}, {"source": CANARY}, {CANARY: CANARY}):
        if CANARY not in sought:
            yield "POST", "/v1/customers/find", {"json": sought}
    yield "GET", f"/v1/customers/{CANARY}", {}
    yield "GET", f"/v1/{CANARY}", {}
    yield CANARY.upper().replace("-", ""), "/v1/status", {}
    nobody = "/v1/customers/0198c0de-0000-7000-8000-000000000000"
    for name in ("as_of", "known_at", "at_least", "purposes"):
        yield "GET", f"{nobody}?{name}={CANARY}", {}
    for name in ("channel", "from", "to", "limit", "cursor"):
        yield "GET", f"{nobody}/timeline?{name}={CANARY}", {}
    yield "GET", "/v1/quarantine", {"headers": {"Authorization": f"Bearer hub_{CANARY}_{CANARY}"}}


@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_error_and_no_log_repeats_a_value(shop: Served, logged: list[str], language: str) -> None:
    asked = 0
    for method, path, more in wrong_requests(shop):
        headers = {"Accept-Language": language, **more.pop("headers", {})}
        for role in ("operator", "channel"):
            answer = shop.ask(role, method, path, headers=headers, **more)
            told = answer.text.replace(f"facts.{CANARY}", "")  # A name, no value.
            assert CANARY not in told.lower(), (method, path, more, answer.text)
            assert PHONE not in told
            assert CANARY not in str(answer.headers).lower()
            assert answer.status_code != 500
            asked += 1
    assert asked > 100
    for line in logged:
        if "httpx2" not in line and "httpcore" not in line:
            assert CANARY not in line.lower(), line


def test_a_personal_value_where_a_name_belongs_is_not_repeated(shop: Served) -> None:
    for name in (PHONE, "ivan.petrov@example.org", "8 (916) 000-11-22", "8.916.000.11.22"):
        for command in (touch("1", identifiers={name: "x"}), touch("1", facts={name: "x"}), touch("1", **{name: "x"})):
            answer = shop.do(command)
            assert answer.status_code == 422
            assert not re.search(r"916|000|petrov|example", answer.text), answer.text


def test_a_failure_of_our_own_tells_nothing(shop: Served, logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(Desk, "begin", fails)
    single = shop.do(touch("1"))
    assert single.status_code == 500
    assert single.headers["content-type"] == "application/problem+json"
    assert single.json()["type"].endswith("/failed")
    (line,) = shop.ask("channel", "POST", "/v1/commands/batch", json=[touch("1")]).json()
    assert line["status"] == 500
    monkeypatch.setattr(shop.hub.intake, "accept", fails)
    answer = shop.do(touch("1"))
    assert answer.status_code == 500
    assert CANARY not in single.text + str(line) + answer.text
    assert not [each for each in logged if CANARY in each]


def test_one_command_that_makes_the_hub_fail_fails_alone(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Desk.begin

    def fails(desk: Desk, asked: Any, before: Any = None) -> Any:
        if any(each.id == "poison" for each in asked):
            raise RuntimeError(CANARY)
        return honest(desk, asked, before)

    monkeypatch.setattr(Desk, "begin", fails)
    commands = [touch(str(n), id="poison" if n == 30 else f"c-{n}") for n in range(60)]
    answers = shop.ask("channel", "POST", "/v1/commands/batch", json=commands).json()
    assert [each["status"] for each in answers] == [500 if n == 30 else 200 for n in range(60)]


@pytest.mark.parametrize(
    ("method", "path", "status", "type"),
    [
        ("GET", "/nowhere", 404, "no-such-page"),
        ("GET", "/v1/commands", 405, "method-not-allowed"),
        ("DELETE", "/v1/status", 405, "method-not-allowed"),
    ],
)
def test_the_framework_speaks_the_same_language(served: Served, method: str, path: str, status: int, type: str) -> None:
    answer = served.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{type}"
    assert answer.json()["status"] == status
    assert answer.json()["title"]
    assert answer.json()["detail"]
    if status == 405:
        assert answer.headers["allow"]


def test_a_reader_of_russian_is_answered_in_russian(served: Served) -> None:
    answer = served.client.get("/nowhere", headers={"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"})
    assert answer.json()["detail"] == "По этому адресу ничего нет."
    assert answer.headers["content-language"] == "ru"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ru", "ru"),
        ("de, ru;q=0.5", "ru"),
        ("en;q=0.4, ru;q=0.5", "ru"),
        ("ru;q=0", "en"),
        ("ru;q=x", "en"),
        ("fr", "en"),
    ],
)
def test_the_language_is_chosen_by_preference(header: str, language: str) -> None:
    assert chosen(header) == language


def test_a_read_model_that_failed_is_named(shop: Served) -> None:
    record = shop.done(touch("1"))
    shop.get(f"/v1/customers/{record['customer']}?at_least={record['position']}")
    with shop.hub.pool.connection() as connection:
        connection.execute(
            "UPDATE read_model SET state = 'failed', failed_event = %s, failed_position = 1, error = 'x'"
            " WHERE name = 'facts'",
            (record["events"][0]["event"],),
        )
    for language in ("en", "ru"):
        answer = shop.get(f"/v1/customers/{record['customer']}", headers={"Accept-Language": language})
        assert answer.status_code == 503
        assert "facts" in answer.json()["detail"]
        assert bool(re.search("must be rebuilt", answer.json()["detail"])) == (language == "en")
        assert bool(re.search("[а-я]", answer.json()["detail"])) == (language == "ru")
    assert shop.client.get("/v1/status").json()["health"] == "degraded"


def modules() -> Iterator[ast.Module]:
    for folder in ("hub", "commands", "projections", "adapters"):
        for path in (ROOT / folder).rglob("*.py"):
            yield ast.parse(path.read_text())


def kinds_of_errors() -> set[str]:
    """The names of HubError and all its kinds."""
    names = {"HubError"}
    classes = [node for tree in modules() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while found := {
        node.name
        for node in classes
        if node.name not in names and {base.id for base in node.bases if isinstance(base, ast.Name)} & names
    }:
        names |= found
    assert len(names) > 20
    return names


def test_every_error_speaks_both_languages() -> None:
    assert {code_of(type(name, (HubError,), {})) for name in kinds_of_errors()} <= set(ERRORS)


FOR_MAKERS = {"UnknownShape", "RowMismatch"}  # Say what is wrong with the program, to who changes it.


def test_no_error_is_raised_with_words_of_one_language() -> None:
    """A sentence of its own comes from `say`, which knows both."""
    names = kinds_of_errors()
    told = []
    for tree in modules():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            first = node.args[0]
            is_text = isinstance(first, ast.JoinedStr) or (
                isinstance(first, ast.Constant) and isinstance(first.value, str)
            )
            if is_text and node.func.id not in FOR_MAKERS and node.func.id in names:
                told.append(ast.unparse(node))
    assert not told


def test_every_sentence_has_both_languages_and_the_same_gaps() -> None:
    gaps = re.compile("{[a-z_]*}")
    for code, (english, russian) in SENTENCES.items():
        assert re.search("[a-z]", english), code
        assert not re.search("[а-яё]", english), code
        assert re.search("[а-яё]", russian), code
        assert set(gaps.findall(english)) == set(gaps.findall(russian)), code


def test_every_problem_is_told_in_both_languages() -> None:
    for kind, status in problems.STATUS.items():
        error = kind(Flaw("key", "missing")) if kind is Invalid else kind()
        english, russian = (problems.problem(error, language) for language in ("en", "ru"))
        assert english["status"] == russian["status"] == status
        assert english["type"] == russian["type"]
        for name in ("title", "detail"):
            assert re.search("[a-z]", english[name])
            assert not re.search("[а-яё]", english[name])
            assert re.search("[а-яё]", russian[name])


def test_the_terminal_speaks_both_languages() -> None:
    """What is said only there is written where it is said, in both."""
    found = 0
    for tree in modules():
        for node in ast.walk(tree):
            texts = node.args if isinstance(node, ast.Call) and ast.unparse(node.func) == "say" else []
            if len(texts) == 2 and all(isinstance(each, ast.Constant | ast.JoinedStr) for each in texts):
                english, russian = map(ast.unparse, texts)
                assert not re.search("[а-яё]", english), english
                assert re.search("[а-яё]", russian), russian
                found += 1
    assert found > 30


def test_every_reason_speaks_both_languages() -> None:
    assert not {reason for tree in modules() for reason in reasons(tree)} - REASONS.keys()


def test_every_reason_is_a_code() -> None:
    for code in REASONS:
        assert re.fullmatch("[a-z_]+", code)


def reasons(tree: ast.Module) -> Iterator[str]:
    """The codes that flaws, unfit values and our own validators carry."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            at = {"Flaw": 1, "Unfit": 0}.get(node.func.id)
            if node.func.id == "ValueError" and ast.unparse(tree).count("(Command)"):
                at = 0  # A command's own validator.
            if at is not None and len(node.args) > at:
                given = node.args[at]
                for each in (given.body, given.orelse) if isinstance(given, ast.IfExp) else (given,):
                    if isinstance(each, ast.Constant):
                        yield str(each.value)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_REASONS":
            assert isinstance(node.value, ast.Dict)
            yield from (str(each.value) for each in node.value.values if isinstance(each, ast.Constant))


def test_the_two_languages_are_two() -> None:
    for english, russian in (*ERRORS.values(), *REASONS.values(), *problems.TITLES.values()):
        assert re.search("[a-z]", english)
        assert not re.search("[а-яё]", english)
        assert re.search("[а-яё]", russian) or russian.startswith("не ") or "JSON" in russian
    json.dumps(ERRORS)

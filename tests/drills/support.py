"""What the drills share: load that asks again until it is answered, processes known by their ids, and the reckoning
with the log afterwards."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from statistics import median
from threading import Event, Lock
from typing import Any, Self

from hub.events import VOCABULARY
from hub.log.mark import Fault
from hub.log.verify import Verification
from hub.rows import Key, row_cursor
from hub.wiring import Hub
from projections import READ_MODELS
from tests.support.serving import Server

Command = dict[str, Any]
Answer = dict[str, Any]

PATIENCE = 90.0  # Seconds in which a hub must have recovered from anything.
PAUSE = 0.05  # Seconds until somebody who was sent away comes again.
PACE = 0.1  # Seconds a client thinks between two sendings: the machine's cores are for the hub, and for its restarts.
BURST = 20  # Commands of a small batch.
PIECE = 20_000  # Events folded at once.
ROUNDS = int(os.environ.get("HUB_TEST_ROUNDS", "200"))  # Of a drill that repeats itself.

HEADINGS = (
    "drill", "rounds", "acknowledged", "asked again", "lost", "doubled", "gaps", "rows apart", "faults",
    "slowest", "back", "most",
)  # fmt: skip


@dataclass
class Line:
    """One line of the table that is printed at the end. Times are seconds."""

    drill: str
    rounds: int
    acknowledged: int = 0
    asked_again: int = 0  # Commands whose answer never came, or was 503, and that were sent again with their id.
    lost: int = 0
    doubled: int = 0
    gaps: int = 0
    apart: Sequence[str] = ()  # Read models whose rows are not a fold of the log.
    faults: Sequence[Fault] = ()  # What verifying the log's bytes found.
    slowest: float = 0  # That somebody waited for an answer, whatever it was.
    back: list[float] = field(default_factory=list)  # Until everything worked again, of each round.

    def cells(self) -> tuple[str, ...]:
        """For reading; of the times of return the median, and the longest."""
        numbers = (self.rounds, self.acknowledged, self.asked_again, self.lost, self.doubled, self.gaps)
        times = [self.slowest, *([median(self.back), max(self.back)] if self.back else [0.0, 0.0])]
        shown = [f"{number:,}" for number in numbers] + [", ".join(self.apart) or "0", str(len(self.faults))]
        return (self.drill, *shown, *(f"{seconds:.1f}" if seconds else "" for seconds in times))

    def took(self, load: Load) -> None:
        """Enter what the load was answered."""
        self.acknowledged, self.asked_again, self.slowest = load.count, load.asked_again, load.slowest

    def settle(self, found: dict[str, Any]) -> None:
        """Enter what the reckoning found."""
        for name, value in found.items():
            setattr(self, name, value)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.gaps or self.apart or self.faults)


DONE: list[Line] = []


def touch(name: str, n: int) -> Command:
    """The nth touch of a client: of one of its records, some with facts, some going out."""
    command: Command = {
        "command": "record_touch",
        "id": f"{name}-{n}",
        "source": "shop",
        "key": f"{name}-{n % 40}",
        "channel": ("call", "chat", "shop")[n % 3],
        "kind": "visit",
        "data": {"n": n},
    }
    if n % 5 == 0:
        command["facts"] = {"city": f"Город {n}", "first_name": f"Имя {n}"}
    if n % 7 == 0:
        command["direction"] = "out"
    if n % 11 == 0:
        command["identifiers"] = {"phone": f"+7916{n % 10_000_000:07d}", "email": "nonsense"}
    return command


class Caller:
    """Sends commands over one connection after another, to the first of the addresses that takes it."""

    def __init__(self, servers: Sequence[Server], key: str, timeout: float = 60) -> None:
        self._servers, self._key, self._timeout = list(servers), key, timeout
        self._connection: HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, commands: Sequence[Command]) -> list[Answer]:
        """What is answered, in order, each with its `status`; a batch that breaks off gives the answers so far.

        Raises OSError or HTTPException where nobody answers at all; the next is then asked of another address.
        """
        try:
            return self._single(commands[0]) if len(commands) == 1 else self._batch(commands)
        except (OSError, HTTPException):
            self.close()
            self._servers.append(self._servers.pop(0))
            raise

    def get(self, path: str) -> int:
        """The status this is answered with."""
        answer = self._asked("GET", path)
        answer.read()
        return answer.status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, method: str, path: str, kind: str = "application/json", body: str = "") -> HTTPResponse:
        if self._connection is None:
            self._connection = HTTPConnection(self._servers[0].base.removeprefix("http://"), timeout=self._timeout)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": kind}
        self._connection.request(method, path, body.encode(), headers)
        answer = self._connection.getresponse()
        assert answer.status != 503 or answer.headers["Retry-After"]
        return answer

    def _single(self, command: Command) -> list[Answer]:
        answer = self._asked("POST", "/v1/commands", "application/json", json.dumps(command))
        return [{**json.loads(answer.read()), "status": answer.status}]

    def _batch(self, commands: Sequence[Command]) -> list[Answer]:
        body = "".join(json.dumps(command) + "\n" for command in commands)
        answer = self._asked("POST", "/v1/commands/batch", "application/x-ndjson", body)
        if answer.status != 200:
            return [{**json.loads(answer.read()), "status": answer.status}] * len(commands)
        answers: list[Answer] = []
        try:
            while line := answer.readline():
                answers.append(json.loads(line))
        except (OSError, HTTPException, ValueError):
            if not answers:
                raise
            self.close()
        return answers


class Load:
    """Clients who send touches, some one by one and some in small batches, until they are told to stop.

    Who gets no answer, or 503, asks again with the same id, so that in the end every command sent is acknowledged.
    """

    def __init__(self, servers: Sequence[Server], key: str, *, clients: int = 8, name: str = "") -> None:
        self._servers, self._key, self._name = list(servers), key, name
        self._clients = clients
        self._stop, self._flowing, self._lock = Event(), Event(), Lock()
        self._flowing.set()
        self._failed = False
        self._acknowledged: list[tuple[Command, Answer]] = []
        self.count = self.asked_again = 0
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0  # Seconds somebody waited for an answer, whatever it was.

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self._clients)
        self._running: list[Future[None]] = [self._threads.submit(self._client, n) for n in range(self._clients)]
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Everything that was sent is answered first, unless the drill has failed."""
        self._stop.set()
        self._flowing.set()
        self._failed = error is not None
        self._threads.shutdown()
        for each in self._running:
            each.result()

    def flows(self, wanted: int = 20) -> None:
        """Return when so many more were acknowledged."""
        wanted += self.count
        until(lambda: self.count >= wanted or any(each.done() for each in self._running))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing new is sent meanwhile: else what there is to reckon grows while it is reckoned."""
        self._flowing.clear()
        yield
        self._flowing.set()

    def harvest(self) -> list[tuple[Command, Answer]]:
        """What was acknowledged since the last harvest."""
        with self._lock:
            taken, self._acknowledged = self._acknowledged, []
            return taken

    def _client(self, n: int) -> None:
        first, size = 0, BURST if n % 2 else 1
        servers = self._servers[n % len(self._servers) :] + self._servers[: n % len(self._servers)]
        with Caller(servers, self._key) as caller:
            while self._flowing.wait() and not self._stop.is_set():
                left = [touch(f"{self._name}{n}", first + each) for each in range(size)]
                first += size
                deadline = time.monotonic() + PATIENCE
                while (left := self._rest(caller, left)) and not self._failed:
                    assert time.monotonic() < deadline, "nobody answers"
                    time.sleep(PAUSE)
                self._stop.wait(PACE)

    def _rest(self, caller: Caller, commands: list[Command]) -> list[Command]:
        """Send these; gives those that were not acknowledged."""
        began = time.monotonic()
        try:
            answers = caller.send(commands)
        except (OSError, HTTPException):
            answers = []
        self.slowest = max(self.slowest, time.monotonic() - began)
        rest = commands[len(answers) :]
        for command, answer in zip(commands, answers, strict=False):
            self.statuses[answer["status"]] += 1
            if answer["status"] == 200:
                with self._lock:
                    self._acknowledged.append((command, answer))
                    self.count += 1
            else:
                assert answer["status"] == 503, answer
                rest.append(command)
        self.asked_again += len(rest)
        return rest


class Books:
    """Everything that was acknowledged, to be held against what the hub holds."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}  # Positions by event.
        self.commands = 0
        self.lost = self.doubled = 0

    def ask_again(self, servers: Sequence[Server], key: str, acknowledged: Sequence[tuple[Command, Answer]]) -> None:
        """Every one of them must be answered as before. What is not is lost."""
        with Caller(servers, key) as caller:
            for at in range(0, len(acknowledged), 500):
                self._ask_again(caller, acknowledged[at : at + 500])

    def _ask_again(self, caller: Caller, pairs: Sequence[tuple[Command, Answer]]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                told = caller.send([command for command, _ in pairs])
            except (OSError, HTTPException):
                told = []
            if len(told) == len(pairs) and all(answer["status"] != 503 for answer in told):
                break
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(PAUSE)
        for (_, first), again in zip(pairs, told, strict=True):
            self.commands += 1
            self.lost += {**first, "status": 200, "replayed": True} != again
            for event in first["events"]:
                self.doubled += event["event"] in self.places
                self.places[event["event"]] = event["position"]

    def reckon(self, data: Path, url: str | None = None) -> dict[str, Any]:
        """What is lost, doubled, missing in between, and which read models are not what a fold of the log gives."""
        with Hub.open(url, data, follow=False) as hub, hub.pool.connection() as connection:
            stored = dict(connection.execute("SELECT id::text, position FROM event WHERE log = 1").fetchall())
            (touches,) = connection.execute(
                "SELECT count(*) FROM event e JOIN event_type t ON t.id = e.type"
                " WHERE log = 1 AND t.name = 'touch_recorded'"
            ).fetchone() or (0,)
            missing = sum(stored.get(event) != position for event, position in self.places.items())
            return {
                "lost": max(self.lost, missing),
                "doubled": self.doubled + touches - self.commands,
                "gaps": max(stored.values()) - len(stored),
                "apart": differing(hub),
                "faults": [
                    fault for fault in Verification(hub.questions.connection, VOCABULARY, hub.vault).run() if fault
                ],
            }


def differing(hub: Hub) -> list[str]:
    """The read models whose rows are not a fold of the whole log, once the read side has caught up."""
    head = hub.head()
    until(lambda: {each.position for each in hub.standings()} == {head})
    folded: list[dict[Key, Any]] = [{} for _ in READ_MODELS]
    with hub.pool.connection() as connection:
        at = 0
        while events := hub.reader.after(connection, at, PIECE):
            folded = [model.refold(events, rows) for model, rows in zip(READ_MODELS, folded, strict=True)]
            at = events[-1].position
        assert at == head
        found = []
        for model, rows in zip(READ_MODELS, folded, strict=True):
            columns = ", ".join(model.columns)
            live = row_cursor(connection, model.row).execute(f"SELECT {columns} FROM {model.name}".encode()).fetchall()
            if sorted(map(repr, live)) != sorted(map(repr, rows.values())):
                found.append(model.name)
    return found


def until(true: Callable[[], bool], patience: float = PATIENCE) -> float:
    """Wait for it; answers the seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < patience, "it never came to pass"
        time.sleep(PAUSE)
    return time.monotonic() - began


def grows(number: Callable[[], int]) -> None:
    """Wait until there is more of it."""
    before = number()
    until(lambda: number() > before)


def works(server: Server, key: str, command: Command) -> tuple[Command, Answer]:
    """Return when the server takes this command, and its read side has folded it."""
    answers: list[Answer] = []

    def taken() -> bool:
        with suppress(OSError, HTTPException):
            answers[:] = caller.send([command])
        return bool(answers) and answers[0]["status"] == 200

    def folded() -> bool:
        with suppress(OSError, HTTPException):
            return caller.get(f"/v1/read-models?at_least={answers[0]['position']}") == 200
        return False

    with Caller([server], key) as caller:
        until(taken)
        until(folded)
    return command, answers[0]


def register(server: Server, key: str) -> None:
    """The source the load speaks for."""
    with Caller([server], key) as caller:
        (answer,) = caller.send([{"command": "register_source", "name": "shop"}])
    assert answer["status"] == 200, answer


def tree(pid: int) -> list[int]:
    """A process and all below it, the deepest last; of one that has just ended, nothing."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def signalled(pids: Sequence[int], number: int) -> None:
    """Send this signal to processes, of which some may have ended by themselves."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def postmaster(data: Path) -> int:
    """The embedded server's process id, as it wrote it down."""
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


@contextmanager
def drill(name: str, rounds: int) -> Iterator[Line]:
    """A line of the table, which is printed even if the drill fails."""
    line = Line(name, rounds)
    DONE.append(line)
    yield line

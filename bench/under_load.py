"""A served hub under load: how far the read side falls behind, how much memory a long batch takes, and how soon it is
back after everything was killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import LiteralString

from bench.merge import fill
from bench.served import Served, batch, command, folder, load, process, serving, touch
from bench.support import Figure
from hub import Hub

PACE = 3_000


def figures(seconds: int = 30, lines: int = 1_000_000, events: int = 1_000_000) -> list[Figure]:
    with folder() as data, serving(data) as served:
        read_side = lag(served, seconds, PACE, "lag of the read side", "SELECT min(position) FROM read_model")
        return [read_side, _memory(served, lines), *_recovery(events)]


def lag(served: Served, seconds: int, pace: int, what: str, place: LiteralString) -> Figure:
    """Milliseconds from the moment a position is the log's head until `place`, a query, says that one or more."""
    heads: list[tuple[float, int]] = []
    reached: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        with Hub.open(data=served.data, follow=False) as opened, opened.questions.connection() as connection:
            connection.autocommit = True
            while not over.is_set():
                (head, behind), = connection.execute(
                    f"SELECT (SELECT max(position) FROM event WHERE log = 1), ({place})"
                )  # fmt: skip
                heads.append((time.monotonic(), head))
                reached.append((time.monotonic(), behind))
                time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    rate = _sent(served, 0, seconds * pace, pace)
    time.sleep(3)
    over.set()
    watching.join()
    lags, at = [], 0
    for when, head in heads:
        while at < len(reached) and reached[at][1] < head:
            at += 1
        if at < len(reached):
            lags.append(1000 * max(0.0, reached[at][0] - when))
    lags.sort()
    half, most = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
    return Figure(
        f"{what} at {pace:,} touches/s", f"p50 {half:.0f} ms, p99 {most:.0f} ms",
        f"{rate:,.0f} touches/s went in", None, "< 1 s", most < 1000 and rate > 0.95 * pace,
    )  # fmt: skip


def _memory(served: Served, lines: int) -> Figure:
    """The API process's greatest resident size ever, after a batch so long."""
    rate = _sent(served, 10_000_000, lines, None)
    taken = next(
        int(line.split()[1]) / 1024
        for line in Path(f"/proc/{served.server.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return Figure(
        f"memory of the API during a batch of {lines:,} lines", f"{taken:.0f} MB", f"{rate:,.0f} lines/s", None,
        "< 300 MB", taken < 300,
    )  # fmt: skip


def _recovery(events: int) -> list[Figure]:
    """Seconds until a hub of so many events, killed altogether in the midst of work, takes commands and shows them."""
    with folder() as data:
        with serving(data) as served:
            with Hub.open(data=data, follow=False) as opened:
                answers = opened.do_many(touch(n) for n in range(20))
                records = [answer["record"] for answer in answers if isinstance(answer, dict)]
                for record in records:
                    fill(opened, record, events // len(records))
                while opened.reached() < opened.head():
                    time.sleep(0.5)
            loading = get_context("spawn").Process(target=_overload, args=(served.port, served.channel))
            loading.start()
            time.sleep(3)
            killed = _kill_all(data)
            loading.join()
        began = time.perf_counter()
        with process("-m", "hub", "serve", HUB_DATA=str(data)) as again:
            load(again.port, [command(served.channel, json.dumps(touch(-1)).encode())], 1)
            taken = time.perf_counter() - began
            with Hub.open(data=data, follow=False) as opened:
                while opened.reached() < opened.head():
                    time.sleep(0.05)
            shown = time.perf_counter() - began
    print(f"recovery: {len(killed)} processes killed, caught up after {shown:.1f} s", file=sys.stderr)
    return [
        Figure(
            f"after kill -9 of everything, {events:,} events: takes a command", f"{taken:.1f} s", "", None, "< 10 s",
            taken < 10,
        ),
        Figure("the same: every read model has caught up", f"{shown:.1f} s", "", None, "", None),
    ]  # fmt: skip


def _sent(served: Served, first: int, count: int, pace: float | None) -> float:
    with get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_send, (served.port, served.channel, first, count, pace)))


def _send(port: int, key: str, first: int, count: int, pace: float | None) -> float:
    return batch(port, key, _lines(first, count), pace)


def _lines(first: int, count: int) -> Iterator[bytes]:
    return (json.dumps(touch(n)).encode() for n in range(first, first + count))


def _overload(port: int, key: str) -> None:
    with suppress(AssertionError, OSError):  # It is to be killed.
        _send(port, key, 50_000_000, 1_000_000, None)


def _kill_all(data: Path) -> list[int]:
    """Every process that works in this folder but ourselves: hub, follower, the database's."""
    victims = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            try:
                told = (each / "environ").read_bytes() + (each / "cmdline").read_bytes()
            except OSError:
                continue
            if f"{data}".encode() in told or _parent(each) in victims:
                victims.append(int(each.name))
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return victims


def _parent(process: Path) -> int:
    return int((process / "stat").read_text().rpartition(")")[2].split()[1])

"""`hub status`: one screen for somebody who is woken at night. Healthy or not comes first, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import psycopg

from adapters.condition import Condition, look, version
from adapters.health import Problem, closed, not_serving, problems
from adapters.measures import age, both, counted, disk_space, listed, size_of, span, verbatim
from adapters.outbound.places import FeedStanding
from adapters.runs import Run
from hub import Hub
from hub.errors import HubError
from hub.principals import ApiKey
from hub.projector import Standing
from hub.settings import Settings
from hub.texts import Told

PATIENCE = 3.0  # Seconds the served hub has to answer.
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where a hub that listens there answers here
_GUARDS = {
    "whole": ("in force", "действует"),
    "without_event_triggers": (
        "in force, but without event triggers, for which a superuser would have had to migrate",
        "действует, но без событийных триггеров: для них миграции должен применять суперпользователь",
    ),
    "broken": ("not as they were left", "изменена"),
}
_OUTCOMES = {"running": "выполняется", "done": "готово", "failed": "ошибка", "lost": "прервано"}


@dataclass(frozen=True)
class Report:
    """What `hub status` found. Without a condition the database could not be asked."""

    address: str
    serving: bool
    problems: list[Problem]
    condition: Condition | None

    @property
    def healthy(self) -> bool:
        return not self.problems

    def document(self, language: str) -> dict[str, Any]:
        """The report for a machine; problems in the language of who asked."""
        found: dict[str, Any] = {
            "version": version(),
            "health": "down" if self.condition is None else "ok" if self.healthy else "degraded",
            "serving": self.serving,
            "address": self.address,
            "problems": [
                {"code": each.code, "what": each.what.in_(language), "do": each.do.in_(language)}
                for each in self.problems
            ],
        }
        return found if self.condition is None else found | _told(self.condition)

    def lines(self, language: str) -> Iterator[str]:
        """The report for a person."""
        first = ("hub {v} is healthy.", "hub {v}: всё в порядке.")
        if not self.healthy:
            first = ("hub {v} is NOT healthy.", "hub {v}: НЕ в порядке.")
        yield both(*first, v=version()).in_(language)
        for each in self.problems:
            yield f"  ! {each.what.in_(language)}"
            yield from (f"    {line}" for line in each.do.in_(language).splitlines())
        yield ""
        rows = [(both("address", "адрес"), both(self.address, self.address))]
        if self.condition is not None:
            rows += _rows(self.condition)
        for name, value in rows:
            yield f"  {name.in_(language):<15}{value.in_(language)}"


def report() -> Report:
    """Look at the hub as it is set up here. Raises Misconfigured for settings that cannot be."""
    settings = Settings.from_environment()
    host = EVERY_ADDRESS.get(settings.host, settings.host)
    address = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    serving = _answers(address)
    down = [] if serving else [not_serving(address)]
    try:
        with Hub.open(follow=False, make=False) as hub:
            condition = look(hub)
    except (HubError, psycopg.OperationalError) as error:
        return Report(address, serving, [closed(error), *down], None)
    return Report(address, serving, [*problems(condition), *down], condition)


def _answers(address: str) -> bool:
    """Whether a hub is served there; one that is busy is served, too."""
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/v1/status", timeout=PATIENCE):
            return True
    except HTTPError as error:
        error.close()
        return True
    except TimeoutError:  # Somebody is there and waits for the database.
        return True
    except (OSError, HTTPException):
        return False


def _rows(condition: Condition) -> list[tuple[Told, Told]]:
    head = condition.heads["main"]
    behind = [each for each in condition.standings if each.lag or each.state == "failed"]
    count = len(condition.standings)
    models = (
        listed([_standing(each) for each in behind])
        if behind
        else both("{n}, all up to date", "{n}, все на последней позиции", n=count)
    )
    waiting = condition.waiting
    return [
        (
            both("database", "база данных"),
            both(
                "PostgreSQL {p}, migration {m}, {s}, in {w}",
                "PostgreSQL {p}, миграция {m}, {s}, в {w}",
                p=condition.postgres,
                m=condition.migration,
                s=size_of(condition.size),
                w=condition.where,
            ),
        ),
        (
            both("last event", "событие"),
            both("{n}, {a} ago", "{n}, {a} назад", n=counted(head.position), a=age(head.recorded_at))
            if head.recorded_at
            else both("none yet", "пока нет"),
        ),
        (both("read models", "представления"), models),
        (
            both("quarantine", "карантин"),
            both(
                "{n} waiting, the oldest for {a}",
                "ждут: {n}, первое {a}",
                n=counted(waiting),
                a=age(condition.oldest),
            )
            if waiting
            else both("empty", "пусто"),
        ),
        (
            both("keys", "ключи"),
            listed([_key(key) for key in condition.keys])
            if condition.keys
            else both("none ends soon", "скоро не истекают"),
        ),
        *((both("feed", "рассылка"), _feed(each)) for each in condition.feeds),
        *((both("job", "задание"), _run(run)) for run in condition.runs),
        (both("guards", "защита"), both(*_GUARDS[condition.guards.state])),
        (both("disk", "диск"), listed([disk_space(disk) for disk in condition.disks.values()])),
    ]


def _standing(each: Standing) -> Told:
    if each.state == "failed":
        return both("{m} has failed", "{m} остановлено", m=each.name)
    behind = ("{m} {n} events ({a}) behind", "{m} отстаёт на {n} ({a})")
    return both(*behind, m=each.name, n=counted(each.lag), a=span(each.lag_seconds))


def _feed(each: FeedStanding) -> Told:
    letters = (
        both(", {n} dead letters", ", не доставлено: {n}", n=counted(each.letters)) if each.letters else both("", "")
    )
    if each.disabled:
        return both("{f} is switched off{l}", "{f} отключена{l}", f=each.name, l=letters)
    if not each.lag:
        return both("{f} is up to date{l}", "{f}: всё отправлено{l}", f=each.name, l=letters)
    words = ("{f} {n} events ({a}) behind{l}", "{f} отстаёт на {n} ({a}){l}")
    return both(*words, f=each.name, n=counted(each.lag), a=span(each.lag_seconds), l=letters)


def _run(run: Run) -> Told:
    counts = ", ".join(f"{name} {count}" for name, count in run.counts.items())

    def line(outcome: str) -> str:
        parts = (f"{run.job:<20} {outcome}", f"{run.due:%Y-%m-%d %H:%M} UTC", run.error, counts)
        return "  ".join(part for part in parts if part)

    return verbatim(line(run.outcome), line(_OUTCOMES[run.outcome]))


def _key(each: ApiKey) -> Told:
    whose, at = each.source or each.person or each.role, each.expires_at
    english = f"{each.id} ({whose}) ends on {at:%Y-%m-%d}"
    return verbatim(english, f"{each.id} ({whose}) истекает {at:%d.%m.%Y}")


def _told(condition: Condition) -> dict[str, Any]:
    """The condition for a machine."""
    head = condition.heads["main"]
    return {
        "head": head.position,
        "last_event_at": head.recorded_at,
        "migration": condition.migration,
        "database": {"postgres": condition.postgres, "where": condition.where, "bytes": condition.size},
        "read_models": [asdict(each) for each in condition.standings],
        "feeds": [asdict(each) for each in condition.feeds],
        "quarantine": {"waiting": condition.waiting, "oldest_at": condition.oldest},
        "jobs": [asdict(run) for run in condition.runs],
        "jobs_overdue": condition.overdue,
        "guards": condition.guards.state,
        "breaches": condition.guards.breaches,
        "keys_ending": [{"id": key.id, "role": key.role, "expires_at": key.expires_at} for key in condition.keys],
        "disks": {
            name: {"folder": str(disk.folder), "free": disk.free, "size": disk.size}
            for name, disk in condition.disks.items()
        },
    }

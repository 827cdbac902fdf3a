"""`hub status`: one screen for somebody who is woken at night. Healthy or not comes first, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import psycopg

from adapters.condition import SLOW, Condition, Disk, look, version
from adapters.demo.story import program
from adapters.importer.words import number
from adapters.runs import Run
from hub import Hub
from hub.errors import Busy, DatabaseMissing, HubError, MigrationMismatch, ServerFailed, WrongKeys
from hub.principals import ApiKey
from hub.projector import Standing
from hub.settings import Settings
from hub.texts import LANGUAGES, Told, in_words, told

PATIENCE = 3.0  # Seconds the served hub has to answer.
AWAY = ("The database does not answer.", "База данных не отвечает.")
_GUARDS = {
    "whole": ("in force", "действует"),
    "without_event_triggers": (
        "in force, but without event triggers, for which a superuser would have had to migrate",
        "действует, но без событийных триггеров: для них миграции должен применять суперпользователь",
    ),
    "broken": ("not as they were left", "изменена"),
}
_KEPT_CLOSED: dict[type[Exception], str] = {
    DatabaseMissing: "database_missing",
    MigrationMismatch: "migration_mismatch",
    ServerFailed: "server_failed",
    WrongKeys: "wrong_keys",
}
_OUTCOMES = {"running": "выполняется", "done": "готово", "failed": "ошибка", "lost": "прервано"}
_UNITS = ((86400, "days", "дн."), (3600, "hours", "ч"), (60, "minutes", "мин"), (1, "seconds", "с"))
_SIZES = ((1 << 30, "GB", "ГБ"), (1 << 20, "MB", "МБ"), (1 << 10, "KB", "КБ"), (1, "bytes", "байт"))


@dataclass(frozen=True)
class Problem:
    """Something that is not in order, and what to do."""

    code: str
    what: Told
    do: Told


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
        yield _both(*first, v=version()).in_(language)
        for each in self.problems:
            yield f"  ! {each.what.in_(language)}"
            yield from (f"    {line}" for line in each.do.in_(language).splitlines())
        yield ""
        rows = [(_both("address", "адрес"), _both(self.address, self.address))]
        if self.condition is not None:
            rows += _rows(self.condition)
        for name, value in rows:
            yield f"  {name.in_(language):<15}{value.in_(language)}"


def report() -> Report:
    """Look at the hub as it is set up here. Raises Misconfigured for settings that cannot be."""
    settings = Settings.from_environment()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    address = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    serving = _answers(address)
    down = [] if serving else [_not_serving(address)]
    try:
        with Hub.open(follow=False, make=False) as hub:
            condition = look(hub)
    except (HubError, psycopg.OperationalError) as error:
        return Report(address, serving, [_closed(error), *down], None)
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


def problems(condition: Condition) -> Iterator[Problem]:
    for each in condition.standings:
        if each.state == "failed":
            yield Problem(
                "read_model_failed",
                _both(
                    "The read model {m} has failed at event {e}, position {p}: {w}.",
                    "Представление {m} остановлено из-за ошибки на событии {e}, позиция {p}: {w}.",
                    m=each.name,
                    e=each.failed_event,
                    p=each.failed_position,
                    w=each.error,
                ),
                _both("Type: {p} rebuild {m}", "Наберите: {p} rebuild {m}", p=program(), m=each.name),
            )
        elif each.lag_seconds > SLOW:
            yield Problem(
                "read_model_behind",
                _both(
                    "The read model {m} is behind by {a}.",
                    "Представление {m} отстаёт на {a}.",
                    m=each.name,
                    a=_span(each.lag_seconds),
                ),
                _both(
                    "It catches up by itself while the hub is served; look again in a minute.",
                    "Пока хаб работает, оно догоняет само; посмотрите снова через минуту.",
                ),
            )
    for run in condition.runs:
        if run.outcome == "failed":
            yield Problem(
                "job_failed",
                _both("The job {j} has failed: {e}.", "Задание {j} завершилось ошибкой: {e}.", j=run.job, e=run.error),
                _both(
                    "It is tried again when it is due; the log of the hub says more.",
                    "Оно будет повторено в свой срок; подробнее — в журнале хаба.",
                ),
            )
    if condition.guards.state == "broken":
        breaches = "\n".join(condition.guards.breaches)
        yield Problem(
            "unguarded",
            _both(
                "The append-only tables are not guarded as they were left.",
                "Защита журнала изменена: его таблицы можно переписать.",
            ),
            _both(
                "Find out who did it; docs/append-only.md says how to go on.\n{b}",
                "Выясните, кто это сделал; что дальше, сказано в docs/append-only.md.\n{b}",
                b=breaches,
            ),
        )
    for disk in condition.disks.values():
        if disk.tight:
            yield Problem(
                "disk_tight",
                _both("Little space is left: {d}.", "Осталось мало места: {d}.", d=_disk(disk)),
                _both(
                    "Make room or enlarge it; when it is full nothing more is written, and nothing is lost.",
                    "Освободите или добавьте место; когда оно кончится, запись остановится, но ничего не пропадёт.",
                ),
            )


def _not_serving(address: str) -> Problem:
    what = _both(
        "The hub is not running: nobody answers at {a}.", "Хаб не запущен: по адресу {a} никто не отвечает.", a=address
    )
    start = _both(
        "Type: {p} serve, or where it is a service: systemctl start hub",
        "Наберите: {p} serve, а если это служба: systemctl start hub",
        p=program(),
    )
    return Problem("not_serving", what, start)


def _closed(error: Exception) -> Problem:
    """Why the hub cannot be opened: the first line says it, further ones what to do."""
    known = error if isinstance(error, HubError) else Busy(_both(*AWAY))
    english, russian = (in_words(known, language).partition("\n") for language in LANGUAGES)
    code = _KEPT_CLOSED.get(type(known), "database_away")
    return Problem(code, _both(english[0], russian[0]), _both(english[2], russian[2]))


def _rows(condition: Condition) -> list[tuple[Told, Told]]:
    head = condition.heads["main"]
    behind = [each for each in condition.standings if each.lag or each.state == "failed"]
    count = len(condition.standings)
    models = (
        _list([_standing(each) for each in behind])
        if behind
        else _both("{n}, all up to date", "{n}, все на последней позиции", n=count)
    )
    waiting = condition.waiting
    return [
        (
            _both("database", "база данных"),
            _both(
                "PostgreSQL {p}, migration {m}, {s}, in {w}",
                "PostgreSQL {p}, миграция {m}, {s}, в {w}",
                p=condition.postgres,
                m=condition.migration,
                s=_bytes(condition.size),
                w=condition.where,
            ),
        ),
        (
            _both("last event", "событие"),
            _both("{n}, {a} ago", "{n}, {a} назад", n=_number(head.position), a=_age(head.recorded_at))
            if head.recorded_at
            else _both("none yet", "пока нет"),
        ),
        (_both("read models", "представления"), models),
        (
            _both("quarantine", "карантин"),
            _both(
                "{n} waiting, the oldest for {a}",
                "ждут: {n}, первое {a}",
                n=_number(waiting),
                a=_age(condition.oldest),
            )
            if waiting
            else _both("empty", "пусто"),
        ),
        (
            _both("keys", "ключи"),
            _list([_key(key) for key in condition.keys])
            if condition.keys
            else _both("none ends soon", "скоро не истекают"),
        ),
        *((_both("job", "задание"), _run(run)) for run in condition.runs),
        (_both("guards", "защита"), _both(*_GUARDS[condition.guards.state])),
        (_both("disk", "диск"), _list([_disk(disk) for disk in condition.disks.values()])),
    ]


def _standing(each: Standing) -> Told:
    if each.state == "failed":
        return _both("{m} has failed", "{m} остановлено", m=each.name)
    behind = ("{m} {n} events ({a}) behind", "{m} отстаёт на {n} ({a})")
    return _both(*behind, m=each.name, n=_number(each.lag), a=_span(each.lag_seconds))


def _run(run: Run) -> Told:
    counts = ", ".join(f"{name} {count}" for name, count in run.counts.items())

    def line(outcome: str) -> str:
        parts = (f"{run.job:<20} {outcome}", f"{run.due:%Y-%m-%d %H:%M} UTC", run.error, counts)
        return "  ".join(part for part in parts if part)

    return _verbatim(line(run.outcome), line(_OUTCOMES[run.outcome]))


def _key(each: ApiKey) -> Told:
    whose, at = each.source or each.person or each.role, each.expires_at
    english = f"{each.id} ({whose}) ends on {at:%Y-%m-%d}"
    return _verbatim(english, f"{each.id} ({whose}) истекает {at:%d.%m.%Y}")


def _disk(disk: Disk) -> Told:
    words = ("{f} of {s} free where {d} lies", "свободно {f} из {s}, где лежит {d}")
    return _both(*words, f=_bytes(disk.free), s=_bytes(disk.size), d=disk.folder)


def _told(condition: Condition) -> dict[str, Any]:
    """The condition for a machine."""
    head = condition.heads["main"]
    return {
        "head": head.position,
        "last_event_at": head.recorded_at,
        "migration": condition.migration,
        "database": {"postgres": condition.postgres, "where": condition.where, "bytes": condition.size},
        "read_models": [asdict(each) for each in condition.standings],
        "quarantine": {"waiting": condition.waiting, "oldest_at": condition.oldest},
        "jobs": [asdict(run) for run in condition.runs],
        "guards": condition.guards.state,
        "breaches": condition.guards.breaches,
        "keys_ending": [{"id": key.id, "role": key.role, "expires_at": key.expires_at} for key in condition.keys],
        "disks": {
            name: {"folder": str(disk.folder), "free": disk.free, "size": disk.size}
            for name, disk in condition.disks.items()
        },
    }


def _both(english: str, russian: str, **values: object) -> Told:
    return told((english, russian), **values) if values else _verbatim(english, russian)


def _verbatim(english: str, russian: str) -> Told:
    """Text in which braces are braces."""
    return told(("{e}", "{r}"), e=english, r=russian)


def _list(items: Sequence[Told]) -> Told:
    return _verbatim(*("; ".join(each.in_(language) for each in items) for language in LANGUAGES))


def _number(count: int) -> Told:
    return _verbatim(*(number(count, language) for language in LANGUAGES))


def _age(at: datetime | None) -> Told:
    return _span((datetime.now(UTC) - at).total_seconds() if at else 0.0)


def _span(seconds: float) -> Told:
    """A time in its largest unit: `3 minutes`."""
    size, english, russian = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    count = max(0, int(seconds // size))
    return _verbatim(f"{count} {english if count != 1 else english[:-1]}", f"{count} {russian}")


def _bytes(count: int) -> Told:
    size, english, russian = next((each for each in _SIZES if count >= each[0]), _SIZES[-1])
    shown = f"{count / size:.1f}" if size > 1 else str(count)
    return _verbatim(f"{shown} {english}", f"{shown.replace('.', ',')} {russian}")

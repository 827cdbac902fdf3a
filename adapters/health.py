"""Whether the hub is well, and where it is not, what to do: the one place that says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from adapters.condition import SLOW, Condition, look
from adapters.measures import age, both, disk_space, span
from adapters.outbound.words import failure
from adapters.program import program
from hub.errors import Busy, DatabaseMissing, HubError, MigrationMismatch, ServerFailed, WrongKeys
from hub.texts import LANGUAGES, Told, in_words

if TYPE_CHECKING:
    from hub import Hub

AWAY = ("The database does not answer.", "База данных не отвечает.")
_KEPT_CLOSED: dict[type[Exception], str] = {
    DatabaseMissing: "database_missing",
    MigrationMismatch: "migration_mismatch",
    ServerFailed: "server_failed",
    WrongKeys: "wrong_keys",
}


@dataclass(frozen=True)
class Problem:
    """Something that is not in order, and what to do."""

    code: str
    what: Told
    do: Told


class Health:
    """`ok` or `degraded`, as of this second: anybody may ask, and the catalogs are not read for each of them.

    What is wrong is told to who runs the hub, by `hub status`, not to everybody.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub, self._said, self._until = hub, "", 0.0
        self._door = Lock()

    def __call__(self) -> str:
        with self._door:
            if time.monotonic() >= self._until:
                self._said = "degraded" if any(problems(look(self._hub))) else "ok"
                self._until = time.monotonic() + 1
            return self._said


def problems(condition: Condition) -> Iterator[Problem]:
    for each in condition.standings:
        if each.state == "failed":
            yield Problem(
                "read_model_failed",
                both(
                    "The read model {m} has failed at event {e}, position {p}: {w}.",
                    "Представление {m} остановлено из-за ошибки на событии {e}, позиция {p}: {w}.",
                    m=each.name,
                    e=each.failed_event,
                    p=each.failed_position,
                    w=each.error,
                ),
                both("Type: {p} rebuild {m}", "Наберите: {p} rebuild {m}", p=program(), m=each.name),
            )
        elif each.lag_seconds > SLOW:
            yield Problem(
                "read_model_behind",
                both(
                    "The read model {m} is behind by {a}.",
                    "Представление {m} отстаёт на {a}.",
                    m=each.name,
                    a=span(each.lag_seconds),
                ),
                both(
                    "It catches up by itself while the hub is served; look again in a minute.",
                    "Пока хаб работает, оно догоняет само; посмотрите снова через минуту.",
                ),
            )
    yield from _of_feeds(condition)
    for run in condition.runs:
        if run.outcome == "failed":
            yield Problem(
                "job_failed",
                both("The job {j} has failed: {e}.", "Задание {j} завершилось ошибкой: {e}.", j=run.job, e=run.error),
                both(
                    "It is tried again when it is due; the log of the hub says more.",
                    "Оно будет повторено в свой срок; подробнее — в журнале хаба.",
                ),
            )
    for job, since in condition.overdue.items():
        yield Problem(
            "job_overdue",
            both("The job {j} has not run for {a}.", "Задание {j} не выполнялось {a}.", j=job, a=age(since)),
            both(
                "Jobs run while the hub is served; if it is, start it anew and read its log.",
                "Задания выполняются, пока хаб запущен; если он запущен, перезапустите его и прочтите журнал.",
            ),
        )
    if condition.guards.state == "broken":
        breaches = "\n".join(condition.guards.breaches)
        yield Problem(
            "unguarded",
            both(
                "The append-only tables are not guarded as they were left.",
                "Защита журнала изменена: его таблицы можно переписать.",
            ),
            both(
                "Find out who did it; docs/append-only.md says how to go on.\n{b}",
                "Выясните, кто это сделал; что дальше, сказано в docs/append-only.md.\n{b}",
                b=breaches,
            ),
        )
    for disk in condition.disks.values():
        if disk.tight:
            yield Problem(
                "disk_tight",
                both("Little space is left: {d}.", "Осталось мало места: {d}.", d=disk_space(disk)),
                both(
                    "Make room or enlarge it; when it is full nothing more is written, and nothing is lost.",
                    "Освободите или добавьте место; когда оно кончится, запись остановится, но ничего не пропадёт.",
                ),
            )


def _of_feeds(condition: Condition) -> Iterator[Problem]:
    for each in condition.feeds:
        if each.disabled:
            yield Problem(
                "feed_disabled",
                both(
                    "The destination {f} wants no more events: it answered 410.",
                    "Получатель {f} больше не ждёт событий: он ответил 410.",
                    f=each.name,
                ),
                both(
                    "Where that is a mistake, type: {p} feed resume {f}; else take it out of the file of feeds.",
                    "Если это ошибка, наберите: {p} feed resume {f}; иначе уберите его из файла рассылок.",
                    p=program(),
                    f=each.name,
                ),
            )
        elif each.lag_seconds > SLOW:
            why = failure(each.error) if each.error else both("it takes its time", "он принимает медленно")
            yield Problem(
                "feed_behind",
                both(
                    "The destination {f} is behind by {a}: {w}.",
                    "Получатель {f} отстаёт на {a}: {w}.",
                    f=each.name,
                    a=span(each.lag_seconds),
                    w=why,
                ),
                both(
                    "See to it there; the hub tries again by itself, and docs/feed.md says for how long.",
                    "Разберитесь на той стороне; хаб повторяет сам, сколько — сказано в docs/feed.md.",
                ),
            )


def not_serving(address: str) -> Problem:
    what = both(
        "The hub is not running: nobody answers at {a}.", "Хаб не запущен: по адресу {a} никто не отвечает.", a=address
    )
    start = both(
        "Type: {p} serve, or where it is a service: systemctl start hub",
        "Наберите: {p} serve, а если это служба: systemctl start hub",
        p=program(),
    )
    return Problem("not_serving", what, start)


def closed(error: Exception) -> Problem:
    """Why the hub cannot be opened: the first line says it, further ones what to do."""
    known = error if isinstance(error, HubError) else Busy(both(*AWAY))
    english, russian = (in_words(known, language).partition("\n") for language in LANGUAGES)
    code = _KEPT_CLOSED.get(type(known), "database_away")
    return Problem(code, both(english[0], russian[0]), both(english[2], russian[2]))

"""`hub rebuild`: a read model is folded from the first event beside its rows, and then put in their place."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from adapters.importer.words import number
from adapters.terminal import LANGUAGE, Json, say, show, told
from hub import Hub, texts
from hub.projector import Standing
from hub.rebuild import Progress
from hub.rows import ReadModel
from hub.verify import Verdict
from projections import READ_MODELS

EVERY = 10.0  # Seconds between two lines of progress where they cannot be written over each other.


def rebuild(
    model: Annotated[str | None, typer.Argument(help=say("Its name, see hub status.", "Имя, см. hub status."))] = None,
    all_: Annotated[bool, typer.Option("--all", help=say("All of them, in turn.", "Все по очереди."))] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help=say("Compare with the rows, change nothing.", "Сравнить со строками, ничего не меняя."),
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help=say(
                "With --verify: for so long at most; the next time goes on from there.",
                "С --verify: не дольше; следующий раз продолжит с этого места.",
            ),
        ),
    ] = None,
    json: Json = False,
) -> None:
    models = chosen(model, all_)
    if minutes is not None and not verify:
        raise typer.BadParameter(say("--minutes goes with --verify", "--minutes бывает только с --verify"))
    if verify:
        return _verify(models, minutes, json)
    with told(json), Hub.open(follow=False, make=False) as hub:
        ends = [_rebuilt(hub, each) for each in models]
        show(json, {"items": [asdict(each) for each in ends]}, *map(_line, ends))
    if any(each.state == "failed" for each in ends):
        raise typer.Exit(1)
    return None


rebuild.__doc__ = say(
    "Fold a read model anew from the first event, for example one that failed; its rows answer meanwhile.",
    "Построить представление заново с первого события, например остановленное из-за ошибки; пока отвечает прежнее.",
)


def chosen(model: str | None, all_: bool) -> list[ReadModel[Any]]:
    """The read models that are meant. Raises BadParameter."""
    models = {each.name: each for each in READ_MODELS}
    if (model is None) != all_:
        raise typer.BadParameter(say("name a read model, or say --all", "назовите представление или укажите --all"))
    if model is None:
        return list(models.values())
    if model not in models:
        raise typer.BadParameter(texts.say("no_model", model=model, models=", ".join(models)).in_(LANGUAGE))
    return [models[model]]


def failure(event: str | None, position: int | None, error: str | None) -> str:
    return say(f"at event {event}, position {position}: {error}", f"на событии {event}, позиция {position}: {error}")


class Meter:
    """Tells how far a fold is, on standard error: in one line on a terminal, else in a line now and then."""

    def __init__(self) -> None:
        self._over = sys.stderr.isatty()
        self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last < (0.2 if self._over else EVERY):
            return
        self._last = now
        place, end, rate = (number(count, LANGUAGE) for count in (progress.position, progress.end, int(progress.rate)))
        minutes, seconds = divmod(int(progress.seconds_left), 60)
        left = say(f"{rate}/s, {minutes}:{seconds:02} left", f"{rate}/с, осталось {minutes}:{seconds:02}")
        line = f"{progress.name}  {place} / {end}  {left}"
        typer.echo(f"\r\x1b[K{line}" if self._over else line, nl=not self._over, err=True)

    def end(self) -> None:
        if self._over:
            typer.echo("\r\x1b[K", nl=False, err=True)


def _rebuilt(hub: Hub, model: ReadModel[Any]) -> Standing:
    meter = Meter()
    try:
        return hub.rebuild(model, meter.show)
    finally:
        meter.end()


def _line(each: Standing) -> str:
    if each.state == "failed":
        where = failure(each.failed_event, each.failed_position, each.error)
        return say(
            f"{each.name} has failed {where}; its rows are as they were",
            f"{each.name}: ошибка {where}; строки остались прежними",
        )
    place = number(each.position, LANGUAGE)
    return say(f"{each.name} is live at position {place}", f"{each.name}: готово, позиция {place}")


def _verify(models: list[ReadModel[Any]], minutes: float | None, json: bool) -> None:
    meter = Meter()
    with told(json), Hub.open(follow=False, make=False) as hub:
        try:
            verdicts = list(hub.verify(models, meter.show, None if minutes is None else 60 * minutes))
        finally:
            meter.end()
        show(json, {"items": [asdict(each) for each in verdicts]}, *(line for each in verdicts for line in _told(each)))
    if any(each.state in ("differs", "failed") for each in verdicts):
        raise typer.Exit(1)


def _told(each: Verdict) -> Iterator[str]:
    place = number(each.position, LANGUAGE)
    yield {
        "equal": say(
            f"{each.name} equals the log at position {place}", f"{each.name}: совпадает с журналом, позиция {place}"
        ),
        "differs": say(
            f"{each.name} differs from the log at position {place}; rebuild it",
            f"{each.name}: расходится с журналом, позиция {place}; постройте заново",
        ),
        "failed": say(f"{each.name} has failed; rebuild it", f"{each.name}: ошибка; постройте заново"),
        "busy": say(f"{each.name} is being rebuilt; verify it later", f"{each.name}: строится заново; проверьте позже"),
        "refused": say(
            f"{each.name} cannot be folded here: a newer release has folded it, or this login may not",
            f"{each.name}: здесь не построить: его строит более новый выпуск, или у этой учётной записи нет прав",
        ),
        "unreached": say(
            f"{each.name}: the time was over; folded up to position {place}",
            f"{each.name}: время вышло; построено до позиции {place}",
        ),
    }[each.state]
    if each.failed is not None:
        yield "  " + failure(each.failed.failed_event, each.failed.failed_position, each.failed.error)
    for one in each.differences:
        what = {
            "missing": say("is missing", "нет строки"),
            "surplus": say("is not in the log", "лишняя строка"),
            "differs": say("differs in", "расходятся") + " " + ", ".join(one.columns),
        }[one.kind]
        yield f"  {' '.join(f'{name}={value}' for name, value in one.key.items())}: {what}"

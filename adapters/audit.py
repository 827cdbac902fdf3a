"""`hub audit verify`: is the log what was appended? The logic is in hub/log/verify.py; here it meets people."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from adapters.importer.words import number
from adapters.terminal import LANGUAGE, Json, say, show, told
from adapters.verification import verifying
from hub import Hub
from hub.log.mark import Fault
from hub.log.verify import Verification

LISTED = 1_000  # Faults named one by one; of more, how many of which kind.

KINDS = {
    "guard": ("the guards of the tables are not as they were left", "защита таблиц изменена"),
    "gap": ("events are missing", "событий не хватает"),
    "time": ("recorded before its predecessor", "записано раньше предыдущего"),
    "type": ("of a type that is not known", "неизвестного типа"),
    "shape": ("its bytes are no event", "его байты — не событие"),
    "leaf": ("does not belong to its leaf: it was changed", "не соответствует своему листу: оно изменено"),
    "seal_changed": ("a seal was changed", "запечатанные данные изменены"),
    "seal_missing": ("a seal is gone without erasure", "запечатанные данные пропали без стирания"),
    "seal_stray": ("a seal that no event names", "запечатанные данные, которых нет ни в одном событии"),
    "sealed_tag_stray": ("a sealed tag that no event names", "запечатанная метка, которой нет ни в одном событии"),
    "key_damaged": ("the key of a record is damaged", "ключ записи повреждён"),
    "tag_stray": ("a tag in the index that its event has not", "метка в индексе, которой нет у события"),
    "tag_changed": ("a tag in the index of another type than its event", "метка в индексе с чужим типом события"),
    "tag_missing": ("a tag of the event is missing in the index", "метки события нет в индексе"),
    "tag_doubled": ("a tag of the event stands in the index twice", "метка события стоит в индексе дважды"),
}

app = typer.Typer(no_args_is_help=True, help=say("Evidence.", "Доказательства."))


@app.callback()
def _group() -> None:
    """Makes a group of one command a group."""


@app.command(
    help=say(
        "Compute the log anew from the stored bytes and name everything that does not agree.",
        "Вычислить журнал заново по сохранённым байтам и назвать всё, что не сходится.",
    )
)
def verify(
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help=say(
                "Stop after so long; the next such run goes on there.",
                "Остановиться через столько секунд; следующий такой запуск продолжит с этого места.",
            ),
        ),
    ] = None,
    json: Json = False,
) -> None:
    with told(json), Hub.open(follow=False, make=False) as hub:
        with verifying(hub, resume=seconds is not None) as verification:
            began, listed = time.monotonic(), list[Fault]()
            for fault in verification.run(seconds):
                if fault is None:
                    _progress(verification, time.monotonic() - began)
                elif len(listed) < LISTED:
                    listed.append(fault)
                    if not json:
                        show(False, None, _line(fault))
            took = time.monotonic() - began
        if sys.stderr.isatty():
            typer.echo("\r\x1b[K", nl=False, err=True)
        show(json, _document(verification, listed, took), *_summary(verification, took))
    if verification.faults:
        raise typer.Exit(1)


def _progress(verification: Verification, took: float) -> None:
    if sys.stderr.isatty():
        events, tags = (number(count, LANGUAGE) for count in (verification.events, verification.tags))
        line = say(f"{events} events, {tags} tags, {took:.0f} s", f"событий: {events}, меток: {tags}, {took:.0f} с")
        typer.echo(f"\r\x1b[K{line}", nl=False, err=True)


def _line(fault: Fault) -> str:
    place = ""
    if fault.position is not None:
        place = say(f"{fault.log}, position {fault.position}: ", f"{fault.log}, позиция {fault.position}: ")
    return place + say(*KINDS[fault.kind]) + (f" ({fault.detail})" if fault.detail else "")


def _summary(verification: Verification, took: float) -> Iterator[str]:
    events, seals, tags, rate = (
        number(count, LANGUAGE)
        for count in (verification.events, verification.seals, verification.tags, _rate(verification, took))
    )
    yield say(
        f"{events} events, {seals} seals and {tags} tags in {took:.1f} s, {rate} events/s",
        f"событий: {events}, запечатанных данных: {seals}, меток: {tags}; за {took:.1f} с, событий в секунду: {rate}",
    )
    for kind, count in sorted(verification.faults.items()):
        yield f"  {number(count, LANGUAGE)} × {say(*KINDS[kind])}"
    if not verification.complete:
        yield say("The time was up; the next run goes on here.", "Время вышло; следующий запуск продолжит отсюда.")
    elif not verification.faults:
        yield say("Everything agrees.", "Всё сходится.")


def _document(verification: Verification, listed: list[Fault], took: float) -> dict[str, Any]:
    return {
        "complete": verification.complete,
        "events": verification.events,
        "seals": verification.seals,
        "tags": verification.tags,
        "seconds": round(took, 3),
        "rate": _rate(verification, took),
        "faults": [asdict(each) for each in listed],
        "kinds": dict(verification.faults),
    }


def _rate(verification: Verification, took: float) -> int:
    return round(verification.events / took) if took else 0

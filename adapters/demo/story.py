"""A short true story of what the hub holds, asked of the read side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapters.demo.words import WORDS
from adapters.importer.words import number
from hub.settings import Settings
from hub.view import View
from projections.card import card_of
from projections.membership import present
from projections.sources import sources_of
from projections.timeline import timeline_of

if TYPE_CHECKING:
    from hub.wiring import Hub

LATEST = 5  # Touches told of one timeline.
LONGEST = 60  # Characters of a value.

Record = tuple[str, str]  # source, key


class Merged(Protocol):
    """Two records merged, and perhaps taken apart again."""

    @property
    def a(self) -> Record: ...
    @property
    def b(self) -> Record: ...


def story(hub: Hub, lang: str, records: Mapping[Record, str], merges: Sequence[Merged], served: bool) -> str:
    """`records` are the ids of what was merged."""
    words = WORDS[lang]
    with hub.view() as view, view.snapshot():
        card = card_of(view, records[merges[0].a])
        who = words["who"].format(customer=card["customer"], count=len(card["records"]))
        happened, touches = _timeline(view, lang)
        parts = [
            _part(words["holds"], _holdings(hub, view, lang)),
            _part(who, _card(card, words)),
            _part(happened, touches),
            ["", *_memberships(view, words, records, merges)],
        ]
    parts += [
        _part(words["read_models"], _read_models(hub, lang)),
        _part(words["keys"], _keys(hub, words)),
        _part(words["next"], _next(words, card["customer"], served)),
    ]
    return "\n".join(line for part in parts for line in part)


def _part(title: str, lines: Iterable[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)]


def _holdings(hub: Hub, view: View, lang: str) -> Iterator[str]:
    words = WORDS[lang]

    def one(query: str) -> tuple[Any, ...]:
        return view.ask(lambda *row: row, query).fetchone() or ()

    records, customers = one("SELECT count(*), count(DISTINCT customer) FROM membership")
    (touches,) = one("SELECT coalesce(sum(count), 0)::bigint FROM daily_counters")
    (quarantined,) = one("SELECT count(*) FROM quarantine")
    counts = {"records": records, "customers": customers, "touches": touches, "events": hub.head()}
    yield words["totals"].format(**{name: number(count, lang) for name, count in counts.items()})
    by_source = dict(view.ask(lambda *row: row, "SELECT source, count(*) FROM membership GROUP BY source").fetchall())
    for source in sources_of(view):
        yield words["from_source"].format(
            **{**source, "title": source["title"] or source["source"]},
            records=number(by_source.get(source["source"], 0), lang),
        )
    if quarantined:
        yield words["set_aside"].format(count=number(quarantined, lang))


def _card(card: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    for attribute, fact in card["facts"].items():
        other = fact["runner_up"]
        if other and other["value"] != fact["value"]:
            origin = words["instead_of"].format(
                source=fact["source"], trust=fact["trust"], other=other["source"], value=_shown(other["value"])
            )
        else:
            origin = words["only"].format(source=fact["source"], trust=fact["trust"])
        yield f"{attribute}: {_shown(fact['value'])} ({origin})"
    for each in card["identifiers"]:
        yield f"{each['kind']}: {each['value']} ({words['held_by'].format(count=len(each['records']))})"


def _timeline(view: View, lang: str) -> tuple[str, list[str]]:
    """The liveliest record's customer."""
    busiest = "SELECT record FROM daily_counters GROUP BY record ORDER BY sum(count) DESC, record LIMIT 1"
    record = next(iter(view.ask(lambda record: record, busiest)))
    card = card_of(view, record)
    count = number(card["touches"]["count"], lang)
    title = WORDS[lang]["happened"].format(customer=card["customer"], count=count)
    return title, [_touch(touch) for touch in timeline_of(view, record, limit=LATEST)["items"]]


def _touch(touch: Mapping[str, Any]) -> str:
    said = ", ".join(f"{name} {value}" for name, value in touch["data"].items())
    what = " ".join(part for part in (touch["channel"], touch["kind"]) if part)
    return f"{touch['occurred_at'][:10]}  {what}: {said}  ({touch['source']})"


def _memberships(
    view: View, words: Mapping[str, str], records: Mapping[Record, str], merges: Sequence[Merged]
) -> Iterator[str]:
    for each in merges:
        members, _ = present(view, records[each.a])
        together = records[each.b] in {member.record for member in members}
        a, b = ("/".join(end) for end in (each.a, each.b))
        yield words["together" if together else "apart"].format(a=a, b=b)


def _read_models(hub: Hub, lang: str) -> Iterator[str]:
    for standing in hub.standings():
        yield WORDS[lang]["at"].format(
            name=standing.name,
            position=number(standing.position, lang),
            lag=number(standing.lag, lang),
            state=standing.state,
        )


def _keys(hub: Hub, words: Mapping[str, str]) -> Iterator[str]:
    keys = [key for key in hub.principals.all() if key.stands]
    for key in keys:
        yield words["key"].format(id=key.id, role=key.role, whom=key.source or key.person or "–")
    if not keys:
        yield words["no_keys"]


def _next(words: Mapping[str, str], customer: str, served: bool) -> Iterator[str]:
    settings = Settings.from_environment()
    url = f"http://{settings.host}:{settings.port}"
    yield words["served" if served else "serve"].format(url=url)
    yield words["card"].format(customer=customer)
    yield words["status"]
    yield words["import"].format(folder=Path(__file__).parent)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values())
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

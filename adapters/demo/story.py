"""A short true story of what the hub holds, asked of the read side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapters.demo.words import WORDS
from adapters.importer.words import number
from adapters.program import program
from adapters.serve import FIRST_KEYS
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
Found = dict[str, Any]


class Merged(Protocol):
    """Two records merged, and perhaps taken apart again."""

    @property
    def a(self) -> Record: ...
    @property
    def b(self) -> Record: ...


def look(hub: Hub, records: Mapping[Record, str], merges: Sequence[Merged]) -> Found:
    """What the hub holds now; `records` are the ids of what was merged."""
    with hub.view() as view, view.snapshot():
        found: Found = {
            "holds": _holdings(view),
            "card": card_of(view, records[merges[0].a]),
            "liveliest": _liveliest(view),
            "merges": [
                {"a": "/".join(each.a), "b": "/".join(each.b), "together": _together(view, records, each)}
                for each in merges
            ],
        }
    settings = Settings.from_environment()
    return found | {
        "read_models": hub.standings(),
        "keys": [
            {"id": key.id, "role": key.role, "for": key.source or key.person}
            for key in hub.principals.all()
            if key.stands
        ],
        "keys_file": str(settings.data / FIRST_KEYS),
        "hub": program(),
        "address": f"http://{settings.host}:{settings.port}",
    }


def tell(found: Found, lang: str, served: bool) -> str:
    words, card, liveliest = WORDS[lang], found["card"], found["liveliest"]
    who = words["who"].format(customer=card["customer"], count=len(card["records"]))
    count = number(liveliest["count"], lang)
    happened = words["happened"].format(customer=liveliest["customer"], count=count)
    parts = [
        _part(words["holds"], _told_holdings(found["holds"], lang)),
        _part(who, _told_card(card, words)),
        _part(happened, map(_told_touch, liveliest["latest"])),
        ["", *(words["together" if each["together"] else "apart"].format(**each) for each in found["merges"])],
        _part(words["read_models"], _told_models(found["read_models"], lang)),
        # What serves makes the first keys, and says them.
        _part(words["keys"], _told_keys(found, words)) if found["keys"] or not served else [],
        _part(words["next"], _told_next(found, words, served)),
    ]
    return "\n".join(line for part in parts for line in part)


def _holdings(view: View) -> Found:
    def one(query: str) -> tuple[Any, ...]:
        return next(iter(view.ask(lambda *row: row, query)))

    records, customers = one("SELECT count(*), count(DISTINCT customer) FROM membership")
    by_source = dict(view.ask(lambda *row: row, "SELECT source, count(*) FROM membership GROUP BY source").fetchall())
    return {
        "records": records,
        "customers": customers,
        "touches": one("SELECT coalesce(sum(count), 0)::bigint FROM daily_counters")[0],
        "events": view.reader.snapshot(view.connection).head,
        "quarantined": one("SELECT count(*) FROM quarantine")[0],
        "sources": [
            {
                "source": source["source"],
                "title": source["title"] or source["source"],
                "trust": source["trust"],
                "records": by_source.get(source["source"], 0),
            }
            for source in sources_of(view)
        ],
    }


def _liveliest(view: View) -> Found:
    """The customer of the record with the most touches, and the last of them."""
    busiest = "SELECT record FROM daily_counters GROUP BY record ORDER BY sum(count) DESC, record LIMIT 1"
    record = next(iter(view.ask(lambda record: record, busiest)))
    card = card_of(view, record)
    latest = timeline_of(view, record, limit=LATEST)["items"]
    return {"customer": card["customer"], "count": card["touches"]["count"], "latest": latest}


def _together(view: View, records: Mapping[Record, str], merge: Merged) -> bool:
    members, _ = present(view, records[merge.a])
    return records[merge.b] in {member.record for member in members}


def _part(title: str, lines: Iterable[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)]


def _told_holdings(holds: Found, lang: str) -> Iterator[str]:
    words = WORDS[lang]
    counts = {name: number(holds[name], lang) for name in ("records", "customers", "touches", "events")}
    yield words["totals"].format(**counts)
    for source in holds["sources"]:
        yield words["from_source"].format(**source | {"records": number(source["records"], lang)})
    if holds["quarantined"]:
        yield words["set_aside"].format(count=number(holds["quarantined"], lang))


def _told_card(card: Found, words: Mapping[str, str]) -> Iterator[str]:
    for attribute, fact in card["facts"].items():
        origin, other = {"source": fact["source"], "trust": fact["trust"]}, fact["runner_up"]
        if other and other["value"] != fact["value"]:
            said = words["instead_of"].format(**origin, other=other["source"], value=_shown(other["value"]))
        else:
            said = words["only"].format(**origin)
        yield f"{attribute}: {_shown(fact['value'])} ({said})"
    for each in card["identifiers"]:
        yield f"{each['kind']}: {each['value']} ({words['held_by'].format(count=len(each['records']))})"


def _told_touch(touch: Found) -> str:
    said = ", ".join(f"{name} {value}" for name, value in touch["data"].items())
    what = " ".join(part for part in (touch["channel"], touch["kind"]) if part)
    return f"{touch['occurred_at'][:10]}  {what}: {said}  ({touch['source']})"


def _told_models(standings: Iterable[Any], lang: str) -> Iterator[str]:
    for each in standings:
        position, lag = number(each.position, lang), number(each.lag, lang)
        yield WORDS[lang]["at"].format(name=each.name, position=position, lag=lag, state=each.state)


def _told_keys(found: Found, words: Mapping[str, str]) -> Iterator[str]:
    for key in found["keys"]:
        yield words["key"].format(id=key["id"], role=key["role"], whom=key["for"] or "–")
    yield words["kept" if found["keys"] else "no_keys"].format(file=found["keys_file"], hub=found["hub"])


def _told_next(found: Found, words: Mapping[str, str], served: bool) -> Iterator[str]:
    hub = found["hub"]
    yield words["served" if served else "serve"].format(hub=hub, url=found["address"])
    yield words["card"].format(hub=hub, customer=found["card"]["customer"])
    yield words["status"].format(hub=hub)
    yield words["import"].format(hub=hub, folder=Path(__file__).parent)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values())
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

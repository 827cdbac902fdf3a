"""The demo: real purchases and a truth set of people and companies, a few merges by hand, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import typer

from adapters.demo.story import look, tell
from adapters.demo.words import WORDS
from adapters.importer import Summary, import_file
from adapters.importer.words import language, number
from hub.errors import Behind
from projections.identifiers import find

if TYPE_CHECKING:
    from hub.wiring import Hub

HERE = Path(__file__).parent
FILES = {  # Small ones first, so that a look at the hub has something to see at once.
    "truth_set/customers.jsonl": "truth_set/customers.toml",
    "truth_set/reference.jsonl": "truth_set/reference.toml",
    "truth_set/watchlist.jsonl": "truth_set/watchlist.toml",
    "russian/clients.csv": "russian/clients.toml",
    "cdnow/CDNOW_master.txt": "cdnow/purchases.toml",
}


class Merge(NamedTuple):
    """Two records a steward says are one person; and why not, where that is taken back."""

    a: tuple[str, str]  # source, key
    b: tuple[str, str]
    reason: str
    taken_back: str | None = None


MERGES = (
    Merge(("customers", "1009"), ("watchlist", "1014"), "One social security number, one birth date; Eddie is Edward"),
    Merge(("customers", "1001"), ("customers", "1002"), "One phone; Bob is Robert, day and month of birth are swapped"),
    Merge(("customers", "1001"), ("customers", "1003"), "One birth date; Bob is Robert"),
    Merge(("customers", "1001"), ("watchlist", "1008"), "Both are Robert Smith", "Nothing but a common name agrees"),
)


def run(hub: Hub, serve: bool = False, *, json: bool = False, lang: str | None = None) -> None:
    """Import, merge, tell. A second run changes nothing; raises what importing raises."""
    lang = lang or language()
    if not json:
        typer.echo(WORDS[lang]["importing"])
    imports = []
    for summary in load(hub, lang):
        imports.append(summary)
        if not json:
            typer.echo(summary.text(lang))
    records = merge(hub, max(summary.position for summary in imports), lang)
    found = look(hub, records, MERGES)
    if json:
        document = {"imports": [summary.as_json() for summary in imports], **found}
        typer.echo(orjson.dumps(document, option=orjson.OPT_UTC_Z).decode())
    else:
        typer.echo(tell(found, lang, serve))


def load(hub: Hub, lang: str) -> Iterator[Summary]:
    """Import every file of the demo."""
    for file, mapping in FILES.items():
        yield import_file(hub, HERE / file, HERE / mapping, progress=sys.stderr.isatty(), lang=lang)


def merge(hub: Hub, position: int, lang: str) -> Mapping[tuple[str, str], str]:
    """Merge what belongs together, take one merge back; gives the records concerned by source and key."""
    catch_up(hub, position, lang)
    with hub.view() as view:
        ends = dict.fromkeys(end for each in MERGES for end in (each.a, each.b))
        records: dict[tuple[str, str], str] = {end: find(view, source=end[0], key=end[1])[0]["record"] for end in ends}
    for each in MERGES:
        name = f"demo:{':'.join((*each.a, *each.b))}"
        told: dict[str, Any] = {"customers": [records[each.a], records[each.b]], "reason": each.reason}
        answer = hub.do({"command": "merge_customers", "id": name, **told})
        position = max(position, answer["position"])
        if each.taken_back and answer["events"]:
            merged = answer["events"][-1]["event"]
            answer = hub.do(
                {"command": "unmerge_customers", "id": f"{name}:back", "merge": merged, "reason": each.taken_back}
            )
            position = max(position, answer["position"])
    catch_up(hub, position, lang)
    return records


def catch_up(hub: Hub, position: int, lang: str) -> None:
    """Wait for the read side, however long it takes while it moves. Raises Behind when it does not."""
    last = -1
    while True:
        with suppress(Behind):
            hub.wait(position)
            return
        reached = min(standing.position for standing in hub.standings())
        if reached == last:
            raise Behind
        last = reached
        typer.echo(WORDS[lang]["catching_up"].format(left=number(position - reached, lang)), err=True)

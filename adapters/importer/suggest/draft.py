"""The draft of a mapping: each column means what its header says, else what stands in it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from adapters.importer.suggest import headers, samples
from adapters.importer.suggest.columns import Column, Seen
from adapters.importer.suggest.fields import Field, Fields
from adapters.importer.suggest.toml import Table, written
from adapters.importer.suggest.words import comment
from hub.attributes import ATTRIBUTES
from hub.identity.normalise import KINDS, is_code

PARTS = ("postcode", "region", "street", "house", "flat")  # Of an address.
PASSPORT = ("passport_series", "passport_number")
OF_A_TOUCH = ("amount", "quantity", "channel", "note")
CHANNEL_OF_KIND = {"purchase": "shop", "visit": "visit", "call": "call"}
LATIN = dict(zip("абвгдеёжзийклмнопрстуфхцчшщъыьэюя", (
    "a", "b", "v", "g", "d", "e", "e", "zh", "z", "i", "y", "k", "l", "m", "n", "o", "p", "r", "s", "t", "u", "f",
    "kh", "ts", "ch", "sh", "shch", "", "y", "", "e", "yu", "ya",
), strict=True))  # fmt: skip


@dataclass
class Meant:
    """A column that means something, and the doubts about that."""

    column: Column
    doubts: list[str] = field(default_factory=list)


class Draft:
    """One mapping in the making; `text` is it, as TOML."""

    def __init__(self, file: Path, seen: Seen, lang: str, region: str) -> None:
        self._file, self._seen, self._lang = file, seen, lang
        self._region = _home(seen.columns, region)
        self._fields = Fields(self._region, lang)
        self._meant: dict[str, Meant] = {}
        self._left: list[Column] = []
        for column in seen.columns:
            self._take(column, *self._meaning(column))
        self._settle_names()
        self._settle_key()

    def text(self) -> str:
        """Valid for `--map` as it is."""
        head, end = Table(), Table()
        head.say(self._say("head", file=shlex.quote(self._file.name), rows=self._seen.rows))
        tables = [head, self._top(), self._registration(), self._layout(), *self._customer(), *self._touch()]
        if order := self._meant.get("order"):
            end.say(self._say("order"))
            end.say(f"[row] id = {written(order.column.name)}")
            self._left.append(order.column)
        if self._left:
            end.say(self._say("kept", columns=", ".join(dict.fromkeys(column.called for column in self._left))))
        return "\n".join(table.text() for table in (*tables, end) if table.lines)

    # What columns mean.

    def _meaning(self, column: Column) -> tuple[str | None, list[str]]:
        """What it means, and the doubts."""
        meaning, outright = headers.meaning_of(column.called)
        found = samples.kind_of(column.unique(), self._region)
        unsure = not outright or meaning in ("contact", "phone", "email", "key")
        if found and found != meaning and unsure and (meaning, found) not in (("key", "inn"), ("key", "snils")):
            return found, [self._say("samples")]
        if meaning == "first_name" and samples.is_words(column.samples, 2):
            return "name", [self._say("samples")]
        if meaning == "middle_name" and self._region == "RU":
            return "patronymic", []
        if meaning is None and self._dated(column) >= samples.MOST:
            return self._date_meaning(column), [self._say("samples")]
        dateless = meaning in ("when", "birth_date") and self._dated(column) < samples.MOST / 2
        numberless = meaning in ("amount", "quantity") and not self._is_number(column)
        if dateless or numberless or meaning in ("registered", "contact"):
            return None, []
        return meaning, [] if outright else [self._say("part")]

    def _take(self, column: Column, meaning: str | None, doubts: list[str]) -> None:
        if meaning is None:
            self._left.append(column)
            return
        if before := self._meant.get(meaning):
            if meaning in ("phone", "email") and f"second_{meaning}" not in self._meant:
                meaning, doubts = f"second_{meaning}", [self._say("second", meaning=meaning)]
            elif before.doubts and not doubts:  # What a header says outright outdoes a part of another.
                self._left.append(before.column)
            else:
                self._left.append(column)
                return
        self._meant[meaning] = Meant(column, doubts)

    def _settle_names(self) -> None:
        """`Name` beside a surname is the given name; and where the customer column holds names, it is no key."""
        meant = self._meant
        alone = "last_name" in meant and "first_name" not in meant
        if alone and "name" in meant and not samples.is_words(meant["name"].column.samples, 2):
            meant["first_name"] = meant.pop("name")
        if "key" in meant and samples.is_words(meant["key"].column.samples, 2):
            column = meant.pop("key").column
            self._take(column, "name", [self._say("samples")])

    def _settle_key(self) -> None:
        if "key" in self._meant:
            return
        for column in self._left:
            if not column.empty and samples.could_be_key(column.samples):
                self._left.remove(column)
                self._meant["key"] = Meant(column, [self._say("key_by_samples")])
                return

    def _dated(self, column: Column) -> float:
        """The share of its values that are dates."""
        found = samples.dates_of(column.unique(), self._fields.month_first)
        return found[1] / len(column.unique()) if found else 0.0

    def _date_meaning(self, column: Column) -> str | None:
        """Most people were born a while ago, and most touches were not. A bare number of seconds could be anything."""
        years = sorted(int(year) for text in column.unique() for year in re.findall(r"(?<!\d)(?:19|20)\d\d", text))
        if not years or all(text.isdigit() for text in column.unique()):
            return None
        return "birth_date" if years[len(years) // 2] < datetime.now(UTC).year - 15 else "when"

    def _is_number(self, column: Column) -> bool:
        return samples.number_of(column.samples, self._fields.comma_is_point)[1] >= samples.MOST

    # What is written down of it.

    def _top(self) -> Table:
        table, name = Table(), _slug(self._file.stem)
        table.set("name", name, self._say("name"))
        table.set("source", name, self._say("source"))
        contact = next((kind for kind in ("phone", "email") if kind in self._meant), None)
        if key := self._meant.get("key"):
            table.set("key", key.column.name, *key.doubts)
        elif contact:
            column = self._meant[contact].column
            value = self._fields.phone(column)[0] if contact == "phone" else column.name
            table.set("key", value, self._say("key_by_contact", kind=column.called))
        else:
            column = next(iter(self._meant.values())).column if self._meant else self._left[0]
            table.set("key", column.name, self._say("no_key"))
        return table

    def _registration(self) -> Table:
        table = Table("[register]")
        table.set("title", self._file.stem, self._say("register"))
        return table

    def _layout(self) -> Table:
        table, layout = Table("[file]"), self._seen.layout
        table.set("format", layout.format)
        for key in ("encoding", "delimiter"):
            if value := getattr(layout, key):
                table.set(key, value)
        if layout.quote != '"':
            table.set("quote", layout.quote)
        if not layout.header:
            table.set("header", False, self._say("no_header"))
        if layout.columns:
            table.set("columns", layout.columns, *[self._say("renamed")] * self._seen.renamed)
        return table

    def _customer(self) -> list[Table]:
        facts, identifiers = Table("[customer.facts]"), Table("[customer.identifiers]")
        for meaning, meant in self._meant.items():
            name = meant.column.name
            match meaning:
                case "birth_date":
                    self._put(facts, meaning, meant, self._fields.date(meant.column, "date"))
                case "gender":
                    self._put(facts, meaning, meant, self._fields.gender(meant.column))
                case "middle_name":
                    self._put(facts, "x-middle-name", meant, (name, []))
                case "second_phone":
                    self._put(facts, "phone", meant, self._fields.phone(meant.column))
                case "second_email":
                    self._put(facts, "email", meant, (name, []))
                case "phone":
                    self._put(identifiers, meaning, meant, self._fields.phone(meant.column))
                case _ if meaning in KINDS:
                    self._put(identifiers, meaning, meant, self._fields.identifier(meaning, meant.column))
                case _ if meaning in ATTRIBUTES and meaning != "address":
                    self._put(facts, meaning, meant, (name, []))
        self._address(facts)
        passport = [
            self._meant[part].column.name for part in ("passport_series", "passport_number") if part in self._meant
        ]
        if passport and "passport" not in self._meant:
            identifiers.set("passport", {"join": passport, "with": ""})
        tables = [table for table in (facts, identifiers) if table.lines]
        if not tables and "when" in self._meant:
            return []
        customer = Table("[customer]")
        if "organisation_name" in self._meant and not {"name", "last_name", "first_name"} & self._meant.keys():
            customer.set("party", {"value": "organisation"}, self._say("samples"))
        if not tables:
            customer.set("raw", True, self._say("nothing"))
        return [customer, *tables]

    def _address(self, facts: Table) -> None:
        """One text, or its parts as one object; those of an element of a list stay together."""
        found = {part: self._meant[part] for part in ("address", *PARTS) if part in self._meant}
        if found.keys() == {"address"}:
            self._put(facts, "address", found["address"], (found["address"].column.name, []))
        elif found:
            names = {part.replace("address", "full"): meant.column.name for part, meant in found.items()}
            lists = {str(name).rpartition(".")[0] for name in names.values()}
            if len(lists) == 1 and (each := lists.pop()).endswith("[]"):
                inner = {part: str(name).removeprefix(f"{each}.") for part, name in names.items()}
                facts.set("address", {"each": each, "object": inner})
            else:
                facts.set("address", {"object": names})

    def _touch(self) -> list[Table]:
        """Where the rows tell when something happened."""
        meant, touch = self._meant.get("when"), Table("[[touch]]")
        if meant is None:
            self._left += [self._meant[each].column for each in OF_A_TOUCH if each in self._meant]
            return []
        if meant.column.empty:
            touch.set("when", meant.column.name)
        self._put(touch, "occurred_at", meant, self._fields.date(meant.column, "time"))
        spoken = [self._meant[each].column.called for each in ("when", "amount", "order") if each in self._meant]
        kind = headers.kind_of(*spoken) or ("purchase" if "amount" in self._meant else None)
        if channel := self._meant.get("channel"):
            self._put(touch, "channel", channel, self._fields.channel(channel.column))
        else:
            touch.set("channel", {"value": CHANNEL_OF_KIND.get(kind or "", "other")}, self._say("channel"))
        if kind:
            touch.set("kind", {"value": kind}, self._say("kind"))
        for meaning, type in (("amount", "decimal"), ("quantity", "number")):
            if number := self._meant.get(meaning):
                self._put(touch, f"data.{meaning}", number, self._fields.number(number.column, type))
        if note := self._meant.get("note"):
            self._put(touch, "content.note", note, (note.column.name, []))
        return [touch]

    def _put(self, table: Table, key: str, meant: Meant, field: Field) -> None:
        value, doubts = field
        table.set(key, value, *meant.doubts, *doubts)

    def _say(self, code: str, **values: object) -> str:
        return comment(code, self._lang, **values)


def _home(columns: list[Column], region: str) -> str:
    """The country the file is from: by its letters, else by its phones, else the hub's own."""
    if any(re.search("[а-яё]", text.lower()) for column in columns for text in (column.called, *column.samples[:50])):
        return "RU"
    american = samples.is_national("US")
    phones = [
        text
        for column in columns
        if headers.meaning_of(column.called)[0] == "phone" or samples.share(column.unique(), american) >= samples.MOST
        for text in column.unique()
    ]
    return samples.region_of(phones, region)


def _slug(stem: str) -> str:
    """The file's name as a code."""
    latin = "".join(LATIN.get(letter, letter) for letter in stem.lower())
    slug = re.sub(r"[^a-z0-9_]+", "-", latin).strip("-")[:40]
    return slug if is_code(slug) else "rows"

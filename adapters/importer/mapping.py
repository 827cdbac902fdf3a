"""The mapping: a TOML file that says how a row becomes commands, checked whole before the first row is read."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from adapters.importer.commands import Template
from adapters.importer.identity import Identity
from adapters.importer.rows import FORMATS, Layout
from adapters.importer.values import Columns, Unusable, Value, value_of
from adapters.importer.words import wrong, wrong_in
from commands.identify_customer import IdentifyCustomer
from commands.record_touch import RecordTouch
from commands.register_source import RegisterSource
from hub.attributes import ATTRIBUTES, is_attribute
from hub.errors import Misconfigured
from hub.identity.normalise import is_code, is_kind
from hub.intake import flaws_of
from hub.texts import Told, said, told, why

SETTINGS = {"name", "source", "key", "occurred_at", "file", "row", "register", "customer", "touch"}
LAYOUT = {"format", "encoding", "delimiter", "quote", "header", "columns"}
COMMON = {"source", "key", "occurred_at", "correlation", "branch"}
TABLES = {"facts", "identifiers", "data", "content"}
OF_A_CUSTOMER = COMMON | {"party", "facts", "identifiers", "same_as", "raw"}
OF_A_TOUCH = COMMON | {"when", "raw"} | set(RecordTouch.model_fields) - {"command", "id", "seen", "customer"}
LENIENT = {"birth_date"}  # Facts whose form the hub checks itself: what fails is set aside there, with its value.


class MappingError(Misconfigured):
    """The mapping cannot be used."""


class Mapped:
    """A mapping read and checked, as far as it can be without the file it is for."""

    def __init__(self, file: Path, text: str | None = None) -> None:
        """The text in the file, or one that is to become it."""
        self._file = file
        try:
            self.text = file.read_text("utf-8") if text is None else text
            self._read = tomllib.loads(self.text)
        except OSError as error:
            raise MappingError(wrong_in(file, why(error))) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise MappingError(wrong_in(file, wrong("not_toml", error=error))) from None
        self._only(self._read, SETTINGS, "")
        self.name: str = self._read.get("name", "")
        if not isinstance(self.name, str) or not is_code(self.name):
            self._fail("name", wrong("name"))
        if "source" not in self._read:
            self._fail("source", wrong("source"))
        self.layout = self._layout(self._table("file"))

    @property
    def source(self) -> str | None:
        """The one source of all rows; None where a column tells it."""
        source = self._read["source"]
        return source if isinstance(source, str) else None

    def registration(self) -> dict[str, Any] | None:
        """The command that registers the source, where the mapping says how; the same id for the same words."""
        if "register" not in self._read:
            return None
        table = self._table("register")
        self._only(table, {"title", "trust", "logins", "party"}, "register")
        if self.source is None:
            self._fail("register", wrong("register_each"))
        command = {"command": "register_source", "name": self.source, **table}
        self._check(RegisterSource, command, "register")
        words = blake2b(repr(sorted(command.items())).encode(), digest_size=8).hexdigest()
        return {**command, "id": f"import:{self.name}:register:{words}"}

    def identity(self, columns: tuple[str, ...] | None, key: bytes = b"") -> Identity:
        """What tells rows apart; `key` keeps from guessing them."""
        row = self._table("row")
        self._only(row, {"id"}, "row")
        named = row.get("id", [])
        ids = [self._value("row.id", name, Columns(columns)) for name in ([named] if isinstance(named, str) else named)]
        return Identity(self.name, [id.get for id in ids], key)

    def templates(self, columns: tuple[str, ...] | None) -> list[Template]:
        """One for every command a row becomes. Raises MappingError, naming key and fix."""
        known = Columns(columns)
        common = {"source": self._source(known)}
        common |= {key: self._value(key, self._read[key], known) for key in ("key", "occurred_at") if key in self._read}
        made: list[Template] = []
        if "customer" in self._read:
            table = self._table("customer")
            self._only(table, OF_A_CUSTOMER, "customer")
            made.append(self._template("customer", "identify_customer", table, common, known))
        touches = self._read.get("touch", [])
        for n, touch in enumerate([touches] if isinstance(touches, Mapping) else touches):
            where = f"touch.{n}" if n else "touch"  # Part of the ids: a touch added later leaves the first alone.
            self._only(touch, OF_A_TOUCH, where)
            made.append(self._template(where, "record_touch", touch, common, known, whole=not made))
        if not made:
            self._fail("", wrong("nothing_said"))
        return made

    def _template(
        self,
        where: str,
        command: str,
        table: Mapping[str, Any],
        common: Mapping[str, Value],
        columns: Columns,
        whole: bool = True,
    ) -> Template:
        values, nested = dict(common), dict[str, dict[str, Value]]()
        when = None
        for key, spec in table.items():
            if key in TABLES:
                nested[key] = self._nested(f"{where}.{key}", key, spec, columns)
            elif key == "when":
                when = self._value(f"{where}.when", spec, columns).get
            elif key not in ("raw", "same_as"):
                values[key] = self._value(f"{where}.{key}", spec, columns)
        if "same_as" in table:
            nested["same_as"] = self._nested(f"{where}.same_as", "same_as", table["same_as"], columns)
            if nested["same_as"].keys() != {"source", "key"}:
                self._fail(f"{where}.same_as", wrong("same_as"))
        self._check_constants(where, command, values, nested)
        return Template(where, command, values, nested, when, bool(table.get("raw", whole)))

    def _nested(self, where: str, kind: str, table: Any, columns: Columns) -> dict[str, Value]:
        if not isinstance(table, Mapping):
            self._fail(where, wrong("table", key=where))
        for name in table:
            if kind == "facts" and not is_attribute(name):
                known = ", ".join(sorted(ATTRIBUTES))
                self._fail(f"{where}.{name}", wrong("no_fact", name=name, known=known))
            if kind == "identifiers" and not is_kind(name):
                self._fail(f"{where}.{name}", wrong("no_kind", name=name))
        return {
            name: self._value(f"{where}.{name}", spec, columns, lenient=kind == "facts" and name in LENIENT)
            for name, spec in table.items()
        }

    def _source(self, columns: Columns) -> Value:
        source = self._read["source"]
        return self._value("source", {"value": source} if isinstance(source, str) else source, columns)

    def _value(self, where: str, spec: Any, columns: Columns, *, lenient: bool = False) -> Value:
        try:
            return value_of(spec, columns, lenient=lenient)
        except Unusable as error:
            self._fail(where, error.fix)

    def _check_constants(
        self, where: str, command: str, values: Mapping[str, Value], nested: Mapping[str, Mapping[str, Value]]
    ) -> None:
        """What is the same in every row can be refused before the first."""
        model = IdentifyCustomer if command == "identify_customer" else RecordTouch
        if command == "record_touch" and "channel" not in values:
            self._fail(f"{where}.channel", wrong("channel"))
        said: dict[str, Any] = {"command": command}
        said |= {name: value.constant for name, value in values.items() if not value.columns}
        for name, parts in nested.items():
            if constants := {part: value.constant for part, value in parts.items() if not value.columns}:
                said[name] = constants
        self._check(model, said, where)

    def _check(self, model: type[Any], said: dict[str, Any], where: str) -> None:
        try:
            model.model_validate(said, strict=False)
        except ValidationError as error:
            for each in error.errors():
                if each["type"] != "missing":
                    key = each["loc"][0] if each["loc"] else ""
                    self._fail(f"{where}.{key}", _in_words(each))

    def _layout(self, table: Mapping[str, Any]) -> Layout:
        self._only(table, LAYOUT, "file")
        formats = {*FORMATS.values(), "spaces"}
        if table.get("format", "csv") not in formats:
            self._fail("file.format", wrong("no_format", known=", ".join(sorted(formats))))
        encoding = None
        if "encoding" in table:
            try:
                encoding = codecs.lookup(table["encoding"]).name
            except LookupError:
                self._fail("file.encoding", wrong("no_encoding"))
        for sign in ("delimiter", "quote"):
            if len(table.get(sign, ",")) != 1:
                self._fail(f"file.{sign}", wrong("delimiter"))
        columns = table.get("columns")
        if table.get("header", True) is False and not columns:
            self._fail("file.columns", wrong("columns"))
        return Layout(
            table.get("format"),
            encoding,
            table.get("delimiter"),
            table.get("header", True),
            tuple(columns) if columns else None,
            table.get("quote", '"'),
        )

    def _table(self, key: str) -> Mapping[str, Any]:
        table = self._read.get(key, {})
        if not isinstance(table, Mapping):
            self._fail(key, wrong("table", key=key))
        return table

    def _only(self, table: Mapping[str, Any], known: set[str], where: str) -> None:
        for key in table:
            if key not in known:
                self._fail(f"{where}.{key}".lstrip("."), wrong("no_key", known=", ".join(sorted(known))))

    def _fail(self, key: str, fix: Told) -> NoReturn:
        raise MappingError(wrong_in(self._file, fix, key))


def _in_words(error: Any) -> Told:
    """What pydantic says of a constant; in Russian the reason, and the bounds or the choice it was held against."""
    (flaw,) = flaws_of([error])
    bounds = [str(value) for value in error.get("ctx", {}).values() if not isinstance(value, Exception)]
    russian = ": ".join([said(flaw.reason, "ru"), *filter(None, [", ".join(bounds)])])
    english = said(flaw.reason, "en") if error["type"] == "value_error" else error["msg"]  # Ours say a code.
    return told(("{english}", "{russian}"), english=english, russian=russian)

"""TOML files of settings, read table by table: what cannot be is told with the file, the place and the fix."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from adapters.importer.words import wrong, wrong_in
from hub.errors import Misconfigured
from hub.texts import Told, told, why

_KINDS: Mapping[type, tuple[str, str]] = {
    str: ("write a text in quotes", "запишите текст в кавычках"),
    bool: ("write true or false", "запишите true или false"),
    int: ("write a whole number, 1 or more", "запишите целое число не меньше 1"),
    list: ("write a list of texts, as in [\"a\", \"b\"]", "запишите список текстов: [\"a\", \"b\"]"),
}  # fmt: skip
_READABLE = (
    "everybody on this machine can read the secret here: chmod 600 {file}, or use secret_env",
    "секрет здесь может прочитать каждый на этой машине: chmod 600 {file} или используйте secret_env",
)
_NO_VARIABLE = (
    "the variable {name} is not set; set it, or write another name",
    "переменная {name} не задана; задайте её или напишите другое имя",
)


class Table:
    """A table of such a file. `where` is its place, as in `feed.crm`."""

    def __init__(self, file: Path, read: Mapping[str, Any], where: str = "") -> None:
        self.file, self.read, self.where = file, read, where

    def only(self, known: Collection[str]) -> None:
        """Raises Misconfigured for a key that is not one of these."""
        for key in self.read:
            if key not in known:
                self.fail(key, wrong("no_key", known=", ".join(sorted(known))))

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of a list, `[[key]]`, each with its name for its place."""
        found = self.read.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.fail(key, told(("write [[{key}]] above each of them", "перед каждым напишите [[{key}]]"), key=key))
        for n, each in enumerate(found, 1):
            name = each.get("name")
            yield Table(self.file, each, f"{key}.{name if isinstance(name, str) and name else n}")

    def text(self, key: str, default: str = "") -> str:
        return str(self._of(key, str, default))

    def flag(self, key: str) -> bool:
        return bool(self._of(key, bool, default=False))

    def number(self, key: str, default: int) -> int:
        found = int(self._of(key, int, default))
        return found if found > 0 else self.fail(key, told(_KINDS[int]))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one that stands for itself."""
        found = self.read.get(key, [])
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            self.fail(key, told(_KINDS[list]))
        return tuple(listed)

    def secrets(self, *, public: bool = False) -> tuple[str, ...]:
        """Those in `secret`, and those that variables hold which `secret_env` names, several separated by spaces.

        Raises Misconfigured where others than the hub's user and group can read them here, unless they are `public`.
        """
        found = self.texts("secret")
        if found and not public and self.file.stat().st_mode & 0o007:
            self.fail("secret", told(_READABLE, file=self.file))
        for name in self.texts("secret_env"):
            if not (value := os.environ.get(name)):
                self.fail("secret_env", told(_NO_VARIABLE, name=name))
            found = (*found, *value.split())
        return found

    def choice(self, key: str, choices: Collection[str], default: str = "") -> str:
        found = self.text(key, default)
        if found not in choices:
            known = ", ".join(choices)
            self.fail(key, told(("write one of: {known}", "запишите одно из: {known}"), known=known))
        return found

    def fail(self, key: str, fix: Told) -> NoReturn:
        """Raises Misconfigured: file, place, fix; never what stands there, which may be a secret."""
        raise Misconfigured(wrong_in(self.file, fix, f"{self.where}.{key}".strip(".")))

    def _of(self, key: str, kind: type, default: Any) -> Any:
        found = self.read.get(key, default)
        return found if type(found) is kind else self.fail(key, told(_KINDS[kind]))


def read(file: Path) -> Table:
    """The whole file. Raises Misconfigured where it cannot be read or is no TOML."""
    try:
        return Table(file, tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise Misconfigured(wrong_in(file, why(error))) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(wrong_in(file, wrong("not_toml", error=_place(error)))) from None


def _place(error: Exception) -> str:
    """Where the TOML breaks off; the rest of what the parser says may quote a secret."""
    said = str(error)
    return said[said.rfind("(") :].strip("()") if "(at " in said else type(error).__name__

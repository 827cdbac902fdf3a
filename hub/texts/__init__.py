"""What people read, in English and Russian, by code.

Most errors have one sentence, by their class (`errors.py`), and a flaw has a reason (`reasons.py`). An error that names
files and fixes carries a `Told`, made where it is raised from one of `sentences.py`.
"""

from __future__ import annotations

import errno
import re
import socket

from hub.errors import HubError
from hub.texts.errors import ERRORS
from hub.texts.reasons import REASONS
from hub.texts.sentences import SENTENCES

Both = tuple[str, str]
LANGUAGES = ("en", "ru")

_BY_NUMBER = {
    errno.EADDRINUSE: "in_use",
    errno.EACCES: "forbidden_here",
    errno.EPERM: "forbidden_here",
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_a_folder",
    errno.EISDIR: "a_folder",
    errno.EROFS: "read_only",
    errno.ENOSPC: "disk_full",
    errno.EADDRNOTAVAIL: "not_ours",
}


class Told(str):
    """A sentence in English that knows its Russian, because where it is made nobody knows who will read it."""

    russian: str

    def in_(self, language: str) -> str:
        return self.russian if language == "ru" else str(self)


def told(both: Both, **values: object) -> Told:
    """A sentence with its values filled in, those that are themselves `Told` in the same language."""
    sentence = Told(both[0].format(**values))
    sentence.russian = both[1].format(
        **{name: value.russian if isinstance(value, Told) else value for name, value in values.items()}
    )
    return sentence


def say(code: str, **values: object) -> Told:
    """One of the SENTENCES."""
    return told(SENTENCES[code], **values)


def why(error: OSError) -> Told:
    """Why the machine refused, in words; in its own where there are none of ours."""
    if isinstance(error, socket.gaierror):
        return say("unknown_host")
    if code := _BY_NUMBER.get(error.errno or 0):
        return say(code)
    own = error.strerror or type(error).__name__
    return told(("{own}", "{own}"), own=own)


def in_words(error: HubError, language: str) -> str:
    """What an error says to whoever set the hub up: its own words, else the sentence of its class."""
    own = error.args[0] if error.args else ""
    if isinstance(own, Told):
        return own.in_(language)
    if language == "ru":
        general = sentence(code_of(error), language)
        return f"{general} ({own})" if own else general
    return str(error)


def code_of(error: HubError | type[HubError]) -> str:
    """The code of an error: `IdReused` is `id-reused`."""
    name = (error if isinstance(error, type) else type(error)).__name__
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def sentence(code: str, language: str) -> str:
    """What an error says; of an unknown code no more than that something failed."""
    return ERRORS.get(code, ERRORS["hub-error"])[language == "ru"]


def reason(code: str) -> str:
    """The reason as a flaw may carry it: a code known here, so that no message with a value in it gets out."""
    return code if code in REASONS else "invalid"


def said(code: str, language: str) -> str:
    """A reason in words."""
    return REASONS[reason(code)][language == "ru"]


def chosen(accept_language: str) -> str:
    """Which of our languages somebody prefers, by an Accept-Language header; English where none is."""
    best, best_quality = "en", 0.0
    for part in accept_language[:500].split(","):
        tag, _, quality = part.strip().partition(";q=")
        language = tag.strip().lower().partition("-")[0]
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if language in LANGUAGES and weight > best_quality:
            best, best_quality = language, weight
    return best

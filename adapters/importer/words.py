"""What an import says to a person, in English or Russian."""

from __future__ import annotations

import os
from collections.abc import Mapping

WORDS = {
    "en": {
        "rows": "rows",
        "new": "new",
        "unchanged": "said nothing new",
        "replayed": "imported before",
        "refused": "rows refused",
        "quarantined": "values set aside",
        "report": "See",
        "rate": "rows/s",
        "left": "left",
        "took": "took",
        "second": "s",
        "interrupted": "Interrupted. Run it again: what was imported is not counted twice.",
    },
    "ru": {
        "rows": "строк",
        "new": "новых",
        "unchanged": "без новостей",
        "replayed": "загружены раньше",
        "refused": "строк отклонено",
        "quarantined": "значений отложено",
        "report": "Смотрите",
        "rate": "строк/с",
        "left": "осталось",
        "took": "заняло",
        "second": "с",
        "interrupted": "Прервано. Запустите ещё раз: загруженное не учтётся дважды.",
    },
}


def language(environment: Mapping[str, str] | None = None) -> str:
    """ "ru" where HUB_LANG, or else the locale, says so; "en" otherwise."""
    env = os.environ if environment is None else environment
    said = next((env[name] for name in ("HUB_LANG", "LC_ALL", "LC_MESSAGES", "LANG") if env.get(name)), "")
    return "ru" if said.lower().startswith("ru") else "en"


def number(count: int, lang: str) -> str:
    """69,659 or 69 659."""
    return f"{count:,}".replace(",", "\u00a0") if lang == "ru" else f"{count:,}"


def duration(seconds: float, lang: str) -> str:
    whole = round(seconds)
    if whole >= 60:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{seconds:.1f} {WORDS[lang]['second']}" if seconds < 10 else f"{whole} {WORDS[lang]['second']}"

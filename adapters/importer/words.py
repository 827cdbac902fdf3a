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
        "help": "Import a file. A row imported before changes nothing; a row with a flaw stops nothing.",
        "help_file": "CSV, columns separated by spaces, or NDJSON.",
        "help_map": "How a row becomes commands: a TOML file.",
        "help_report": "Where rows with a flaw are listed, as .ndjson or .csv; beside the file by default.",
        "help_progress": "Show progress; on a terminal by default.",
        "help_json": "Machine-readable output.",
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
        "help": "Загрузить файл. Загруженная раньше строка ничего не изменит; строка с ошибкой ничего не остановит.",
        "help_file": "CSV, столбцы через пробелы или NDJSON.",
        "help_map": "Как строка становится командами: файл TOML.",
        "help_report": "Куда записать строки с ошибками, .ndjson или .csv; по умолчанию рядом с файлом.",
        "help_progress": "Показывать ход; по умолчанию на терминале.",
        "help_json": "Машиночитаемый вывод.",
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

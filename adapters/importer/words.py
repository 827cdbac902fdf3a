"""What an import says to a person, in English or Russian."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hub.texts import Both, Told, told

WORDS = {
    "en": {
        "rows": "rows",
        "new": "new",
        "unchanged": "said nothing new",
        "replayed": "imported before",
        "refused": "rows refused",
        "quarantined": "values set aside",
        "report": "See",
        "continued": "continued at row",
        "rate": "rows/s",
        "left": "left",
        "took": "took",
        "second": "s",
        "interrupted": "Interrupted. Run it again: it goes on from where it was, and nothing is counted twice.",
        "help": "Import a file. A row imported before changes nothing; a row with a flaw stops nothing.",
        "help_file": "CSV, columns separated by spaces, NDJSON, or Parquet.",
        "help_map": "How a row becomes commands: a TOML file.",
        "help_suggest": "Suggest such a mapping, and show the first rows as commands; nothing is imported.",
        "map_or_suggest": "give --map MAPPING.toml, or --suggest to have one suggested",
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
        "continued": "продолжено со строки",
        "rate": "строк/с",
        "left": "осталось",
        "took": "заняло",
        "second": "с",
        "interrupted": "Прервано. Запустите ещё раз: загрузка продолжится с того же места, и ничто не учтётся дважды.",
        "help": "Загрузить файл. Загруженная раньше строка ничего не изменит; строка с ошибкой ничего не остановит.",
        "help_file": "CSV, столбцы через пробелы, NDJSON или Parquet.",
        "help_map": "Как строка становится командами: файл TOML.",
        "help_suggest": "Предложить такое описание и показать первые строки как команды; ничего не загружается.",
        "map_or_suggest": "укажите --map MAPPING.toml или --suggest, чтобы получить предложение",
        "help_report": "Куда записать строки с ошибками, .ndjson или .csv; по умолчанию рядом с файлом.",
        "help_progress": "Показывать ход; по умолчанию на терминале.",
        "help_json": "Машиночитаемый вывод.",
    },
}

# What is wrong with a mapping or a file, and what to write instead.
FLAWS: Mapping[str, Both] = {
    "at_key": ("{file}: {key}: {fix}", "{file}: {key}: {fix}"),
    "of_file": ("{file}: {fix}", "{file}: {fix}"),
    "not_toml": ("not TOML: {error}", "не TOML: {error}"),
    "name": (
        'give the mapping a name of a-z, 0-9, "_", "-", ".", ":", and keep it',
        'дайте описанию имя из a-z, 0-9, "_", "-", ".", ":" и не меняйте его',
    ),
    "source": (
        'name the source the rows come from: source = "shop"',
        'назовите источник, из которого строки: source = "shop"',
    ),
    "register_each": (
        "rows of several sources: register each of them by itself",
        "строки из нескольких источников: зарегистрируйте каждый отдельно",
    ),
    "not_registered": (
        "{source!r} is not registered; register it first, or add a table [register] with title and trust",
        "{source!r} не зарегистрирован; зарегистрируйте его или добавьте таблицу [register] с title и trust",
    ),
    "nothing_said": (
        "say what a row becomes: a table [customer], or [[touch]], or both",
        "укажите, чем становится строка: таблица [customer], или [[touch]], или обе",
    ),
    "same_as": ("give both source and key", "укажите и source, и key"),
    "table": ("write a table: [{key}]", "напишите таблицу: [{key}]"),
    "no_fact": (
        "there is no such fact; name it x-{name}, or one of {known}",
        "такого свойства нет; назовите его x-{name} или одним из {known}",
    ),
    "no_kind": (
        "there is no such kind of identifier; name it x-{name}",
        "такого вида идентификатора нет; назовите его x-{name}",
    ),
    "channel": (
        'say it: channel = {{ value = "shop" }}',
        'укажите канал: channel = {{ value = "shop" }}',
    ),
    "no_format": (
        "there is no such format; there are {known}",
        "такого формата нет; есть {known}",
    ),
    "no_encoding": (
        'there is no such encoding; leave it out, or write "utf-8" or "cp1251"',
        'такой кодировки нет; не указывайте её или напишите "utf-8" либо "cp1251"',
    ),
    "delimiter": ("write one character", "напишите один знак"),
    "columns": (
        "a file without a header needs its columns listed",
        "у файла без заголовка нужно перечислить столбцы",
    ),
    "no_key": ("there is no such key; there are {known}", "такого ключа нет; есть {known}"),
    "column_name": ("write the name of a column in quotes", "напишите имя столбца в кавычках"),
    "no_column": ("the file has no column {column!r}; {hint}", "в файле нет столбца {column!r}; {hint}"),
    "did_you_mean": ("did you mean {close!r}?", "может быть, {close!r}?"),
    "look": ("look at the {count} in its first line", "столбцов в его первой строке: {count}"),
    "column_or_value": (
        "write the name of a column in quotes, or {{ value = … }} for a constant",
        "напишите имя столбца в кавычках или {{ value = … }} для постоянного значения",
    ),
    "no_form": (
        "say where it comes from: column, value, join, object or each",
        "укажите, откуда это: column, value, join, object или each",
    ),
    "does_not_go": (
        "{extra!r} does not go with {form}; what does: {known}",
        "{extra!r} не бывает вместе с {form}; бывает: {known}",
    ),
    "join_list": ("join takes a list of columns", "join — это список столбцов"),
    "join_columns": ("join takes columns only", "в join бывают только столбцы"),
    "object_table": (
        "object takes a table: {{ street = …, city = … }}",
        "object — это таблица: {{ street = …, city = … }}",
    ),
    "map_table": (
        'map takes a table: {{ M = "male", F = "female" }}',
        'map — это таблица: {{ М = "male", Ж = "female" }}',
    ),
    "no_time_format": (
        '{format!r} is no format; write one like "%d.%m.%Y %H:%M", or "iso", "unix", "unix_ms"',
        '{format!r} — не формат; пишите как "%d.%m.%Y %H:%M" либо "iso", "unix", "unix_ms"',
    ),
    "needs_format": (
        'a {type} needs a format, like "%d.%m.%Y"',
        'для {type} нужен формат, например "%d.%m.%Y"',
    ),
    "no_type": ("there is no type {type!r}; there are {known}", "типа {type!r} нет; есть {known}"),
    "needs_zone": (
        'a time without an offset needs a zone, like "Europe/Moscow"',
        'времени без смещения нужен часовой пояс, например "Europe/Moscow"',
    ),
    "no_zone": (
        'there is no time zone {zone!r}; write one like "Europe/Moscow"',
        'часового пояса {zone!r} нет; пишите как "Europe/Moscow"',
    ),
    "needs_region": (
        'a phone needs the region of numbers without a country code, like "RU"',
        'телефону нужна страна номеров без её кода, например "RU"',
    ),
    "unknown_format": (
        'cannot tell its format; set format under [file] to "csv", "spaces", "ndjson" or "parquet"',
        'формат не понять; укажите format в [file]: "csv", "spaces", "ndjson" или "parquet"',
    ),
    "no_header": (
        "it has no header line; list the columns under [file] if none is meant",
        "в нём нет строки заголовка; если так и задумано, перечислите столбцы в [file]",
    ),
    "one_name": (
        "two columns have one name; list other names as columns under [file]",
        "у двух столбцов одно имя; перечислите другие имена в columns в [file]",
    ),
    "utf_16": ("it is UTF-16; save it as UTF-8", "он в UTF-16; сохраните его в UTF-8"),
    "no_rows": ("there is nothing in it to suggest from", "в нём нет ничего, по чему предлагать"),
    "no_pyarrow": (
        'Parquet needs pyarrow: pip install "hub[parquet]"',
        'для Parquet нужен pyarrow: pip install "hub[parquet]"',
    ),
    "not_parquet": (
        "it is no Parquet file, or a damaged one",
        "это не файл Parquet, или он повреждён",
    ),
    "nested": (
        "the column {column!r} is {type}; only plain columns can be imported, so leave it out or take it apart",
        "столбец {column!r} — {type}; загружаются только простые столбцы, уберите его или разложите",
    ),
    "report_taken": (
        "it is read by this import; choose another place for the report with --report",
        "его читает сама загрузка; выберите для отчёта другое место с помощью --report",
    ),
    "no_report": (
        "it is there already and is no report of an import",
        "он уже есть, и это не отчёт загрузки",
    ),
    "report_refused": (
        "{why}; choose another place with --report",
        "{why}; выберите другое место с помощью --report",
    ),
}


def wrong(code: str, **values: object) -> Told:
    """One of the FLAWS."""
    return told(FLAWS[code], **values)


def wrong_in(file: Path, fix: Told, key: str = "") -> Told:
    """A flaw with the file it is in, and the key, where it is in a mapping."""
    return wrong("at_key", file=file, key=key, fix=fix) if key else wrong("of_file", file=file, fix=fix)


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

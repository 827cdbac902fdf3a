"""What a suggested mapping says in its comments, in English or Russian."""

from __future__ import annotations

from collections.abc import Mapping

from hub.texts import Both

DOUBTS: Mapping[str, Both] = {
    "head": (
        "Suggested for {file} from {rows} rows. Check what is marked with ?, then: hub import {file} --map THIS.toml",
        "Предложено для {file} по строкам: {rows}. Проверьте места с «?», затем: hub import {file} --map ЭТО.toml",
    ),
    "name": (
        "? After the file's name. Part of every row's id: keep it once imported.",
        "? По имени файла. Часть id каждой строки: после загрузки не меняйте.",
    ),
    "source": ("? The system the rows come from.", "? Система, из которой строки."),
    "register": (
        "? Registers the source; leave the table out where it is registered already.",
        "? Регистрирует источник; уберите таблицу, если он уже зарегистрирован.",
    ),
    "key_by_samples": ("? No two rows have the same.", "? Нет двух строк с одинаковым."),
    "key_by_contact": (
        "? No column is a customer's key; rows with the same {kind} become one record.",
        "? Столбца с ключом клиента нет; строки с одинаковым {kind} станут одной записью.",
    ),
    "no_key": (
        "? Nothing looks like a customer's key: name the column that is.",
        "? На ключ клиента ничего не похоже: назовите нужный столбец.",
    ),
    "no_header": ("? There seems to be no header line.", "? Строки заголовка, кажется, нет."),
    "renamed": ("Two columns had one name, or one had none.", "У двух столбцов было одно имя, или имени не было."),
    "samples": ("? By what stands in the rows.", "? По тому, что стоит в строках."),
    "part": ("? By a part of its name.", "? По части названия."),
    "failing": (
        "? {bad} of {all} samples fail the check; those are set aside.",
        "? Не проходят проверку: {bad} из {all}; такие откладываются.",
    ),
    "day_or_month": (
        "? Day and month could as well be the other way round.",
        "? День и месяц могут стоять и наоборот.",
    ),
    "unread": (
        "? {bad} of {all} samples cannot be read so; add their formats, if they have others.",
        "? Так не читаются: {bad} из {all}; добавьте их форматы, если они записаны иначе.",
    ),
    "comma": ("? The comma could as well part thousands.", "? Запятая может и отделять тысячи."),
    "zone": ("? The file names no time zone.", "? Часовой пояс в файле не указан."),
    "region": ("? Phones without a country code are taken for {region}.", "? Телефоны без кода страны: {region}."),
    "channel": ("? Say where they touched.", "? Укажите, где было касание."),
    "kind": ("? Say what it was.", "? Укажите, что это было."),
    "others": ("? What is none of these is {other}.", "? Всё остальное: {other}."),
    "order": (
        "? If each of these stands on one row only, it tells rows apart better than their content:",
        "? Если каждое значение стоит лишь в одной строке, строки лучше различать по нему, а не по содержимому:",
    ),
    "second": (
        "A second {meaning}, stated as a fact, is an identifier as well.",
        "Второй {meaning}: как свойство он тоже идентификатор.",
    ),
    "nothing": (
        "? Nothing of a customer was recognised; the rows are only kept.",
        "? О клиенте ничего не распознано; строки только хранятся.",
    ),
    "kept": (
        "Not mapped, but kept sealed with the row: {columns}",
        "Не размечены, но хранятся запечатанными вместе со строкой: {columns}",
    ),
    "rows": ("The first rows as commands:", "Первые строки как команды:"),
}


def comment(code: str, lang: str, **values: object) -> str:
    return DOUBTS[code][lang == "ru"].format(**values)

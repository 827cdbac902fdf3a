"""What people read, in English and Russian, by code: the sentences of errors and refusals, and the reasons of flaws.

Most errors have one sentence, by their class. One that names files and fixes carries a `Told`, made where it is raised.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping

from hub.errors import HubError

Both = tuple[str, str]
LANGUAGES = ("en", "ru")

# Every HubError by its code: its class name in lower case with hyphens.
ERRORS: Mapping[str, Both] = {
    "hub-error": ("Something the hub could not do.", "Хаб не смог этого сделать."),
    "misconfigured": ("The hub cannot start as it is set up.", "Хаб не может запуститься с такими настройками."),
    "database-missing": ("No PostgreSQL was found.", "PostgreSQL не найден."),
    "server-failed": (
        "The embedded PostgreSQL does not start or stop.",
        "Встроенный PostgreSQL не запускается или не останавливается.",
    ),
    "migration-mismatch": (
        "The migrations in this folder are not those the database was built with.",
        "Миграции в этой папке не те, которыми построена база данных.",
    ),
    "wrong-keys": (
        "The key file does not belong to this database; restore the one that does.",
        "Файл ключей не от этой базы данных; восстановите подходящий.",
    ),
    "row-mismatch": (
        "The columns of a read model's table are not the fields of its row.",
        "Столбцы таблицы представления не совпадают с полями его строки.",
    ),
    "unknown-shape": (
        "The log holds an event of a type or schema version this release does not know.",
        "В журнале есть событие такого типа или версии, которых этот выпуск не знает.",
    ),
    "mapping-error": ("The mapping cannot be used.", "Этим описанием воспользоваться нельзя."),
    "file-error": ("The file cannot be read as it is described.", "Файл нельзя прочитать так, как он описан."),
    "busy": ("The hub is busy; ask again shortly.", "Хаб занят; повторите запрос чуть позже."),
    "behind": (
        "The read side has not caught up with that position yet; ask again shortly.",
        "Данные для чтения ещё не догнали эту позицию; повторите запрос чуть позже.",
    ),
    "model-failed": (
        "A read model this question needs has failed.",
        "Представление, нужное для этого вопроса, остановлено из-за ошибки.",
    ),
    "conflict": (
        "Something new arrived inside the boundary of a decision.",
        "Во время решения появились новые события, от которых оно зависит.",
    ),
    "already-answered": (
        "This command is being answered by another request; ask again.",
        "На эту команду уже отвечает другой запрос; повторите.",
    ),
    "erased": ("The personal data of this record was erased.", "Персональные данные этой записи стёрты."),
    "unknown": ("No such customer, record or event.", "Такого клиента, записи или события нет."),
    "unnameable": (
        "The only end point that could be the key failed its check.",
        "Единственный контакт, который мог бы стать ключом, не прошёл проверку.",
    ),
    "forbidden": ("This key may not do that.", "Этому ключу это не разрешено."),
    "unauthenticated": (
        "No API key, or one that is unknown, expired or revoked.",
        "Нет ключа API, либо он неизвестен, истёк или отозван.",
    ),
    "id-reused": (
        "This id was used before with another body; a new command needs a new id.",
        "Этот id уже использован с другим содержимым; новой команде нужен новый id.",
    ),
    "invalid": (
        "The input does not have the shape that was asked for.",
        "Входные данные не той формы, которая требуется.",
    ),
    "failed": (
        "The hub itself failed here; what happened is in its log.",
        "Произошла ошибка внутри хаба; она записана в его журнал.",
    ),
    "rejected": ("A rule refuses this command.", "Правило не допускает эту команду."),
    "no-such-page": ("Nothing is served at this address.", "По этому адресу ничего нет."),
    "method-not-allowed": (
        "This address does not answer that method.",
        "Этот адрес не отвечает на такой метод.",
    ),
    "not-supported": (
        "The content type or encoding is not one that is taken here.",
        "Такой тип или кодирование содержимого здесь не принимаются.",
    ),
    "too-large": ("This is larger than what is taken here.", "Это больше, чем здесь принимается."),
    "too-slow": ("The body took too long to arrive.", "Тело запроса передавалось слишком долго."),
    "bad-request": ("The request cannot be understood.", "Запрос невозможно понять."),
    # Refusals.
    "membership-changed": (
        "This customer was merged or taken apart since you looked; look again.",
        "С тех пор как вы смотрели, этого клиента объединили или разделили; посмотрите снова.",
    ),
    "declared-distinct": (
        "These customers were declared distinct; lift that first.",
        "Эти клиенты объявлены разными людьми; сначала снимите эту отметку.",
    ),
    "not-a-member": (
        "One of these records does not belong to the customer.",
        "Одна из этих записей не принадлежит клиенту.",
    ),
    "separation-of-duties": (
        "Nobody both administers and reads personal data: this person has a key of the other kind.",
        "Никто не может и администрировать, и читать персональные данные: у этого человека есть ключ другого рода.",
    ),
}

# Why a part of an input cannot be accepted, or a value waits in quarantine.
REASONS: Mapping[str, Both] = {
    "missing": ("is required", "обязательно"),
    "unknown_field": ("is not a field of this command", "такого поля здесь нет"),
    "unknown_command": ("is not a command", "такой команды нет"),
    "unknown_attribute": ("is not a known attribute", "такого свойства нет"),
    "unknown_kind": ("is not a known kind of identifier", "такого вида идентификатора нет"),
    "invalid": ("is not valid", "недопустимо"),
    "wrong_type": ("has the wrong type", "не того типа"),
    "not_one_of_the_allowed": ("is not one of the allowed values", "не из числа допустимых значений"),
    "too_long": ("is too long", "слишком длинно"),
    "too_short": ("is too short", "слишком коротко"),
    "too_many": ("has too many items", "слишком много элементов"),
    "too_few": ("has too few items", "слишком мало элементов"),
    "too_small": ("is too small", "слишком мало"),
    "too_large": ("is too large", "слишком велико"),
    "wrong_form": ("does not have the right form", "не той формы"),
    "offset_missing": ("needs a time-zone offset", "нужно смещение часового пояса"),
    "too_early": ("lies too far in the past", "слишком далеко в прошлом"),
    "not_a_number": ("is not a number", "не число"),
    "in_the_future": ("lies in the future", "находится в будущем"),
    "not_json": ("is not JSON", "не JSON"),
    "not_an_object": ("is not a JSON object", "не объект JSON"),
    "not_an_array": ("is not a JSON array", "не массив JSON"),
    "not_gzip": ("is not gzip, or not all of it arrived", "не gzip, или пришёл не целиком"),
    "inflated": ("unpacks to far more than was sent", "распаковывается в несоразмерно большой объём"),
    "too_deep": ("is nested too deeply", "слишком глубоко вложено"),
    "nul_character": ("contains a NUL character", "содержит символ NUL"),
    "lone_surrogate": ("contains half of a character", "содержит половину символа"),
    "not_a_code": (
        "must be a code of a-z 0-9 _ . : - and not look like a phone or a document",
        "должно быть кодом из a-z 0-9 _ . : - и не походить на телефон или документ",
    ),
    "either_identifiers_or_key": (
        "give either identifiers, or source and key",
        "укажите либо identifiers, либо source и key",
    ),
    "not_registered": ("is not a registered source", "такой источник не зарегистрирован"),
    "not_a_cursor": ("is not a cursor this list gave", "не курсор этого списка"),
    "not_a_time": ("is not an RFC 3339 time with an offset", "не время RFC 3339 со смещением"),
    "only_for_channels": ("belongs to keys of role channel only", "бывает только у ключей роли channel"),
    "not_for_channels": ("does not belong to keys of role channel", "не бывает у ключей роли channel"),
    "empty": ("is empty", "пусто"),
    "checksum": ("has a wrong checksum", "контрольная сумма не сходится"),
    "impossible_date": ("is an impossible date", "такой даты быть не может"),
    "not_a_date": ("is not a date", "не дата"),
    "not_a_phone": ("is not a phone number", "не номер телефона"),
    "not_an_email": ("is not an e-mail address", "не адрес электронной почты"),
    "not_a_snils": ("is not a SNILS", "не СНИЛС"),
    "not_an_inn": ("is not an INN", "не ИНН"),
    "either_customer_or_key": ("give either customer or key", "укажите либо customer, либо key"),
    "one_of_record_customer_key": (
        "give exactly one of record, customer, key",
        "укажите ровно одно из record, customer, key",
    ),
    "either_merge_or_customer_and_records": (
        "give either merge, or customer and records",
        "укажите либо merge, либо customer и records",
    ),
}

# What an error says beyond the sentence of its class: which setting, which file, and the fix.
SENTENCES: Mapping[str, Both] = {
    "listen_form": (
        "HUB_LISTEN must be host:port, for example 127.0.0.1:8080",
        "HUB_LISTEN задаётся как адрес:порт, например 127.0.0.1:8080",
    ),
    "listen_refused": (
        "HUB_LISTEN={address} cannot be used: {why}; choose another.",
        "HUB_LISTEN={address} использовать нельзя: {why}; выберите другой адрес.",
    ),
    "region": (
        "HUB_REGION must be a two-letter country code whose phone numbers are known, for example RU",
        "HUB_REGION задаётся двухбуквенным кодом страны, телефоны которой известны, например RU",
    ),
    "no_hub": (
        "There is no hub in {folder}; set HUB_DATA or start one with hub serve.",
        "В {folder} нет хаба; задайте HUB_DATA или запустите его командой hub serve.",
    ),
    "data_refused": (
        "The data folder {folder} cannot be used: {why} ({where}); mend that, or set HUB_DATA to another folder.",
        "Папку данных {folder} использовать нельзя: {why} ({where}); исправьте это или задайте другую в HUB_DATA.",
    ),
    "url_form": (
        "HUB_DATABASE_URL is no PostgreSQL URL; write it like postgresql://user:password@host:5432/database.",
        "HUB_DATABASE_URL — не адрес PostgreSQL; пишите его как postgresql://user:password@host:5432/database.",
    ),
    "url_refused": (
        "The database in HUB_DATABASE_URL cannot be reached: {why}; start it or correct the variable.",
        "База данных из HUB_DATABASE_URL недоступна: {why}; запустите её или исправьте переменную.",
    ),
    "not_allowed": (
        "The user in HUB_DATABASE_URL may not do what the first start needs; let it create roles and schemas.",
        "Пользователю из HUB_DATABASE_URL не разрешено нужное первому запуску; дайте ему создавать роли и схемы.",
    ),
    "database_failed": (
        "The database in {place} cannot be opened ({what}); see its log.",
        "Базу данных в {place} открыть не удалось ({what}); смотрите её журнал.",
    ),
    "keys_missing": (
        "{file} is missing, and the database in {place} was built with it; restore it from its backup.",
        "Нет {file}, а база данных в {place} построена с ним; восстановите его из резервной копии.",
    ),
    "keys_wrong": (
        "The keys in {keys} do not belong to the database in {place}; restore those that do.",
        "Ключи в {keys} не от базы данных в {place}; восстановите подходящие.",
    ),
    "keys_damaged": (
        "The keys in {keys} are damaged; restore them from their backup.",
        "Ключи в {keys} повреждены; восстановите их из резервной копии.",
    ),
    "elsewhere": (
        "The database lies in {cluster}, because its user cannot reach {folder}.",
        "База данных лежит в {cluster}: её пользователь не может попасть в {folder}.",
    ),
    "model_failed": (
        "The read model {model} has failed and must be rebuilt",
        "Представление {model} остановлено из-за ошибки, его нужно построить заново",
    ),
    "model_behind": (
        "The read model {model} is being rebuilt; ask again shortly",
        "Представление {model} строится заново; повторите запрос чуть позже",
    ),
    "no_model": (
        "There is no read model {model}; there are {models}.",
        "Представления {model} нет; есть {models}.",
    ),
    "newer_model": (
        "The read model {model} belongs to a newer release; rebuild it with that.",
        "Представление {model} принадлежит более новому выпуску; стройте его заново им.",
    ),
    # Why the machine or the database refused.
    "in_use": ("it is in use", "он занят"),
    "forbidden_here": ("permission denied", "нет доступа"),
    "not_found": ("no such file or folder", "нет такого файла или папки"),
    "not_a_folder": ("not a folder", "это не папка"),
    "a_folder": ("it is a folder", "это папка"),
    "read_only": ("read-only file system", "файловая система только для чтения"),
    "disk_full": ("no space left", "не осталось места"),
    "not_ours": ("there is no such address here", "такого адреса здесь нет"),
    "unknown_host": ("the host is not known", "имя узла неизвестно"),
    "connection_refused": ("nobody answers at that host and port", "по этому адресу и порту никто не отвечает"),
    "too_slow": ("it does not answer in time", "она не отвечает вовремя"),
    "wrong_password": ("user or password are wrong", "неверны пользователь или пароль"),
    "no_database": ("there is no such database", "такой базы данных нет"),
    "no_answer": ("it does not let us in", "она не пускает"),
}
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

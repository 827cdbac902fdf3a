"""The sentence of every HubError, by its code: its class name in lower case with hyphens."""

from __future__ import annotations

from collections.abc import Mapping

ERRORS: Mapping[str, tuple[str, str]] = {
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
    "being-rebuilt": (
        "This read model is being rebuilt already.",
        "Это представление уже строится заново.",
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
    "seal-damaged": (
        "What is sealed of this record is damaged, or its key; restore it from a backup of the database.",
        "Персональные данные этой записи или их ключ повреждены; восстановите их из резервной копии базы данных.",
    ),
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
    "larger-than-a-batch": (
        "A batch has 2,500 items and 500 KB at most, unpacked; send it in parts.",
        "Пакет — не больше 2500 элементов и 500 КБ в распакованном виде; отправьте его частями.",
    ),
    "too-large": ("This is larger than what is taken here.", "Это больше, чем здесь принимается."),
    "head-too-large": (
        "The address or the headers are larger than what is taken here.",
        "Адрес или заголовки больше, чем здесь принимается.",
    ),
    "too-slow": ("The request took too long to arrive.", "Запрос передавался слишком долго."),
    "too-many-requests": (
        "This key asks faster than it may; ask again a little later.",
        "С этим ключом запросы идут чаще, чем разрешено; повторите чуть позже.",
    ),
    "unsigned": (
        "This delivery is not signed with a secret of its channel.",
        "Это сообщение не подписано секретом своего канала.",
    ),
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
    "not-waiting": (
        "This does not wait any more: it was repaired, or let go when its time was over.",
        "Это больше не ждёт исправления: уже исправлено или удалено по истечении срока.",
    ),
    "whole-touch": (
        "A whole touch waits here, not a value; it is repaired with repair_touch.",
        "Здесь ждёт касание целиком, а не значение; исправьте его командой repair_touch.",
    ),
    "single-value": (
        "A single value waits here, not a touch; it is repaired with repair_value.",
        "Здесь ждёт одно значение, а не касание; исправьте его командой repair_value.",
    ),
    "key-ended": (
        "This key was revoked or has run out; make a new one.",
        "Этот ключ отозван или истёк; создайте новый.",
    ),
    "separation-of-duties": (
        "Nobody both administers and reads personal data: this person has a key of the other kind.",
        "Никто не может и администрировать, и читать персональные данные: у этого человека есть ключ другого рода.",
    ),
}

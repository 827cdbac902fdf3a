"""What the feed says to a person, in English and Russian: what is wrong in its file, and why a destination fails."""

from __future__ import annotations

from collections.abc import Mapping

from hub.texts import Both, Told, told

_FLAWS: Mapping[str, Both] = {
    "name": (
        "give it a name of lower-case letters, digits and _ . : -, 64 at most",
        "дайте имя из строчных латинских букв, цифр и _ . : -, не длиннее 64",
    ),
    "name_twice": ("another one has this name; choose another", "это имя уже занято; выберите другое"),
    "url": (
        "write {form}, without user or password in it",
        "запишите в виде {form}, без имени и пароля внутри",
    ),
    "plain": (
        "unencrypted only within one's own network: write {scheme}://, or add private = true",
        "без шифрования можно только в своей сети: запишите {scheme}:// или добавьте private = true",
    ),
    "no_secret": (
        'give it a secret of 24 to 64 bytes as "whsec_…" in base64, or name its variable as secret_env',
        "задайте секрет из 24–64 байтов как «whsec_…» в base64 или назовите переменную в secret_env",
    ),
    "one_token": (
        "a NATS server is shown one token; write that alone",
        "серверу NATS показывают один токен; запишите только его",
    ),
    "ca": ("there are no certificates in PEM form in that file", "в этом файле нет сертификатов в виде PEM"),
    "no_type": ("{name} is no type of event; there are {known}", "{name} — не тип события; есть {known}"),
    "open_form": (
        "write the type of event and what is to be opened, as in facts_stated.facts.city",
        "запишите тип события и что открыть, например facts_stated.facts.city",
    ),
    "not_sent": ("{name} is not among the types that are sent", "{name} нет среди отправляемых типов"),
    "open_role": (
        "nothing sealed may be opened without a role that reads it: write role = {roles}",
        "закрытое нельзя открыть без роли, которой его видно: запишите role = {roles}",
    ),
    "open_more": (
        "the role {role} does not see {name}; it sees {seen}, and compliance everything",
        "роль {role} не видит {name}; она видит {seen}, а compliance — всё",
    ),
    "subject": (
        "write words of letters, digits, _ and -, with points between",
        "запишите слова из букв, цифр, _ и - через точку",
    ),
    "stream": ("name the stream: letters, digits, _ and -", "назовите поток: буквы, цифры, _ и -"),
    "no_feed": ("There is no such destination; see hub feed list.", "Такого получателя нет; см. hub feed list."),
    "no_letter": (
        "There is no such dead letter; see hub feed letters.",
        "Такого события среди недоставленных нет; см. hub feed letters.",
    ),
    "no_nats": (
        'NATS needs nats-py: pip install "hub[nats]"',
        'для NATS нужен nats-py: pip install "hub[nats]"',
    ),
}  # fmt: skip

_FAILURES: Mapping[str, Both] = {
    "unknown_host": ("its host is not known", "имя узла неизвестно"),
    "refused_address": (
        "its host lies in a private or reserved network; docs/feed.md says what private = true allows",
        "узел в частной или служебной сети; что разрешает private = true, сказано в docs/feed.md",
    ),
    "unreachable": ("nobody answers there", "там никто не отвечает"),
    "timeout": ("it does not answer in time", "ответа нет вовремя"),
    "certificate": ("its certificate is not good", "сертификат не подходит"),
    "broken": ("its answer makes no sense", "ответ не разобрать"),
    "redirect": ("it sends elsewhere, and is not followed", "отправляет на другой адрес, туда не идём"),
    "gone": ("it answered 410 and wants no more", "ответ 410: больше ничего не ждёт"),
    "no_stream": (
        "the stream is not there; make it, or write create = true",
        "потока нет; создайте его или запишите create = true",
    ),
    "not_encrypted": (
        "it does not ask for TLS; turn that on there",
        "он не требует TLS; включите его там",
    ),
    "not_taken": ("the stream did not take it", "поток не принял сообщение"),
    "not_allowed": ("it does not let us in; see the token", "не пускает; проверьте токен"),
    "too_large": ("the message is larger than it takes", "сообщение больше, чем принимают"),
}  # fmt: skip


def flaw(code: str, **values: object) -> Told:
    """What to write instead."""
    return told(_FLAWS[code], **values)


def failure(code: str) -> Told:
    """Why something could not be delivered; `http_503` says itself."""
    if code in _FAILURES:
        return told(_FAILURES[code])
    said = code.removeprefix("http_")
    return told(("it answered {said}", "ответ {said}"), said=said)

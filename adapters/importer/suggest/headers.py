"""What a header means: Russian and English words, their abbreviations, and Russian ones in Latin letters."""

from __future__ import annotations

import re

# A meaning is a fact, a kind of identifier, or one of ours: key, order, when, registered, amount, quantity, channel,
# note, contact (whatever it holds), and parts of an address or a passport. Phrases are as `plain` writes them.
MEANINGS = {
    "email": "email, e mail, mail, e mail address, email address, эл почта, электронная почта, почта, имейл, емейл, "
    "мейл, адрес эл почты, адрес электронной почты, pochta, el pochta, elektronnaya pochta",
    "phone": "phone, phones, phone number, mobile, mobile phone, cell, cell phone, telephone, tel, tel no, "
    "телефон, телефоны, тел, номер телефона, моб, моб тел, мобильный, мобильный телефон, сотовый, контактный телефон, "
    "telefon, telefony, nomer telefona, mob tel, mobilnyy, mobilnyj, mobilniy",
    "birth_date": "birth date, birthdate, date of birth, birthday, born, dob, bdate, дата рождения, день рождения, "
    "рождение, родился, др, д р, дата рожд, data rozhdeniya, den rozhdeniya, dr, data rozhd",
    "last_name": "last name, surname, family name, lastname, name last, lname, фамилия, фам, familiya, familia, fam",
    "first_name": "first name, given name, firstname, forename, name first, fname, имя, imya, imia",
    "patronymic": "patronymic, отчество, отч, otchestvo, otch",
    "middle_name": "middle name, name middle, middlename, middle initial",
    "name": "name, full name, fullname, name full, customer name, client name, contact name, person, фио, ф и о, "
    "фамилия имя отчество, фамилия имя, имя клиента, полное имя, имя фамилия, контактное лицо, получатель, fio, f i o, "
    "polnoe imya",
    "gender": "gender, sex, пол, pol",
    "inn": "inn, инн, tin",
    "snils": "snils, снилс, страховой номер",
    "passport": "passport, passport number, паспорт, серия и номер паспорта, паспортные данные, pasport",
    "passport_series": "серия паспорта, паспорт серия, passport series, seriya pasporta",
    "passport_number": "номер паспорта, паспорт номер, nomer pasporta, passport no",
    "telegram": "telegram, телеграм, телеграмм, tg, тг",
    "vk": "vk, вк, вконтакте, vkontakte",
    "whatsapp": "whatsapp, ватсап, вотсап, wa",
    "instagram": "instagram, инстаграм",
    "facebook": "facebook, фейсбук",
    "login": "login, user name, username, логин",
    "card": "card, card number, loyalty card, карта, номер карты, карта лояльности, дисконтная карта, "
    "nomer karty, karta",
    "city": "city, town, addr city, город, населенный пункт, нас пункт, г, gorod",
    "country": "country, addr country, страна, strana",
    "postcode": "postcode, post code, postal code, zip, zip code, addr postal code, индекс, почтовый индекс, indeks",
    "region": "state, region, province, addr state, область, регион, край, республика, oblast",
    "street": "street, street name, улица, ул, ulitsa, ulica",
    "house": "house, house number, street number, дом, номер дома, dom",
    "flat": "flat, apartment, квартира, кв, kvartira",
    "address": "address, addr, address line, addr line, addr full, full address, street address, адрес, "
    "адрес доставки, адрес проживания, адрес регистрации, почтовый адрес, adres",
    "organisation_name": "organisation, organization, name org, organisation name, organization name, legal name, "
    "организация, наименование организации, юр лицо, юрлицо, название организации, наименование, organizatsiya",
    "company": "company, employer, company name, компания, место работы, работодатель, kompaniya",
    "job_title": "job title, job, position, должность, dolzhnost",
    "language": "language, lang, язык, yazyk",
    "registered": "created, created at, registered, registration date, signup date, updated, updated at, modified, "
    "дата регистрации, дата создания, дата изменения, дата обновления, data registratsii, data sozdaniya",
    "when": "date, time, datetime, timestamp, occurred at, purchase date, date of purchase, purchased, last purchase, "
    "order date, last order, ordered, visit date, last visit, call date, transaction date, "
    "дата, время, дата и время, дата покупки, последняя покупка, дата последней покупки, дата заказа, последний заказ, "
    "дата визита, последний визит, дата звонка, дата обращения, дата операции, дата чека, дата продажи, "
    "data, vremya, data pokupki, poslednyaya pokupka, data zakaza, data vizita, data prodazhi",
    "amount": "amount, sum, total, price, cost, revenue, value, order total, dollar value, purchase amount, "
    "order amount, сумма, стоимость, цена, итого, сумма покупки, сумма заказа, сумма чека, выручка, "
    "summa, stoimost, tsena, cena, itogo",
    "quantity": "quantity, qty, items, count, number of, number of items, количество, кол во, колво, шт, "
    "kolichestvo, kol vo",
    "channel": "channel, канал, kanal",
    "note": "note, notes, comment, comments, remark, комментарий, комментарии, примечание, заметка, kommentariy",
    "order": "order id, order number, order no, receipt, receipt number, invoice, transaction id, "
    "номер заказа, заказ, чек, номер чека, накладная, номер документа, nomer zakaza, zakaz, nomer cheka",
    "key": "id, key, customer id, client id, contact id, record id, user id, person id, rec id, unique id, customer, "
    "client, customer number, customer code, client code, account, account number, uuid, guid, код, ид, идентификатор, "
    "код клиента, номер клиента, ид клиента, клиент ид, код контрагента, лицевой счет, номер договора, клиент, "
    "покупатель, контрагент, kod, kod klienta, nomer klienta, id klienta, klient",
    "contact": "contact, contacts, контакт, контакты, kontakt, kontakty",
}
# What a touch was, by a word its date's or its amount's header has in it.
KINDS = {
    "purchase": ("purchase", "purchased", "order", "покуп", "заказ", "чек", "продаж", "pokup", "zakaz", "prodazh"),
    "visit": ("visit", "визит", "посещен", "vizit"),
    "call": ("call", "звон", "zvon"),
    "request": ("request", "обращен", "заявк", "obrash"),
}
OTHERS = frozenset(("type", "kind", "status", "тип", "вид", "статус", "tip", "source", "источник", "domain", "role"))

_BETWEEN = re.compile(r"(?<=[a-zа-я])(?=[A-ZА-Я])")
_EXACT = {phrase.strip(): meaning for meaning, phrases in MEANINGS.items() for phrase in phrases.split(",")}
_LONG_FIRST = sorted((phrase for phrase in _EXACT if len(phrase) > 2), key=len, reverse=True)


def plain(header: str) -> str:
    """Lower case words with single spaces: `Дата_рожд.` is `дата рожд`, `lastName2` is `last name`."""
    words = re.sub(r"[\W\d_]+", " ", _BETWEEN.sub(" ", header).replace("ё", "е").replace("Ё", "Е").lower())
    return words.strip()


def meaning_of(header: str) -> tuple[str | None, bool]:
    """What it means, and whether it says so outright or only has such words in it."""
    words = plain(header)
    if words in _EXACT:
        return _EXACT[words], True
    if OTHERS & set(words.split()):
        return None, False
    padded = f" {words} "
    found = next((phrase for phrase in _LONG_FIRST if f" {phrase} " in padded), None)
    return (_EXACT[found], False) if found else (None, False)


def kind_of(*headers: str) -> str | None:
    """What kind of touch these headers speak of."""
    words = " ".join(plain(header) for header in headers)
    return next((kind for kind, stems in KINDS.items() if any(stem in words for stem in stems)), None)

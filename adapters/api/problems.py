"""Answers that say what went wrong: RFC 9457 problem documents, in the reader's language, without any value sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hub.counter import Failed
from hub.database import AWAY
from hub.errors import (
    Busy,
    Conflict,
    Erased,
    Forbidden,
    HubError,
    IdReused,
    Invalid,
    Rejected,
    Unauthenticated,
    Unknown,
)
from hub.identity.normalise import KINDS
from hub.intake import flaws_of
from hub.subject import MembershipChanged
from hub.texts import Told, chosen, code_of, reason, said, sentence

MEDIA_TYPE = "application/problem+json"


class NoSuchPage(HubError):
    """Nothing is served at this address."""


class MethodNotAllowed(HubError):
    """This address does not answer that method."""


class NotSupported(HubError):
    """The content type or encoding is not one that is taken here."""


class TooLarge(HubError):
    """This is larger than what is taken here."""


class HeadTooLarge(HubError):
    """The address or the headers are larger than what is taken here."""


class TooSlow(HubError):
    """The request took too long to arrive."""


class TooManyRequests(HubError):
    """This key asks faster than it may; ask again a little later."""

    def __init__(self, wait: float = 1.0) -> None:
        super().__init__()
        self.wait = wait  # Seconds.


class Unsigned(HubError):
    """This delivery is not signed with a secret of its channel."""


class BadRequest(HubError):
    """The request cannot be understood."""


STATUS: Mapping[type[HubError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Unsigned: 401,
    Forbidden: 403,
    Unknown: 404,
    NoSuchPage: 404,
    MethodNotAllowed: 405,
    TooSlow: 408,
    Rejected: 409,
    IdReused: 409,
    Erased: 410,
    TooLarge: 413,
    NotSupported: 415,
    Invalid: 422,
    TooManyRequests: 429,
    HeadTooLarge: 431,
    Conflict: 503,
    Busy: 503,
    HubError: 500,
}
TITLES = {
    400: ("Bad request", "Неверный запрос"),
    401: ("Not authenticated", "Нет действующего ключа"),
    403: ("Forbidden", "Запрещено"),
    404: ("Not found", "Не найдено"),
    405: ("Method not allowed", "Метод не поддерживается"),
    408: ("Too slow", "Слишком медленно"),
    409: ("Refused", "Отказано"),
    410: ("Erased", "Стёрто"),
    413: ("Too large", "Слишком большой объём"),
    415: ("Not supported", "Не поддерживается"),
    422: ("Not acceptable input", "Неверные данные"),
    429: ("Too many requests", "Слишком много запросов"),
    431: ("Headers too large", "Слишком большие заголовки"),
    500: ("Failed", "Ошибка"),
    503: ("Busy", "Занято"),
}
_BY_STATUS: Mapping[int, type[HubError]] = {404: NoSuchPage, 405: MethodNotAllowed, 413: TooLarge, 415: NotSupported}


def status_of(error: HubError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: HubError, language: str) -> dict[str, Any]:
    """The problem document of an error."""
    code, status = code_of(error), status_of(error)
    if status == 500:
        code = "failed"
    by_rule = isinstance(error, Rejected) and not isinstance(error, MembershipChanged)
    document = {
        "type": f"/problems/refusals/{code}" if by_rule else f"/problems/{code}",
        "title": TITLES[status][language == "ru"],
        "status": status,
        "detail": _detail(error, code, language),
    }
    if isinstance(error, Invalid):
        document["errors"] = [{"path": _shown(flaw.path), "reason": reason(flaw.reason)} for flaw in error.flaws]
    return document


def response(error: HubError, language: str, headers: Mapping[str, str] | None = None) -> Response:
    document = problem(error, language)
    sent = {"Content-Language": language, "Cache-Control": "no-store", **(headers or {})}
    if document["status"] == 401:
        sent["WWW-Authenticate"] = "Signature" if isinstance(error, Unsigned) else "Bearer"
    if document["status"] == 503:
        sent["Retry-After"] = "1"
    if isinstance(error, TooManyRequests):
        sent["Retry-After"] = str(ceil(error.wait))
    return Response(orjson.dumps(document), document["status"], sent, MEDIA_TYPE)


def language_of(request: Request) -> str:
    return chosen(request.headers.get("accept-language", ""))


def install(app: FastAPI) -> None:
    """Make every error of the hub, of the framework and of the database a problem document."""

    @app.exception_handler(HubError)
    async def _(request: Request, error: HubError) -> Response:
        return response(error, language_of(request))

    async def away(request: Request, error: Exception) -> Response:
        return response(Busy(), language_of(request))

    for kind in AWAY:
        app.add_exception_handler(kind, away)

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return response(Invalid(*flaws_of(error.errors(), skip=1)), language_of(request))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        kind = _BY_STATUS.get(error.status_code, BadRequest if error.status_code < 500 else Failed)
        return response(kind(), language_of(request), error.headers)


def _detail(error: HubError, code: str, language: str) -> str:
    if isinstance(error, Invalid):
        return "; ".join(f"{_shown(flaw.path) or '$'}: {said(flaw.reason, language)}" for flaw in error.flaws) + "."
    own = error.args[0] if error.args else None  # Says which model or what to do, never a value.
    if isinstance(own, Told) and code != "failed":
        return own.in_(language).removesuffix(".") + "."
    return sentence(code, language)


def _shown(path: str) -> str:
    """A path without what a sender may have put where a name belongs."""
    personal = "@" in path or sum(c.isdigit() for c in path) >= 10
    return ".".join(part if _is_name(part, personal) else "*" for part in path.split("."))


def _is_name(part: str, among_personal: bool) -> bool:
    if among_personal and part not in _OURS:
        return False
    return re.fullmatch(r"[a-z0-9_-]{0,40}", part) is not None


_OURS = {"identifiers", "facts", "data", "content", "raw", "identifier", "value", "same_as", *KINDS}

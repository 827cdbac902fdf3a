"""One line a request: what was asked and how it went. No address, query, body or message, for they may hold values."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.api.problems import language_of, response
from hub.counter import Failed
from hub.projector import describe

_log = structlog.get_logger()


class Requests:
    """Logs each request, and answers for whatever nobody else caught."""

    def __init__(self, app: ASGIApp, answered: Callable[[str, str, int, float], None]) -> None:
        """`answered` is told of each: method, route, status, and how many seconds it took."""
        self._app, self._answered = app, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            _log.error("failed", where=describe(error))
            if not status:
                request = Request(scope, receive)
                await response(Failed(), language_of(request))(scope, receive, noting)
        finally:
            told, seconds = _told(scope), time.perf_counter() - began
            self._answered(told["method"], told["route"], status, seconds)
            _log.info("request", **told, status=status, ms=round(seconds * 1000, 1))


def _told(scope: Scope) -> dict[str, Any]:
    state = scope.get("state") or {}
    principal = state.get("principal")
    method, route = named(scope)
    told = {"method": method, "route": route, "principal": principal.id if principal else None}
    if "commands" in state:
        told["commands"] = state["commands"]
    return told


def named(scope: Scope) -> tuple[str, str]:
    """The request's method, and its route in our words; a dash for what is none of ours."""
    method = scope["method"] if scope["method"].isalpha() and len(scope["method"]) < 10 else "-"
    return method, getattr(scope.get("route"), "path", "-")


def configure() -> None:
    """Log to standard error as JSON, one object a line; the libraries' own loggers too."""
    told: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*told, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_traceback,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *told],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("uvicorn", "uvicorn.error", "asyncio", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _without_traceback(_: Any, __: str, event: Any) -> Any:
    """An exception's message may quote what was sent; its type and place do not."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple) and found[1] is not None:
        event["where"] = describe(found[1])
    return event

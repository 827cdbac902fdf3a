"""Reading what was sent, within limits: by the bytes that arrive, whatever the headers promise."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import ClientDisconnect, Request

from adapters.api.problems import BadRequest, NotSupported, TooLarge, TooSlow
from hub.errors import Flaw, Invalid

LARGEST = 64 * 1024  # Bytes of one command.
DEEPEST = 32
PATIENCE = 10.0  # Seconds for the body of a single command.

_JSON = ("application/json",)
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


async def json_body(request: Request) -> bytes:
    """The JSON body of a request. Raises NotSupported, TooLarge, TooSlow, or Invalid when nested too deeply."""
    media_type(request, _JSON)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise NotSupported
    parts, size = [], 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                size += len(part)
                if size > LARGEST:
                    raise TooLarge
                parts.append(part)
    except TimeoutError:
        raise TooSlow from None
    except ClientDisconnect:
        raise BadRequest from None
    body = b"".join(parts)
    check_depth(body)
    return body


def media_type(request: Request, allowed: tuple[str, ...]) -> str:
    """The content type, without its parameters. Raises NotSupported for another one, or another charset than UTF-8."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    if kind not in allowed or (charset and charset[1].lower() not in ("utf-8", "utf8")):
        raise NotSupported
    return kind


def check_depth(body: bytes) -> None:
    """Raises Invalid for JSON nested deeper than any command, before anything parses it."""
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    depth = 0
    for token in _TOKENS.finditer(body):
        match body[token.start()]:
            case 0x5B | 0x7B:
                depth += 1
                if depth > DEEPEST:
                    raise Invalid(Flaw("", "too_deep"))
            case 0x5D | 0x7D:
                depth -= 1

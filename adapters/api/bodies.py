"""Reading what was sent, within limits: by the bytes that arrive, whatever the headers promise."""

from __future__ import annotations

import asyncio
import re
import zlib

from starlette.requests import ClientDisconnect, Request

from adapters.api.problems import BadRequest, NotSupported, TooLarge, TooSlow
from hub.errors import Flaw, Invalid

LARGEST = 64 * 1024  # Bytes of one command.
LARGEST_DELIVERY = 1 << 20  # Bytes of what a foreign service tells at once, many events perhaps.
DEEPEST = 32
PATIENCE = 10.0  # Seconds for the body of a single command.

_JSON = ("application/json",)
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)  # A text without an end is looked at once.


async def json_body(request: Request) -> bytes:
    """The JSON body of a request. Raises NotSupported, TooLarge, TooSlow, or Invalid when nested too deeply."""
    media_type(request, _JSON)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise NotSupported
    body = await arrived(request, LARGEST)
    check_depth(body)
    return body


async def arrived(request: Request, most: int) -> bytes:
    """The body as it arrives. Raises TooLarge beyond so many bytes, TooSlow, or BadRequest when it breaks off."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise TooLarge
                parts.append(part)
    except TimeoutError:
        raise TooSlow from None
    except ClientDisconnect:
        raise BadRequest from None
    return b"".join(parts)


def unzipped(body: bytes, most: int) -> bytes:
    """What was gzipped, in one member or several. Raises TooLarge for more than so many bytes, or BadRequest."""
    whole = b""
    while body:
        stream = zlib.decompressobj(wbits=31)
        try:
            whole += stream.decompress(body, most + 1 - len(whole))
        except zlib.error:
            raise BadRequest from None
        if len(whole) > most:
            raise TooLarge
        if not stream.eof:
            raise BadRequest
        body = stream.unused_data
    return whole


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

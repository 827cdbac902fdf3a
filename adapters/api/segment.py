"""The door for Segment's libraries: they post batches of what happened, and go on only when all of it is kept.

Their rule is that 400 and 401 end a batch for good, while 408, 429 and 5xx have it sent again. So whatever can be read
is answered 200, once every item is recorded or waits in quarantine; and trouble that passes is never a 400 or a 401.
What a library sends again is told by its messageId, whatever its clock said that time.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import orjson
from fastapi import FastAPI, Path, Request
from starlette.responses import Response

from adapters.api import apart, describing
from adapters.api.access import Guarded
from adapters.api.bodies import arrived, unzipped
from adapters.api.channels import not_kept
from adapters.api.problems import BadRequest, NoSuchPage, NotSupported, TooLarge, status_of
from adapters.inbound.segment import CALLS, aside, translate
from hub.clock import fresh_id, moment, now
from hub.decider import Principal
from hub.errors import Busy, HubError, IdReused, Invalid, Unauthenticated
from hub.texts import code_of

if TYPE_CHECKING:
    from hub import Hub
    from hub.slice import Asked

LARGEST_BATCH = 500 * 1024  # Bytes, unpacked, as the real service has it.
TURNS = 8  # Batches worked on at the same time …
WAITING = 64  # … and how many more may wait for their turn.
MOST = 2500  # Items of a batch; the real service has no such limit, and libraries send some hundred at most.
SLICE = 250  # Items worked on together; each makes two commands at most.

BATCHES = ("batch", "import")
ANSWER = orjson.dumps({"success": True})


class LargerThanABatch(BadRequest):
    """A batch has 2,500 items and 500 KB at most, unpacked; send it in parts."""


class WriteKeyed(Guarded):
    """A route whose key is where Segment's libraries put it: the user name of Basic, or `writeKey` in the body."""

    async def token(self, request: Request) -> str:
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return _write_key(await _body(request))
        if scheme.lower() != "basic":
            return await super().token(request)
        try:
            name, colon, password = b64decode(told.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise Unauthenticated from None
        if password or not colon:
            raise Unauthenticated
        return name


@dataclass(slots=True)
class Item:
    """One item on its way: its commands, and what became of them."""

    told: Any
    fresh: str
    commands: Sequence[dict[str, Any]]
    error: HubError | None = None


def add_segment(app: FastAPI, hub: Hub) -> None:
    turns = anyio.CapacityLimiter(TURNS)

    async def segment(
        request: Request,
        call: Annotated[str, Path(description="What is sent.", json_schema_extra={"enum": [*BATCHES, *CALLS]})],
    ) -> Response:
        if call not in BATCHES and call not in CALLS:
            raise NoSuchPage
        body = await _body(request)
        if turns.statistics().tasks_waiting >= WAITING:
            raise Busy
        keep = partial(_keep, hub, request.state.principal, call, body, moment(now()))
        kept = await anyio.to_thread.run_sync(keep, limiter=turns)
        request.state.commands = kept
        for _ in range(kept - 1):  # One was paid for at the door; who sent more than its rate asks later next time.
            app.state.rates.charge(request.state.principal.id)
        return Response(ANSWER, media_type="application/json", headers={"Cache-Control": "no-store"})

    for path in ("/v1/channels/segment/v1/{call}", "/v1/channels/segment/{call}"):
        app.router.add_api_route(path, segment, methods=["POST"], route_class_override=WriteKeyed, **describing.SEGMENT)


def _keep(hub: Hub, principal: Principal, call: str, body: bytes, received_at: datetime) -> int:
    """Record the items, or set them aside; gives how many there were. Raises BadRequest, or what kept one out."""
    try:
        told, sent_at = _items(call, body)
        for n in range(0, len(told), SLICE):
            items = [_item(each, received_at, sent_at) for each in told[n : n + SLICE]]
            _do(hub, principal, items)
            left = [each for each in items if each.error is not None]
            for each in left:
                path, reason = _why(each.error)
                each.commands = [aside(each.told, each.fresh, path, reason, received_at)]
            _do(hub, principal, left)
            for each in left:
                if each.error is not None:
                    raise not_kept(each.error) if isinstance(each.error, Invalid) else each.error
    except RecursionError:
        raise BadRequest from None
    return len(told)


def _item(told: Any, received_at: datetime, sent_at: Any) -> Item:
    fresh = fresh_id().hex()
    return Item(told, fresh, translate(told, fresh, received_at, sent_at))


def _do(hub: Hub, principal: Principal, items: Sequence[Item]) -> None:
    """Ask for all commands of these items, in order. An item whose commands are not all right asks for none.

    Raises Busy, or its like, when any has to be sent again: what was done already is known by its id then.
    """
    stream = hub.stream(principal)
    asking: list[tuple[Item, Asked]] = []
    for item in items:
        checked = stream.check(item.commands)
        item.error = next((each for each in checked if isinstance(each, HubError)), None)
        if item.error is None:
            asking += [(item, each) for each in checked if not isinstance(each, HubError)]
    if not asking:
        return
    answers = [*stream.take([asked for _, asked in asking]), *stream.rest()]
    for (item, _), answer in zip(asking, answers, strict=True):
        if isinstance(answer, HubError) and not isinstance(answer, IdReused):  # It came before; the first stands.
            if status_of(answer) == 503:
                raise answer
            item.error = answer


def _items(call: str, sent: bytes) -> tuple[Sequence[Any], Any]:
    """What was sent, and when the batch says it was. Raises BadRequest for what is no batch, or no call."""
    try:
        body = apart.read(sent) if call in BATCHES else apart.loads(sent)
        if not isinstance(body, dict):
            raise BadRequest
        if call not in BATCHES:
            return [{**{name: value for name, value in body.items() if name != "writeKey"}, "type": call}], None
        if not isinstance(items := body.get("batch"), list):
            raise BadRequest
        if len(items) > MOST:
            raise LargerThanABatch
        return [apart.item(each) if isinstance(each, bytes) else each for each in items], body.get("sentAt")
    except ValueError:
        raise BadRequest from None


def _why(error: HubError | None) -> tuple[str, str]:
    if isinstance(error, Invalid) and error.flaws:
        return error.flaws[0].path, error.flaws[0].reason
    return "message", code_of(error) if error is not None else "invalid"


async def _body(request: Request) -> bytes:
    """The body, unpacked, whatever its type says. Raises LargerThanABatch, NotSupported, BadRequest, or TooSlow."""
    if (read := getattr(request.state, "body", None)) is not None:
        assert isinstance(read, bytes)
        return read
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise NotSupported
    try:
        body = await arrived(request, LARGEST_BATCH)
        if encoding == "gzip":
            body = unzipped(body, LARGEST_BATCH)
    except TooLarge:
        raise LargerThanABatch from None
    request.state.body = body
    return body


def _write_key(body: bytes) -> str:
    try:
        key = apart.read(body)["writeKey"] if b'"writeKey"' in body else None
    except (ValueError, RecursionError, LookupError, TypeError):
        key = None
    if not isinstance(key, str):
        raise Unauthenticated
    return key.strip()

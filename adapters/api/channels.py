"""Doors for foreign services: what they deliver is verified, kept, and only then answered."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.api import describing
from adapters.api.bodies import LARGEST_DELIVERY, arrived
from adapters.api.problems import NoSuchPage, TooManyRequests, Unsigned
from adapters.inbound.delivery import Command, Delivery, digest, set_aside
from adapters.inbound.doors import Door
from hub.counter import Failed
from hub.decider import Principal
from hub.errors import Busy, Conflict, Flaw, Forbidden, HubError, IdReused, Invalid, Unknown
from hub.texts import say

if TYPE_CHECKING:
    from hub import Hub

AT_ONCE = 100  # Commands of one delivery on their way together.

_ID = re.compile("[!-~]{1,150}")

_log = structlog.get_logger()


def add_channels(app: FastAPI, hub: Hub, doors: Mapping[str, Door], told_otherwise: Callable[[str, int], None]) -> None:
    """`told_otherwise` hears of a door, and how often it told something else under an id that it had used before."""
    principals: dict[str, Principal] = {}

    async def speaking_for(door: Door) -> Principal:
        """The source itself; like a key of it."""
        if door.source not in principals:
            principals[door.source] = await run_in_threadpool(hub.principals.channel, door.source)
        return principals[door.source]

    @app.post("/v1/channels/{name}", **describing.CHANNELS)
    async def channels(request: Request, name: str) -> Response:
        door = doors.get(name)
        if door is None:
            raise NoSuchPage
        delivery = await _delivery(request, door)
        if why := door.refuses(delivery, time.time()):
            _log.warning("unsigned", door=door.name, why=why)
            raise Unsigned
        principal = request.state.principal = await speaking_for(door)
        if wait := app.state.rates.ask(principal.id):
            raise TooManyRequests(wait)
        commands = [{**each, "id": _id(door, each["id"])} for each in door.commands(delivery)]
        request.state.commands = len(commands)
        for n in range(0, len(commands), AT_ONCE):
            now = commands[n : n + AT_ONCE]
            waits = [app.state.rates.charge(principal.id) for _ in now[not n :]]  # One was asked for above.
            await asyncio.sleep(max(waits, default=0))
            told_before = sum(await asyncio.gather(*(_kept(hub, principal, each) for each in now)))
            if told_before:
                _log.warning("told otherwise", door=door.name, ids=told_before)
                told_otherwise(door.name, told_before)
        return Response(status_code=204)


async def _delivery(request: Request, door: Door) -> Delivery:
    query = request.url.query
    body = await arrived(request, LARGEST_DELIVERY)
    return Delivery(body, dict(request.headers), f"{door.url}?{query}" if query else door.url)


def _id(door: Door, told: str) -> str:
    """Two doors of one source may count alike. An id of another form than ids have is made one."""
    return f"{door.name}:{told if _ID.fullmatch(told) else digest(told.encode('utf-8', 'surrogatepass'))}"


async def _kept(hub: Hub, principal: Principal, command: Command) -> bool:
    """Do what was told, or set it aside. True where something else was told under its id, which stands.

    Raises Busy, or what became of the hub itself.
    """
    try:
        return await _do(hub, principal, command)
    except (Busy, Conflict, Failed):
        raise
    except HubError as error:
        try:
            return await _do(hub, principal, set_aside(_flaws(error), command, command["id"]))
        except Invalid as flawed:
            raise not_kept(flawed) from None


def not_kept(flawed: Invalid) -> Busy:
    """What is answered when something could not even be set aside: who told it shall keep it, and come again."""
    _log.error("not kept", flaws=[f"{flaw.path}: {flaw.reason}" for flaw in flawed.flaws])
    unregistered = any(flaw.reason == "not_registered" for flaw in flawed.flaws)
    return Busy(say("door_unregistered" if unregistered else "door_shut"))


async def _do(hub: Hub, principal: Principal, command: Command) -> bool:
    try:
        await asyncio.wrap_future(hub.counter.submit(hub.accept(principal, command)))
    except IdReused:
        return True
    return False


def _flaws(error: HubError) -> tuple[Flaw, ...]:
    if isinstance(error, Invalid):
        return error.flaws
    if isinstance(error, Forbidden):
        return (Flaw("", "not_allowed"),)
    return (Flaw("customer", "not_known"),) if isinstance(error, Unknown) else (Flaw("", "refused"),)

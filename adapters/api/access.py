"""Who may ask what: one table, and the one place where a request meets it. What is not in the table is refused."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Set
from inspect import signature
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.responses import Response

from adapters.api.problems import TooManyRequests
from hub.decider import Principal
from hub.errors import Flaw, Forbidden, Invalid, Unauthenticated
from hub.principals import ROLES

if TYPE_CHECKING:
    from hub import Hub

Answer = Callable[[Request], Coroutine[Any, Any, Response]]

EVERY_KEY = frozenset(ROLES)
NO_KEY = frozenset({"nobody"})  # Answered without a key.
SIGNED = frozenset({"signed"})  # Answered by the signature of what is sent, which no key stands for.
READERS = frozenset({"operator", "steward", "compliance"})

# By the name of the route's function. Which command a role may ask for stands with the command.
MAY: Mapping[str, frozenset[str]] = {
    "commands": EVERY_KEY,
    "batch": EVERY_KEY,
    "segment": frozenset({"channel"}),
    "channels": SIGNED,
    "card": READERS | {"analyst"},  # An analyst gets it without personal values.
    "find": READERS,
    "timeline": READERS,
    "contacts": READERS,
    "quarantine": READERS,
    "quarantined_item": READERS,
    "log": frozenset({"compliance", "auditor"}),  # An auditor gets the evidence, without what was said.
    "read_models": EVERY_KEY,
    "metrics": frozenset({"admin", "auditor"}),  # How much is done, and how well; nothing about anybody.
    "status": NO_KEY,
    "description": NO_KEY,
}


class Guarded(APIRoute):
    """A route that answers only those the table allows."""

    async def token(self, request: Request) -> str:
        """The API key the request carries. Raises Unauthenticated."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        return token.strip()

    def get_route_handler(self) -> Answer:
        allowed = MAY[self.name]
        # What takes the request as it is needs none of the framework's unpacking.
        plain = list(signature(self.endpoint).parameters) == ["request"]
        answer: Answer = self.endpoint if plain else super().get_route_handler()
        if allowed is SIGNED:  # What else the service writes into the address is its own affair.
            return answer
        parameters = {each.alias for each in self.dependant.query_params}

        async def asked(request: Request) -> Response:
            if request.query_params:
                _check(request.query_params, parameters)
            return await answer(request)

        if allowed is NO_KEY:
            return asked

        async def guarded(request: Request) -> Response:
            principal = await _principal(request, await self.token(request))
            request.state.principal = principal
            if wait := request.app.state.rates.ask(principal.id):
                raise TooManyRequests(wait)
            if principal.role not in allowed:
                raise Forbidden
            return await asked(request)

        return guarded


def _check(given: QueryParams, known: Set[str]) -> None:
    """Raises Invalid where a parameter is not one of the route's, or is said twice."""
    names = [name for name, _ in given.multi_items()]
    flaws = [Flaw(name, "unknown_parameter") for name in dict.fromkeys(names) if name not in known]
    flaws += [Flaw(name, "said_twice") for name in dict.fromkeys(names) if name in known and names.count(name) > 1]
    if flaws:
        raise Invalid(*flaws[:20])


async def _principal(request: Request, token: str) -> Principal:
    hub: Hub = request.app.state.hub
    if remembered := hub.principals.remembered(token):
        return remembered
    return await run_in_threadpool(hub.principals.authenticate, token)

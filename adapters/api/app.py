"""The HTTP application: commands in, answers out, questions about the read side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from adapters.api import describing, problems, routes, segment
from adapters.api.access import Guarded
from adapters.api.channels import add_channels
from adapters.api.logs import Requests
from adapters.api.rates import Rates
from adapters.condition import version
from adapters.inbound.doors import Door
from adapters.metrics import Metrics
from hub.settings import RATE

if TYPE_CHECKING:
    from hub import Hub


def create_app(hub: Hub, rate: int = RATE, doors: Mapping[str, Door] = MappingProxyType({})) -> FastAPI:
    """The application for this hub, which stays its owner's to close.

    `rate`: what a principal may ask a second; `doors`: where foreign services deliver, by name.
    """
    app = FastAPI(
        title="Hub", version=version(), docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.router.route_class = Guarded
    app.state.hub = hub
    app.state.rates = Rates(rate)
    app.state.closing = asyncio.Event()  # Set when the server stops: batches then end after what they took in.
    metrics = Metrics(hub)
    hub.observers.append(metrics)
    app.add_middleware(Requests, answered=metrics.answered)
    problems.install(app)
    routes.add_commands(app, hub)
    add_channels(app, hub, doors, metrics.told_otherwise)
    routes.add_questions(app, hub)
    segment.add_segment(app, hub)
    _describe(app)
    _expose(app, metrics)
    return app


def _expose(app: FastAPI, measured: Metrics) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        body, kind = await run_in_threadpool(measured.exposition, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind, "Cache-Control": "no-store"})


def _describe(app: FastAPI) -> None:
    described: dict[str, Any] = {}

    @app.get("/v1/openapi.json", include_in_schema=False)
    async def description() -> Response:
        if not described:
            described.update(describing.complete(get_openapi(title=app.title, version=app.version, routes=app.routes)))
        return JSONResponse(described)

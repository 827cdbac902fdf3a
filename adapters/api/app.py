"""The HTTP application: commands in, answers out, questions about the read side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, Response

from adapters.api import describing, problems, routes
from adapters.api.access import Guarded
from adapters.api.logs import Requests

if TYPE_CHECKING:
    from hub import Hub


def create_app(hub: Hub) -> FastAPI:
    """The application for this hub, which stays its owner's to close."""
    app = FastAPI(
        title="Hub", version=routes.version(), docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.router.route_class = Guarded
    app.state.hub = hub
    app.state.closing = asyncio.Event()  # Set when the server stops: batches then end after what they took in.
    app.add_middleware(Requests)
    problems.install(app)
    routes.add_commands(app, hub)
    routes.add_questions(app, hub)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    described: dict[str, Any] = {}

    @app.get("/v1/openapi.json", include_in_schema=False)
    async def description() -> Response:
        if not described:
            described.update(describing.complete(get_openapi(title=app.title, version=app.version, routes=app.routes)))
        return JSONResponse(described)

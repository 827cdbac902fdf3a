"""Commands and questions over HTTP: each route says what it takes and hands it to the hub."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.api import describing
from adapters.api.batch import Batch
from adapters.api.bodies import json_body, media_type
from adapters.api.evidence import events_of
from adapters.api.lines import Cutter, Elements, Lines, Unzipped
from adapters.api.masking import masked
from adapters.api.problems import NotSupported, language_of
from adapters.api.reading import ReadSide
from adapters.condition import version
from adapters.health import Health
from hub.decider import Principal
from hub.errors import Busy, Flaw, Invalid, Unknown
from hub.events import Channel
from hub.identity.normalise import is_kind
from hub.intake import check_names, flaws_of, not_json, strange_characters
from hub.projector import Standing
from hub.view import View
from projections.card import card_of
from projections.contacts import contacts_of
from projections.identifiers import find as holders_of
from projections.quarantine import quarantined, told_of
from projections.timeline import timeline_of

if TYPE_CHECKING:
    from hub import Hub

BATCHES = 8  # At the same time.

JSON, NDJSON = "application/json", "application/x-ndjson"
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?)([Zz]|[ +-]\d\d:\d\d)?")


def _written_out(value: Any) -> Any:
    """RFC 3339 only, not the numbers pydantic takes, too. A "+" that nobody escaped arrives as a space."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("not_a_time", "not a time")
    return found[1] + (found[2] or "").replace(" ", "+")


def _as_id(value: str) -> str:
    """Any spelling of a UUID; of something else nobody can be known."""
    try:
        return str(UUID(value))
    except ValueError:
        raise Unknown from None


Time = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Position = Annotated[int, Field(ge=0, lt=1 << 63)]
Id = Annotated[str, Path(description="Any record or customer id.")]
AtLeast = Annotated[
    Position | None,
    Query(description="Wait, up to 5 seconds, until the read side has caught up with this position."),
]
Limit = Annotated[int, Query(ge=1, le=500)]
CodeOf = Annotated[str | None, Query(max_length=64, description="Only those with this code.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


class Sought(BaseModel):
    """Whom to find: by identifiers, or by the key a source knows a record under."""

    model_config = ConfigDict(extra="forbid", strict=True)

    identifiers: dict[str, str | list[str]] | None = Field(None, max_length=100)
    source: str | None = Field(None, max_length=64)
    key: str | None = Field(None, max_length=1000)


def add_commands(app: FastAPI, hub: Hub) -> None:
    batches = asyncio.Semaphore(BATCHES)

    @app.post("/v1/commands", **describing.COMMANDS)
    async def commands(request: Request) -> Response:
        body = await json_body(request)
        return _json(await asyncio.wrap_future(hub.counter.submit(hub.accept(_asker(request), body))))

    @app.post("/v1/commands/batch", **describing.BATCH)
    async def batch(request: Request) -> Response:
        kind = media_type(request, (JSON, NDJSON))
        cutter: Cutter = Elements() if kind == JSON else Lines()
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise NotSupported
        if encoding == "gzip":
            cutter = Unzipped(cutter)
        if batches.locked():
            raise Busy
        asker = _asker(request)
        pace = partial(app.state.rates.charge, asker.id)
        return Batch(hub.stream(asker), cutter, kind, language_of(request), app.state.closing, batches, pace)


def add_questions(app: FastAPI, hub: Hub) -> None:
    read_side = ReadSide(hub)

    async def asked(at_least: int | None, question: Callable[[View], Any]) -> Any:
        def answer() -> Any:
            with hub.view() as view:
                return question(view)

        await read_side.reaches(at_least)
        return await run_in_threadpool(answer)

    @app.get("/v1/customers/{id}", **describing.CARD)
    async def card(
        request: Request,
        id: Id,
        as_of: Annotated[Time | None, Query(description="As it was at this time.")] = None,
        known_at: Annotated[
            Position | Time | None, Query(description="As it was known at this position or time.")
        ] = None,
        at_least: AtLeast = None,
        purposes: Annotated[
            str | None, Query(max_length=1000, description="Whose contact verdicts are wanted, separated by commas.")
        ] = None,
    ) -> Response:
        found = await asked(at_least, lambda view: card_of(view, _as_id(id), as_of, known_at))
        return _json(masked(found) if _asker(request).role == "analyst" else found)

    @app.post("/v1/customers/find", **describing.FIND)
    async def find(request: Request, at_least: AtLeast = None) -> Response:
        sought = _sought(await json_body(request))
        items = await asked(at_least, lambda view: holders_of(view, sought.identifiers, sought.source, sought.key))
        return _json({"items": items, "next": None})

    @app.get("/v1/customers/{id}/timeline", **describing.TIMELINE)
    async def timeline(
        id: Id,
        channel: Channel | None = None,
        since: Annotated[Time | None, Query(alias="from")] = None,
        until: Annotated[Time | None, Query(alias="to")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        at_least: AtLeast = None,
    ) -> Response:
        return _json(
            await asked(at_least, lambda view: timeline_of(view, _as_id(id), channel, since, until, limit, cursor))
        )

    @app.get("/v1/customers/{id}/contacts", **describing.CONTACTS)
    async def contacts(id: Id, limit: Limit = 50, cursor: Cursor = None, at_least: AtLeast = None) -> Response:
        return _json(await asked(at_least, lambda view: contacts_of(view, _as_id(id), limit, cursor)))

    @app.get("/v1/quarantine", **describing.QUARANTINE)
    async def quarantine(
        reason: CodeOf = None,
        source: CodeOf = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        at_least: AtLeast = None,
    ) -> Response:
        return _json(await asked(at_least, lambda view: quarantined(view, limit, cursor, reason, source)))

    @app.get("/v1/quarantine/{item}", **describing.QUARANTINED)
    async def quarantined_item(
        item: Annotated[str, Path(description="As the list names it.")], at_least: AtLeast = None
    ) -> Response:
        return _json(await asked(at_least, lambda view: told_of(view, _as_id(item))))

    @app.get("/v1/log", **describing.LOG)
    async def log(
        request: Request,
        after: Annotated[Position, Query(description="Only what comes after this position.")] = 0,
        limit: Limit = 50,
        type: CodeOf = None,
        record: Annotated[str | None, Query(max_length=64, description="Only events of this record.")] = None,
        at_least: AtLeast = None,
    ) -> Response:
        of, payload = record and _as_id(record), _asker(request).role != "auditor"
        return _json(await asked(at_least, lambda view: events_of(view, after, limit, type, of, payload=payload)))

    @app.get("/v1/read-models", **describing.READ_MODELS)
    async def read_models(at_least: AtLeast = None) -> Response:
        await read_side.reaches(at_least)
        standings = await run_in_threadpool(hub.standings)
        return _json({"items": [_standing(each) | _failure(each) for each in standings], "next": None})

    health = Health(hub)

    def how_it_is() -> dict[str, Any]:
        standings = hub.standings()
        return {
            "version": version(),
            "head": hub.head(),
            "health": health(),
            "read_models": [_standing(each) for each in standings],
        }

    @app.get("/v1/status", **describing.STATUS)
    async def status() -> Response:
        return _json(await run_in_threadpool(how_it_is))


def _standing(each: Standing) -> dict[str, Any]:
    return {
        "name": each.name,
        "version": each.version,
        "position": each.position,
        "lag": each.lag,
        "lag_seconds": each.lag_seconds,
        "state": each.state,
    }


def _failure(each: Standing) -> dict[str, Any]:
    told = asdict(each)
    return {name: told[name] for name in ("failed_event", "failed_position", "error")}


def _sought(body: bytes) -> Sought:
    try:
        asked = orjson.loads(body)
    except ValueError:
        raise not_json(body) from None
    check_names(body, orjson.dumps(asked))
    if strange := list(strange_characters(asked)):
        raise Invalid(*strange)
    try:
        sought = Sought.model_validate(asked)
    except ValidationError as error:
        raise Invalid(*flaws_of(error.errors())) from None
    by_key = sought.source is not None or sought.key is not None
    flaws = [Flaw(f"identifiers.{kind}", "unknown_kind") for kind in sought.identifiers or () if not is_kind(kind)]
    if by_key and sought.identifiers:
        flaws.append(Flaw("identifiers", "either_identifiers_or_key"))
    elif by_key:
        flaws.extend(Flaw(name, "missing") for name in ("source", "key") if getattr(sought, name) is None)
    elif not sought.identifiers:
        flaws.append(Flaw("identifiers", "missing"))
    if flaws:
        raise Invalid(*flaws)
    return sought


def _asker(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=JSON, headers={"Cache-Control": "no-store"})

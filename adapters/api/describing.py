"""What the OpenAPI description says about each route, taken from the commands themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from pydantic.json_schema import models_json_schema

from adapters.api.answers import SHAPES
from adapters.api.problems import MEDIA_TYPE, TITLES
from commands import CAPABILITIES

_REF = "#/components/schemas/"


class Route(TypedDict):
    summary: str
    responses: dict[int | str, dict[str, Any]]
    openapi_extra: dict[str, Any]


def _body(*kinds: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}
    return {status: {"description": TITLES[status][0], "content": content} for status in statuses}


def _route(
    summary: str,
    *problems: int,
    answer: Mapping[str, Any],
    kinds: tuple[str, ...] = ("application/json",),
    open: bool = False,
    **extra: Any,
) -> Route:
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "Done", "content": {kind: {"schema": answer} for kind in kinds}}
    }
    responses |= _problems(*(() if open else (401, 403)), *problems, *(() if open else (429,)), 500, 503)
    security: list[dict[str, list[str]]] = [] if open else [{"key": []}]
    return {"summary": summary, "responses": responses, "openapi_extra": {"security": security, **extra}}


def _page(of: str) -> dict[str, str]:
    return {"$ref": f"{_REF}Page_{of}_"}


_COMMAND = {"$ref": f"{_REF}Command"}
_ANSWER = {"$ref": f"{_REF}Answer"}
_SOUGHT = {
    "type": "object",
    "properties": {
        "identifiers": {"type": "object", "description": "Kinds of identifiers to a value or a list of values."},
        "source": {"type": "string"},
        "key": {"type": "string"},
    },
    "additionalProperties": False,
}
_LINE = {"oneOf": [{"$ref": f"{_REF}Line"}, {"$ref": f"{_REF}Problem"}]}
_BATCH = ("application/json", "application/x-ndjson")

COMMANDS = _route(
    "Ask for one command; answered when it is durable",
    404, 408, 409, 410, 413, 415, 422,
    answer=_ANSWER,
    requestBody=_body("application/json", schema=_COMMAND),
)  # fmt: skip
BATCH = _route(
    "Ask for many commands, answered in order, line by line; gzip allowed",
    415,
    answer={"type": "array", "items": _LINE},
    kinds=_BATCH,
    requestBody=_body(*_BATCH, schema={"type": "array", "items": _COMMAND}),
)
_SENT = {
    "type": "object",
    "description": "A batch, or one call with its own fields, as Segment's libraries send them; gzip allowed.",
    "properties": {
        "batch": {"type": "array", "items": {"type": "object"}},
        "sentAt": {"type": "string"},
        "writeKey": {"type": "string", "description": "The API key, where the request has no Authorization."},
    },
}
SEGMENT = _route(
    "What Segment's libraries send, answered when all of it is recorded or set aside",
    400, 404, 408, 415, 422,
    answer={"$ref": f"{_REF}Kept"},
    requestBody=_body("application/json", schema=_SENT),
    security=[{"writeKey": []}, {"key": []}],
)  # fmt: skip
CHANNELS: Route = {
    "summary": "What a foreign service delivers, signed in its own way; kept before it is answered, and only once",
    "responses": {204: {"description": "Kept"}, **_problems(401, 404, 408, 413, 429, 500, 503)},
    "openapi_extra": {
        "security": [],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": ["object", "array"]}},
                "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
            },
        },
    },
}
CARD = _route("Who a customer is, now or as it was", 404, 422, answer={"$ref": f"{_REF}Card"})
FIND = _route(
    "Everyone who holds an identifier, most recent first",
    408, 413, 415, 422,
    answer=_page("Found"),
    requestBody=_body("application/json", schema=_SOUGHT),
)  # fmt: skip
TIMELINE = _route("Every touch of a customer, newest first", 404, 422, answer=_page("Touch"))
CONTACTS = _route("The contacts a customer had", 404, 422, answer=_page("Contact"))
QUARANTINE = _route(
    "What could not be accepted and waits for repair, with reasons and age", 422, answer=_page("Waiting")
)
QUARANTINED = _route(
    "One of them with what was told, for whoever repairs it", 404, 422, answer={"$ref": f"{_REF}WaitingInFull"}
)
LOG = _route(
    "The events of the log in order; `next` is the next page's `after`, and a page may be short or empty",
    404, 422,
    answer=_page("Logged"),
)  # fmt: skip
READ_MODELS = _route("How far each read model is", 422, answer=_page("ReadModelInFull"))
STATUS = _route("How the hub is; needs no key", answer={"$ref": f"{_REF}Status"}, open=True)


def complete(description: dict[str, Any]) -> dict[str, Any]:
    """Add the schemas that the routes refer to, and the union of all commands."""
    asked = {each.name: each.command for each in CAPABILITIES}
    _, defined = models_json_schema(
        [*((model, "validation") for model in asked.values()), *((model, "serialization") for model in SHAPES)],
        ref_template=f"{_REF}{{model}}",
    )
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(defined["$defs"])
    mapping = {name: f"{_REF}{model.__name__}" for name, model in asked.items()}
    schemas["Command"] = {
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "command", "mapping": mapping},
    }
    description["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, as `hub key create` makes it."},
        "writeKey": {"type": "http", "scheme": "basic", "description": "A channel's API key as the user, no password."},
    }
    for path in description["paths"].values():
        for operation in path.values():
            if "422" in operation["responses"] and "content" in operation["responses"]["422"]:
                operation["responses"]["422"]["content"] = {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return description

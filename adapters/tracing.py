"""Traces by OpenTelemetry: a request, the slice its command was decided in, the append, the batch that folded it.

Only where the extra `hub[otel]` is installed and a variable OTEL_… is set; else nothing happens. Spans go out by OTLP
over HTTP, and say names, counts, positions and codes, never an id of anybody or a value. The batch is folded in another
process: its trace is its own, and the positions tell which appends it took in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.api.logs import named
from hub.observer import Observer

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hub import Hub
    from hub.slice import Asked, Slice


PATIENCE = 2.0  # Seconds a collector has to take spans in, unless the environment says; a stop waits as long.
TIMEOUTS = {"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"}


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for traces, and the extra is here to make them."""
    said = {name: value for name, value in environment.items() if name.startswith("OTEL_") and value}
    off = said.get("OTEL_SDK_DISABLED", "").lower() == "true" or said.get("OTEL_TRACES_EXPORTER") == "none"
    return INSTALLED and bool(said) and not off


@contextmanager
def traced(hub: Hub, app: FastAPI | None = None) -> Iterator[None]:
    """Trace what this hub does, and what its application is asked, if that is wanted."""
    if not wanted():
        yield
        return
    named = "OTEL_SERVICE_NAME" in os.environ or SERVICE_NAME in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: "hub"}))
    given = TIMEOUTS & os.environ.keys()
    exporter = OTLPSpanExporter(timeout=None if given else PATIENCE)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    follow(provider.get_tracer("hub"), hub, app)
    try:
        yield
    finally:
        provider.shutdown()


def follow(tracer: Tracer, hub: Hub, app: FastAPI | None = None) -> None:
    hub.observers.append(Spans(tracer))
    if app is not None:
        app.add_middleware(Requests, tracer=tracer)


class Requests:
    """A span a request. It goes on a trace its sender began, but takes over nothing else from it."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
        context = TraceContextTextMapPropagator().extract({"traceparent": parent[0]} if parent else {})
        with self._tracer.start_as_current_span(
            "request", context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self._app(scope, receive, noting)
            finally:
                method, route = named(scope)
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route})


class Spans(Observer):
    """Spans of slices, appends and batches."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._slices: dict[int, Span] = {}  # Of those under way, by the identity of the slice.

    def accepted(self, asked: Asked) -> None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            asked.trace = context

    def begun(self, asked: Sequence[Asked], slice: Slice, seconds: float) -> None:
        now = time.time_ns()
        requests = list({each.trace.span_id: each.trace for each in asked if each.trace is not None}.values())
        alone = len(requests) == 1  # Where several requests share a slice, it belongs to none of them.
        parent = trace.set_span_in_context(trace.NonRecordingSpan(requests[0])) if alone else Context()
        span = self._tracer.start_span(
            "slice",
            parent,
            start_time=now - int(seconds * 1e9),
            links=() if alone else [Link(each) for each in requests],
            attributes={
                "hub.commands": len(asked),
                "hub.command": sorted({each.command.command for each in asked}),
                "hub.decided_ms": round(seconds * 1000, 3),
            },
        )
        self._slices[id(slice)] = span
        if slice.append is not None:
            attributes = {"hub.events": len(slice.append.events)}
            append = self._tracer.start_span(
                "append", trace.set_span_in_context(span), start_time=now, attributes=attributes
            )
            slice.append.done.add_done_callback(lambda done: _appended(append, done))

    def finished(self, asked: Sequence[Asked], slice: Slice | None) -> None:
        if slice is None or (span := self._slices.pop(id(slice), None)) is None:
            return
        span.set_attribute("hub.refused", sum(each.error is not None for each in asked))
        span.set_attribute("hub.redecided", sum(each.rounds for each in asked))
        span.end()

    def folded(self, events: int, position: int, seconds: float) -> None:
        now = time.time_ns()
        self._tracer.start_span(
            "batch",
            Context(),
            start_time=now - int(seconds * 1e9),
            attributes={"hub.events": events, "hub.position": position},
        ).end(now)


def _appended(span: Span, done: Any) -> None:
    if error := done.exception():
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    else:
        appended = done.result()
        span.set_attribute("hub.position.first", appended.first)
        span.set_attribute("hub.position", appended.head)
    span.end()

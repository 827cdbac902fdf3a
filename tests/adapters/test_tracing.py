"""Traces: from the request to the append, by way of the slice, without a word about anybody."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adapters import tracing
from adapters.api.app import create_app
from hub.wiring import Hub
from tests.adapters.conftest import answering, touch
from tests.adapters.test_serve import post
from tests.support.hubs import source
from tests.support.serving import Server

SENDERS_SPAN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Traced:
    """A hub behind HTTP whose spans are kept here."""

    def __init__(self, hub: Hub, client: httpx2.Client, key: str, kept: InMemorySpanExporter) -> None:
        self.hub, self.client, self._headers, self._kept = hub, client, {"Authorization": f"Bearer {key}"}, kept

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.client.post(path, json=body, headers=self._headers | headers)

    def spans(self, name: str) -> list[ReadableSpan]:
        """The finished ones; a request's is finished a moment after its answer has arrived."""
        deadline = time.monotonic() + 10
        while not (found := [span for span in self._kept.get_finished_spans() if span.name == name]):
            assert time.monotonic() < deadline, name
            time.sleep(0.01)
        return found

    def all(self) -> str:
        return "\n".join(span.to_json() for span in self._kept.get_finished_spans())


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Traced]:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with Hub(database_url, tmp_path) as hub:
        hub.do(source())
        app = create_app(hub)
        tracing.follow(provider.get_tracer("hub"), hub, app)
        key = hub.principals.make("channel", source="shop")[1]
        with answering(app) as base, httpx2.Client(base_url=base, timeout=30) as client:
            yield Traced(hub, client, key, kept)


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_command_is_followed_from_its_request_to_its_append(hub: Traced) -> None:
    answer = hub.post("/v1/commands", touch("1")).json()
    (request,), (slice,), (append,) = (hub.spans(name) for name in ("POST /v1/commands", "slice", "append"))
    assert slice.parent == request.context
    assert append.parent == slice.context
    assert told(request)["http.response.status_code"] == 200
    assert told(slice) | {"hub.decided_ms": 0} == {
        "hub.commands": 1,
        "hub.command": ("record_touch",),
        "hub.decided_ms": 0,
        "hub.refused": 0,
        "hub.redecided": 0,
    }
    assert told(append) == {"hub.events": 2, "hub.position.first": 2, "hub.position": answer["position"]}
    assert (slice.start_time or 0) <= (append.start_time or 0) <= (append.end_time or 0)


def test_the_slices_of_a_batch_belong_to_its_request(hub: Traced) -> None:
    hub.post("/v1/commands/batch", [touch(str(n)) for n in range(300)])
    (request,) = hub.spans("POST /v1/commands/batch")
    slices = hub.spans("slice")
    assert sum(told(each)["hub.commands"] for each in slices) == 300
    assert all(each.parent == request.context for each in slices)


def test_a_trace_goes_on_where_its_sender_began_it(hub: Traced) -> None:
    hub.post("/v1/commands", touch("1"), traceparent=SENDERS_SPAN, tracestate="shop=secret", baggage="who=secret")
    (request,) = hub.spans("POST /v1/commands")
    assert f"{request.context.trace_id:032x}" == SENDERS_SPAN.split("-")[1]
    assert "secret" not in hub.all()


def test_a_batch_of_the_read_side_is_a_span(hub: Traced) -> None:
    hub.hub.follow()
    position = hub.post("/v1/commands", touch("1")).json()["position"]
    hub.hub.wait(position)
    hub.hub.close()
    assert max(told(each)["hub.position"] for each in hub.spans("batch")) == position
    assert sum(told(each)["hub.events"] for each in hub.spans("batch")) == position


def test_no_span_says_who_or_what(hub: Traced) -> None:
    said = {"facts": {"first_name": "Анна"}, "identifiers": {"phone": "+79161234567"}}
    answer = hub.post("/v1/commands", touch("secret-key", id="secret-id", **said)).json()
    hub.post("/v1/commands", touch("1", id="secret-id"))
    hub.client.get(f"/v1/customers/{answer['record']}?cursor=secret")
    hub.client.get("/+79161234567")
    for secret in ("secret", answer["record"], answer["events"][0]["event"], "7916", "Анна"):
        assert secret not in hub.all()


@pytest.mark.parametrize(
    ("environment", "traces"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_nothing_is_traced_unless_the_environment_asks(environment: dict[str, str], traces: bool) -> None:
    assert tracing.wanted(environment) == traces


def test_without_the_extra_nothing_is_traced_whatever_the_environment_asks() -> None:
    code = """
import sys
sys.modules["opentelemetry.exporter"] = None
from adapters import tracing
print(tracing.INSTALLED, tracing.wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """What takes traces by OTLP over HTTP. Gives its address, and the spans that came."""
    spans: list[Any] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_served_hub_sends_the_spans_of_both_its_processes(folder: Path, database_url: str) -> None:
    with collector() as (address, spans):
        server = Server(folder / "data", database_url)
        server.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        server.start()
        try:
            with httpx2.Client(base_url=server.base, timeout=30) as client:
                command = {"command": "register_source", "name": "shop"}
                position = post(client, server.key("admin"), command).json()["position"]
                headers = {"Authorization": f"Bearer {server.key('admin')}"}
                deadline = time.monotonic() + 60  # The process that folds has only just been started.
                while client.get(f"/v1/read-models?at_least={position}", headers=headers).status_code != 200:
                    assert time.monotonic() < deadline
        finally:
            assert server.end() == 0
        assert {span.name for span in spans} >= {"POST /v1/commands", "slice", "append", "batch"}

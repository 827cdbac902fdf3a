"""What Prometheus reads at `/metrics`: how much this process does and how well, and how the hub is.

Every process that answers HTTP exports its own counters and histograms; what is read from the database is the same in
each. The read side folds in a process that does not answer: what it does shows in the lag of its read models.
Labels are names from the code and from this list, never ids or values.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from adapters.condition import Condition, look, version
from adapters.jobs import JOBS
from hub.errors import Conflict, HubError
from hub.observer import Observer
from hub.texts import code_of

if TYPE_CHECKING:
    from hub import Hub
    from hub.log.append import Append
    from hub.slice import Asked, Slice

STATES = ("live", "catching_up", "failed")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class Metrics(Observer):
    """Counts what one hub does in this process."""

    def __init__(self, hub: Hub) -> None:
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(_Present(hub))

        def histogram(name: str, help: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(name, help, labels, buckets=buckets, registry=self._registry)

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(name, help, labels, registry=self._registry)

        self._requests = histogram(
            "hub_http_request_seconds", "Requests answered.", _SECONDS, "method", "route", "status"
        )
        self._commands = counter("hub_commands", "Commands answered, or refused and why.", "command", "outcome")
        self._redecided = counter("hub_redecided", "Times a command was decided again, because its boundary moved.")
        self._conflicts = counter("hub_conflicts", "Appends refused, because something new lay in their boundary.")
        self._otherwise = counter(
            "hub_channel_told_otherwise", "Told under an id that stood for something else, and not taken.", "door"
        )
        self._append = histogram("hub_append_seconds", "From handing in an append until it was durable.", _SECONDS)
        self._commit = histogram("hub_commit_seconds", "A group commit, from asking for the lock on.", _SECONDS)
        self._appends = histogram("hub_commit_appends", "Appends that shared a commit.", _COUNTS)
        self._events = histogram("hub_commit_events", "Events of a commit.", _COUNTS)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the form asked for, and its content type. Raises OperationalError without a database."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was; `status` is 0 where its sender did not wait."""
        self._requests.labels(method, route, status or "-").observe(seconds)

    def turned_away(self, error: HubError) -> None:
        self._commands.labels("-", code_of(error)).inc()

    def told_otherwise(self, door: str, times: int) -> None:
        self._otherwise.labels(door).inc(times)

    def begun(self, asked: Sequence[Asked], slice: Slice, seconds: float) -> None:
        if slice.append is not None:
            submitted = time.monotonic()
            slice.append.done.add_done_callback(lambda _: self._append.observe(time.monotonic() - submitted))

    def finished(self, asked: Sequence[Asked], slice: Slice | None) -> None:
        for (command, outcome), count in Tally((each.command.command, _outcome(each)) for each in asked).items():
            self._commands.labels(command, outcome).inc(count)
        if rounds := sum(each.rounds for each in asked):
            self._redecided.inc(rounds)

    def committed(self, group: Sequence[Append], events: int, seconds: float) -> None:
        errors = [each.done.exception() for each in group]
        if conflicts := sum(isinstance(error, Conflict) for error in errors):
            self._conflicts.inc(conflicts)
        if appends := sum(error is None for error in errors):
            self._commit.observe(seconds)
            self._appends.observe(appends)
            self._events.observe(events)


class _Present(Collector):
    """How the hub is at the moment it is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def describe(self) -> Iterable[Metric]:
        return ()  # Nothing needs to be asked of the database to be registered.

    def collect(self) -> Iterable[Metric]:
        condition = look(self._hub)
        yield _gauge(
            "hub_build_info",
            "What runs; always 1.",
            ("version", "python", "postgres", "migration"),
            ((version(), platform.python_version(), condition.postgres, str(condition.migration)), 1),
        )
        yield from _of_log(condition)
        yield from _of_models(condition)
        yield from _of_feeds(condition)
        runs = condition.runs
        yield _gauge(
            "hub_job_failed",
            "1 while the last run of a job failed.",
            ("job",),
            *(((each.job,), float(each.outcome == "failed")) for each in runs),
        )
        yield _gauge(
            "hub_job_overdue",
            "1 while a job has missed its time more than once.",
            ("job",),
            *(((each.name,), float(each.name in condition.overdue)) for each in JOBS),
        )
        yield _gauge(
            "hub_job_last_run_timestamp_seconds",
            "When a job was begun last.",
            ("job",),
            *(((each.job,), each.started_at.timestamp()) for each in runs),
        )
        yield _gauge("hub_quarantine_items", "Items that wait for repair.", (), ((), condition.waiting))
        oldest = time.time() - condition.oldest.timestamp() if condition.oldest else 0.0
        yield _gauge("hub_quarantine_oldest_seconds", "Age of the oldest of them.", (), ((), oldest))
        healthy = float(condition.guards.state != "broken")
        yield _gauge("hub_guard_healthy", "1 while the log is guarded as it was left.", (), ((), healthy))
        yield _gauge("hub_api_keys_ending", "API keys that end within 14 days.", (), ((), len(condition.keys)))
        yield _gauge("hub_database_bytes", "Size of the database.", (), ((), condition.size))
        disks = condition.disks.items()
        yield _gauge(
            "hub_disk_free_bytes", "Left where a folder lies.", ("folder",), *(((n,), d.free) for n, d in disks)
        )
        yield _gauge("hub_disk_size_bytes", "Size of that disk.", ("folder",), *(((n,), d.size) for n, d in disks))
        yield _gauge("hub_threads", "Threads of this process.", (), ((), threading.active_count()))
        yield self._pools()

    def _pools(self) -> Metric:
        metric = GaugeMetricFamily("hub_pool_connections", "Database connections.", labels=("pool", "state"))
        for name, pool in (("commands", self._hub.pool), ("questions", self._hub.questions)):
            told = pool.get_stats()
            idle = told.get("pool_available", 0)
            metric.add_metric((name, "idle"), idle)
            metric.add_metric((name, "used"), told.get("pool_size", 0) - idle)
            metric.add_metric((name, "waited_for"), told.get("requests_waiting", 0))
        return metric


def _of_log(condition: Condition) -> Iterable[Metric]:
    heads = condition.heads.items()
    yield _gauge("hub_log_head", "Position of the last event.", ("log",), *(((n,), h.position) for n, h in heads))
    yield _gauge(
        "hub_log_last_event_timestamp_seconds",
        "When it was recorded.",
        ("log",),
        *(((name,), head.recorded_at.timestamp()) for name, head in heads if head.recorded_at),
    )


def _of_models(condition: Condition) -> Iterable[Metric]:
    models = condition.standings
    yield _gauge(
        "hub_read_model_lag_events", "Events not folded yet.", ("model",), *(((m.name,), m.lag) for m in models)
    )
    yield _gauge(
        "hub_read_model_lag_seconds",
        "Since the oldest of them was recorded.",
        ("model",),
        *(((m.name,), m.lag_seconds) for m in models),
    )
    yield _gauge(
        "hub_read_model_state",
        "1 for the state it is in.",
        ("model", "state"),
        *(((m.name, state), float(m.state == state)) for m in models for state in STATES),
    )


def _of_feeds(condition: Condition) -> Iterable[Metric]:
    feeds = condition.feeds
    yield _gauge("hub_feed_lag_events", "Events not sent yet.", ("feed",), *(((f.name,), f.lag) for f in feeds))
    yield _gauge(
        "hub_feed_lag_seconds",
        "Since the oldest of them was recorded.",
        ("feed",),
        *(((f.name,), f.lag_seconds) for f in feeds),
    )
    yield _gauge(
        "hub_feed_dead_letters",
        "Events a destination did not take.",
        ("feed",),
        *(((f.name,), f.letters) for f in feeds),
    )
    yield _gauge(
        "hub_feed_disabled",
        "1 while a destination wants no more events.",
        ("feed",),
        *(((f.name,), float(f.disabled)) for f in feeds),
    )
    sent = CounterMetricFamily("hub_feed_sent", "Events acknowledged.", labels=("feed",))
    failures = CounterMetricFamily("hub_feed_failures", "Times something was not taken.", labels=("feed",))
    for each in feeds:
        sent.add_metric((each.name,), each.sent)
        failures.add_metric((each.name,), each.failures)
    yield sent
    yield failures


def _gauge(name: str, help: str, labels: Sequence[str], *samples: tuple[Sequence[str], float]) -> Metric:
    metric = GaugeMetricFamily(name, help, labels=labels)
    for values, value in samples:
        metric.add_metric(values, value)
    return metric


def _outcome(asked: Asked) -> str:
    if asked.answer is not None:
        return "replayed" if asked.answer["replayed"] else "done"
    return code_of(asked.error) if isinstance(asked.error, HubError) else "failed"

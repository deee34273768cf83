"""The metrics of a server, in the text format of Prometheus."""

from typing import TYPE_CHECKING

from loom_runner import EventLog, Runs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from loom_agents._serve.stream import Hub
from loom_agents._serve.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

__all__ = ["metrics_text"]


class _RunMetrics:
    """Collect the metrics of the database and of this process at every scrape."""

    def __init__(self, runs: Runs, log: EventLog, hub: Hub, worker: Worker) -> None:
        self._runs = runs
        self._log = log
        self._hub = hub
        self._worker = worker

    def collect(self) -> "Iterator[Metric]":
        by_status = GaugeMetricFamily("loom_runs", "Runs in the database, by status.", labels=["status"])
        for status, count in self._runs.stats()["runs"].items():
            by_status.add_metric([status], count)
        yield by_status
        pending = len(self._runs.approvals(pending_only=True))
        yield GaugeMetricFamily("loom_approvals_pending", "Requests that wait for a decision.", pending)
        yield GaugeMetricFamily("loom_runs_active_here", "Runs that this process drives.", self._worker.active)
        yield GaugeMetricFamily("loom_event_streams", "Open event streams of this process.", self._hub.streams)
        yield CounterMetricFamily("loom_events", "Entries of the event log.", self._log.last())


def metrics_text(runs: Runs, log: EventLog, hub: Hub, worker: Worker) -> bytes:
    """Return all metrics."""
    registry = CollectorRegistry()
    collector: Collector = _RunMetrics(runs, log, hub, worker)
    registry.register(collector)
    return generate_latest(registry)

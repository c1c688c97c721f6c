"""Counters and histograms under ``/metrics`` (Prometheus text format), summed over the processes of one server."""

import os
import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: prometheus_client's own switch: processes started under it keep their figures in files of this folder.
_SHARED = "PROMETHEUS_MULTIPROC_DIR"

events = Counter("hutong_events", "Events numbered for a subscription.", ["topic"])
unmatched_changes = Counter("hutong_unmatched_changes", "Changes that no topic could be asked of.", ["type"])
notifications = Counter("hutong_notifications", "Notification requests by outcome.", ["outcome"])
analyses = Counter("hutong_analyses", "Analyses by adapter and outcome.", ["adapter", "outcome"])
analysis_seconds = Histogram(
    "hutong_analysis_seconds", "From load to findings.", ["adapter"], buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300)
)
dispatch_lag_seconds = Histogram(
    "hutong_dispatch_lag_seconds",
    "From a change's commit to its dispatch.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30),
)
sent_instances = Counter("hutong_sent_instances", "Instances sent on to peers by outcome.", ["peer", "outcome"])
dimse_associations = Gauge(
    "hutong_dimse_associations", "DIMSE associations that are open.", multiprocess_mode="livesum"
)
dimse_messages = Counter(
    "hutong_dimse_messages", "DIMSE requests answered, by operation and status.", ["operation", "status"]
)
removed_instances = Counter("hutong_removed_instances", "Instances deleted by reason (CID 7011).", ["reason"])
freed_bytes = Counter("hutong_freed_bytes", "Bytes given back to the disk by clearing up packs.")
damaged_packs = Counter("hutong_damaged_packs", "Packs that clearing up found damaged, each time it looked.")
waiting_deliveries = Gauge(
    "hutong_waiting_deliveries", "Deliveries that wait for a peer.", ["peer"], multiprocess_mode="livemax"
)
unreached_peers = Gauge(
    "hutong_unreached_peers", "Tries in a row that did not reach a peer.", ["peer"], multiprocess_mode="livemax"
)
jobs_running = Gauge("hutong_jobs_running", "Jobs running in the workers.", ["queue"], multiprocess_mode="livesum")


reviewed_findings = Gauge(
    "hutong_reviewed_findings",
    "Findings by what people decided on them, of each version of a model.",
    ["adapter", "version", "decision"],
    multiprocess_mode="mostrecent",
)
accepted_share = Gauge(
    "hutong_accepted_share",
    "Share of a model's findings that people left as they were, of those they decided on.",
    ["adapter", "version"],
    multiprocess_mode="mostrecent",
)


def share(folder: Path) -> None:
    """Lets the processes that are started from now on put their figures together; forgets those of an earlier run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[_SHARED] = str(folder)


def exposition() -> bytes:
    """All figures as Prometheus reads them."""
    if _SHARED not in os.environ:
        return generate_latest()
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)

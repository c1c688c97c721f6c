"""Counters and histograms under ``/metrics`` (Prometheus text format)."""

from prometheus_client import Counter, Gauge, Histogram

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
jobs_running = Gauge("hutong_jobs_running", "Jobs running in this worker.", ["queue"])

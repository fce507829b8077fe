"""What Prometheus may ask about the operator; every label has a bounded set of values."""

from __future__ import annotations

import threading
import wsgiref.simple_server
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

REGISTRY: Final = CollectorRegistry()

RECONCILES = Counter("inferplan_reconciles", "Reconciliations by result.", ["result"], registry=REGISTRY)
RECONCILE_SECONDS = Histogram(
    "inferplan_reconcile_seconds",
    "Duration of one reconciliation.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
    registry=REGISTRY,
)
PLAN_SECONDS = Histogram(
    "inferplan_plan_seconds",
    "Duration of planning one scenario.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    registry=REGISTRY,
)
ERRORS = Counter("inferplan_errors", "Errors by kind of exception.", ["type"], registry=REGISTRY)
APPLIES = Counter("inferplan_applies", "Objects applied, by kind and reason.", ["kind", "reason"], registry=REGISTRY)
STATUS_WRITES = Counter("inferplan_status_writes", "Statuses written.", registry=REGISTRY)
SCENARIOS = Gauge("inferplan_scenarios", "Scenarios known.", registry=REGISTRY)
CONDITIONS = Gauge(
    "inferplan_scenario_conditions", "Scenarios by condition and its status.", ["type", "status"], registry=REGISTRY
)
USD_PER_HOUR = Gauge(
    "inferplan_predicted_usd_per_hour", "Predicted cost of all deployed plans [USD/h].", registry=REGISTRY
)
OLDEST_PRICE_DAYS = Gauge(
    "inferplan_oldest_price_age_days", "Age of the oldest price that a plan rests on [d].", registry=REGISTRY
)
GPUS = Gauge("inferplan_gpus", "GPUs of the cluster by product and state.", ["gpu", "state"], registry=REGISTRY)
CACHE_AGE_SECONDS = Gauge(
    "inferplan_cache_age_seconds",
    "Time since a kind of object was last known to be in step with the cluster, 0 while it is watched [s].",
    ["kind"],
    registry=REGISTRY,
)
LEADER = Gauge("inferplan_leader", "1 while this process holds the Lease.", registry=REGISTRY)


def serve(port: int) -> tuple[wsgiref.simple_server.WSGIServer, threading.Thread]:
    """Answer ``/metrics`` in the background; the caller shuts the server down."""
    return start_http_server(port, registry=REGISTRY)

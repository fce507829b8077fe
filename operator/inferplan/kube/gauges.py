"""Gauges that are read off the world now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from functools import partial

from inferplan.kube import metrics
from inferplan.kube.conditions import RULES
from inferplan.kube.reconcile import Reconciler
from inferplan.kube.view import Previous, moment
from inferplan.kube.world import World

MEASURE_EVERY_S = 5.0


def show_ages(world: World) -> None:
    """Have the ages of what is watched worked out whenever they are asked for, also while nothing else runs."""
    for kind in world.kinds():
        metrics.CACHE_AGE_SECONDS.labels(kind).set_function(partial(world.age_s, kind))


async def measure(world: World, reconciler: Reconciler) -> None:
    """Set the gauges for ever."""
    while True:
        set_gauges(world, reconciler)
        await asyncio.sleep(MEASURE_EVERY_S)


def set_gauges(world: World, reconciler: Reconciler) -> None:
    """Set the gauges to what the world looks like now."""
    statuses = [Previous(body.get("status") or {}) for body in world.scenarios.values()]
    metrics.SCENARIOS.set(len(statuses))
    states: Counter[tuple[str, str]] = Counter()
    usd_per_hour, oldest_days = 0.0, 0
    for status in statuses:
        for kind, _ in RULES:
            condition = status.condition(kind)
            if condition is not None:
                states[kind, condition.status] += 1
        cost = status.plan.get("cost")
        cost = cost if isinstance(cost, dict) else {}
        if status.is_true("PlanApproved"):
            with contextlib.suppress(TypeError, ValueError):
                usd_per_hour += float(cost.get("usdPerHour", 0))
        day = moment(str(cost.get("pricedAt", "")))
        if day is not None:
            oldest_days = max(oldest_days, (reconciler.today() - day.date()).days)
    metrics.CONDITIONS.clear()
    for (kind, state), count in states.items():
        metrics.CONDITIONS.labels(kind, state).set(count)
    metrics.USD_PER_HOUR.set(usd_per_hour)
    metrics.OLDEST_PRICE_DAYS.set(oldest_days)
    metrics.GPUS.clear()
    for node in reconciler.inventory().nodes:
        gpu = node.gpu or "unknown"
        free = node.gpus_free
        metrics.GPUS.labels(gpu, "free").inc(free)
        if node.usable:
            metrics.GPUS.labels(gpu, "requested").inc(node.gpus_allocatable - free)
        else:
            metrics.GPUS.labels(gpu, "unusable").inc(node.gpus_allocatable)

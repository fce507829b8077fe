"""The process: read options, load the catalog, take the Lease, then watch and reconcile until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, NoReturn

from inferplan.catalog.loader import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import InputError
from inferplan.kube import health, heap, metrics
from inferplan.kube.client import Client
from inferplan.kube.credentials import login
from inferplan.kube.errors import LeadershipLostError
from inferplan.kube.gauges import measure, show_ages
from inferplan.kube.inbox import Inbox
from inferplan.kube.leadership import Leadership
from inferplan.kube.options import Options, read_options
from inferplan.kube.reconcile import Reconciler, urgency
from inferplan.kube.startup import stop_at_signal, watch_scenarios
from inferplan.kube.supplies import Supplies
from inferplan.kube.world import World

PRICES_EVERY_S = 3.0
"""Only the price book may be read, not watched: it is one small object."""
STOPPING_S = 1.0
RESYNC_EVERY_S = 600.0
"""Time also passes without events: prices grow stale."""
EXIT_USAGE = 2
EXIT_LOST = 3

logger = logging.getLogger("inferplan.kube")


def main() -> None:
    """Run the operator; the entry point of ``inferplan-operator``."""
    options = read_options()
    _set_up_logging(json_logs=options.json_logs)
    heap.keep_small()
    try:
        asyncio.run(run(options))
    except InputError as error:
        logger.critical("%s", error)
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


async def run(options: Options) -> None:
    """Run the operator until it is told to stop.

    Raises
    ------
    InputError
        If options, catalog or credentials cannot be used.
    """
    state = health.Health()
    log_in = partial(login, options.kubeconfig)
    with _servers(options, state):
        beat = asyncio.create_task(state.beat())
        catalog = await asyncio.to_thread(load_catalog, options.catalog)
        state.met("catalog")
        await asyncio.to_thread(log_in)
        async with Client(log_in) as client:
            leadership = Leadership(client, options.lease, options.identity)
            stop = asyncio.Event()
            stop_at_signal(stop)
            try:
                await _until(stop, leadership.acquire())
                if not stop.is_set():
                    state.met("lease")
                    metrics.LEADER.set(1)
                    work = _work(options, client, catalog, state, partial(watch_scenarios, log_in=log_in, stop=stop))
                    await _until(stop, leadership.keep(), work)
            except LeadershipLostError as error:
                logger.critical("%s; ending at once", error)
                _end(EXIT_LOST)
            await leadership.release()
            logger.info("stopped")
            beat.cancel()
            _end(0)


async def _work(
    options: Options, client: Client, catalog: Catalog, state: health.Health, watch: Callable[..., Awaitable[None]]
) -> None:
    inbox = Inbox()
    world = World(client, options.namespaces, inbox)
    state.ages_s = world.ages_s
    show_ages(world)
    inbox.rank = urgency(world)
    reconciler = Reconciler(client, world, inbox, catalog, allowed=options.allowed)
    async with asyncio.TaskGroup() as group:
        for reflector in world.watches():
            group.create_task(reflector.run())
        await world.listed()
        supplies = Supplies(client, options.price_book, catalog, reconciler)
        await supplies.read()
        state.met("caches")
        gc.collect()
        gc.freeze()
        logger.info("%d scenarios, %d nodes", len(world.scenarios), len(world.nodes.values))
        group.create_task(reconciler.run())
        group.create_task(_keep_supplies(supplies))
        group.create_task(measure(world, reconciler))
        group.create_task(_look_now_and_then(world))
        await watch(world, options.namespaces)


async def _look_now_and_then(world: World) -> None:
    while True:
        await asyncio.sleep(RESYNC_EVERY_S)
        world.look_again()


async def _keep_supplies(supplies: Supplies) -> None:
    while True:
        await asyncio.sleep(PRICES_EVERY_S)
        await supplies.read()


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────


async def _until(stop: asyncio.Event, *coroutines: Coroutine[Any, Any, None]) -> None:
    """Run until the first of them ends or fails, or until told to stop; then end the rest.

    Raises
    ------
    Exception
        Whatever one of them raises.
    """
    tasks = [asyncio.create_task(one) for one in (stop.wait(), *coroutines)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise _first(error)
    await asyncio.wait(tasks, timeout=STOPPING_S)


def _first(error: BaseException) -> BaseException:
    """Return what a group of tasks failed of."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _end(status: int) -> NoReturn:
    """End the process as it is: nothing that still runs gets another word in, and kopf takes seconds to wind down."""
    logging.shutdown()
    os._exit(status)


@contextlib.contextmanager
def _servers(options: Options, state: health.Health) -> Iterator[None]:
    answering = state.serve(options.health_port)
    counting, _ = metrics.serve(options.metrics_port)
    try:
        yield
    finally:
        answering.shutdown()
        counting.shutdown()


class _JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _set_up_logging(*, json_logs: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if json_logs else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("kopf").setLevel(logging.WARNING)

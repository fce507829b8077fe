"""kopf, set up to watch scenarios and do nothing else, and begun anew when it gives up."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

import kopf

from inferplan.kube.handlers import handlers
from inferplan.kube.world import World

SERVER_TIMEOUT_S = 300
CLIENT_TIMEOUT_S = 330
CONNECT_TIMEOUT_S = 20
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 5.0

logger = logging.getLogger(__name__)


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings.

    Notes
    -----
    Nothing is scanned (CRDs and namespaces would need permissions of their own), no log line becomes an event, and
    there are no peers: the Lease says who is at work.
    """
    made = kopf.OperatorSettings()
    made.scanning.disabled = True
    made.posting.enabled = False
    made.peering.standalone = True
    made.watching.server_timeout = SERVER_TIMEOUT_S
    made.watching.client_timeout = CLIENT_TIMEOUT_S
    made.watching.connect_timeout = CONNECT_TIMEOUT_S
    made.watching.chunk_size = 250
    made.networking.error_backoffs = (0.5, 1, 2)
    made.process.ultimate_exiting_timeout = None
    return made


def stop_at_signal(stop: asyncio.Event) -> None:
    """Have SIGINT and SIGTERM set an event, whoever has handled them before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


async def watch_scenarios(
    world: World, namespaces: tuple[str, ...], log_in: Callable[[], kopf.ConnectionInfo], stop: asyncio.Event
) -> None:
    """Run kopf for ever.

    kopf ends when a watch is forbidden or answered with an error; the permission may come back, so it is begun anew.

    Parameters
    ----------
    stop
        Set by signals. kopf would handle them itself, slowly: the handlers are taken back when it has set its own.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        registry = handlers(world)

        @kopf.on.login(registry=registry)
        def credentials(**_: object) -> kopf.ConnectionInfo:
            return log_in()

        started = asyncio.get_running_loop().time()
        try:
            ours = asyncio.all_tasks()  # kopf cancels all others when it ends
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
            )
            stop_at_signal(stop)
            await kopf.run_tasks(tasks, ignored=ours)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - kopf gives up on whatever it does not expect
            if asyncio.get_running_loop().time() - started > LONGEST_PAUSE_S * 2:
                pause_s = FIRST_PAUSE_S
            logger.warning("scenarios cannot be watched: %s; again in %.0f s", error, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

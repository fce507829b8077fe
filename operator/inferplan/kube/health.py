"""Whether the operator lives and is at work: ``/healthz`` and ``/readyz``.

They are answered by a thread of their own, so an event loop that hangs is seen to hang.
"""

from __future__ import annotations

import asyncio
import http.server
import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

HEARTBEAT_EVERY_S = 1.0
HEARTBEAT_LOST_S = 30.0
"""A loop that has not run for so long is not coming back [s]; planning has a thread of its own."""
STALE_S = 60.0
"""Who has not heard from the cluster for so long is not at work [s]. The longest pause between two tries is 30 s and an
answer may take 20 s, so one failed try is no reason yet."""

logger = logging.getLogger(__name__)


class Health:
    """What the two answers rest on.

    Attributes
    ----------
    lacking
        What readiness still waits for; nothing: ready.
    ages_s
        Says how long ago each kind of object was last known to be in step with the cluster. One that waits for the
        Lease watches nothing.
    """

    def __init__(self) -> None:
        self._beat_at = time.monotonic()
        self.lacking: dict[str, str] = {"catalog": "not loaded", "lease": "not held", "caches": "not listed"}
        self.ages_s: Callable[[], Mapping[str, float]] = dict

    def met(self, *names: str) -> None:
        """Note that readiness no longer waits for these."""
        for name in names:
            self.lacking.pop(name, None)

    async def beat(self) -> None:
        """Show for ever that the event loop runs."""
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(HEARTBEAT_EVERY_S)

    def alive(self) -> tuple[HTTPStatus, str]:
        """Answer ``/healthz``."""
        silent_s = time.monotonic() - self._beat_at
        if silent_s > HEARTBEAT_LOST_S:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"no heartbeat for {silent_s:.0f} s"
        return HTTPStatus.OK, "ok"

    def ready(self, *, exclude_lease: bool = False) -> tuple[HTTPStatus, str]:
        """Answer ``/readyz``, or ``/readyz?exclude=lease``: one that only waits for the Lease is ready to take over."""
        lacking = dict(self.lacking)
        if exclude_lease and "lease" in lacking:
            del lacking["lease"]
            lacking.pop("caches", None)  # listed by the one that holds the Lease
        faults = [f"{name} {state}" for name, state in lacking.items()]
        stale = [f"{kind} ({age_s:.0f} s)" for kind, age_s in self.ages_s().items() if age_s > STALE_S]
        if stale:
            faults.append(f"not in step with the cluster for more than {STALE_S:.0f} s: {', '.join(stale)}")
        if faults:
            return HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(faults)
        return self.alive()

    def serve(self, port: int) -> http.server.ThreadingHTTPServer:
        """Answer in the background; the caller shuts the server down."""
        answers: dict[str, Callable[[], tuple[HTTPStatus, str]]] = {
            "/healthz": self.alive,
            "/livez": self.alive,
            "/readyz": self.ready,
            "/readyz?exclude=lease": partial(self.ready, exclude_lease=True),
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path) or answers.get(self.path.partition("?")[0])
                status, text = answer() if answer is not None else (HTTPStatus.NOT_FOUND, "not found")
                body = f"{text}\n".encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                logger.debug(format, *args)

        server = http.server.ThreadingHTTPServer(("", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        return server

"""Watches as they come over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import kopf
import pytest
from aiohttp import web

from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def watched(answer: Answer) -> tuple[list[Body | str], Exception | None]:
    """Watch a server that answers so; return what was told, and what went wrong at the end."""
    told: list[Body | str] = []

    async def watch() -> Exception | None:
        app = web.Application()
        app.router.add_get("/things", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            async with Client(lambda: kopf.ConnectionInfo(server=f"http://{host}:{port}")) as client:
                events = client.watch("/things", "10", {}, lambda: told.append("opened"))
                told.extend([event async for event in events])
        except (ApiError, ValueError, LookupError, TypeError, AttributeError) as error:
            return error
        finally:
            await runner.cleanup()
        return None

    return told, asyncio.run(watch())


def lines(*texts: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.query["resourceVersion"] == "10"
        return web.Response(text="".join(text + "\n" for text in texts))

    return answer


def test_a_watch_is_open_before_anything_happens() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.05)
        await response.write(b'{"type": "ADD')
        await response.write(b'ED", "object": {}}\n')
        return response

    assert watched(answer) == (["opened", {"type": "ADDED", "object": {}}], None)


def test_a_watch_that_is_refused_was_never_open() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "too old", "reason": "Expired"}, status=410)

    told, error = watched(answer)
    assert told == []
    assert isinstance(error, ApiError)
    assert (error.status, error.reason) == (410, "Expired")


def test_an_error_that_comes_as_an_event_ends_the_watch() -> None:
    told, error = watched(
        lines('{"type": "ERROR", "object": {"code": 410, "message": "too old", "details": {"retryAfterSeconds": 3}}}')
    )
    assert told == ["opened"]
    assert isinstance(error, ApiError)
    assert (error.status, error.retry_after_s) == (410, 3.0)


@pytest.mark.parametrize("text", ["<html>", "{}", "[]", "3", '{"type": "ERROR", "object": "no"}'])
def test_what_is_no_event_is_told_as_a_fault(text: str) -> None:
    told, error = watched(lines(text))
    assert told == ["opened"]
    assert error is not None

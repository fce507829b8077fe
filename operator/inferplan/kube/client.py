"""The API server as the operator speaks to it: JSON over HTTPS on the event loop that kopf runs on.

kopf has no public client, and the official one costs 40 MB of memory for its models of every kind there is; what
is needed here is five kinds of request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Self

import aiohttp
import kopf

from inferplan import __version__
from inferplan.kube.credentials import Access, access
from inferplan.kube.errors import ApiError, LeadershipLostError

Body = dict[str, Any]
"""An object of the API as JSON has it: the one place where a dictionary is the thing itself."""

FIELD_MANAGER: Final = "inferplan"
"""Owner of our fields in every object that we write. It is part of the interface: never rename it."""

REQUEST_TIMEOUT_S = 20.0
LEASE_TIMEOUT_S = 4.0
WATCH_S = 290
"""How long one watch lasts before it is begun anew [s]."""
PAGE_SIZE = 250
CREDENTIALS_LAST_S = 60.0
"""Tokens in files change; they are read again this often [s]."""
_LONGEST_LINE_BYTES = 16 * 2**20

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


class Client:
    """A caller of one API server.

    Parameters
    ----------
    login
        Finds the credentials, again and again: tokens expire.
    """

    def __init__(self, login: Callable[[], kopf.ConnectionInfo]) -> None:
        self._login = login
        self._access: Access | None = None
        self._read_at = 0.0
        self._session: aiohttp.ClientSession | None = None
        self.may_write = False
        """Off until the Lease is held, and off again the moment it may be lost."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=32, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"Accept": "application/json", "User-Agent": f"inferplan-operator/{__version__}"},
            read_bufsize=2**18,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, path: str) -> Body:
        """Return an object."""
        return await self._request("GET", path)

    async def find(self, path: str) -> Body | None:
        """Return an object, or None if there is none."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.is_gone:
                return None
            raise

    async def pages(self, path: str, query: Mapping[str, str] | None = None) -> AsyncIterator[tuple[list[Body], str]]:
        """Yield the objects of a list page by page, each with the version of the list."""
        token = ""
        while True:
            paged = {**(query or {}), "limit": str(PAGE_SIZE), **({"continue": token} if token else {})}
            answer = await self._request("GET", path, query=paged)
            metadata = answer.get("metadata") or {}
            yield answer.get("items") or [], str(metadata.get("resourceVersion", ""))
            token = metadata.get("continue") or ""
            if not token:
                return

    async def watch(
        self, path: str, version: str, query: Mapping[str, str] | None, opened: Callable[[], None]
    ) -> AsyncGenerator[Body]:
        """Yield what happens to the objects of a list after a version, until the server ends it.

        Parameters
        ----------
        opened
            Called when the server has accepted the watch; it may be minutes until something happens.

        Raises
        ------
        ApiError
            If the server ends it with an error; status 410: list again.
        """
        asked = {
            **(query or {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=WATCH_S + 10)
        async with await self._send("GET", path, query=asked, timeout=timeout) as response:
            opened()
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event: Body = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError.told(event["object"])
                    yield event
                if len(rest) > _LONGEST_LINE_BYTES:
                    raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "an event of a watch is too long")

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, path: str, body: Mapping[str, Any], *, force: bool) -> Body:
        """Apply an object on the server's side, as our one field manager; with ``force`` also over others' fields."""
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        return await self._write("PATCH", path, body, query=query, content_type=_APPLY)

    async def merge(self, path: str, change: Mapping[str, Any]) -> Body:
        """Merge a change into an object or its subresource."""
        return await self._write("PATCH", path, change, query={"fieldManager": FIELD_MANAGER}, content_type=_MERGE)

    async def create(self, path: str, body: Mapping[str, Any]) -> Body:
        """Create an object in a list."""
        return await self._write("POST", path, body, query={"fieldManager": FIELD_MANAGER})

    async def delete(self, path: str, uid: str) -> None:
        """Delete an object, if it is still the one with this uid, and in the background what it owns."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._write("DELETE", path, options)
        except ApiError as error:
            if not (error.is_gone or error.is_conflict):
                raise

    async def lease(self, method: str, path: str, body: Mapping[str, Any]) -> Body:
        """Create or replace the Lease: the only write that needs no Lease."""
        return await self._request(method, path, body, timeout_s=LEASE_TIMEOUT_S)

    async def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Body:
        if not self.may_write:
            message = f"{method} {path} held back: the Lease is not ours"
            raise LeadershipLostError(message)
        return await self._request(method, path, body, query=query, content_type=content_type)

    # ── one request ──────────────────────────────────────────────────────────────────────────────────────────

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Body:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        sent = await self._send(method, path, body=body, query=query, content_type=content_type, timeout=timeout)
        async with sent as response:
            text = await response.text()
        answer: Body = await asyncio.to_thread(json.loads, text) if len(text) > 2**20 else json.loads(text)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own kind, one per phase of the request
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            message = "used before it was opened"
            raise RuntimeError(message)
        for fresh in (False, True):
            found = await self._credentials(fresh=fresh)
            response = await self._session.request(
                method,
                found.server + path,
                params=dict(query or {}),
                data=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
                headers={"Content-Type": content_type, **dict(found.headers)},
                ssl=found.tls,
                proxy=found.proxy,
                timeout=timeout,
            )
            if response.status < HTTPStatus.BAD_REQUEST:
                return response
            async with response:
                text = await response.text()
            if response.status != HTTPStatus.UNAUTHORIZED or fresh:
                raise ApiError.of(response.status, text, response.headers)
        raise AssertionError  # the second turn returns or raises

    async def _credentials(self, *, fresh: bool) -> Access:
        """Return the credentials, read again when they are old or were refused."""
        now = time.monotonic()
        if self._access is None or fresh or now - self._read_at > CREDENTIALS_LAST_S:
            found = await asyncio.to_thread(self._login)
            renewed = access(found)
            if self._access is not None and renewed.headers == self._access.headers:
                renewed = self._access  # the same TLS context keeps its open connections
            self._access, self._read_at = renewed, now
        return self._access

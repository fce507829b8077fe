"""A kind of object, kept up to date: listed once, watched from then on, and listed again when the watch is lost.

kopf watches scenarios. What is only looked at (nodes, pods, children) is kept here instead: a watch that is
forbidden for a while is then a fault that is told and tried again, while kopf gives up as a whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from http import HTTPStatus
from typing import Generic, TypeVar

import aiohttp

from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError, retry_delay_s

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENDS_REMEMBERED = 1000
"""In a busy cluster pods come and go by the thousand; answers are late by seconds at most."""

logger = logging.getLogger(__name__)


class Reflector(Generic[Key, Value]):
    """The objects of one list, each reduced to what is needed of it.

    Parameters
    ----------
    read
        Reduces an object to its key and value; None for one that does not matter.
    changed
        Told the key and the values before and after; only if they differ.
    query
        Selectors, evaluated by the server.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        read: Callable[[Body], tuple[Key, Value] | None],
        changed: Callable[[Key, Value | None, Value | None], None],
        query: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.values: dict[Key, Value] = {}
        self.listed = asyncio.Event()
        self.fault = ""
        """Why the values may be out of date; empty if they are not."""
        self.ended: dict[str, int] = {}
        """Versions of the last objects that are gone, by uid: news of them may come late."""
        self._client = client
        self._read = read
        self._changed = changed
        self._query = dict(query or {})
        self._keys: dict[str, Key] = {}
        self._versions: dict[str, int] = {}

    async def run(self) -> None:
        """Keep the values up to date for ever."""
        failures = 0
        while True:
            try:
                version = await self._list()
                failures = 0
                self._recovered()
                while True:
                    version = await self._watch(version)
            except ApiError as error:
                if error.status == HTTPStatus.GONE:
                    continue
                failures += 1
                self._failed(str(error))
                await asyncio.sleep(min(5.0, retry_delay_s(failures, error)))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                failures += 1
                self._failed(f"{type(error).__name__}: {error}")
                await asyncio.sleep(min(5.0, retry_delay_s(failures)))

    def _failed(self, message: str) -> None:
        if not self.fault:
            logger.warning("cannot watch %s: %s", self.path, message)
        self.fault = message

    def _recovered(self) -> None:
        if self.fault:
            logger.info("watching %s again", self.path)
        self.fault = ""

    async def _list(self) -> str:
        seen: set[Key] = set()
        listed: set[str] = set()
        version = ""
        async for items, listed_version in self._client.pages(self.path, self._query):
            version = listed_version
            for item in items:
                key = self.take(item)
                if key is not None:
                    seen.add(key)
                listed.add(item["metadata"]["uid"])
        for key in [key for key in self.values if key not in seen]:
            self._drop(key)
        self._keys = {uid: key for uid, key in self._keys.items() if uid in listed}
        self._versions = {uid: seen_version for uid, seen_version in self._versions.items() if uid in listed}
        self.listed.set()
        return version

    async def _watch(self, version: str) -> str:
        async for event in self._client.watch(self.path, version, self._query):
            body: Body = event["object"]
            version = body["metadata"]["resourceVersion"]
            if event["type"] in {"ADDED", "MODIFIED"}:
                self.take(body)
            elif event["type"] == "DELETED":
                uid = body["metadata"]["uid"]
                self._end(uid, version_of(body))
                key = self._keys.pop(uid, None)
                if key is not None:
                    self._drop(key)
        return version

    def _end(self, uid: str, version: int) -> None:
        self._versions.pop(uid, None)
        self.ended[uid] = version
        while len(self.ended) > ENDS_REMEMBERED:
            del self.ended[next(iter(self.ended))]

    def take(self, body: Body) -> Key | None:
        """Take an object in, as the watch or the answer to a write has it.

        Either may come first: what is older than what is known, or than the object's end, is passed over.
        """
        uid, version = body["metadata"]["uid"], version_of(body)
        if version < self._versions.get(uid, self.ended.get(uid, 0)):
            return self._keys.get(uid)
        self._versions[uid] = version
        read = self._read(body)
        if read is None:
            key = self._keys.pop(uid, None)
            if key is not None:
                self._drop(key)
            return None
        key, value = read
        self._keys[uid] = key
        before = self.values.get(key)
        self.values[key] = value
        if before != value:
            self._changed(key, before, value)
        return key

    def _drop(self, key: Key) -> None:
        before = self.values.pop(key, None)
        if before is not None:
            self._changed(key, before, None)


def version_of(body: Body) -> int:
    """Order the versions of an object.

    References
    ----------
    .. [1] Kubernetes enhancement 5504, "Comparable resource version": they are growing numbers.
    """
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0

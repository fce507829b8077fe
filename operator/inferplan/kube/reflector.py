"""A kind of object, kept up to date: listed once, watched from then on, and listed again when the watch is lost.

A list is the truth: what it lacks is gone. Between lists the watch is, and whoever else has news (kopf, or the answer
to a write of ours) may tell it sooner; versions decide. A watch that is forbidden for a while is a fault that is told
and tried again, more and more slowly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Generic, TypeVar

import aiohttp

from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError, watch_delay_s

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENDS_REMEMBERED = 1000
"""In a busy cluster pods come and go by the thousand; answers are late by seconds at most."""
STEADY_S = 10.0
"""A watch that has lasted so long was no failure: the next one is begun at once [s]."""

_ODD = (LookupError, TypeError, AttributeError)
"""Whatever answers is no API server, or the defect is ours."""
_FAILURES = (ApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError, *_ODD)

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
        Selectors, evaluated by the server. Without them an object that is gone never comes back.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        read: Callable[[Body], tuple[Key, Value] | None],
        changed: Callable[[Key, Value | None, Value | None], None],
        query: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
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
        self._clock = clock
        self._versions: dict[str, int] = {}
        self._keys: dict[str, Key] = {}
        self._uids: dict[Key, str] = {}
        self._in_step = 0
        """Version up to which lists and watches have told everything."""
        self._listing = False
        self._meanwhile: set[str] = set()
        """Objects of which others have told since the list was asked for: it may be older than that."""
        self._good_at = clock()
        self._opened_at: float | None = None

    # ── lists and watches ────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep the values up to date for ever."""
        version, early = "", 0
        while True:
            since, error = version, None
            try:
                since = version or await self._list_anew()
                version = await self._watch(since)
            except _FAILURES as caught:
                version, error = "", caught
                self._failed(caught)
            if self._closed():
                early = 0
                if error is None:
                    continue
            if version == since:
                version = ""  # a watch that ends early and tells nothing may be none
            early += 1
            await asyncio.sleep(watch_delay_s(early, error))

    def age_s(self) -> float:
        """Return how long ago the values were last known to be in step: 0 while a watch is up [s]."""
        return 0.0 if self._opened_at is not None else self._clock() - self._good_at

    def _opened(self) -> None:
        self._opened_at = self._clock()

    def _closed(self) -> bool:
        """Note that no watch is up, and tell whether there was one that lasted."""
        now, opened_at = self._clock(), self._opened_at
        self._opened_at = None
        steady = opened_at is not None and now - opened_at >= STEADY_S
        if steady:
            self._good_at = now
        return steady

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ApiError):
            if error.status == HTTPStatus.GONE:
                return  # listing again is the remedy
            message = str(error)
        else:
            message = f"{type(error).__name__}: {error}"
        if not self.fault:
            logger.warning("cannot watch %s: %s", self.path, message, exc_info=isinstance(error, _ODD))
        self.fault = message

    def _recovered(self) -> None:
        if self.fault:
            logger.info("watching %s again", self.path)
        self.fault = ""

    async def _list_anew(self) -> str:
        self._listing = True
        try:
            return await self._list()
        finally:
            self._listing = False
            self._meanwhile.clear()

    async def _list(self) -> str:
        """List everything; what was known before and is not listed is gone."""
        listed: set[str] = set()
        version = ""
        async for items, page_version in self._client.pages(self.path, self._query):
            version = page_version
            for item in items:
                uid = item["metadata"]["uid"]
                listed.add(uid)
                self._see(item, surely=uid not in self._meanwhile)
        if not version:
            message = "the answer is no list"
            raise ValueError(message)
        of_list = _number(version)
        for uid, known in [one for one in self._versions.items() if one[0] not in listed]:
            if uid not in self._meanwhile or 0 < known <= of_list:
                self._end(uid, max(known, of_list))
        self._in_step = of_list
        self._good_at = self._clock()
        self._recovered()
        self.listed.set()
        return version

    async def _watch(self, version: str) -> str:
        """Watch until the server ends it; return the version to go on from."""
        async with aclosing(self._client.watch(self.path, version, self._query, self._opened)) as events:
            async for event in events:
                body: Body = event["object"]
                if event["type"] in {"ADDED", "MODIFIED"}:
                    self._see(body)
                elif event["type"] == "DELETED":
                    self._end(body["metadata"]["uid"], version_of(body))
                version = str(body["metadata"]["resourceVersion"])
                self._in_step = _number(version)
                self._good_at = self._clock()
        return version

    # ── news ─────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, body: Body) -> Key | None:
        """Take in what somebody else tells of an object: the answer to a write, or another watch.

        Either may come first: what is older than what is known, or than the object's end, is passed over. So is an
        object that no list and no watch has told of though they know of later versions: it has come and gone.
        """
        uid, version = body["metadata"]["uid"], version_of(body)
        if uid not in self._versions and 0 < version <= self._in_step:
            return None
        self._told_by_others(uid)
        return self._see(body)

    def end(self, body: Body) -> None:
        """Take in from somebody else that an object is gone."""
        self._told_by_others(body["metadata"]["uid"])
        self._end(body["metadata"]["uid"], version_of(body))

    def _told_by_others(self, uid: str) -> None:
        if self._listing:
            self._meanwhile.add(uid)

    def _see(self, body: Body, *, surely: bool = False) -> Key | None:
        """Take in an object; with ``surely`` it is as told, whatever was known before."""
        uid, version = body["metadata"]["uid"], version_of(body)
        known = self._versions.get(uid)
        if known is not None and version and (version == known or (version < known and not surely)):
            return self._keys.get(uid)
        if uid in self.ended and not surely and (not self._query or version < self.ended[uid]):
            return None
        read = self._read(body)
        if read is None:
            self._forget(uid)
            self._versions[uid] = version
            return None
        key, value = read
        holder = self._uids.get(key, uid)
        if holder != uid:
            newest = self._versions[holder]
            if version < newest and (holder in self._meanwhile or not surely):
                self._end(uid, newest)
                return None
            self._retire(holder, version)
        self.ended.pop(uid, None)
        self._versions[uid], self._keys[uid], self._uids[key] = version, key, uid
        before = self.values.get(key)
        if before != value:
            self.values[key] = value
            self._changed(key, before, value)
        return key

    def _end(self, uid: str, version: int) -> None:
        """Note that an object is gone; another one of its name stays."""
        self._forget(uid)
        self._retire(uid, version)

    def _retire(self, uid: str, version: int) -> None:
        self._versions.pop(uid, None)
        self._keys.pop(uid, None)
        self.ended[uid] = version
        while len(self.ended) > ENDS_REMEMBERED:
            del self.ended[next(iter(self.ended))]

    def _forget(self, uid: str) -> None:
        """Drop the value of an object, if it has one."""
        key = self._keys.pop(uid, None)
        if key is not None and self._uids.get(key) == uid:
            del self._uids[key]
            before = self.values.pop(key, None)
            if before is not None:
                self._changed(key, before, None)


def version_of(body: Body) -> int:
    """Order the versions of an object.

    References
    ----------
    .. [1] Kubernetes enhancement 5504, "Comparable resource version": they are growing numbers.
    """
    return _number(str(body["metadata"].get("resourceVersion", "")))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0

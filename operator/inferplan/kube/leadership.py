"""One active operator: a Lease that is held before kopf starts; when it may be lost, the process ends.

Times are measured on our own monotonic clock from the moment at which a record was seen to change, as client-go does,
so clocks of machines that disagree do no harm.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from http import HTTPStatus

import aiohttp

from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError, LeadershipLostError
from inferplan.kube.options import ObjectName

LEASE_DURATION_S = 15
"""A Lease that has not been renewed for so long may be taken [s]."""
RENEW_DEADLINE_S = 10.0
"""Without a renewal for so long we stop [s]: well before anybody else may begin."""
RENEW_EVERY_S = 2.0
RETRY_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Leadership:
    """The Lease, as one candidate sees it."""

    def __init__(self, client: Client, lease: ObjectName, identity: str) -> None:
        self._client = client
        self._lease = lease
        self._identity = identity
        self._list = f"/apis/coordination.k8s.io/v1/namespaces/{lease.namespace}/leases"
        self._path = f"{self._list}/{lease.name}"
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0
        self._body: Body | None = None
        self.held = False

    async def acquire(self) -> None:
        """Wait until the Lease is ours; from then on the client may write."""
        told = ""
        while True:
            try:
                holder = await self._try()
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
                holder = ""
                if told != str(error):
                    logger.warning("cannot take the Lease %s: %s", self._lease, error)
                told = str(error)
            if self.held:
                logger.info("holding the Lease %s as %s", self._lease, self._identity)
                self._client.may_write = True
                return
            if holder and holder != told:
                logger.info("waiting for the Lease %s, held by %s", self._lease, holder)
                told = holder
            await asyncio.sleep(RETRY_EVERY_S)

    async def _try(self) -> str:
        """Take the Lease if it may be taken; return who holds it otherwise."""
        found = await self._client.find(self._path)
        if found is None:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._lease.name, "namespace": self._lease.namespace},
                "spec": {"acquireTime": _now(), "leaseTransitions": 0},
            }
            await self._write("POST", self._list, body)
            return self._identity
        spec = found.get("spec") or {}
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        if (holder, renewed) != self._seen:
            self._seen, self._seen_at = (holder, renewed), time.monotonic()
        age_s = time.monotonic() - self._seen_at
        if holder not in {"", self._identity} and age_s < float(spec.get("leaseDurationSeconds") or LEASE_DURATION_S):
            return holder
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        found["spec"] = {**spec, "acquireTime": _now(), "leaseTransitions": transitions}
        await self._write("PUT", self._path, found)
        return self._identity

    async def _write(self, method: str, path: str, body: Body) -> None:
        body["spec"] |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "renewTime": _now(),
        }
        self._body = await self._client.lease(method, path, body)
        self.held = True

    async def keep(self) -> None:
        """Renew the Lease until that fails for too long.

        Raises
        ------
        LeadershipLostError
            When somebody else may begin; by then nothing is written any more.
        """
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            started = time.monotonic()
            try:
                async with asyncio.timeout(max(0.1, renewed_at + RENEW_DEADLINE_S - started)):
                    await self._renew()
                renewed_at = started
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
                logger.warning("cannot renew the Lease %s: %s", self._lease, error)
            if time.monotonic() - renewed_at > RENEW_DEADLINE_S:
                self._lose(f"not renewed for {time.monotonic() - renewed_at:.0f} s")

    async def _renew(self) -> None:
        body = self._body
        if body is None or body["spec"].get("holderIdentity") != self._identity:
            self._lose("it is not ours")
        else:
            try:
                await self._write("PUT", self._path, body)
            except ApiError as error:
                if error.status not in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                    raise
                # somebody has touched it (a label, say), or taken it, or deleted it
                self._body = await self._client.find(self._path)
                if self._body is None:
                    self._lose("it was deleted")
                elif self._body["spec"].get("holderIdentity") == self._identity:
                    await self._write("PUT", self._path, self._body)
                else:
                    self._lose(f"{self._body['spec'].get('holderIdentity')} holds it")

    def _lose(self, why: str) -> None:
        self.held = self._client.may_write = False
        message = f"lost the Lease {self._lease}: {why}"
        raise LeadershipLostError(message)

    async def release(self) -> None:
        """Give the Lease back, so that the next one need not wait."""
        self._client.may_write = False
        if not self.held or self._body is None:
            return
        self.held = False
        spec = self._body["spec"] | {"holderIdentity": "", "renewTime": _now(), "leaseDurationSeconds": 1}
        try:
            await self._client.lease("PUT", self._path, self._body | {"spec": spec})
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("cannot give the Lease %s back: %s", self._lease, error)

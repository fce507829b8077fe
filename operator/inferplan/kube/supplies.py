"""What is read now and then instead of watched: the price book, and what Karpenter says of prices and node pools."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from inferplan.domain.catalog import Catalog
from inferplan.kube.client import Client
from inferplan.kube.errors import ApiError
from inferplan.kube.karpenter import read_overlays, read_pools
from inferplan.kube.kinds import CONFIG_MAP
from inferplan.kube.options import ObjectName
from inferplan.kube.prices import read_book
from inferplan.kube.reconcile import Reconciler

logger = logging.getLogger(__name__)


class Supplies:
    """Reads prices and node pools and hands them to the reconciler; what cannot be read stays as it was."""

    def __init__(self, client: Client, book: ObjectName, catalog: Catalog, reconciler: Reconciler) -> None:
        self._client = client
        self._name = book
        self._catalog = catalog
        self._reconciler = reconciler
        self._told: dict[str, str] = {}

    async def read(self) -> None:
        """Read everything once."""
        using = self._reconciler
        book, overlays, pools = using.book, using.overlays, using.pools
        try:
            body = await self._client.find(CONFIG_MAP.path(self._name.namespace, self._name.name))
            book = await asyncio.to_thread(read_book, body, book, self._catalog)
            self._tell("price book", "" if not book.faults else f"refused, the prices before stay: {book.faults[0]}")
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._tell("price book", f"cannot be read: {error}")
        try:
            overlays, pools = await read_overlays(self._client), await read_pools(self._client)
            self._tell("Karpenter", "")
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._tell("Karpenter", f"cannot be read: {error}")
        using.use(book, overlays, pools)

    def _tell(self, what: str, problem: str) -> None:
        """Log a problem once, and its end."""
        if problem != self._told.get(what, ""):
            logger.warning("%s: %s", what, problem or "all is well again")
        self._told[what] = problem

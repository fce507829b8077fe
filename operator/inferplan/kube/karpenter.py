"""What Karpenter knows, where it is installed: what its NodePools may bring, and the prices of its NodeOverlays."""

from __future__ import annotations

from inferplan.kube.client import Body, Client
from inferplan.kube.kinds import NODE_OVERLAY, NODE_POOL, Kind
from inferplan.kube.prices import Overlay, read_overlay


async def read_kind(client: Client, kind: Kind) -> list[Body]:
    """Return all objects of a kind that a cluster may not have.

    Whether it has is asked of discovery, which everybody may read, so that no forbidden call is made where Karpenter
    is missing and its permissions are left out.
    """
    discovered = await client.find(f"/apis/{kind.api_version}")
    names = {resource["name"] for resource in (discovered or {}).get("resources") or ()}
    if kind.plural not in names:
        return []
    return [item async for items, _ in client.pages(kind.path()) for item in items]


async def read_overlays(client: Client) -> tuple[Overlay, ...]:
    """Return the NodeOverlays that say a price, in a fixed order."""
    found = [read_overlay(body) for body in await read_kind(client, NODE_OVERLAY)]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.name))


async def read_pools(client: Client) -> tuple[Body, ...]:
    """Return the NodePools, in a fixed order."""
    return tuple(sorted(await read_kind(client, NODE_POOL), key=lambda body: str(body["metadata"]["name"])))

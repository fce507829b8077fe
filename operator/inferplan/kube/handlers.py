"""What kopf tells us: a scenario appeared, changed or went. It is handed over, and nothing else happens here.

Handlers of events alone leave no trace in the resource: no finalizer, no annotation, nothing in its status.
"""

from __future__ import annotations

import copy
from typing import Any

import kopf

from inferplan.api.v1alpha1 import GROUP, PLURAL, VERSION
from inferplan.kube.world import World


def handlers(world: World) -> kopf.OperatorRegistry:
    """Return the handlers, registered with kopf."""
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        body: dict[str, Any] = copy.deepcopy(dict(event["object"]))
        if event["type"] == "DELETED":
            world.lose_scenario(body)
        else:
            world.see_scenario(body)

    return registry

"""What GitOps tools make of a resource: Argo CD by the script that we ship for it, Flux by kstatus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

ARGOCD = Path(__file__).resolve().parents[1] / "docs/gitops/argocd/resource_customizations"
HEALTH = ARGOCD / "inferplan.dev/InferenceScenario"


def argocd_health(resource: dict[str, Any]) -> dict[str, str]:
    """Run the script as Argo CD does, which lets a script have only Lua's base, table and package libraries."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute('getmetatable("").__index = nil; string, math, io, os, debug, coroutine = nil')
    lua.globals()["obj"] = lua.table_from(resource, recursive=True)
    answer: Any = lua.execute((HEALTH / "health.lua").read_text(encoding="utf-8"))
    return {"status": answer["status"], "message": answer["message"]}


def kstatus(resource: dict[str, Any]) -> str:
    """Compute what Flux and ``kubectl``'s relatives wait for.

    References
    ----------
    .. [1] kubernetes-sigs/cli-utils, pkg/kstatus/status/generic.go and core.go.
    """
    status = resource.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    if "deletionTimestamp" in resource["metadata"]:
        return "Terminating"
    if status.get("observedGeneration", resource["metadata"]["generation"]) != resource["metadata"]["generation"]:
        return "InProgress"
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"

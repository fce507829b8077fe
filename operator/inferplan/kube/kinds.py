"""The kinds of object that the operator reads and writes, and where the API server has them."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.api.v1alpha1 import API_VERSION, PLURAL
from inferplan.domain.errors import DefectError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    Parameters
    ----------
    replaced
        An object of it cannot be changed where it matters: it is deleted and made anew.
    """

    api_version: str
    name: str
    plural: str
    namespaced: bool = True
    replaced: bool = False

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of an object; without a name that of the list, without a namespace of the whole cluster."""
        root = "/apis" if "/" in self.api_version else "/api"
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}/{self.api_version}{middle}/{self.plural}" + (f"/{name}" if name else "")


SCENARIO = Kind(API_VERSION, "InferenceScenario", PLURAL)
NODE = Kind("v1", "Node", "nodes", namespaced=False)
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
NODE_POOL = Kind("karpenter.sh/v1", "NodePool", "nodepools", namespaced=False)
NODE_OVERLAY = Kind("karpenter.sh/v1alpha1", "NodeOverlay", "nodeoverlays", namespaced=False)

DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
SERVICE = Kind("v1", "Service", "services")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
JOB = Kind("batch/v1", "Job", "jobs", replaced=True)
CRON_JOB = Kind("batch/v1", "CronJob", "cronjobs")

CHILDREN = (DEPLOYMENT, SERVICE, DISRUPTION_BUDGET, JOB, CRON_JOB)
"""What may be made for a scenario."""


def child_kind(api_version: str, name: str) -> Kind:
    """Find a kind of child.

    Raises
    ------
    DefectError
        If the operator has no permission for it and no idea how it becomes ready.
    """
    for kind in CHILDREN:
        if (kind.api_version, kind.name) == (api_version, name):
            return kind
    message = f"no child of kind {api_version} {name} is known"
    raise DefectError(message)

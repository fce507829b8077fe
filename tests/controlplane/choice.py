"""Which cluster there is to be had on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from tests.caches import Progress
from tests.controlplane.binaries import docker_answers, locate, locate_or_build
from tests.controlplane.cluster import AttachedCluster, Cluster
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.kind_cluster import KindCluster, KindError
from tests.controlplane.parts import HELM, KIND, KUBECTL, KUBERNETES, KWOK

RUNNING_VARIABLE = "INFERPLAN_E2E_KUBECONFIG"
"""Names the kubeconfig of a cluster that runs already, for instance by ``python -m tests.controlplane up``."""


def start_cluster(progress: Progress = print) -> Cluster:
    """Start the first of these that there is, and return it; the caller stops it.

    1. a running cluster named by ``INFERPLAN_E2E_KUBECONFIG``, refused unless it is one for tests;
    2. a control plane as processes, from the programs in ``KUBEBUILDER_ASSETS`` or built before;
    3. kind, where a Docker engine answers;
    4. a control plane as processes, whose programs are built now: minutes, once.

    Raises
    ------
    ForeignClusterError, BuildError, ProcessDiedError, TimeoutError
        If it cannot be had.
    """
    tools = (KUBECTL, KWOK, HELM)
    if running := os.environ.get(RUNNING_VARIABLE):
        return AttachedCluster(Path(running), locate_or_build(progress, tools), progress).start()
    if locate(KUBERNETES) is None and docker_answers():
        progress("a Docker engine answers: using kind")
        try:
            return KindCluster(locate_or_build(progress, (*tools, KIND)), progress).start()
        except KindError as error:
            progress(f"kind could not: {error}\nbuilding a control plane instead")
    return ControlPlane(locate_or_build(progress), progress).start()

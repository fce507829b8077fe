"""The operator as the chart sets it up; played pods run nothing, so its process runs beside the cluster."""

from __future__ import annotations

import os
import re
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.api import eventually
from tests.controlplane.cluster import Cluster
from tests.controlplane.control_plane import free_ports

CHART = Path(__file__).resolve().parents[2] / "charts" / "inferplan"
RELEASE = "inferplan"
TIMEOUT_S = 60
TOKEN_VALID_S = 7 * 24 * 3600
"""A real pod's token is renewed where it is mounted; this one has to last for as long as the cluster may."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A running operator.

    Attributes
    ----------
    process
        Its name among the processes of the cluster.
    user
        Who it is to the API server.
    health, metrics
        Addresses of its two servers.
    """

    process: str
    user: str
    health: str
    metrics: str

    def answer(self, path: str) -> tuple[int, str]:
        """Ask ``/healthz``, ``/readyz`` or ``/metrics``; status 0 means that nobody answers."""
        url = (self.metrics if path.startswith("/metrics") else self.health) + path
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - always http to this machine
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)


def install(cluster: Cluster, namespace: str, *words: str, chart: Path = CHART) -> str:
    """Install or upgrade the release in a namespace and wait for it; return what helm prints.

    The definition of the resource is taken over if it is there already, without helm.

    Parameters
    ----------
    words
        Further words for helm, such as ``--set replicas=2``.
    """
    target = ["--namespace", namespace, "--create-namespace", "--take-ownership"]
    return cluster.helm(
        "upgrade", "--install", RELEASE, str(chart), *target, "--wait", f"--timeout={TIMEOUT_S}s", *words
    )


def start_operator(cluster: Cluster, namespace: str, name: str = "operator") -> Operator:
    """Start the operator's process as the release in a namespace would: its arguments, its account, its rules.

    Only the ports differ, as all pods share this machine's. It may take a moment until ``/readyz`` answers 200.

    Parameters
    ----------
    name
        Of the process, and of the pod that it believes to be.
    """
    pod = cluster.api.get("apps/v1", "Deployment", RELEASE, namespace)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    facts = {"metadata.name": name, "metadata.namespace": namespace}
    variables = {one["name"]: facts[one["valueFrom"]["fieldRef"]["fieldPath"]] for one in container["env"]}
    health, metrics = free_ports(2)
    ports = {"--health-port": health, "--metrics-port": metrics}
    arguments = []
    for argument in container["args"]:
        option = argument.partition("=")[0]
        expanded = re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], argument)
        arguments.append(f"{option}={ports[option]}" if option in ports else expanded)

    account = pod["serviceAccountName"]
    kubeconfig = cluster.kubeconfig_for(account, namespace, valid_s=TOKEN_VALID_S)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("INFERPLAN_", "KUBE"))}
    environment = {**inherited, **variables, "KUBECONFIG": str(kubeconfig), "PYTHONUNBUFFERED": "1"}
    cluster.processes.start(name, [sys.executable, "-m", "inferplan.kube", *arguments], environment)
    return Operator(
        name,
        f"system:serviceaccount:{namespace}:{account}",
        f"http://127.0.0.1:{health}",
        f"http://127.0.0.1:{metrics}",
    )


def wait_until_ready(cluster: Cluster, operator: Operator, path: str = "/readyz", timeout_s: float = 30.0) -> None:
    """Wait until the operator holds its Lease and has seen the cluster, or what else is asked for by the path.

    Raises
    ------
    TimeoutError, ProcessDiedError
        If that does not happen.
    """

    def ready() -> bool:
        cluster.processes.check()
        return operator.answer(path)[0] == 200

    eventually(ready, "the operator is ready", timeout_s)

"""The operator as a process under the chart's own rules, and what tests ask of scenarios."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.api import Api, Object, documents, eventually
from tests.controlplane.cluster import Cluster
from tests.controlplane.processes import Processes

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "inferplan"
VERSION = "inferplan.dev/v1alpha1"
KIND = "InferenceScenario"
ACCOUNT = "inferplan"
LEASE = "inferplan"
PRICE_BOOK = "inferplan-price-book"
IMAGES = ("vllm/*", "ghcr.io/huggingface/*", "example.org/*")
"""What the administrator of the tests allows: the engines' own images, and made-up ones."""
RULES = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
CHILDREN = (("apps/v1", "Deployment"), ("v1", "Service"), ("policy/v1", "PodDisruptionBudget"))


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────


class Operator:
    """One operator process.

    Attributes
    ----------
    user
        Who it is to the API server.
    """

    def __init__(self, cluster: Cluster, processes: Processes, home: str, name: str, *options: str) -> None:
        self.cluster, self.home, self.name = cluster, home, name
        self.user = f"system:serviceaccount:{home}:{ACCOUNT}"
        self._processes = processes
        self._options = options
        self._health, self._metrics = free_port(), free_port()

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it is at work."""
        words = [
            *(sys.executable, "-m", "inferplan.kube"),
            f"--kubeconfig={self.cluster.kubeconfig_for(ACCOUNT, self.home)}",
            f"--lease-namespace={self.home}",
            f"--lease-name={LEASE}",
            f"--identity={self.name}",
            f"--health-port={self._health}",
            f"--metrics-port={self._metrics}",
            *(f"--allow-image={pattern}" for pattern in IMAGES),
            *self._options,
        ]
        self._processes.start(self.name, words, {**os.environ, "PYTHONPATH": str(ROOT / "operator")})
        if wait:
            eventually(self.is_ready, f"{self.name} at work", 30.0)

    def is_ready(self) -> bool:
        """Tell whether it holds the Lease and has seen the cluster."""
        return self.probe("/readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """Ask a probe."""
        return fetch(f"http://127.0.0.1:{self._health}{path}")

    def metrics(self) -> str:
        """Return what Prometheus would read."""
        return fetch(f"http://127.0.0.1:{self._metrics}/metrics")[1]

    def log(self) -> str:
        """Return everything it has logged."""
        return self._processes.log(self.name).read_text(encoding="utf-8")

    def kill(self) -> None:
        """Kill it at once."""
        self._processes.kill(self.name)

    def stop(self) -> None:
        """Let it end as the kubelet would."""
        self._processes.terminate(self.name)

    def has_ended(self) -> bool:
        """Tell whether it has ended by itself."""
        return self._processes.ended(self.name) is not None

    def memory_bytes(self) -> int:
        """Return the memory that it holds [bytes]."""
        return self._processes.memory_bytes()[self.name]


def fetch(url: str) -> tuple[int, str]:
    """Return status and text of a page; 0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - always http
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def home_of_operators(cluster: Cluster, *values: str) -> Iterator[str]:
    """Make a namespace with the account and the rules that the chart ships, and nothing else of it."""
    api, home = cluster.api, f"home-{secrets.token_hex(3)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    rules = chart_rules(cluster, home, *values)
    for rule in rules:
        api.apply(rule)
    eventually(lambda: api.find("v1", "ServiceAccount", ACCOUNT, home), "the operator's account")
    try:
        yield home
    finally:
        for rule in rules:
            metadata = rule["metadata"]
            api.delete(rule["apiVersion"], rule["kind"], metadata["name"], metadata.get("namespace", ""))
        api.delete("v1", "Namespace", home)


def chart_rules(cluster: Cluster, home: str, *values: str) -> list[Object]:
    """Return who the chart lets the operator be, and what it lets it do."""
    version = cluster.api.request("GET", "/version")["gitVersion"]
    words = ("template", ACCOUNT, str(CHART), "--namespace", home, "--kube-version", version, *values)
    return [one for one in yaml.safe_load_all(cluster.helm(*words)) if one and one["kind"] in RULES]


# ── scenarios ────────────────────────────────────────────────────────────────────────────────────────────────


class Place:
    """A namespace with scenarios in it."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace

    def example(self, name: str, **spec: Any) -> Object:
        """Apply an example of the examples folder, with parts of its spec written anew."""
        (document,) = documents(ROOT / "examples" / f"{name}-scenario.yaml")
        document["metadata"]["namespace"] = self.namespace
        document["spec"] |= spec
        return self.api.apply(document)

    def apply(self, name: str, **spec: Any) -> Object:
        """Apply a chatbot, or whatever the spec makes of it."""
        return self.api.apply(self.body(name, **spec))

    def body(self, name: str, **spec: Any) -> Object:
        """Write a scenario."""
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": VERSION, "kind": KIND, "metadata": metadata, "spec": {"useCase": "Chatbot", **spec}}

    def get(self, name: str) -> Object:
        """Return a scenario."""
        return self.api.get(VERSION, KIND, name, self.namespace)

    def status(self, name: str) -> Object:
        """Return the status of a scenario."""
        status: Object = self.get(name).get("status", {})
        return status

    def condition(self, name: str, kind: str) -> Object:
        """Return a condition, empty if there is none."""
        found = (one for one in self.status(name).get("conditions", ()) if one["type"] == kind)
        return next(found, {})

    def wait(self, name: str, kind: str, status: str = "True", *, reason: str = "", timeout_s: float = 20.0) -> Object:
        """Wait until a condition of the present spec has a status, and return the scenario's status."""

        def there() -> Object | None:
            body = self.get(name)
            found = {one["type"]: one for one in body["status"].get("conditions", ())}.get(kind, {})
            seen = body["status"].get("observedGeneration") == body["metadata"]["generation"]
            matches = found.get("status") == status and reason in {"", found.get("reason")}
            return body["status"] if seen and matches else None

        try:
            return eventually(there, f"{name}: {kind}={status} {reason}", timeout_s)
        except TimeoutError as error:
            error.add_note(str(self.status(name).get("conditions")))
            raise

    def annotate(self, name: str, **annotations: str | None) -> None:
        """Set annotations, our prefix left out and dashes written as underscores; None takes one away."""
        named = {f"inferplan.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.api.merge(self.get(name), {"metadata": {"annotations": named}})

    def delete(self, name: str) -> None:
        """Delete a scenario."""
        self.api.delete(VERSION, KIND, name, self.namespace)

    def clear(self) -> None:
        """Delete all scenarios and wait until they are gone, so that nothing is claimed any more."""
        for body in self.api.list(VERSION, KIND, self.namespace):
            self.delete(body["metadata"]["name"])
        eventually(lambda: self.api.list(VERSION, KIND, self.namespace) == [], "no scenarios")

    def find(self, kind: str, name: str) -> Object | None:
        """Return a child, None if there is none."""
        version = {"Job": "batch/v1", "CronJob": "batch/v1", **{kind: version for version, kind in CHILDREN}}[kind]
        return self.api.find(version, kind, name, self.namespace)

    def deployment(self, name: str) -> Object:
        """Return the Deployment of a scenario."""
        return self.api.get("apps/v1", "Deployment", name, self.namespace)

    def pods(self, name: str) -> list[Object]:
        """Return the pods of a scenario that are not on their way out."""
        found = self.api.list("v1", "Pod", self.namespace, f"inferplan.dev/scenario={name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def gpus_of_pods(self, name: str) -> list[str]:
        """Return the product labels of the nodes that the scenario's running pods are on."""
        products = []
        for pod in self.pods(name):
            if pod["status"].get("phase") == "Running":
                labels = self.api.get("v1", "Node", pod["spec"]["nodeName"])["metadata"]["labels"]
                products.append(labels.get("nvidia.com/gpu.product", ""))
        return products

    def events(self, name: str) -> list[str]:
        """Return the reasons of the events on a scenario, oldest first."""
        found = [
            (event["metadata"]["creationTimestamp"], int(event["metadata"]["resourceVersion"]), event["reason"])
            for event in self.api.list("v1", "Event", self.namespace)
            if event["involvedObject"]["kind"] == KIND and event["involvedObject"]["name"] == name
        ]
        return [reason for _, _, reason in sorted(found)]

    def children(self) -> dict[str, Object]:
        """Return what the scenarios own, as it is kept, without what only servers and other controllers write."""
        found = {}
        for version, kind in (*CHILDREN, ("batch/v1", "Job"), ("batch/v1", "CronJob")):
            for body in self.api.list(version, kind, self.namespace, "inferplan.dev/scenario"):
                metadata = {
                    key: value
                    for key, value in body["metadata"].items()
                    if key not in {"resourceVersion", "managedFields"}
                }
                found[f"{kind} {metadata['name']}"] = {"metadata": metadata, "spec": body["spec"]}
        return found

    def statuses(self) -> dict[str, Object]:
        """Return the statuses of all scenarios."""
        return {body["metadata"]["name"]: body["status"] for body in self.api.list(VERSION, KIND, self.namespace)}


def unchanged(look: Callable[[], Any], for_s: float) -> Any:
    """Return what is seen, after making sure that it stays as it is for a while."""
    before, deadline = look(), time.monotonic() + for_s
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = look()
        assert now == before
    return before

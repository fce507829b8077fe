"""The acts of the demo, in the order in which they are shown."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.demo.narration import Narrator
from tests.controlplane import chart, nodes
from tests.controlplane.api import Object, eventually
from tests.controlplane.chart import Operator
from tests.controlplane.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
WANTED = ("chatbot", "summarization", "batch-classification")
UNWANTED = "infeasible"
NAMESPACE = "default"
HOME = "inferplan-system"
SETTLE_S = 120.0
REPAIR_S = 30.0
RUN, RUN_S = "tonight", 60.0
MIB = 2**20

API_VERSION = "inferplan.dev/v1alpha1"
KIND = "InferenceScenario"

COST_COLUMNS = (
    "NAME:.metadata.name,$/HOUR:.status.plan.cost.usdPerHour,$/MONTH:.status.plan.cost.usdPerMonth,"
    "$/REQUEST:.status.plan.cost.usdPerRequest,PRICE FROM:.status.plan.cost.priceSource,"
    "OF:.status.plan.cost.pricedAt"
)
REASON = '{.status.conditions[?(@.type=="Stalled")].reason}: {.status.conditions[?(@.type=="Stalled")].message}{"\\n"}'
NEAREST = '{range .status.infeasibility.nearest[*]}{.text} -> {.plan}, ${.usdPerHour}/h{"\\n"}{end}'


def scenario_file(name: str) -> str:
    """Return the path of an example as one types it in the checkout."""
    return f"examples/{name}-scenario.yaml"


def offline(tell: Narrator) -> None:
    """Plan the examples without any cluster.

    Raises
    ------
    subprocess.CalledProcessError
        If that fails.
    """
    tell.heading("Offline: what would be run, what it would cost, and why")
    files = [scenario_file(name) for name in WANTED]
    for command in ("plan", "compare"):
        tell.command("inferplan", command, *files)
        subprocess.run([sys.executable, "-m", "inferplan", command, *files], cwd=ROOT, check=True)  # noqa: S603


class Show:
    """What is shown on one cluster."""

    def __init__(self, cluster: Cluster, tell: Narrator) -> None:
        self.cluster = cluster
        self.tell = tell

    def kubectl(self, *words: str) -> str:
        """Run kubectl before everybody's eyes."""
        self.tell.command("kubectl", *words)
        printed = self.cluster.kubectl(*words)
        self.tell.say(printed)
        return printed

    # ── the acts ─────────────────────────────────────────────────────────────────────────────────────────────

    def hardware(self) -> None:
        """Give the cluster its GPU nodes."""
        self.tell.heading("A cluster with GPU nodes")
        nodes.apply(self.cluster.api, nodes.demo_pools())
        self.tell.say(
            "API server, scheduler and controllers are real. The nodes and what runs on them are played by kwok:"
        )
        self.tell.say("pods are really placed, and no container is ever started.")
        labels = ("nvidia.com/gpu.product", "nvidia.com/gpu.count", "node.kubernetes.io/instance-type")
        self.kubectl("get", "nodes", *(word for label in labels for word in ("-L", label)))

    def installation(self) -> Operator:
        """Install the chart, and start the operator as it says."""
        self.tell.heading("Install the operator")
        self.tell.command("helm", "install", chart.RELEASE, "charts/inferplan", "-n", HOME, "--create-namespace")
        printed = chart.install(self.cluster, HOME)
        self.tell.say(printed[printed.find("NAME:") : printed.find("NOTES:")])
        operator = chart.start_operator(self.cluster, HOME)
        chart.wait_until_ready(self.cluster, operator)
        pid = self.cluster.processes.pids[operator.process]
        self.tell.say(
            f"\nThe operator's own pod is played, too, so its process (pid {pid}) runs beside the cluster: with the\n"
            f"arguments of that pod, as {operator.user},\nwith the rules that the chart grants and no others."
        )
        return operator

    def scenarios(self) -> None:
        """Apply the scenarios, and watch until each has come to rest."""
        self.tell.heading("Ask for three deployments, and for one that cannot be")
        files = [word for name in (*WANTED, UNWANTED) for word in ("-f", scenario_file(name))]
        self._apply(*files)
        started = time.monotonic()
        with self._watched():
            eventually(self._all_settled, "every scenario is ready or refused", SETTLE_S)
        self.tell.progress(f"all four have their answer, {time.monotonic() - started:.1f} s after they were applied")
        self.kubectl("get", "isc", "-o", "wide")

    def results(self) -> None:
        """Show what runs where and what it costs."""
        self.tell.heading("What runs, and where")
        self.kubectl("get", "pods", "-o", "wide")
        self.kubectl("get", "deployments,services,poddisruptionbudgets,jobs,cronjobs", "-l", "inferplan.dev/scenario")
        self.tell.heading("What it costs")
        self.kubectl("get", "isc", "-o", f"custom-columns={COST_COLUMNS}")

    def refusal(self) -> None:
        """Show why one wish was not granted, and what would be."""
        self.tell.heading("Why one of them cannot be, and what could")
        self.kubectl("get", "isc", UNWANTED, "-o", f"jsonpath={REASON}")
        self.kubectl("get", "isc", UNWANTED, "-o", f"jsonpath={NEAREST}")

    def repair(self) -> None:
        """Take a Deployment away, and see it come back."""
        name = self._child("Deployment")
        self.tell.heading("Break something")
        before = self.cluster.api.get("apps/v1", "Deployment", name, NAMESPACE)["metadata"]["uid"]
        started = time.monotonic()
        self.kubectl("delete", "deployment", name)

        def back() -> bool:
            found = self.cluster.api.get("apps/v1", "Deployment", name, NAMESPACE)
            return bool(found["metadata"]["uid"] != before)

        eventually(back, f"Deployment {name} is back", REPAIR_S)
        self.tell.progress(f"it is back after {time.monotonic() - started:.1f} s")
        eventually(self._all_settled, "every scenario is at rest again", SETTLE_S)
        self.kubectl(
            "get", "events", "--field-selector", f"involvedObject.kind={KIND}", "-o", f"custom-columns={EVENTS}"
        )

    def ledger(self, operator: Operator) -> None:
        """Tell what the operator asked the API server for."""
        requests = self.cluster.audit.requests(operator.user)
        writes, refused = self.cluster.audit.writes(operator.user), self.cluster.audit.forbidden(operator.user)
        leases = sum(one.resource.startswith("leases") for one in writes)
        memory_mib = self.cluster.processes.memory_bytes().get(operator.process, 0) // MIB
        self.tell.heading("What the operator did")
        self.tell.say(
            f"{len(requests)} requests, {len(writes)} of them writes ({leases} to its Lease), {len(refused)} refused;"
            f" it holds {memory_mib} MiB of memory"
        )

    def batch(self) -> None:
        """Start the nightly run now, and see it end."""
        name = self._child("CronJob")
        self.tell.heading("Tonight's run, started now")
        self.tell.say("Its pod is placed and ends at once, as kwok lets it: no item is looked at.")
        self._apply("-f", "examples/demo/tickets.yaml")
        self.kubectl("create", "job", RUN, f"--from=cronjob/{name}")
        self.kubectl("wait", f"job/{RUN}", "--for=condition=Complete", f"--timeout={RUN_S:.0f}s")
        self.kubectl("get", "pods", "-l", f"batch.kubernetes.io/job-name={RUN}", "-o", "wide")

    # ── watching ─────────────────────────────────────────────────────────────────────────────────────────────

    def _scenario(self, name: str) -> Object:
        return self.cluster.api.get(API_VERSION, KIND, name, NAMESPACE)

    def _apply(self, *words: str) -> None:
        """Apply files of the checkout, wherever the demo was started."""
        self.tell.command("kubectl", "apply", *words)
        found = (word.replace("examples/", f"{ROOT}/examples/", 1) for word in words)
        self.tell.say(self.cluster.kubectl("apply", *found))

    def _child(self, kind: str) -> str:
        """Name the first object of a kind that runs for a scenario."""

        def found() -> str:
            children = [child for name in WANTED for child in self._scenario(name)["status"].get("children", [])]
            return next((str(child["name"]) for child in children if child["kind"] == kind), "")

        return eventually(found, f"a {kind} runs for a scenario", REPAIR_S)

    def _all_settled(self) -> bool:
        self.cluster.processes.check()
        return all(is_settled(self._scenario(name)) for name in (*WANTED, UNWANTED))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Print what ``kubectl get isc --watch`` prints, for the time of the block."""
        words = ["get", "isc", "--watch"]
        self.tell.command("kubectl", *words)
        with subprocess.Popen(  # noqa: S603 - our own kubectl
            [self.cluster.binaries["kubectl"], *words],
            env=self.cluster.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as watch:
            reader = threading.Thread(target=_each_line, args=(watch, self.tell.say), daemon=True)
            reader.start()
            try:
                yield
                time.sleep(LINGER_S)
            finally:
                watch.kill()
                reader.join(timeout=5)


LINGER_S = 0.5
"""What has just happened still has to be printed."""
EVENTS = "TYPE:.type,REASON:.reason,SCENARIO:.involvedObject.name,MESSAGE:.message"


def _each_line(watch: subprocess.Popen[str], tell: Callable[[str], None]) -> None:
    for line in watch.stdout or ():
        tell(line)


def is_settled(scenario: Object) -> bool:
    """Tell whether a scenario has its answer: it is ready, or nothing more can be done for it."""
    status = scenario.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    if (
        status.get("observedGeneration") != scenario["metadata"]["generation"]
        or conditions.get("Reconciling") == "True"
    ):
        return False
    return "True" in (conditions.get("Ready"), conditions.get("Stalled"))

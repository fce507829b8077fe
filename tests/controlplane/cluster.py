"""A Kubernetes cluster for tests and the demo, however it runs: real controllers, nodes played by kwok."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from tests.caches import Progress
from tests.controlplane import audit
from tests.controlplane.api import Api, documents, eventually
from tests.controlplane.binaries import Binaries
from tests.controlplane.processes import Processes

CONTEXT = "inferplan-controlplane"
ALLOWED_CONTEXTS = frozenset({CONTEXT, "kind-inferplan"})
"""Contexts that tests may change. A kubeconfig with any other is refused, whatever it is called with."""
START_TIMEOUT_S = 90.0
NODE_LEASE_S = 40
"""As kubelet has it [s]."""

# Nodes stay alive by leases, pods run and end at once, claims for volumes are met.
_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast", "volume/fast")


class Cluster(ABC):
    """A cluster that a test may use as it likes; leaving the ``with`` block ends it.

    Attributes
    ----------
    folder
        Everything the cluster writes: kubeconfigs, logs, data.
    kubeconfig
        For the administrator.
    api
        The API as the administrator.
    audit
        What has been asked of the API server, and how it was answered.
    """

    def __init__(self, binaries: Binaries, progress: Progress = print) -> None:
        self.binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="inferplan-cluster-"))  # for this user alone
        self.kubeconfig = self.folder / "kubeconfig"
        self.audit = audit.AuditLog(self.folder / "audit" / "audit.log")
        self.api: Api
        self.progress = progress
        self.processes = Processes(self.folder, grace_s=0.0)  # nothing is worth saving
        self.started_in_s = 0.0

    def start(self) -> Self:
        """Start the cluster and wait until it can be used.

        Raises
        ------
        ProcessDiedError, TimeoutError
            If it does not come up; everything is stopped by then, and the logs are kept.
        """
        start = time.monotonic()
        try:
            self._start()
            self._install_volumes()
            eventually(self._is_usable, "default service account and root certificate", START_TIMEOUT_S)
        except BaseException:
            self.stop(keep_logs=True)
            raise
        self.started_in_s = time.monotonic() - start
        return self

    def stop(self, *, keep_logs: bool = False) -> None:
        """Stop every process and remove everything but, if asked, the logs. Safe to call again."""
        try:
            self._stop()
        finally:
            self.processes.stop()
            if keep_logs and self.folder.exists():
                for folder in ("etcd", "pki"):
                    shutil.rmtree(self.folder / folder, ignore_errors=True)
                self.progress(f"the cluster's logs are kept in {self.folder}")
            else:
                shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _start(self) -> None:
        """Start until the API answers; set ``api`` and write ``kubeconfig``."""

    def _stop(self) -> None:  # noqa: B027 - most clusters have nothing else to stop
        """Stop what is not among ``processes``."""

    def __enter__(self) -> Self:
        return self if self.started_in_s else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(keep_logs=kind is not None)

    # ── use ──────────────────────────────────────────────────────────────────────────────────────────────────

    def kubeconfig_for(self, service_account: str, namespace: str, *, valid_s: int = 3600) -> Path:
        """Write a kubeconfig with a token for a service account, as a pod running under it would have."""
        path = self.api.path("v1", "ServiceAccount", service_account, namespace) + "/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": valid_s},
        }
        token = self.api.request("POST", path, request)["status"]["token"]
        target = self.folder / f"kubeconfig-{namespace}-{service_account}"
        return self.write_kubeconfig(target, token, namespace=namespace)

    def write_kubeconfig(self, target: Path, token: str, *, namespace: str = "default") -> Path:
        """Write a kubeconfig for this cluster with a bearer token."""
        cluster = {
            "server": self.api.server,
            "certificate-authority-data": base64.b64encode(self.api.authority.encode("ascii")).decode("ascii"),
        }
        context = {"cluster": CONTEXT, "user": CONTEXT, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": CONTEXT,
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "contexts": [{"name": CONTEXT, "context": context}],
            "users": [{"name": CONTEXT, "user": {"token": token}}],
        }
        target.touch(mode=0o600)
        target.write_text(json.dumps(config, indent=1), encoding="utf-8")
        return target

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Return an environment whose kubectl and helm are ours and know only this cluster."""
        folders = dict.fromkeys(str(self.binaries[program].parent) for program in ("kubectl", "helm"))
        changed = {
            "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self.folder / "kubectl-cache"),
            **{f"HELM_{kind}_HOME": str(self.folder / f"helm-{kind.lower()}") for kind in ("CACHE", "CONFIG", "DATA")},
        }
        return {**os.environ, **changed}

    def kubectl(self, *arguments: str, kubeconfig: Path | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints."""
        return self._tool("kubectl", arguments, kubeconfig, check=check)

    def helm(self, *arguments: str, kubeconfig: Path | None = None, check: bool = True) -> str:
        """Run helm and return what it prints."""
        return self._tool("helm", arguments, kubeconfig, check=check)

    def _tool(self, program: str, arguments: Iterable[str], kubeconfig: Path | None, *, check: bool) -> str:
        answer = subprocess.run(
            [self.binaries[program], *arguments],
            env=self.environment(kubeconfig),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and answer.returncode != 0:
            raise subprocess.CalledProcessError(answer.returncode, [program, *arguments], answer.stdout)
        return answer.stdout

    # ── parts of starting ────────────────────────────────────────────────────────────────────────────────────

    def start_kwok(self, kubeconfig: Path, *options: str) -> None:
        """Start kwok for the nodes that the options say; no server of its own, which would listen to everyone."""
        stages = [
            word
            for folder in _STAGES
            for path in sorted((self.binaries.stages / folder).glob("*.yaml"))
            if "kind: Stage\n" in path.read_text(encoding="utf-8")
            for word in ("--config", str(path))
        ]
        # without a duration kwok renews no lease, and every node is "not ready" for a moment after 40 seconds
        lease = f"--node-lease-duration-seconds={NODE_LEASE_S}"
        common = ["--kubeconfig", str(kubeconfig), "--node-port=0", lease, *stages]
        self.processes.start("kwok", [self.binaries["kwok"], *common, *options])

    def _install_volumes(self) -> None:
        for obj in documents(self.binaries.stages / "volume" / "fast" / "storage-class.yaml"):
            self.api.apply(obj)

    def _is_usable(self) -> bool:
        self.processes.check()
        account = self.api.find("v1", "ServiceAccount", "default", "default")
        root = self.api.find("v1", "ConfigMap", "kube-root-ca.crt", "default")
        return account is not None and root is not None


class AttachedCluster(Cluster):
    """A cluster that runs already, as ``python -m tests.controlplane up`` leaves it; it is not stopped here."""

    def __init__(self, kubeconfig: Path, binaries: Binaries, progress: Progress = print) -> None:
        super().__init__(binaries, progress)
        refuse_foreign(kubeconfig)
        self.kubeconfig = kubeconfig
        self.audit = audit.AuditLog(kubeconfig.parent / "audit" / "audit.log")

    def _start(self) -> None:
        self.api = Api.of(self.kubeconfig)


class ForeignClusterError(Exception):
    """A kubeconfig leads to a cluster that is not ours to change."""


def refuse_foreign(kubeconfig: Path) -> None:
    """Make sure that a kubeconfig leads to a cluster that tests may change: an allowed context, on this machine.

    Raises
    ------
    ForeignClusterError
        If it does not.
    """
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8")) or {}
    current = config.get("current-context", "")
    servers = [entry["cluster"].get("server", "") for entry in config.get("clusters") or []]
    hosts = {urllib.parse.urlsplit(server).hostname for server in servers}
    if current not in ALLOWED_CONTEXTS or not hosts or not hosts <= {"127.0.0.1", "::1", "localhost"}:
        message = (
            f'context "{current}" in {kubeconfig} is not for tests: only {", ".join(sorted(ALLOWED_CONTEXTS))}'
            " on this machine may be changed"
        )
        raise ForeignClusterError(message)

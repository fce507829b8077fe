"""A control plane in a container, by kind, where a Docker engine answers; its GPU nodes are played by kwok, too."""

from __future__ import annotations

import json
import subprocess

from tests.caches import Progress
from tests.controlplane import audit
from tests.controlplane.api import Api
from tests.controlplane.binaries import Binaries
from tests.controlplane.cluster import Cluster
from tests.controlplane.nodes import PLAYED_BY_KWOK

NAME = "inferplan"
CREATE_TIMEOUT_S = 300
INSIDE = "/etc/kubernetes/inferplan"
LOG_INSIDE = "/var/log/kubernetes/audit/audit.log"


class KindError(Exception):
    """kind could not make a cluster; the message is what it said."""


class KindCluster(Cluster):
    """A kind cluster of one node named ``inferplan``; one that was left over is replaced."""

    def __init__(self, binaries: Binaries, progress: Progress = print) -> None:
        super().__init__(binaries, progress)
        self.audit = audit.AuditLog(self.folder / "audit" / "audit.log", self._fetch_audit_log)

    def _start(self) -> None:
        (self.folder / "audit").mkdir()
        policy = self.folder / "policy"
        policy.mkdir()
        (policy / "policy.yaml").write_text(audit.POLICY, encoding="utf-8")
        config = self.folder / "kind.json"
        config.write_text(json.dumps(cluster_config(str(policy)), indent=1), encoding="utf-8")
        self._stop()
        self._kind("create", "cluster", f"--config={config}", f"--kubeconfig={self.kubeconfig}", "--wait=120s")
        self.api = Api.of(self.kubeconfig)
        selector = ",".join(f"{key}={value}" for key, value in PLAYED_BY_KWOK.items())
        self.start_kwok(
            self.kubeconfig, "--manage-all-nodes=false", f"--manage-nodes-with-annotation-selector={selector}"
        )

    def _stop(self) -> None:
        self._kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")

    def _kind(self, *arguments: str) -> None:
        try:
            answer = subprocess.run(
                [self.binaries["kind"], *arguments, f"--name={NAME}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=CREATE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KindError(str(error)) from error
        if answer.returncode != 0:
            raise KindError(answer.stdout)

    def _fetch_audit_log(self) -> None:
        """Copy the log out of the container, where it belongs to root."""
        log = self.folder / "audit" / "audit.log"
        with log.open("wb") as target:
            subprocess.run(
                ["docker", "exec", f"{NAME}-control-plane", "cat", LOG_INSIDE],
                stdin=subprocess.DEVNULL,
                stdout=target,
                check=True,
            )


def cluster_config(policy_folder: str) -> dict[str, object]:
    """Return kind's configuration of a cluster whose API server writes an audit log.

    Parameters
    ----------
    policy_folder
        Folder on this machine with ``policy.yaml``.
    """
    volumes = [
        {"name": "audit-policy", "hostPath": INSIDE, "mountPath": INSIDE, "readOnly": True, "pathType": "Directory"},
        {
            "name": "audit-log",
            "hostPath": LOG_INSIDE.rpartition("/")[0],
            "mountPath": LOG_INSIDE.rpartition("/")[0],
            "readOnly": False,
            "pathType": "DirectoryOrCreate",
        },
    ]
    arguments = {
        "audit-policy-file": f"{INSIDE}/policy.yaml",
        "audit-log-path": LOG_INSIDE,
        "audit-log-maxsize": "1024",
    }
    patch = {
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": [{"name": name, "value": value} for name, value in arguments.items()],
            "extraVolumes": volumes,
        },
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [
            {
                "role": "control-plane",
                "kubeadmConfigPatches": [json.dumps(patch)],
                "extraMounts": [{"hostPath": policy_folder, "containerPath": INSIDE, "readOnly": True}],
            }
        ],
    }

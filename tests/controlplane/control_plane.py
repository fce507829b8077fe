"""A real control plane as plain processes: no container engine, no root, nothing installed."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from tests.caches import Progress
from tests.controlplane import audit
from tests.controlplane.api import Api, eventually
from tests.controlplane.binaries import Binaries
from tests.controlplane.cluster import START_TIMEOUT_S, Cluster
from tests.controlplane.processes import ProcessDiedError

PORT_ATTEMPTS = 3

# Who the parts of the control plane are. RBAC is set up by the API server itself for all but admin and kwok.
_USERS = {
    "admin": ("inferplan-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("system:kwok", "system:masters"),
}


class ControlPlane(Cluster):
    """etcd, API server, controller manager, scheduler and kwok as processes on free ports of the loopback interface.

    Parameters
    ----------
    binaries
        From :func:`tests.controlplane.binaries.locate_or_build`.
    progress
        Told where logs are kept after a failure.
    flags
        Further flags by program, for instance ``{"kube-apiserver": ["--feature-gates=…"]}``.

    Examples
    --------
    ::

        with ControlPlane(locate_or_build()) as cluster:
            nodes.apply(cluster.api, nodes.demo_pools())
            print(cluster.kubectl("get", "nodes"))
    """

    def __init__(
        self, binaries: Binaries, progress: Progress = print, flags: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        super().__init__(binaries, progress)
        self._flags = {program: list(more) for program, more in (flags or {}).items()}
        self._pki = self.folder / "pki"
        self._tokens = {name: secrets.token_hex(16) for name in _USERS}

    def _start(self) -> None:
        for folder in (self._pki, self.folder / "audit"):
            folder.mkdir(mode=0o700)
        rows = (f'{self._tokens[key]},{user},{key},"{group}"\n' for key, (user, group) in _USERS.items())
        (self._pki / "tokens.csv").write_text("".join(rows), encoding="utf-8")
        (self.folder / "audit" / "policy.yaml").write_text(audit.POLICY, encoding="utf-8")
        for attempt in range(PORT_ATTEMPTS):
            try:
                self._start_api_server()
                break
            except ProcessDiedError as error:
                # somebody else may take a free port between our looking and our listening
                if "address already in use" not in str(error) or attempt == PORT_ATTEMPTS - 1:
                    raise
                self.processes.stop()
        self._start_the_rest()

    def _run(self, program: str, flags: Mapping[str, Any]) -> None:
        words = [f"--{flag}={value}" for flag, value in flags.items()]
        self.processes.start(program, [self.binaries[program], *words, *self._flags.get(program, ())])

    def _start_api_server(self) -> None:
        client, peer, secure = free_ports(3)
        # Without a given certificate the API server makes one; its key signs the tokens of service accounts, too.
        certificate, key = self._pki / "apiserver.crt", self._pki / "apiserver.key"
        certificate.unlink(missing_ok=True)
        self._run(
            "etcd",
            {
                "data-dir": self.folder / "etcd",
                "listen-client-urls": f"http://127.0.0.1:{client}",
                "advertise-client-urls": f"http://127.0.0.1:{client}",
                "listen-peer-urls": f"http://127.0.0.1:{peer}",
                "unsafe-no-fsync": "true",
            },
        )
        self._run(
            "kube-apiserver",
            {
                "etcd-servers": f"http://127.0.0.1:{client}",
                "bind-address": "127.0.0.1",
                "secure-port": secure,
                "cert-dir": self._pki,
                "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
                "service-account-key-file": key,
                "service-account-signing-key-file": key,
                "token-auth-file": self._pki / "tokens.csv",
                "authorization-mode": "RBAC",
                "service-cluster-ip-range": "10.96.0.0/16",
                "allow-privileged": "true",
                "audit-policy-file": self.folder / "audit" / "policy.yaml",
                "audit-log-path": self.folder / "audit" / "audit.log",
                "audit-log-maxsize": 1024,
                "shutdown-delay-duration": "0s",
            },
        )

        def certified() -> str:
            self.processes.check()
            return certificate.read_text(encoding="ascii") if key.exists() else ""

        authority = eventually(certified, "the API server's certificate", START_TIMEOUT_S)
        self.api = Api(f"https://127.0.0.1:{secure}", authority, token=self._tokens["admin"])

        def ready() -> bool:
            self.processes.check()
            return self.api.raw("GET", "/readyz") == "ok"

        eventually(ready, "the API server", START_TIMEOUT_S)

    def _start_the_rest(self) -> None:
        self.write_kubeconfig(self.kubeconfig, self._tokens["admin"])
        configs = {
            name: self.write_kubeconfig(self._pki / f"{name}.kubeconfig", self._tokens[name])
            for name in _USERS
            if name != "admin"
        }
        # secure-port 0: they serve nobody, and so never meet another cluster's on their fixed ports
        common = {"leader-elect": "false", "secure-port": 0}
        name = "kube-controller-manager"
        self._run(
            name,
            {
                **common,
                "kubeconfig": configs[name],
                "service-account-private-key-file": self._pki / "apiserver.key",
                "root-ca-file": self._pki / "apiserver.crt",
                "use-service-account-credentials": "true",
            },
        )
        self._run("kube-scheduler", {**common, "kubeconfig": configs["kube-scheduler"]})
        self.start_kwok(configs["kwok"], "--manage-all-nodes=true")


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()

"""The audit log of an API server: who asked for what, and what the answer was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
FORBIDDEN = 403

POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  # The control plane's own work is not what anyone here asks about.
  - level: None
    users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, system:kwok]
  - level: None
    userGroups: ["system:serviceaccounts:kube-system", "system:nodes"]
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
  - level: Metadata
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the API server has answered.

    Attributes
    ----------
    resource
        As RBAC spells it, with its group and subresource: ``deployments.apps``, ``nodes/status``.
    uri
        With the query, and so with ``fieldManager`` and ``dryRun``.
    """

    user: str
    agent: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    uri: str
    received: str
    reason: str

    @property
    def is_write(self) -> bool:
        """Whether it could have changed something: a write, not refused and not a rehearsal."""
        return self.verb in WRITES and self.status < 400 and "dryRun=All" not in self.uri

    @property
    def is_forbidden(self) -> bool:
        """Whether RBAC refused it; a namespace that is going refuses with the same status what RBAC has allowed."""
        return self.status == FORBIDDEN and not self.reason.startswith("RBAC: allowed")


class AuditLog:
    """The requests in an audit log since a mark; a new log is marked at its beginning.

    The API server writes a request down before it answers, so an answered request is always found.

    Parameters
    ----------
    path
        The log.
    fetch
        Brings the log to ``path`` where the API server does not write it there itself.
    """

    def __init__(self, path: Path, fetch: Callable[[], None] | None = None) -> None:
        self._path = path
        self._fetch = fetch
        self._mark_bytes = 0

    def mark(self) -> None:
        """Leave out, from now on, what has been asked so far."""
        if self._fetch is not None:
            self._fetch()
        self._mark_bytes = self._path.stat().st_size if self._path.exists() else 0

    def requests(self, user: str = "", namespace: str | None = None) -> list[Request]:
        """Return what was asked since the mark, oldest first.

        Parameters
        ----------
        user
            Only by users whose name contains this, for instance ``system:serviceaccount:NAMESPACE:NAME``.
        namespace
            Only about this namespace.
        """
        return [
            request
            for request in self._read()
            if user in request.user and (namespace is None or request.namespace == namespace)
        ]

    def writes(self, user: str = "", namespace: str | None = None) -> list[Request]:
        """Return the requests that could have changed something; see :meth:`requests`."""
        return [request for request in self.requests(user, namespace) if request.is_write]

    def forbidden(self, user: str = "", namespace: str | None = None) -> list[Request]:
        """Return the requests that RBAC refused; see :meth:`requests`."""
        return [request for request in self.requests(user, namespace) if request.is_forbidden]

    def _read(self) -> Iterator[Request]:
        if self._fetch is not None:
            self._fetch()
        if not self._path.exists():
            return
        seen: set[str] = set()
        with self._path.open("rb") as log:
            log.seek(self._mark_bytes)
            for line in log:
                # a line may be half written; a watch is written down when it starts and when it ends
                if line.endswith(b"\n") and (event := json.loads(line))["auditID"] not in seen:
                    seen.add(event["auditID"])
                    yield _request(event)


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef") or {}
    group, subresource = target.get("apiGroup", ""), target.get("subresource", "")
    resource = target.get("resource", "") + (f".{group}" if group else "") + (f"/{subresource}" if subresource else "")
    return Request(
        user=event["user"].get("username", ""),
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        status=(event.get("responseStatus") or {}).get("code", 0),
        uri=event["requestURI"],
        received=event["requestReceivedTimestamp"],
        reason=(event.get("annotations") or {}).get("authorization.k8s.io/reason", ""),
    )

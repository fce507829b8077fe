"""The Kubernetes API as tests and the demo speak it: HTTPS and JSON, with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

Object = dict[str, Any]
"""An object of the API, as JSON has it."""
T = TypeVar("T")

FIELD_MANAGER = "inferplan-tests"
REQUEST_TIMEOUT_S = 30.0
POLL_S = 0.05

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


class ApiError(Exception):
    """The API server refused; ``str()`` is its message.

    Attributes
    ----------
    status
        HTTP status.
    reason
        One word: ``NotFound``, ``Invalid``, ``Forbidden`` …
    causes
        Field and message of each complaint.
    """

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(answer.get("message") or f"HTTP status {status}")
        self.status = status
        self.reason = str(answer.get("reason") or "")
        causes = (answer.get("details") or {}).get("causes") or []
        self.causes = tuple((cause.get("field", ""), cause.get("message", "")) for cause in causes)


@dataclass(frozen=True, slots=True)
class _Resource:
    plural: str
    namespaced: bool


class Api:
    """A caller of one API server, as one user.

    Parameters
    ----------
    server
        ``https://host:port``
    authority
        Certificates that the server's one is checked against, PEM.
    token, certificate
        What says who calls: a bearer token, or the files of a client certificate and its key.
    """

    def __init__(
        self, server: str, authority: str, *, token: str = "", certificate: tuple[Path, Path] | None = None
    ) -> None:
        self.server = server
        self.authority = authority
        self._token = token
        self._tls = ssl.create_default_context(cadata=authority)
        if certificate is not None:
            self._tls.load_cert_chain(*certificate)
        self._resources: dict[tuple[str, str], _Resource] = {}

    @classmethod
    def of(cls, kubeconfig: Path) -> Api:
        """Read a kubeconfig's current context; certificates in it are written beside it, as TLS wants files."""
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        certificate = None
        if "client-certificate-data" in user:
            certificate = (kubeconfig.with_suffix(".crt"), kubeconfig.with_suffix(".key"))
            for path, key in zip(certificate, ("client-certificate-data", "client-key-data"), strict=True):
                path.touch(mode=0o600)
                path.write_bytes(base64.b64decode(user[key]))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        return cls(cluster["server"], authority, token=user.get("token", ""), certificate=certificate)

    # ── one request ──────────────────────────────────────────────────────────────────────────────────────────

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send one request and return what the server answers.

        Raises
        ------
        ApiError
            If it answers with an error.
        OSError
            If it does not answer.
        """
        text = self.raw(method, path, body, query=query, content_type=content_type)
        answer: Object = json.loads(text) if text.startswith("{") else {"text": text}
        return answer

    def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> str:
        """Send one request and return the text of the answer, for instance of ``/readyz``; see :meth:`request`."""
        url = self.server + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - always https
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S, context=self._tls) as response:  # noqa: S310
                text: str = response.read().decode()
                return text
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            answer = json.loads(text) if text.startswith("{") else {"message": text.strip()}
            raise ApiError(error.code, answer) from None

    # ── objects ──────────────────────────────────────────────────────────────────────────────────────────────

    def path(self, api_version: str, kind: str, name: str = "", namespace: str = "") -> str:
        """Return the path of an object, or of all objects of a kind; kinds are looked up on the server."""
        if (api_version, kind) not in self._resources:
            root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            for resource in self.request("GET", root)["resources"]:
                if "/" not in resource["name"]:
                    found = _Resource(resource["name"], resource["namespaced"])
                    self._resources[api_version, resource["kind"]] = found
        resource = self._resources[api_version, kind]
        root = "/apis" if "/" in api_version else "/api"
        middle = f"/namespaces/{namespace or 'default'}" if resource.namespaced and (name or namespace) else ""
        return f"{root}/{api_version}{middle}/{resource.plural}" + (f"/{name}" if name else "")

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object:
        """Return an object."""
        return self.request("GET", self.path(api_version, kind, name, namespace))

    def find(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or ``None`` if there is none of that name."""
        try:
            return self.get(api_version, kind, name, namespace)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Return the objects of a kind, of one namespace or of all; ``labels`` is a selector."""
        query = {"labelSelector": labels} if labels else None
        items: list[Object] = self.request("GET", self.path(api_version, kind, namespace=namespace), query=query)[
            "items"
        ]
        return items

    def create(self, obj: Mapping[str, Any]) -> Object:
        """Create an object."""
        return self.request("POST", self._path_of(obj, named=False), obj)

    def apply(
        self, obj: Mapping[str, Any], *, manager: str = FIELD_MANAGER, force: bool = True, dry_run: bool = False
    ) -> Object:
        """Apply an object on the server's side; with ``dry_run`` it is checked and answered, and not kept."""
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        return self.request("PATCH", self._path_of(obj), obj, query=query, content_type=_APPLY)

    def merge(self, obj: Mapping[str, Any], change: Mapping[str, Any], *, subresource: str = "") -> Object:
        """Merge a change into an object or its subresource."""
        suffix = f"/{subresource}" if subresource else ""
        return self.request("PATCH", self._path_of(obj) + suffix, change, content_type=_MERGE)

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object, and in the background what it owns; it is fine if there is none."""
        options = {"propagationPolicy": "Background"}
        try:
            self.request("DELETE", self.path(api_version, kind, name, namespace), options)
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    def _path_of(self, obj: Mapping[str, Any], *, named: bool = True) -> str:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        path = self.path(obj["apiVersion"], obj["kind"], metadata.get("name", "-"), namespace)
        return path if named else path.rpartition("/")[0]


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def documents(path: Path) -> Iterator[Object]:
    """Yield the objects in a YAML file, and nothing else that may be in it."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if isinstance(document, dict) and "kind" in document:
            yield document


def eventually(probe: Callable[[], T | None], what: str, timeout_s: float = 30.0) -> T:
    """Ask again and again until the answer is true, and return it.

    An API server that refuses or does not answer counts as "not yet".

    Raises
    ------
    TimeoutError
        With ``what`` was awaited, and the last answer or refusal.
    """
    deadline = time.monotonic() + timeout_s
    last: object = None
    while True:
        try:
            answer = probe()
        except (ApiError, OSError, KeyError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        if time.monotonic() > deadline:
            message = f"{what}: not within {timeout_s:g} s; last answer: {last!r}"
            raise TimeoutError(message)
        time.sleep(POLL_S)

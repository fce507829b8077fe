"""Who we are to the API server: the pod's service account, or a kubeconfig."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kopf

from inferplan.domain.errors import Fault, InputError


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach and convince the API server."""

    server: str
    tls: ssl.SSLContext
    headers: tuple[tuple[str, str], ...]
    proxy: str | None = None


def login(kubeconfig: Path | None) -> kopf.ConnectionInfo:
    """Find credentials: the kubeconfig that was named, the pod's service account, or the usual kubeconfig.

    Tokens of a pod change every hour; what asks again gets the new one.

    Raises
    ------
    InputError
        If there are none.
    """
    settings = kopf.OperatorSettings()
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(kubeconfig)
    found = None
    try:
        if kubeconfig is None:
            found = kopf.login_with_service_account(settings=settings)
        found = found or kopf.login_with_kubeconfig(settings=settings)
    except (OSError, KeyError, ValueError, kopf.LoginError) as error:
        raise InputError([Fault("kubeconfig", f"cannot be used: {error}")]) from error
    if found is None or not found.server:
        raise InputError([Fault("credentials", "there are none", "run in a pod, or name a file with --kubeconfig")])
    return found


def access(info: kopf.ConnectionInfo) -> Access:
    """Make a connection's parts from credentials."""
    cadata = None if info.ca_data is None else base64.b64decode(info.ca_data).decode("ascii")
    tls = ssl.create_default_context(cafile=_text(info.ca_path), cadata=cadata)
    if info.insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    _client_certificate(info, tls)
    return Access(info.server.rstrip("/"), tls, tuple(info.as_http_headers().items()), info.proxy_url)


def _text(path: object) -> str | None:
    return None if not path else str(path)


def _client_certificate(info: kopf.ConnectionInfo, tls: ssl.SSLContext) -> None:
    """Load a client's certificate; TLS wants files, and they are gone again at once."""
    if info.certificate_path and info.private_key_path:
        tls.load_cert_chain(str(info.certificate_path), str(info.private_key_path))
    elif info.certificate_data and info.private_key_data:
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, data in (("crt", info.certificate_data), ("key", info.private_key_data)):
                path = Path(folder) / name
                path.touch(mode=0o600)
                path.write_bytes(base64.b64decode(data))
                paths.append(str(path))
            tls.load_cert_chain(*paths)

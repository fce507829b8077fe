"""What the operator is told at its start: by options, or by environment variables of the same name."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inferplan.kube.allowed import OPTIONS, Allowed, is_image_pattern

DEFAULT_LEASE_NAME = "inferplan-operator"
PRICE_BOOK_NAME = "inferplan-price-book"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PREFIX = "INFERPLAN_"
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Name of a namespaced object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Render as people write it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Options:
    """How the operator runs.

    Parameters
    ----------
    namespaces
        Where scenarios are handled; empty: everywhere.
    health_port, metrics_port
        0 lets the system choose.
    kubeconfig
        None: the service account of the pod, or else ``KUBECONFIG`` and ``~/.kube/config``.
    allowed
        What scenarios may ask for.
    """

    namespaces: tuple[str, ...]
    lease: ObjectName
    identity: str
    health_port: int
    metrics_port: int
    price_book: ObjectName
    catalog: Path | None
    json_logs: bool
    kubeconfig: Path | None
    allowed: Allowed


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _HIGHEST_PORT:
        message = f"{number} is no port"
        raise argparse.ArgumentTypeError(message)
    return number


def _object_name(text: str) -> ObjectName:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        message = f'"{text}" is not NAMESPACE/NAME'
        raise argparse.ArgumentTypeError(message)
    return ObjectName(namespace, name)


def _image_pattern(text: str) -> str:
    if text and not is_image_pattern(text):
        message = f'"{text}" is no pattern of images, such as registry.example.com/llm/*'
        raise argparse.ArgumentTypeError(message)
    return text


def _add_allowed(parser: argparse.ArgumentParser) -> None:
    """Add an option for each thing that scenarios may ask for only if it is allowed."""
    group = parser.add_argument_group(
        "allowed",
        "Patterns of what scenarios may ask for; repeatable; * is any text. The first one replaces the defaults, an"
        " empty one alone allows nothing.",
    )
    for field, option in OPTIONS.items():
        default = getattr(Allowed(), field)
        if isinstance(default, bool):
            group.add_argument(option, choices=("true", "false"), help=f"default: {str(default).lower()}")
        else:
            kind = _image_pattern if field == "images" else str
            group.add_argument(
                option, action="append", type=kind, metavar="PATTERN", help=f"default: {', '.join(default) or 'none'}"
            )


def _allowed(parser: argparse.ArgumentParser, read: argparse.Namespace, environment: Mapping[str, str]) -> Allowed:
    """Read what is allowed; an environment variable lists patterns separated by commas, and may be empty."""
    said: dict[str, Any] = {}
    for field, option in OPTIONS.items():
        name = option.removeprefix("--").replace("-", "_")
        given, listed = getattr(read, name), environment.get(_PREFIX + name.upper())
        if isinstance(getattr(Allowed(), field), bool):
            given = given or listed or None
            if given not in {None, "true", "false"}:
                parser.error(f"{_PREFIX}{name.upper()}: write true or false")
            said |= {} if given is None else {field: given == "true"}
            continue
        if given is None and listed is not None:
            given = [pattern.strip() for pattern in listed.split(",")]
        if given is not None:
            said[field] = tuple(dict.fromkeys(pattern for pattern in given if pattern))
    allowed = replace(Allowed(), **said)
    for pattern in allowed.images:
        if not is_image_pattern(pattern):
            parser.error(f'{_PREFIX}ALLOW_IMAGE: "{pattern}" is no pattern of images')
    return allowed


def _own_identity() -> str:
    """Two processes on one host must never take each other for themselves."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def read_options(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Options:
    """Read the command line; what it leaves out comes from the environment, then from defaults.

    Parameters
    ----------
    arguments
        Words after the program's name; None: those of the process.
    environment
        ``--lease-name`` is ``INFERPLAN_LEASE_NAME``, and so on; ``INFERPLAN_NAMESPACE`` may list several,
        separated by commas.

    Raises
    ------
    SystemExit
        With status 2 and a message, if an option cannot be understood; with 0 after ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog="inferplan-operator",
        description="Size, price and deploy the InferenceScenarios of a cluster.",
        epilog="Each option can be set by the environment instead: --lease-name as INFERPLAN_LEASE_NAME.",
    )

    def given(name: str, default: str | None = None) -> str | None:
        return environment.get(_PREFIX + name.upper().replace("-", "_")) or default

    parser.add_argument(
        "--namespace", action="append", metavar="NS", help="handle scenarios here only; repeatable; default: everywhere"
    )
    own = _own_namespace()
    parser.add_argument("--lease-namespace", metavar="NS", default=given("lease-namespace", own))
    parser.add_argument("--lease-name", metavar="NAME", default=given("lease-name", DEFAULT_LEASE_NAME))
    parser.add_argument(
        "--identity", metavar="NAME", default=given("identity", _own_identity()), help="default: host and chance"
    )
    parser.add_argument(
        "--health-port", metavar="PORT", type=_port, default=given("health-port", "8081"), help="/healthz and /readyz"
    )
    parser.add_argument("--metrics-port", metavar="PORT", type=_port, default=given("metrics-port", "8080"))
    parser.add_argument(
        "--price-book",
        metavar="NAMESPACE/CONFIGMAP",
        type=_object_name,
        default=given("price-book"),
        help=f"may be absent; default: {PRICE_BOOK_NAME} in the lease's namespace",
    )
    parser.add_argument("--catalog", metavar="DIR", type=Path, default=given("catalog"), help="laid over ours")
    parser.add_argument("--log-format", choices=("text", "json"), default=given("log-format", "text"))
    parser.add_argument("--kubeconfig", metavar="FILE", type=Path, default=given("kubeconfig"))
    _add_allowed(parser)
    read = parser.parse_args(arguments)
    listed = read.namespace or (given("namespace") or "").split(",")
    return Options(
        namespaces=tuple(dict.fromkeys(name.strip() for name in listed if name.strip())),
        lease=ObjectName(read.lease_namespace, read.lease_name),
        identity=read.identity,
        health_port=read.health_port,
        metrics_port=read.metrics_port,
        price_book=read.price_book or ObjectName(read.lease_namespace, PRICE_BOOK_NAME),
        catalog=read.catalog,
        json_logs=read.log_format == "json",
        kubeconfig=read.kubeconfig,
        allowed=_allowed(parser, read, environment),
    )

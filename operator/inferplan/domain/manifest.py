"""An object as the API server takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Manifest:
    """One Kubernetes object.

    Parameters
    ----------
    namespace
        None where none was given (offline): the object goes to whichever namespace it is applied in.
    body
        The whole object, ``apiVersion`` and ``metadata`` included, as it is applied. Read it, never change it.
    """

    api_version: str
    kind: str
    namespace: str | None
    name: str
    body: Mapping[str, Any]

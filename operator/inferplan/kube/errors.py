"""What goes wrong between us and the cluster, and what to do about it.

::

    Exception
    ├── ApiError            the API server said no
    └── LeadershipLostError  somebody else may hold the Lease: stop at once

Only :func:`retry_delay_s` decides how soon something is tried again, and :func:`watch_delay_s` how soon a watch is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
FIRST_WATCH_DELAY_S = 0.8
LONGEST_WATCH_DELAY_S = 30.0
"""The pauses of client-go between two lists, without its jitter: there is one of us."""


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time, or somebody else holds it."""


class ApiError(Exception):
    """The API server refused a request; ``str()`` is its message.

    Attributes
    ----------
    status
        HTTP status.
    reason
        One word: ``NotFound``, ``Forbidden``, ``Conflict``, ``Invalid`` …
    retry_after_s
        How long the server asks to wait, if it says so.
    """

    def __init__(self, status: int, message: str, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message or f"HTTP status {status}")
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s

    @classmethod
    def of(cls, status: int, body: str, headers: Mapping[str, str]) -> ApiError:
        """Read the answer of a failed request."""
        try:
            answer: Any = json.loads(body)
        except ValueError:
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        after = headers.get("Retry-After", "")
        return cls(
            status,
            str(answer.get("message") or body.strip()[:500]),
            str(answer.get("reason") or ""),
            float(after) if after.isdigit() else None,
        )

    @classmethod
    def told(cls, status: Mapping[str, Any]) -> ApiError:
        """Read the ``Status`` with which a watch ends that was begun well."""
        after = (status.get("details") or {}).get("retryAfterSeconds")
        return cls(
            int(status.get("code", HTTPStatus.INTERNAL_SERVER_ERROR)),
            str(status.get("message") or ""),
            str(status.get("reason") or ""),
            None if after is None else float(after),
        )

    @property
    def is_gone(self) -> bool:
        """The object or its whole kind is not there."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_forbidden(self) -> bool:
        """RBAC, quota or admission refused."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def is_invalid(self) -> bool:
        """The object itself is refused, for instance because a field cannot be changed."""
        return self.status == HTTPStatus.UNPROCESSABLE_ENTITY

    @property
    def is_conflict(self) -> bool:
        """Somebody else's fields or object stand in the way."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def is_terminating(self) -> bool:
        """The namespace is being deleted: nothing can be made in it any more."""
        return self.is_forbidden and "being terminated" in str(self)


def retry_delay_s(attempts: int, error: BaseException | None = None) -> float:
    """Return how long to wait after so many failures in a row [s].

    >>> [retry_delay_s(attempts) for attempts in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 60.0]
    """
    if isinstance(error, ApiError) and error.retry_after_s is not None:
        return min(LONGEST_DELAY_S, max(FIRST_DELAY_S, error.retry_after_s))
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempts - 1, 10))


def watch_delay_s(attempts: int, error: BaseException | None = None) -> float:
    """Return how long to wait after so many watches in a row that ended early [s].

    >>> [watch_delay_s(attempts) for attempts in (1, 2, 3, 10)]
    [0.8, 1.6, 3.2, 30.0]
    """
    delay_s = min(LONGEST_WATCH_DELAY_S, FIRST_WATCH_DELAY_S * 2.0 ** min(attempts - 1, 10))
    if isinstance(error, ApiError) and error.retry_after_s is not None:
        return max(delay_s, min(LONGEST_DELAY_S, error.retry_after_s))
    return delay_s

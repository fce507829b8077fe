"""Which scenario to look at next: each at most once in the queue, the most urgent first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TOGETHER_S = 0.02
"""Keys due within so short a time are due at once: the most urgent goes first, not the first that was added [s]."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A scenario."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Render as people write it."""
        return f"{self.namespace}/{self.name}"


class Inbox:
    """Keys with the time from which they are due.

    Attributes
    ----------
    rank
        Orders keys that are due at once; the smallest first.
    """

    def __init__(self) -> None:
        self.rank: Callable[[Key], Any] = str
        self._due: dict[Key, float] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._due)

    def add(self, key: Key, delay_s: float = 0.0) -> None:
        """Ask for a look at a scenario; an earlier time wins over a later one."""
        due = time.monotonic() + delay_s
        if key not in self._due or due < self._due[key]:
            self._due[key] = due
            self._changed.set()

    def forget(self, key: Key) -> None:
        """Take a scenario out."""
        self._due.pop(key, None)

    async def next(self) -> Key:
        """Wait for a scenario that is due, and take it out."""
        while True:
            now = time.monotonic()
            if any(at <= now for at in self._due.values()):
                due = [key for key, at in self._due.items() if at <= now + TOGETHER_S]
                key = min(due, key=lambda one: (self.rank(one), one))
                del self._due[key]
                return key
            self._changed.clear()
            soonest = min(self._due.values(), default=None)
            try:
                async with asyncio.timeout(None if soonest is None else max(0.0, soonest - now)):
                    await self._changed.wait()
            except TimeoutError:
                continue

"""An event loop whose time passes as fast as nothing happens: ten minutes of waiting take no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any


class _Skipping(selectors.SelectSelector):
    """Waits for nothing, and says that the time is over."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now_s += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now_s


def run_fast(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run on such a loop; its time begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(coroutine)


def now_s() -> float:
    """Return the time of the running loop [s]."""
    return asyncio.get_running_loop().time()


def thing(name: str, version: int, **more: Any) -> Mapping[str, Any]:
    """An object with hardly anything in it."""
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}, **more}

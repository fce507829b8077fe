"""What inferplan raises, and when.

::

    InferplanError
    ├── InputError             what a person wrote is wrong: every fault at once, each naming its place
    │   ├── CatalogError       the same for catalog files
    │   └── UnrenderableError  a plan that cannot be written as manifests
    └── DefectError            we are wrong; please report it

"There is no plan" is not an exception: it is an :class:`~inferplan.domain.plan.Infeasibility`, a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, where it stands and how to mend it.

    Parameters
    ----------
    where
        File, record or field (``chatbot.yaml: spec.slo.percentile``).
    problem
        What is wrong, as a sentence without full stop.
    fix
        What is allowed or the nearest name; empty if nothing helpful is known.
    """

    where: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        """Render as ``where: problem (fix)``."""
        tail = f" ({self.fix})" if self.fix else ""
        return f"{self.where}: {self.problem}{tail}"


class InferplanError(Exception):
    """Base of everything that inferplan raises on purpose."""


class InputError(InferplanError):
    """Input that a person can mend; carries all faults, never only the first."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class CatalogError(InputError):
    """A catalog that cannot be used: every fault with its file and record."""


class UnrenderableError(InputError):
    """A plan that cannot be put to work as it is: every reason with what would help."""


class DefectError(InferplanError):
    """An invariant of ours was broken; the message says which."""

"""Names that users write, resolved through the catalog; unknown ones become faults with suggestions."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from decimal import Decimal

from inferplan.api.suggest import did_you_mean
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import Fault
from inferplan.domain.scenario import QualityLevel

_WILD = frozenset("*?[")
LIST_MODELS, LIST_GPUS = "try `inferplan catalog list models`", "try `inferplan catalog list gpus`"
_ALL_OF: dict[str, str] = {
    "model": LIST_MODELS,
    "GPU": LIST_GPUS,
    "provider": "try `inferplan catalog list offerings`",
    "region": "try `inferplan catalog list offerings`",
    "quality level": "try `inferplan catalog list levels`",
    "benchmark": "try `inferplan catalog show MODEL`: it shows a model's scores",
}
"""Where all names of a sort stand."""


class Names:
    """Looks names up and collects a fault for each that is unknown.

    Parameters
    ----------
    catalog
        What is known.
    locate
        Turns a path in the spec into the place that a fault names.
    """

    def __init__(self, catalog: Catalog, locate: Callable[[str], str]) -> None:
        self._catalog = catalog
        self._locate = locate
        self.faults: list[Fault] = []

    def fault(self, path: str, problem: str, fix: str = "") -> None:
        """Collect a fault at a path of the spec."""
        self.faults.append(Fault(self._locate(path), problem, fix))

    def _unknown(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        fix = did_you_mean(name, names, _ALL_OF[what]) if names else f"the catalog has no {what} at all"
        self.fault(path, f'unknown {what} "{name}"', fix)

    def model(self, path: str, name: str) -> str:
        """Return the id of a model."""
        found = self._catalog.model(name)
        if found is None:
            self._unknown_model(path, name)
        return name if found is None else found.id

    def _unknown_model(self, path: str, name: str) -> None:
        alike = self._catalog.shaped_like(name)
        if alike is None:
            known = [known for model in self._catalog.models for known in (model.id, *model.aliases)]
            self._unknown(path, "model", name, known)
            return
        problem = f'"{name}" has the shape of {alike.id}, but other weights, which are not in the catalog'
        self.fault(path, problem, f"name {alike.id}, or serve yours through model.custom with base: {alike.id}")

    def model_patterns(self, path: str, names: Iterable[str] | None) -> tuple[str, ...] | None:
        """Return ids and patterns of models; a pattern must match something."""
        if names is None:
            return None
        result = []
        for index, name in enumerate(names):
            here = f"{path}[{index}]"
            if _WILD.isdisjoint(name):
                result.append(self.model(here, name))
                continue
            if not any(fnmatch.fnmatchcase(model.id.casefold(), name.casefold()) for model in self._catalog.models):
                self.fault(here, f'no model of the catalog matches "{name}"', LIST_MODELS)
            result.append(name)
        return tuple(result)

    def gpu(self, path: str, name: str) -> str:
        """Return the id of a GPU."""
        found = self._catalog.gpu(name)
        if found is None:
            known = [label for gpu in self._catalog.gpus for label in (gpu.id, gpu.name, *gpu.aliases)]
            self._unknown(path, "GPU", name, known)
        return name if found is None else found.id

    def gpus(self, path: str, names: Iterable[str] | None) -> tuple[str, ...] | None:
        """Return the ids of GPUs; a pattern stands for every id that it matches."""
        if names is None:
            return None
        result: list[str] = []
        for index, name in enumerate(names):
            here = f"{path}[{index}]"
            if _WILD.isdisjoint(name):
                result.append(self.gpu(here, name))
                continue
            matching = [gpu.id for gpu in self._catalog.gpus if fnmatch.fnmatchcase(gpu.id, name.casefold())]
            if not matching:
                self.fault(here, f'no GPU of the catalog matches "{name}"', LIST_GPUS)
            result.extend(matching)
        return tuple(dict.fromkeys(result))

    def one_of(self, path: str, what: str, names: Iterable[str] | None, known: Iterable[str]) -> tuple[str, ...] | None:
        """Return names as the catalog spells them (providers, regions)."""
        if names is None:
            return None
        spelling = {name.casefold(): name for name in known}
        result = []
        for index, name in enumerate(names):
            if name.casefold() not in spelling:
                self._unknown(f"{path}[{index}]", what, name, spelling.values())
            result.append(spelling.get(name.casefold(), name))
        return tuple(result)

    def level(self, path: str, name: str) -> QualityLevel | None:
        """Return a named level of quality, which is written as the catalog has it, like every word of the spec."""
        found = next((level for level in self._catalog.levels if level.name == name), None)
        if found is None:
            self._unknown(path, "quality level", name, (level.name for level in self._catalog.levels))
        return found

    def benchmark(self, path: str, name: str) -> str:
        """Return the name of a benchmark that at least one model has a score on."""
        known = {score.metric for model in self._catalog.models for score in model.scores}
        known |= {level.metric for level in self._catalog.levels}
        if name not in known:
            self._unknown(path, "benchmark", name, known)
        return name

    def server_watts(self, gpu_id: str, gpus: int) -> int:
        """Estimate the mean draw of a server [W]: GPU TDP x GPUs x 1.8 x 0.75."""
        gpu = self._catalog.gpu(gpu_id)
        return 0 if gpu is None else int(gpu.tdp_w * gpus * ASSUMED_SERVER_OVER_GPUS * ASSUMED_MEAN_OVER_MAXIMUM)


ASSUMED_SERVER_OVER_GPUS = Decimal("1.8")
"""Maximum draw of a server over the TDP of its GPUs (Epoch AI training-cost model, 2026-04-01, default)."""
ASSUMED_MEAN_OVER_MAXIMUM = Decimal("0.75")
"""Mean draw over maximum draw (same source, training load: the careful end for inference)."""

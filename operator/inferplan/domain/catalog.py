"""The catalog as the planner sees it: immutable, sorted, with a digest."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.calibration import Calibration
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec, Offering
from inferplan.domain.model import ModelSpec, QuantizationMethod
from inferplan.domain.scenario import Pin, Preset, QualityLevel, Scenario


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything known about the world. All tuples are sorted by id, so order of files never matters.

    ``digest`` is the SHA-256 over all records in canonical form.
    """

    models: tuple[ModelSpec, ...]
    gpus: tuple[GpuSpec, ...]
    offerings: tuple[Offering, ...]
    engines: tuple[EngineSpec, ...]
    methods: tuple[QuantizationMethod, ...]
    calibrations: tuple[Calibration, ...]
    presets: tuple[Preset, ...]
    levels: tuple[QualityLevel, ...]
    digest: str

    def model(self, model_id: str) -> ModelSpec | None:
        """Find a model by id or alias, ignoring case."""
        wanted = model_id.casefold()
        for model in self.models:
            if wanted in {model.id.casefold(), *(alias.casefold() for alias in model.aliases)}:
                return model
        return None

    def shaped_like(self, name: str) -> ModelSpec | None:
        """Find the model whose layers another checkpoint has, ignoring case; their weights are not the same."""
        wanted = name.casefold()
        return next((m for m in self.models if wanted in {other.casefold() for other in m.same_shape}), None)

    def gpu(self, gpu_id: str) -> GpuSpec | None:
        """Find a GPU by id, alias or product label, ignoring case."""
        wanted = gpu_id.casefold()
        for gpu in self.gpus:
            names = {gpu.id, gpu.name, *gpu.aliases, *gpu.product_labels}
            if wanted in {name.casefold() for name in names}:
                return gpu
        return None

    def engines_for(self, scenario: Scenario) -> tuple[EngineSpec, ...]:
        """Engines that a scenario may be planned with, in the version and started as it asks for."""
        pin = scenario.pin or Pin()
        wanted = set(scenario.engine.allow) if pin.engine is None else {pin.engine}
        return tuple(
            pin.applied_to(scenario.engine.applied_to(engine)) for engine in self.engines if engine.id in wanted
        )

    def engine(self, engine_id: str) -> EngineSpec | None:
        """Find an engine by id, ignoring case."""
        return next((e for e in self.engines if e.id == engine_id.casefold()), None)

    def method(self, method_id: str) -> QuantizationMethod | None:
        """Find a quantization method by id."""
        return next((m for m in self.methods if m.id == method_id), None)

"""What a configuration needs at least, from nothing but its model's shape and its GPU's datasheet."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import DefectError
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import ModelSpec, Quantization
from inferplan.domain.scenario import Scenario
from inferplan.domain.units import GB

_BYTES_PER_WEIGHT = {Quantization.INT8: 1.0, Quantization.FP8: 1.0, Quantization.INT4: 0.5}
_BYTES_16_BIT = 2
_KEY_AND_VALUE_BYTES = 2 * _BYTES_16_BIT


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least memory and least time of one decode step, for one GPU.

    Notes
    -----
    ``weights = parameters x bytes / GPUs of a replica``;
    ``kv = sequences of a replica x tokens x layers x KV heads x head size x 2 (key, value) x 2 bytes / GPUs``;
    ``step >= (weights + kv) / bandwidth``. No engine, no activations, no rounding: nothing real does better while
    every sequence is at its full length.
    """

    weights_bytes: float
    kv_bytes: float
    kv_bytes_per_token: int
    sequences: float
    """Sequences of one replica."""
    tokens: int
    replicas: int
    gpu: GpuSpec
    gpus_per_replica: int

    @property
    def needed_bytes(self) -> float:
        """Weights and KV cache on one GPU."""
        return self.weights_bytes + self.kv_bytes

    @property
    def fits(self) -> bool:
        """Whether one GPU holds that, if the engine took nothing."""
        return self.needed_bytes <= self.gpu.memory_bytes

    @property
    def step_s(self) -> float:
        """Least time of one decode step [s]."""
        return self.needed_bytes / self.gpu.hbm_bandwidth_bytes_per_s

    @property
    def total_tps(self) -> float:
        """Most tokens per second of all sequences together."""
        return self.replicas * self.sequences / self.step_s

    @property
    def arithmetic(self) -> str:
        """The memory in one line, to be recomputed by hand."""
        shared = f" / {self.gpus_per_replica} GPUs" if self.gpus_per_replica > 1 else ""
        return (
            f"weights {self.weights_bytes / GB:.2f} GB + KV {self.sequences:g} sequences x {self.tokens:,} tokens x "
            f"{self.kv_bytes_per_token:,} bytes{shared} = {self.kv_bytes / GB:.2f} GB: {self.needed_bytes / GB:.2f} GB "
            f"of {self.gpu.memory_bytes / GB:.1f} GB ({self.gpu.name})"
        )


def bounds(scenario: Scenario, batch: int, tokens: int, catalog: Catalog) -> Bounds:
    """Compute the bounds of a pinned scenario.

    Parameters
    ----------
    scenario
        With a full pin.
    batch, tokens
        Sequences that run at once over all replicas, and the length of each.
    """
    pin, custom = scenario.pin, scenario.model.custom
    if pin is None or pin.gpu is None:
        message = f"{scenario.name}: the row pins no GPU"
        raise DefectError(message)
    model = catalog.model((custom.base if custom else pin.model) or "")
    gpu = catalog.gpu(pin.gpu)
    if model is None or gpu is None:
        message = f"{scenario.name}: the row pins what the catalog does not have"
        raise DefectError(message)
    replicas, gpus = pin.replicas or 1, pin.gpus_per_replica or 1
    per_token = _kv_bytes_per_token(model)
    width = _BYTES_PER_WEIGHT.get(pin.quantization, _BYTES_16_BIT) if pin.quantization else _BYTES_16_BIT
    return Bounds(
        weights_bytes=model.params_total * width / gpus,
        kv_bytes=batch / replicas * tokens * per_token / gpus,
        kv_bytes_per_token=per_token,
        sequences=batch / replicas,
        tokens=tokens,
        replicas=replicas,
        gpu=gpu,
        gpus_per_replica=gpus,
    )


def _kv_bytes_per_token(model: ModelSpec) -> int:
    return model.layers * model.kv_heads * model.head_dim * _KEY_AND_VALUE_BYTES

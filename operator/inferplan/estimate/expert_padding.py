"""Room that expert kernels take beyond their experts' own widths: each rounds widths up in its own way.

An engine picks its kernels by weight format and GPU generation, and pads the experts of one GPU, after tensor
parallelism has split them, to what those kernels read in one piece.

References
----------
.. [1] vLLM 0.33.0, ``vllm/model_executor/layers/fused_moe/oracle`` (``mxfp4.py``, ``nvfp4.py``, ``fp8.py``,
   ``int_wna16.py``, ``unquantized.py``) and ``quantization/utils`` (``marlin_utils.py``, ``marlin_utils_fp4.py``,
   ``flashinfer_fp4_moe.py``, ``mxfp4_utils.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import ModelSpec, Quantization, QuantizationMethod
from inferplan.estimate.constants import Release, release_of

Floats = NDArray[np.float64]

HOPPER, BLACKWELL, CONSUMER_BLACKWELL = 90, 100, 120
"""Compute capabilities x 10 from which kernels differ."""
SCALES_FREED_FROM: Release = (0, 24)
"""vLLM's Triton kernels for mxfp4 kept a second copy of the scales before (vllm-project/vllm#46549, June 2026);
gpt-oss-120b on an H100 in 0.14.1: 64.38 GiB (vllm-project/vllm#33155)."""
MXFP4_SCALE_SHARE = 1.0 / 17.0
"""An mxfp4 weight has 4 bits, and 8 bits of scale per 32 weights: 4.25 bits in all."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """What a kernel rounds up to [weights]; 1 leaves a width as it is.

    ``expert_width`` is that of one GPU's share of an expert, ``hidden`` the model's own. ``scale_rows`` and
    ``scale_groups`` round the scales alone (rows of a matrix, groups of 32 in a row). ``scale_copies`` counts the
    copies of the scales that stay in memory.
    """

    expert_width: int = 1
    hidden: int = 1
    scale_rows: int = 1
    scale_groups: int = 1
    scale_copies: int = 1


def rounding_of(model: ModelSpec, method: QuantizationMethod, gpu: GpuSpec, engine: EngineSpec) -> Rounding:
    """Which rounding the experts of a model get on a GPU.

    Notes
    -----
    ======================  ==========================================================================================
    format                  kernels
    ======================  ==========================================================================================
    mxfp4                   7.5 to 8.9 and 12.x Marlin, 10.x FlashInfer TRT-LLM: widths to 128, hidden to 256; 9.0
                            Triton: widths to 64, scales to 256 rows and 4 groups
    nvfp4                   below 10.0 Marlin: widths to 64 (128 if hidden is no multiple of 128); 10.x FlashInfer
                            TRT-LLM: widths to 64 (128 without a gate), hidden to 256; 12.x FlashInfer CUTLASS: none
    fp8, int8, int4         Marlin wherever weights are unpacked: widths to 64, where quantization groups do not see to
                            that already
    16 bit                  10.x FlashInfer TRT-LLM: widths to 128
    ======================  ==========================================================================================
    """
    capability = gpu.compute_capability
    if model.moe is None or engine.id != "vllm" or capability is None:
        return Rounding()
    datacenter_blackwell = BLACKWELL <= capability < CONSUMER_BLACKWELL
    native = method.native_min_compute_capability
    unpacked = method.weight_bits < SIXTEEN_BITS and (native is None or capability < native)
    if method.quantization is Quantization.MXFP4:
        return _of_mxfp4(capability, release_of(engine.version))
    if datacenter_blackwell and method.quantization is Quantization.NVFP4:
        return Rounding(64 if model.moe.matrices_per_expert == GATED_MATRICES else 128, 256)
    if unpacked and method.group_size < MARLIN_TILE:
        wide = method.quantization is Quantization.NVFP4 and model.hidden_size % (2 * MARLIN_TILE) > 0
        return Rounding(2 * MARLIN_TILE if wide else MARLIN_TILE)
    return Rounding(128) if datacenter_blackwell and method.weight_bits >= SIXTEEN_BITS else Rounding()


def _of_mxfp4(capability: int, release: Release | None) -> Rounding:
    if not HOPPER <= capability < BLACKWELL:
        return Rounding(128, 256)
    kept = release is not None and release < SCALES_FREED_FROM
    return Rounding(64, scale_rows=256, scale_groups=4, scale_copies=2 if kept else 1)


GATED_MATRICES, SIXTEEN_BITS, MARLIN_TILE = 3, 16, 64


def expert_growth(
    *, expert_width: Floats, hidden: Floats, matrices: Floats, tp_size: Floats, rounding: dict[str, Floats]
) -> Floats:
    """Loaded bytes of the routed experts over their bytes in the checkpoint, shape (n,).

    Parameters
    ----------
    expert_width, hidden, matrices
        Width of a whole expert, the model's width, matrices per expert (3 with a gate).
    rounding
        The fields of :class:`Rounding` as columns.

    Notes
    -----
    ``tp x up(width / tp) / width x up(hidden) / hidden``; scales that are rounded by themselves grow by the mean of
    the gate-and-up matrix and the down matrix, weighted by their sizes.

    Examples
    --------
    gpt-oss-120b on Marlin: 2944 x 3072 / 2880^2 = 1.090.
    """
    width = _up(np.ceil(expert_width / tp_size), rounding["expert_width"])
    tall = _up(hidden, rounding["hidden"])
    values = width * tp_size / np.maximum(expert_width, 1.0) * tall / np.maximum(hidden, 1.0)
    gates = np.maximum(matrices - 1.0, 1.0)
    rows, groups = rounding["scale_rows"], rounding["scale_groups"]
    upper = _up(gates * width, rows) / (gates * width) * _up(tall / 32.0, groups) / (tall / 32.0)
    lower = _up(tall, rows) / tall * _up(width / 32.0, groups) / (width / 32.0)
    swizzled = (gates * upper + lower) / (gates + 1.0)
    scales = swizzled + (rounding["scale_copies"] - 1.0)
    alone = (rows > 1) | (groups > 1)
    return np.where(alone, values * (1.0 + MXFP4_SCALE_SHARE * (scales - 1.0)), values)


def _up(value: Floats, multiple: Floats) -> Floats:
    return np.ceil(value / multiple) * multiple


def rounding_table(
    weights: Sequence[tuple[ModelSpec, QuantizationMethod]], engines: Sequence[EngineSpec], gpus: Sequence[GpuSpec]
) -> dict[str, Floats]:
    """The fields of :class:`Rounding` for every (weights, engine, GPU), shape of each."""
    shape = (len(weights), len(engines), len(gpus))
    columns = {f.name: np.ones(shape) for f in fields(Rounding)}
    for w, (model, method) in enumerate(weights):
        if model.moe is None:
            continue
        for e, engine in enumerate(engines):
            for g, gpu in enumerate(gpus):
                rounding = rounding_of(model, method, gpu, engine)
                for name, column in columns.items():
                    column[w, e, g] = getattr(rounding, name)
    return columns

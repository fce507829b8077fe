"""How public benchmark series launched their engines, where their tables are silent about it.

The scripts of a series are as public as its results; what they set is a fact about every run. Read from the launch
scripts of InferenceMAX / InferenceX (repository SemiAnalysisAI/InferenceX, Apache-2.0, ``benchmarks/``, autumn 2025 to
spring 2026); MLPerf harnesses call the engine in their own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import ModelSpec
from inferplan.estimate.constants import EARLIER_THAN, Release

_AMD_BUDGET = 131_072.0


@dataclass(frozen=True, slots=True)
class Launch:
    """Settings of a series of runs.

    ``in_process``: the engine was called by a script, without a server; ``kv_eight_bit``: the KV cache is FP8;
    ``asynchronous``: the scheduler runs ahead of the GPU, as it does by default
    from vLLM 0.14 on; ``max_num_batched_tokens``: None where the default was left.
    """

    in_process: bool = False
    kv_eight_bit: bool = False
    asynchronous: bool = False
    max_num_batched_tokens: float | None = None


_Rule = Callable[[ModelSpec, GpuSpec, Release | None], bool]


def _llama_with_eight_bit_cache(model: ModelSpec, gpu: GpuSpec, _: Release | None) -> bool:
    return model.family == "llama3" and not gpu.id.startswith("h100")


def _gpt_oss_with_eight_bit_cache(model: ModelSpec, gpu: GpuSpec, release: Release | None) -> bool:
    later = release is not None and release >= EARLIER_THAN
    return model.family == "gpt-oss" and gpu.family.startswith("Blackwell") and later


def _minimax_with_eight_bit_cache(model: ModelSpec, gpu: GpuSpec, release: Release | None) -> bool:
    later = release is not None and release >= (0, 19)
    return model.family == "minimax-m2" and gpu.family.startswith("Blackwell") and later


_EIGHT_BIT_CACHES: tuple[_Rule, ...] = (
    _llama_with_eight_bit_cache,
    _gpt_oss_with_eight_bit_cache,
    _minimax_with_eight_bit_cache,
)


def launch_of(source_id: str, model: ModelSpec, gpu: GpuSpec, release: Release | None, *, nominal: bool) -> Launch:
    """How a run was launched as far as its series' scripts tell.

    Parameters
    ----------
    nominal
        Whether lengths were drawn around a nominal value, as the series itself does; runs that its collectors added
        from elsewhere have exact lengths.
    """
    if source_id.casefold().startswith("mlperf"):
        return Launch(in_process=True)
    if not source_id.casefold().startswith(("inferencex", "inferencemax")) or not nominal:
        return Launch()
    amd_llama = gpu.vendor == "amd" and model.family == "llama3"
    return Launch(
        kv_eight_bit=any(rule(model, gpu, release) for rule in _EIGHT_BIT_CACHES),
        asynchronous=True,
        max_num_batched_tokens=_AMD_BUDGET if amd_llama else None,
    )

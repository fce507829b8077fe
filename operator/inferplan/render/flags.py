"""The flags that make a plan's assumptions true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from inferplan.domain.deployment import TGI_WIGGLE_ROOM, EngineSpec, SpeculativeDecoding
from inferplan.domain.model import Checkpoint, Dtype, ModelSpec, Quantization, Task
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.domain.units import GIB
from inferplan.render.timing import Timing

HTTP_PORT = 8000
LOCALHOST = "127.0.0.1"
QUIET_PATHS = "/health,/metrics,/ping"


@dataclass(frozen=True, slots=True)
class Argument:
    """A flag and its values as the engine gets them."""

    name: str
    values: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command line."""
        if len(self.values) == 1:
            return (f"{self.name}={self.values[0]}",)
        return (self.name, *self.values)


def _share(value: float) -> str:
    return format(round(value, 4), "g")


def vllm_engine_flags(plan: Plan, scenario: Scenario) -> Iterator[Argument]:
    """Flags that both the server and the batch runner of vLLM need."""
    chosen = plan.configuration
    if chosen.checkpoint.revision is not None:
        yield Argument("--revision", (chosen.checkpoint.revision,))
        yield Argument("--tokenizer-revision", (chosen.checkpoint.revision,))
    if scenario.task is Task.CLASSIFICATION:
        yield Argument("--runner", ("pooling",))
        yield Argument("--convert", ("classify",))
    yield Argument("--max-model-len", (str(chosen.max_model_len),))
    yield Argument("--max-num-seqs", (str(chosen.max_num_seqs),))
    yield Argument("--max-num-batched-tokens", (str(chosen.max_num_batched_tokens),))
    yield Argument("--gpu-memory-utilization", (_share(chosen.gpu_memory_utilization),))
    yield Argument("--tensor-parallel-size", (str(chosen.tp_size),))
    yield Argument("--pipeline-parallel-size", (str(chosen.pp_size),))
    if chosen.compute_dtype in {Dtype.FLOAT16, Dtype.BFLOAT16}:
        yield Argument("--dtype", (chosen.compute_dtype.value,))
    # A checkpoint that carries its format needs no word about it, and a word that differs is an error.
    if chosen.checkpoint.made_while_loading and chosen.method.flag is not None:
        yield Argument("--quantization", (chosen.method.flag,))
    # In words also where it is the type of the arithmetic: "auto" is whatever the checkpoint asks for.
    yield Argument("--kv-cache-dtype", (chosen.kv_dtype.value,))
    if chosen.engine.text_only and chosen.model.multimodal:
        yield Argument("--language-model-only")
    yield from _vllm_start(chosen.engine)
    # On by default where the model can; asked for only where the prediction counts on it.
    if scenario.workload.shared_prefix_tokens and scenario.task is Task.GENERATION:
        yield Argument("--enable-prefix-caching")


def _vllm_start(engine: EngineSpec) -> Iterator[Argument]:
    """Flags for a start that is not the engine's own.

    Notes
    -----
    ``--cpu-offload-gb`` counts GiB of each GPU, ``--kv-offloading-size`` GiB of all GPUs of a replica together
    (vLLM 0.33.0, vllm/config/offload.py, vllm/config/cache.py).
    """
    if engine.eager:
        yield Argument("--enforce-eager")
    if engine.cpu_offload_bytes:
        yield Argument("--cpu-offload-gb", (_gib(engine.cpu_offload_bytes),))
    if engine.kv_offload_bytes:
        yield Argument("--kv-offloading-size", (_gib(engine.kv_offload_bytes),))
    if engine.speculative is not None:
        yield Argument("--speculative-config", (json.dumps(_speculative(engine.speculative)),))


def _gib(size_bytes: int) -> str:
    return format(size_bytes / GIB, "g")


def _speculative(decoding: SpeculativeDecoding) -> dict[str, str | int]:
    found: dict[str, str | int] = {"method": decoding.method.value, "num_speculative_tokens": decoding.tokens}
    if decoding.draft is not None:
        weights = draft_checkpoint(decoding.draft)
        found["model"] = weights.repository
        if weights.revision is not None:
            found["revision"] = weights.revision
    return found


def draft_checkpoint(model: ModelSpec) -> Checkpoint:
    """Find the weights of a draft model: its 16-bit ones, or those that there are."""
    wide = {Quantization.BF16, Quantization.FP16}
    return next((c for c in model.checkpoints if c.quantization in wide), model.checkpoints[0])


def vllm_server_flags(plan: Plan, scenario: Scenario, times: Timing) -> Iterator[Argument]:
    """Flags of ``vllm serve``, the model apart."""
    yield Argument("--served-model-name", _served(plan, scenario))
    yield Argument("--port", (str(HTTP_PORT),))
    yield from vllm_engine_flags(plan, scenario)
    yield Argument("--shutdown-timeout", (str(times.drain_s),))
    yield Argument("--disable-access-log-for-endpoints", (QUIET_PATHS,))


def vllm_local_flags(plan: Plan, scenario: Scenario) -> Iterator[Argument]:
    """Flags of ``vllm serve`` for a client in the same container, the model apart."""
    yield Argument("--served-model-name", (scenario.name,))
    yield Argument("--host", (LOCALHOST,))
    yield Argument("--port", (str(HTTP_PORT),))
    yield from vllm_engine_flags(plan, scenario)


def vllm_batch_flags(plan: Plan, scenario: Scenario) -> Iterator[Argument]:
    """Flags of ``vllm run-batch``, which takes the model as a flag; the driver adds the files."""
    yield Argument("--model", (plan.configuration.checkpoint.repository,))
    yield Argument("--served-model-name", _served(plan, scenario))
    yield from vllm_engine_flags(plan, scenario)


def _served(plan: Plan, scenario: Scenario) -> tuple[str, ...]:
    """Names by which clients may ask for the model; the first stands in the metrics."""
    return tuple(dict.fromkeys((scenario.name, plan.configuration.model.id)))


def tgi_flags(plan: Plan, times: Timing) -> Iterator[Argument]:
    """Flags of ``text-generation-launcher``.

    Notes
    -----
    The launcher excludes ``--dtype`` together with ``--quantize``. ``--max-concurrent-requests`` bounds running and
    waiting requests; above it clients are turned away, so it leaves room for a queue as long as the batch.
    """
    chosen = plan.configuration
    yield Argument("--model-id", (chosen.checkpoint.repository,))
    if chosen.checkpoint.revision is not None:
        yield Argument("--revision", (chosen.checkpoint.revision,))
    yield Argument("--hostname", ("0.0.0.0",))  # noqa: S104 - inside the pod; its Service is what is reachable
    yield Argument("--port", (str(HTTP_PORT),))
    yield Argument("--num-shard", (str(chosen.tp_size),))
    yield Argument("--cuda-memory-fraction", (_share(min(1.0, chosen.gpu_memory_utilization / TGI_WIGGLE_ROOM)),))
    yield Argument("--max-total-tokens", (str(chosen.max_model_len),))
    yield Argument("--max-input-tokens", (str(chosen.max_model_len - 1),))
    yield Argument("--max-batch-prefill-tokens", (str(chosen.max_num_batched_tokens),))
    yield Argument("--max-batch-size", (str(chosen.max_num_seqs),))
    yield Argument("--max-concurrent-requests", (str(max(128, 2 * chosen.max_num_seqs)),))
    if chosen.checkpoint.made_while_loading and chosen.method.flag is not None:
        yield Argument("--quantize", (chosen.method.flag,))
    elif chosen.method.weight_bits == 16 and chosen.compute_dtype in {Dtype.FLOAT16, Dtype.BFLOAT16}:  # noqa: PLR2004
        yield Argument("--dtype", (chosen.compute_dtype.value,))
    if chosen.kv_dtype is Dtype.FP8:
        yield Argument("--kv-cache-dtype", ("fp8_e4m3fn",))
    if chosen.engine.eager:
        yield Argument("--cuda-graphs", ("0",))
    # The launcher drafts from repetitions wherever the checkpoint brings no Medusa heads.
    if chosen.engine.speculative is not None:
        yield Argument("--speculate", (str(chosen.engine.speculative.tokens),))
    yield Argument("--graceful-termination-timeout", (str(times.drain_s),))
    yield Argument("--usage-stats", ("off",))

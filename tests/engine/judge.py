"""Asks the engine itself: its argument parser, its configuration, its encoder budget, its choice of attention kernels.

Runs in the engine's environment. Reads jobs as lines of JSON (``jobs.py``) and writes one line of JSON for each, in
order: ``kernels`` by head size with what the engine settled on, or ``refusal`` in its own words.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from simulated import SimulatedGpu, import_kernels  # isort: skip - first: it puts the stubs in place

from vllm.config import VllmConfig, set_current_vllm_config
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.common.cli_args import make_arg_parser as make_server_parser
from vllm.entrypoints.common.cli_args import validate_parsed_serve_args
from vllm.entrypoints.launchers.run_batch import make_arg_parser as make_batch_parser
from vllm.model_executor.layers.attention.mla_attention import MLACommonImpl
from vllm.model_executor.models import registry
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.attention.backend import AttentionBackend
from vllm.v1.attention.backends.fa_utils import get_flash_attn_version
from vllm.v1.attention.backends.mla.prefill.selector import get_mla_prefill_backend
from vllm.v1.attention.ops.triton_unified_attention import _get_tile_size
from vllm.v1.attention.selector import get_attn_backend
from vllm.v1.core.encoder_cache_manager import compute_mm_encoder_budget

SHARED_MEMORY_BYTES = {75: 65_536, 80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376}
"""Shared memory that a block can have, by compute capability x 10 from which it holds (CUDA C++ Programming Guide)."""
QUERY_ROWS = 16
"""Fewest rows of queries in a block of the Triton kernel (``BLOCK_M``)."""

PARSERS = {
    "serve": make_server_parser(FlexibleArgumentParser(prog="vllm serve")),
    "run-batch": make_batch_parser(FlexibleArgumentParser(prog="vllm run-batch")),
}

registry._run_in_subprocess = lambda ask: ask()


class _RefusedError(Exception):
    """The engine's code starts, and what it starts cannot run."""


def judge(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Start the engine's configuration with a command line, as far as it goes without a GPU."""
    SimulatedGpu.become(**job["gpu"])
    (folder / "config.json").write_text(json.dumps(job["config"]))
    words = [word.replace("{model}", str(folder)) for word in job["words"]]
    serves = job["command"] == "serve"
    arguments = PARSERS[job["command"]].parse_args(words)
    if serves:
        arguments.model = arguments.model_tag
        validate_parsed_serve_args(arguments)
    engine = AsyncEngineArgs.from_cli_args(arguments)
    engine.skip_tokenizer_init = True  # there is no tokenizer beside the configuration
    usage = UsageContext.OPENAI_API_SERVER if serves else UsageContext.OPENAI_BATCH_RUNNER
    config = engine.create_engine_config(usage_context=usage)
    if job["items"] and config.model_config.is_multimodal_model and not _text_only(config):
        compute_mm_encoder_budget(config.scheduler_config, job["items"])
    with set_current_vllm_config(config):
        kernels = {str(size): _kernel(config, size) for size in _head_sizes(config)}
    return {
        "kernels": kernels,
        "cache_dtype": config.cache_config.cache_dtype,
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "max_model_len": config.model_config.max_model_len,
        "quantization": config.model_config.quantization,
        "text_only": _text_only(config),
    }


def _text_only(config: VllmConfig) -> bool:
    multimodal = config.model_config.multimodal_config
    return multimodal is None or bool(multimodal.language_model_only)


def _head_sizes(config: VllmConfig) -> list[int]:
    """Head sizes of a model's layers, the widest first."""
    model = config.model_config
    if model.use_mla:
        return [model.get_head_size()]
    layers = model.model_arch_config
    kinds = getattr(model.hf_text_config, "layer_types", None) or []
    attending = [index for index, kind in enumerate(kinds) if kind != "linear_attention"]
    sizes = {layers[index].head_size for index in attending} if attending else {model.get_head_size()}
    return sorted(sizes, reverse=True)


def _kernel(config: VllmConfig, head_size: int) -> str:
    """Name the kernel that the engine takes for layers of a head size, and make one of it where making it can fail."""
    model, cache = config.model_config, config.cache_config.cache_dtype
    chosen = get_attn_backend(
        head_size=head_size,
        dtype=model.dtype,
        kv_cache_dtype=cache,
        use_mla=model.use_mla,
        has_sink=_has_sinks(config),
        use_sparse=hasattr(model.hf_text_config, "index_topk"),
        use_mm_prefix=model.is_mm_prefix_lm,
        num_heads=model.get_num_attention_heads(config.parallel_config),
    )
    name = chosen.get_name()
    if name == "TRITON_ATTN":
        chosen.get_impl_cls()(8, head_size, 1.0, 8, None, None, cache)
        _fits_shared_memory(head_size)
    if name == "TRITON_MLA":
        _make_latent(chosen, head_size, cache)
    if model.use_mla and not hasattr(model.hf_text_config, "index_topk"):
        _prefill_runs(config)
    return str(name)


def _has_sinks(config: VllmConfig) -> bool:
    """Whether the engine's own code of the architecture hands attention sinks to its layers."""
    code, _ = registry.ModelRegistry.resolve_model_cls(config.model_config.architectures, config.model_config)
    return "sinks=self.sinks" in inspect.getsource(sys.modules[code.__module__])


def _fits_shared_memory(head_size: int) -> None:
    """Refuse what the Triton kernel cannot be compiled for: a block holds its queries, keys and values at once."""
    padded = 1 << (head_size - 1).bit_length()
    rows = QUERY_ROWS + 2 * _get_tile_size(head_size, 0, 2, is_prefill=True)
    capability = SimulatedGpu.capability[0] * 10 + SimulatedGpu.capability[1]
    most = SHARED_MEMORY_BYTES[max(known for known in SHARED_MEMORY_BYTES if known <= capability)]
    if 2 * padded * rows > most:
        message = f"shared memory: heads of {head_size} need over {2 * padded * rows:,} bytes, a block has {most:,}"
        raise _RefusedError(message)


def _make_latent(chosen: type[AttentionBackend], head_size: int, cache: str) -> None:
    """Run the checks of the Triton kernel for latent attention; the rest of its making wants weights."""

    def begin(self: Any, *given: Any, **_named: Any) -> None:
        self.kv_cache_dtype = given[6]

    with mock.patch.object(MLACommonImpl, "__init__", begin), contextlib.suppress(AttributeError):
        chosen.get_impl_cls()(8, head_size, 1.0, 1, None, None, cache, None, "decoder", None)


def _prefill_runs(config: VllmConfig) -> None:
    """Refuse latent attention whose prompts would need a FlashAttention that the GPU has none of."""
    text = config.model_config.hf_text_config
    queries = text.qk_nope_head_dim + text.qk_rope_head_dim
    flash = get_mla_prefill_backend(config).get_name() == "FLASH_ATTN"
    if flash and get_flash_attn_version(head_size=queries, head_size_v=text.v_head_dim) is None:
        message = "prompts of latent attention need FlashAttention, which this GPU has none of"
        raise _RefusedError(message)


def _in_a_child(job: dict[str, Any]) -> dict[str, Any]:
    """Judge in a child process: what the engine caches of one GPU must not reach the next."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        if not os.environ.get("ENGINE_TRACE"):
            os.dup2(quiet, 2)
        with tempfile.TemporaryDirectory() as folder:
            try:
                answer = judge(job, Path(folder))
            except BaseException as error:  # noqa: BLE001 - whatever stops the engine is the answer
                answer = {"refusal": f"{type(error).__name__}: {error}"[:1000].replace(folder, "MODEL")}
                if os.environ.get("ENGINE_TRACE"):
                    sys.excepthook(*sys.exc_info())
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    answer = json.loads(told) if told else {"refusal": "the engine's process died"}
    return dict(answer)


def main() -> None:
    """Judge every job of the standard input."""
    import_kernels()
    imported: set[str] = set()
    for line in sys.stdin:
        job = json.loads(line)
        for architecture in set(job["config"]["architectures"]) - imported:
            registry.ModelRegistry.models[architecture].load_model_cls()  # here once instead of in every child
            imported.add(architecture)
            gc.freeze()
        sys.stdout.write(json.dumps(_in_a_child(job)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""How the engine of a run was set and what its requests were like: stated in the row, else the release's defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inferplan.accuracy.cells import stated
from inferplan.accuracy.engine_names import parts_of
from inferplan.accuracy.launch_scripts import Launch
from inferplan.accuracy.runs import Run
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.units import GIB

_FACTOR = re.compile(r"mean (?:about |~)?(0?\.\d+|1(?:\.0+)?)\s*x", re.IGNORECASE)
_UNIFORM = re.compile(r"uniform\D{0,12}(\d+)\s*(?:-|–|to)\s*(\d+)\s*%", re.IGNORECASE)
_NUMBER = r"(\d+(?:\.\d+)?)"
_LENGTHS = re.compile(rf"{_NUMBER}\s*(?:tokens )?in(?:put)?\b\D{{1,12}}{_NUMBER}\s*(?:tokens )?out", re.IGNORECASE)
_REQUESTS = re.compile(r"(?<![\d.])(\d{2,7}) (?:\S+ )?requests\b(?! in flight)", re.IGNORECASE)
_FAILED = re.compile(r"\d+ of (\d{2,7}) requests", re.IGNORECASE)
_IN_FLIGHT = re.compile(r"at most (\d+) requests in flight", re.IGNORECASE)
_EAGER = re.compile(
    r"eager[ =:]*true|enforce[-_ ]eager(?![ =:]*(?:false|off|no))|optimi[sz]ation level 0", re.IGNORECASE
)
_TEXT_ONLY = re.compile(r"language[-_ ]model[-_ ]only|text[- ]only", re.IGNORECASE)
_RECURRING = re.compile(r"recur|repeat|shared[- ]prefix", re.IGNORECASE)
_LOAD_IS_LIMIT = re.compile(r"(?:max_num_seqs|max(?:imum)? batch size) \(load value\)", re.IGNORECASE)
_DISTINCT = re.compile(r"distinct|no reuse|random", re.IGNORECASE)

LARGE_GPU_BYTES, HUGE_GPU_BYTES = 70 * GIB, 160 * GIB
LARGE_DEFAULTS_SINCE = (0, 8)
"""From here on vLLM gives large GPUs 1024 sequences and a budget of 8192 (vllm/engine/arg_utils.py)."""
HUGE_DEFAULTS_SINCE = (0, 20)
"""From here on a budget of 16384 at 160 GiB and more; runs of 0.19 on B200 still fit 8192."""
LARGER_SHARE_SINCE = (0, 20)
EARLIER_SHARE = 0.90
"""``--gpu-memory-utilization`` by default before that; 0.92 since (vLLM 0.19.1 and 0.33.0)."""
BEFORE_CHUNKED_PREFILL_TOKENS = 4096
"""Budget of a step in releases before 0.8: prompts ran whole, as many as fitted the model's length (2048 at least)."""

ASSUMED_PROMPT_TOKENS = (
    (re.compile("sharegpt", re.IGNORECASE), 220.0),
    (re.compile("lm arena|lmarena|chat", re.IGNORECASE), 200.0),
    (re.compile("openorca|mlperf", re.IGNORECASE), 290.0),
    (re.compile("cnn|dailymail|summar", re.IGNORECASE), 780.0),
    (re.compile("gpqa|reasoning", re.IGNORECASE), 250.0),
    (re.compile("evalplus|humaneval|mbpp|code", re.IGNORECASE), 180.0),
    (re.compile("fill-in|sourcegraph", re.IGNORECASE), 500.0),
    (re.compile("short", re.IGNORECASE), 30.0),
)
"""Mean prompt of well-known data sets where a row is silent [tokens]; ShareGPT as measured in runs that state it."""
ASSUMED_OUTPUT_TOKENS = ((re.compile("sharegpt", re.IGNORECASE), 200.0),)
ASSUMED_P95_OVER_MEAN = 2.5
"""Of natural lengths, where only means are stated."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the prediction of a run takes for its engine and its requests.

    Parameters
    ----------
    prompt_tokens, output_tokens
        Real means per request; None where neither the row nor its data set says.
    tail
        95th percentile of lengths over their mean.
    cached_tokens
        Leading tokens of a prompt that are in the prefix cache.
    requests
        How many requests the run sent, where known.
    most_in_flight
        The client's own limit of requests in flight, where known.
    max_model_len
        Longest sequence that the engine was started for, where stated; else the model's own limit held.
    burstiness
        Squared coefficient of variation of the gaps between open-loop arrivals (1 = Poisson, 0 = evenly spaced).
    eager
        Whether the run went without CUDA graphs.
    text_only
        Whether vision towers were left out, where the model has one.
    assumed
        What was assumed, in words.
    """

    max_num_seqs: float
    max_num_batched_tokens: float
    max_model_len: float | None
    memory_fraction: float
    prompt_tokens: float | None
    output_tokens: float | None
    tail: float
    cached_tokens: float
    requests: float | None
    most_in_flight: float | None
    burstiness: float
    eager: bool
    text_only: bool
    assumed: tuple[str, ...]


def settings_of(run: Run, engine: EngineSpec, gpu: GpuSpec, launch: Launch | None = None) -> Settings:
    """Work out the settings of a run."""
    assumed: list[str] = []
    prompt, output, tail = _lengths(run, assumed)
    sequences, tokens = default_limits(engine, gpu)
    found = stated("max_num_batched_tokens", run.notes)
    if found is None and launch is not None:
        found = launch.max_num_batched_tokens
    cached = 0.0
    if prompt is not None and _hits(run):
        cached = float((prompt - 1) // engine.kv_block_tokens * engine.kv_block_tokens)
        assumed.append("recurring prompts are in the prefix cache but for their last block")
    return Settings(
        max_num_seqs=stated("max_num_seqs", run.notes) or _sequences(run, sequences),
        max_num_batched_tokens=found or tokens,
        max_model_len=stated("max_model_len", run.notes),
        memory_fraction=_share(run, engine),
        prompt_tokens=prompt,
        output_tokens=output,
        tail=tail,
        cached_tokens=max(cached, 0.0),
        requests=_requests(run),
        most_in_flight=run.max_in_flight or _first(_IN_FLIGHT, run.notes),
        burstiness=_burstiness(run),
        eager=_EAGER.search(run.notes) is not None,
        text_only=_TEXT_ONLY.search(run.notes) is not None,
        assumed=tuple(assumed),
    )


def _sequences(run: Run, by_default: float) -> float:
    """The engine's batch limit where no number is given for it: a batch that ran was allowed."""
    if run.load_value and _LOAD_IS_LIMIT.search(run.notes):
        return run.load_value
    return max(by_default, run.running_batch_mean or 0.0)


def _lengths(run: Run, assumed: list[str]) -> tuple[float | None, float | None, float]:
    prompt, output = run.input_tokens, run.output_tokens
    in_words = _LENGTHS.search(run.length_fixed)
    if in_words is not None:
        prompt, output = prompt or float(in_words[1]), output or float(in_words[2])
    if prompt is None:
        prompt = _of_data_set(run, ASSUMED_PROMPT_TOKENS, "prompts", assumed)
    if output is None:
        output = _of_data_set(run, ASSUMED_OUTPUT_TOKENS, "outputs", assumed)
    factor, tail = _spread(run.length_fixed)
    return _times(prompt, factor), _times(output, factor), tail


def _times(tokens: float | None, factor: float) -> float | None:
    return None if tokens is None else max(tokens * factor, 1.0)


def _spread(length_fixed: str) -> tuple[float, float]:
    """Real over stated mean length, and P95 over mean."""
    words = length_fixed.casefold()
    uniform = _UNIFORM.search(words)
    if uniform is not None:
        low, high = float(uniform[1]) / 100.0, float(uniform[2]) / 100.0
        mean = (low + high) / 2.0
        return mean, (low + 0.95 * (high - low)) / mean if mean > 0 else 1.0
    factor = _FACTOR.search(words)
    if factor is not None:
        return float(factor[1]), 1.1
    natural = words.startswith("no") and not words.startswith("nominal")
    return 1.0, ASSUMED_P95_OVER_MEAN if natural or "sharegpt" in words else 1.0


def _of_data_set(
    run: Run, known: tuple[tuple[re.Pattern[str], float], ...], what: str, assumed: list[str]
) -> float | None:
    for pattern, tokens in known:
        if pattern.search(run.dataset):
            assumed.append(f"{what} of {tokens:g} tokens, as usual for the data set")
            return tokens
    return None


def _hits(run: Run) -> bool:
    """Whether prompts recur and a prefix cache finds them."""
    caching = run.prefix_caching.casefold()
    on = caching.startswith(("on", "yes", "true", "default on", "enabled", "engine default"))
    if not on or _DISTINCT.search(caching):
        return False
    return _RECURRING.search(f"{caching} {run.dataset}") is not None


def _requests(run: Run) -> float | None:
    return run.requests or _first(_FAILED, run.notes) or _first(_REQUESTS, run.notes) or _first(_REQUESTS, run.dataset)


def _burstiness(run: Run) -> float:
    if run.arrival_scv is not None:
        return run.arrival_scv
    return 0.0 if "constant arrival" in run.notes or "constant rate" in run.notes else 1.0


def _first(pattern: re.Pattern[str], words: str) -> float | None:
    found = pattern.search(words)
    return None if found is None else float(found[1])


def _share(run: Run, engine: EngineSpec) -> float:
    share = stated("gpu_memory_utilization", run.notes)
    if share is not None and 0.0 < share <= 1.0:
        return share
    release = parts_of(engine.version)
    earlier = engine.id == "vllm" and release is not None and release < LARGER_SHARE_SINCE
    return EARLIER_SHARE if earlier else engine.memory_fraction


def default_limits(engine: EngineSpec, gpu: GpuSpec) -> tuple[float, float]:
    """``max_num_seqs`` and ``max_num_batched_tokens`` of a release on a GPU."""
    release = parts_of(engine.version)
    if engine.id != "vllm":
        return 128.0, float(engine.default_batched_tokens[-1][1])
    if release is not None and release < LARGE_DEFAULTS_SINCE:
        return 256.0, float(BEFORE_CHUNKED_PREFILL_TOKENS)
    if gpu.memory_bytes < LARGE_GPU_BYTES or gpu.id.startswith("a100"):
        return 256.0, 2048.0
    huge = gpu.memory_bytes >= HUGE_GPU_BYTES and (release is None or release >= HUGE_DEFAULTS_SINCE)
    return 1024.0, 16384.0 if huge else 8192.0

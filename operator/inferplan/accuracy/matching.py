"""From a run's names to what the catalog knows: a case that can be predicted, or the reason why it cannot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from inferplan.accuracy.engine_names import NamedEngine, find_engine, parts_of
from inferplan.accuracy.gpu_names import GpuNames
from inferplan.accuracy.launch_scripts import Launch, launch_of
from inferplan.accuracy.model_names import ModelNames
from inferplan.accuracy.runs import LoadType, Run
from inferplan.accuracy.settings import Settings, settings_of
from inferplan.accuracy.usable import remarks, why_unusable
from inferplan.accuracy.weight_formats import method_of
from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import Dtype, ModelSpec, QuantizationMethod
from inferplan.estimate.constants import EARLIER_THAN, is_earlier
from inferplan.estimate.weights import weight_bytes

MOST_GPUS = 8
FILLED_BY_WEIGHTS = 0.8
"""Where the layout is not stated, weights take at most this share of what the engine gets."""


@dataclass(frozen=True, slots=True)
class Case:
    """A run with its names resolved. ``replicas`` equal engines share the load; ``at`` is the run's place in its table.

    ``load`` is the run's load type, ``assumed`` everything that the row left open.
    """

    at: int
    run: Run
    load: LoadType
    model: ModelSpec
    method: QuantizationMethod
    engine: EngineSpec
    gpu: GpuSpec
    kv_dtype: Dtype | None
    tp: int
    pp: int
    replicas: int
    settings: Settings
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """Cases in the order of the table, and the reason for each run that is none, by its place."""

    cases: tuple[Case, ...]
    skipped: tuple[tuple[int, str], ...]


class Matcher:
    """Resolves names through one catalog.

    Parameters
    ----------
    yardsticks
        Models that were measured and that nobody plans any more; they come after the catalog's own.
    """

    def __init__(self, catalog: Catalog, yardsticks: Iterable[ModelSpec] = ()) -> None:
        self._catalog = catalog
        self._models = ModelNames((*catalog.models, *yardsticks))
        self._gpus = GpuNames(catalog.gpus)

    def match(self, runs: Iterable[Run]) -> Matched:
        """Resolve all runs of a table."""
        cases: list[Case] = []
        skipped: list[tuple[int, str]] = []
        for at, run in enumerate(runs):
            found = self.case(run, at)
            if isinstance(found, Case):
                cases.append(found)
            else:
                skipped.append((at, found))
        return Matched(tuple(cases), tuple(skipped))

    def case(self, run: Run, at: int = 0) -> Case | str:
        """Resolve one run, or say why it cannot be."""
        unusable = why_unusable(run)
        if unusable:
            return unusable
        load, names = LoadType(run.load_type), self._names(run)
        if isinstance(names, str):
            return names
        engine = names.engine.engine
        launch = launch_of(
            run.source_id, names.model, names.gpu, parts_of(engine.version), nominal=run.length_fixed.startswith("no")
        )
        settings = settings_of(run, engine, names.gpu, launch)
        layout = _layout(run, names, settings)
        if isinstance(layout, str):
            return layout
        missing = _missing(run, load, settings)
        if missing:
            return missing
        published = () if run.weight_quant else (f"weights in {names.method.id}, as published",)
        return Case(
            at=at,
            run=run,
            load=load,
            model=names.model,
            method=names.method,
            engine=_set(engine, settings, launch, serves=load is not LoadType.STATIC_BATCH),
            gpu=names.gpu,
            kv_dtype=_kv_dtype(run, launch, engine, names.model),
            tp=layout.tp,
            pp=layout.pp,
            replicas=layout.replicas,
            settings=settings,
            assumed=(*names.engine.assumed, *published, *layout.assumed, *settings.assumed, *remarks(run)),
        )

    def _names(self, run: Run) -> _Names | str:
        engine = find_engine(self._catalog, run.engine, run.engine_version, run.date)
        if isinstance(engine, str):
            return engine
        model = self._models.find(run.model)
        if isinstance(model, str):
            return model
        if model.not_sizable is not None:
            return f"{model.id} cannot be sized: {model.not_sizable}"
        gpu = self._gpus.find(run.gpu)
        if isinstance(gpu, str):
            return gpu
        method = method_of(self._catalog, model, run.model, run.weight_quant)
        return method if isinstance(method, str) else _Names(engine, model, gpu, method)


@dataclass(frozen=True, slots=True)
class _Names:
    engine: NamedEngine
    model: ModelSpec
    gpu: GpuSpec
    method: QuantizationMethod


@dataclass(frozen=True, slots=True)
class _Layout:
    tp: int
    pp: int
    replicas: int
    assumed: tuple[str, ...] = ()


def _layout(run: Run, names: _Names, settings: Settings) -> _Layout | str:
    """How the GPUs of a run are shared out."""
    if run.tp is None:
        return _layout_assumed(run, names, settings)
    pp, has_experts = run.pp or 1, names.model.moe is not None
    gpus = run.gpu_count or run.tp * pp * (run.dp or 1)
    if run.tp * pp > gpus:
        return f"tp {run.tp} and pp {pp} need more than the {gpus} GPUs stated"
    if has_experts and (run.dp or 1) > 1:
        return "attention data parallelism is not modelled"
    if has_experts and (run.ep or 1) > 1 and run.tp * pp < gpus:
        return _Layout(gpus // pp, pp, 1, ("experts over all GPUs, and so attention",))
    if gpus % (run.tp * pp):
        return f"{gpus} GPUs are no whole number of replicas of {run.tp * pp}"
    return _Layout(run.tp, pp, gpus // (run.tp * pp))


def _layout_assumed(run: Run, names: _Names, settings: Settings) -> _Layout | str:
    """The fewest GPUs that hold the weights, and as many replicas as the GPUs make."""
    if run.gpu_count is None:
        return "neither GPUs nor tensor parallelism are stated"
    pp = run.pp or 1
    tp = _smallest(names, settings)
    if tp * pp > run.gpu_count:
        return f"weights do not fit on {run.gpu_count} GPUs"
    replicas = run.gpu_count // (tp * pp)
    return _Layout(tp, pp, replicas, (f"{replicas} replicas of {tp * pp} GPUs",))


def _smallest(names: _Names, settings: Settings) -> int:
    room = names.gpu.memory_bytes * settings.memory_fraction * FILLED_BY_WEIGHTS
    loaded = weight_bytes(names.model, names.method).loaded
    tp = 1
    while loaded / tp > room and tp < MOST_GPUS:
        tp *= 2
    return tp


def _kv_dtype(run: Run, launch: Launch, engine: EngineSpec, model: ModelSpec) -> Dtype | None:
    stated = run.kv_dtype.casefold()
    assumed = not stated and (launch.kv_eight_bit or _kv_of_checkpoint(run, engine, model))
    return Dtype.FP8 if "fp8" in stated or "e4m3" in stated or assumed else None


def _kv_of_checkpoint(run: Run, engine: EngineSpec, model: ModelSpec) -> bool:
    """Whether the engine takes an FP8 cache from the checkpoint.

    Notes
    -----
    The catalog tells it of the checkpoints that it names; of NVIDIA's others in FP8 and FP4 it is taken for granted
    (``kv_cache_quant_algo``). vLLM heeds it since 0.14 where nothing else is said (vllm-project/vllm#30785).
    """
    release = parts_of(run.engine_version)
    heeds = engine.id == "vllm" and release is not None and release >= EARLIER_THAN
    wanted = run.model.casefold()
    named = next((c for c in model.checkpoints if c.repository.casefold() == wanted), None)
    asks = _NVIDIA_QUANTIZED.match(run.model) is not None if named is None else named.kv_cache_dtype is Dtype.FP8
    return heeds and asks


_NVIDIA_QUANTIZED = re.compile(r"nvidia/.*(?:FP8|FP4)", re.IGNORECASE)


def _set(engine: EngineSpec, settings: Settings, launch: Launch, *, serves: bool) -> EngineSpec:
    """The engine with the run's settings as its defaults; its release is that whose scheduler it ran."""
    release = parts_of(engine.version)
    version = engine.version
    if launch.asynchronous and is_earlier(engine.id, release):
        version = f"{EARLIER_THAN[0]}.{EARLIER_THAN[1]}.0"
    return replace(
        engine,
        version=version,
        memory_fraction=settings.memory_fraction,
        eager=settings.eager,
        text_only=settings.text_only,
        serves=serves and not launch.in_process,
        batched_tokens=int(settings.max_num_batched_tokens),
    )


def _missing(run: Run, load: LoadType, settings: Settings) -> str:
    """What of the load is not stated, in words; empty if nothing is missing."""
    if load is LoadType.STARTUP:
        return ""
    if settings.prompt_tokens is None:
        return "prompt length is not stated"
    if settings.output_tokens is None:
        return "output length is not stated"
    needed = {
        LoadType.STATIC_BATCH: "batch size is not stated",
        LoadType.CLOSED_LOOP: "requests in flight are not stated",
        LoadType.OPEN_LOOP: "arrival rate is not stated",
    }
    if load in needed and (run.load_value is None or run.load_value <= 0):
        return needed[load]
    return ""


def reasons(skipped: Sequence[tuple[int, str]]) -> tuple[tuple[str, int], ...]:
    """Count runs per reason, the most frequent first."""
    counts: dict[str, int] = {}
    for _, reason in skipped:
        counts[reason] = counts.get(reason, 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

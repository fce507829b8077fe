"""The flags that make a plan's assumptions true, and the user's own flags after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from inferplan.api.suggest import did_you_mean
from inferplan.domain.deployment import Configuration
from inferplan.domain.errors import Fault
from inferplan.domain.model import Dtype, Task
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.render.flag_list import Flag, FlagList, Owner
from inferplan.render.timing import Timing

HTTP_PORT = 8000
EXTRA_ARGS = "spec.engine.extraArgs"
QUIET_PATHS = "/health,/metrics,/ping"
TGI_WIGGLE_ROOM = 0.90
"""Share of its own fraction of the GPU that TGI takes (text-generation-inference v3.3.7, TGI_WIGGLE_ROOM)."""

WHY_NOT: dict[Owner, tuple[str, str]] = {
    Owner.PLAN: ("is decided by the plan", "say it in the scenario (select.pin, contextTokens, quality, hardware)"),
    Owner.POD: ("is decided by how the pod is wired", "leave it out"),
    Owner.SECRET: ("would show a secret in the pod's arguments", "name a Secret in spec.deploy"),
    Owner.CODE: (
        "runs code or reads files that the engine's image does not hold",
        "set spec.engine.remoteCode: Allow if you trust them",
    ),
}


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


def kv_cache_value(chosen: Configuration) -> str | None:
    """Spell a KV-cache type for the engine; None where the engine's own choice is the planned one."""
    if chosen.kv_dtype is Dtype.FP8:
        return {"vllm": "fp8", "tgi": "fp8_e4m3fn"}[chosen.engine.id]
    return None


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
    yield Argument("--kv-cache-dtype", (kv_cache_value(chosen) or "auto",))
    # On by default where the model can; asked for only where the prediction counts on it.
    if scenario.workload.shared_prefix_tokens and scenario.task is Task.GENERATION:
        yield Argument("--enable-prefix-caching")


def vllm_server_flags(plan: Plan, scenario: Scenario, times: Timing) -> Iterator[Argument]:
    """Flags of ``vllm serve``, the model apart."""
    yield Argument("--served-model-name", tuple(dict.fromkeys((scenario.name, plan.configuration.model.id))))
    yield Argument("--port", (str(HTTP_PORT),))
    yield from vllm_engine_flags(plan, scenario)
    yield Argument("--shutdown-timeout", (str(times.drain_s),))
    yield Argument("--disable-access-log-for-endpoints", (QUIET_PATHS,))


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
    kv_value = kv_cache_value(chosen)
    if kv_value is not None:
        yield Argument("--kv-cache-dtype", (kv_value,))
    yield Argument("--graceful-termination-timeout", (str(times.drain_s),))
    yield Argument("--usage-stats", ("off",))


def extra_arguments(
    words: Sequence[str], known: FlagList, own: Iterable[Argument] = (), *, remote_code: bool, server: bool = True
) -> tuple[tuple[Argument, ...], tuple[Fault, ...]]:
    """Read the user's own arguments against the engine's flags.

    Parameters
    ----------
    words
        ``--flag``, ``--flag=value``, or ``--flag`` and its values as words of their own.
    known
        The engine's flags.
    own
        What we give already; a flag is never given twice.
    remote_code
        Whether code from elsewhere may run.
    server
        False for a batch runner, which lacks the flags of the HTTP server.

    Returns
    -------
    tuple of Argument, tuple of Fault
        What is understood, and everything that is wrong.
    """
    found: list[Argument] = []
    faults: list[Fault] = []
    given = {argument.name for argument in own}
    for index, name, values in _grouped(words):
        where = f"{EXTRA_ARGS}[{index}]"
        flag = known.find(name)
        fault = _fault(where, name, flag, known, remote_code=remote_code, server=server)
        fault = fault or _value_fault(where, name, flag, values)
        if fault is None and flag is not None and "." not in name:
            fault = Fault(where, f"{flag.name} is given already", "leave it out") if flag.name in given else None
            given.add(flag.name)
        if fault is None:
            found.append(Argument(name.replace("_", "-") if "." not in name else name, values))
        else:
            faults.append(fault)
    return tuple(found), tuple(faults)


def _grouped(words: Sequence[str]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Part words into flags with their values, each with the index of its first word."""
    index = 0
    while index < len(words):
        start, word = index, words[index]
        index += 1
        if "=" in word:
            name, _, value = word.partition("=")
            yield start, name, (value,)
            continue
        values = []
        while index < len(words) and not words[index].startswith("--"):
            values.append(words[index])
            index += 1
        yield start, word, tuple(values)


def _fault(
    where: str, name: str, flag: Flag | None, known: FlagList, *, remote_code: bool, server: bool
) -> Fault | None:
    if flag is None:
        near = did_you_mean(name, known.names)
        return Fault(where, f'{known.engine} {known.version} has no flag "{name}"', near)
    if not name.startswith("--"):
        return Fault(where, f'"{name}" is a short spelling', f"write {flag.name}")
    if flag.server and not server:
        return Fault(where, f"{flag.name} belongs to the server, and a batch run has none", "leave it out")
    if flag.owner is None or (flag.owner is Owner.CODE and remote_code):
        return None
    problem, fix = WHY_NOT[flag.owner]
    return Fault(where, f"{flag.name} {problem}", fix)


def _value_fault(where: str, name: str, flag: Flag | None, values: tuple[str, ...]) -> Fault | None:
    if flag is None:
        return None
    if not flag.takes_value:
        return Fault(where, f'{name} is a switch and takes no value, "{values[0]}" was given') if values else None
    if not values:
        return None if flag.optional else Fault(where, f"{name} needs a value", f"write {name}=…")
    if len(values) > 1 and not flag.several:
        return Fault(where, f'{name} takes one value, "{values[1]}" is one too many')
    if "." in name:
        return None  # one key of a JSON flag: its type is not in the list
    problem = next(filter(None, map(flag.problem, values)), "")
    return Fault(where, f"{name}: {problem}") if problem else None

"""A vLLM command line -> a scenario that pins the same server, and what was made of each of its flags."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from inferplan.api.command_drafting import CONFIG, SHORT_FLAGS, read_drafting
from inferplan.api.command_faults import flags_for_fields
from inferplan.api.command_flags import CommandFlags, Given, read_flags
from inferplan.api.command_line import WHERE, EngineLine, read_engine_line
from inferplan.api.command_models import FoundModel, find_model
from inferplan.api.figures import decimal_text
from inferplan.api.v1alpha1 import API_VERSION, KIND
from inferplan.api.v1alpha1.scalars import SHARE_PATTERN
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.flags import FlagList, Owner, human_readable_int
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import Quantization

ASSUMED_PROMPT, ASSUMED_OUTPUT = (500, 1000), (200, 400)
"""Mean and P95 of the lengths of one user's requests [tokens]: a command says nothing about its load."""
LONGEST_ARGUMENT = 256
"""Characters of one of ``engine.extraArgs``."""
AUTO = frozenset({"auto", "-1"})
_SIXTEEN_BIT = frozenset({Quantization.BF16, Quantization.FP16})
_KV_TYPES = {"fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bfloat16": "bfloat16", "float16": "float16"}
_MADE_WHILE_LOADING = {
    "fp8": Quantization.FP8,
    "fp8_per_tensor": Quantization.FP8,
    "fp8_per_block": Quantization.FP8,
    "fp8_per_channel": Quantization.FP8,
    "mxfp4": Quantization.MXFP4,
    "int8_per_channel_weight_only": Quantization.INT8,
    "experts_int8": Quantization.INT8,
    "nvfp4_per_token": Quantization.NVFP4,
}
"""Values of ``--quantization`` with which vLLM 0.33.0 quantizes 16-bit weights while it loads them."""
_DECIDING = (
    "--config",
    "--cpu-offload-params",
    "--decode-context-parallel-size",
    "--hf-config-path",
    "--hf-overrides",
    "--kv-cache-memory-bytes",
    "--model-class-overrides",
    "--num-gpu-blocks-override",
    "--offload-backend",
    "--offload-group-size",
    "--offload-params",
    "--prefill-context-parallel-size",
    "--quantization-config",
)
"""Flags that change what the model is or how much memory it gets: without them the plan is of another server."""
_REMOVED_DECIDING = ("--rope-scaling", "--rope-theta")
_HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_API_TOKEN"})
_HUB = "the token for the model's download belongs in deploy.tokenSecretRef"
_SERVER_KEY = (
    "the planned server asks for no key, so put a gateway that does in front of it (deploy.tokenSecretRef is for the"
    " download of the model alone)"
)
_NO_DNS = re.compile(r"[^a-z0-9-]+")
_LONGEST_NAME = 52


@dataclass(frozen=True, slots=True)
class FromCommand:
    """What a command line came to.

    Parameters
    ----------
    document
        The scenario as a resource document.
    notes
        What was dropped, replaced or assumed, and why, one sentence each.
    longest_wanted
        The command leaves the context to the engine, which then takes the longest that fits.
    split
        Tensor x pipeline parallel sizes of one replica.
    """

    document: dict[str, Any]
    notes: tuple[str, ...]
    longest_wanted: bool
    split: tuple[int, int]


def from_command(
    text: str,
    catalog: Catalog,
    known: FlagList,
    gpu: GpuSpec,
    *,
    default_sequences: int,
) -> FromCommand:
    """Read a command that starts vLLM.

    Parameters
    ----------
    known
        Flags of the engine's version that is planned for.
    gpu
        The GPU that it runs on; no flag says it.
    default_sequences
        ``max_num_seqs`` of the engine on this GPU where the command says nothing.

    Raises
    ------
    InputError
        If it starts no vLLM server, or says what cannot be planned, with everything at once.
    """
    line = read_engine_line(text)
    flags = read_flags(line.words, known)
    reading = _Reading(flags, catalog, gpu, default_sequences, known.version)
    faults = list(flags.faults)
    if flags.model:
        found = find_model(flags.model, catalog)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            reading.read(found)
    faults += reading.faults
    if faults:
        raise InputError(faults)
    document = reading.document()
    notes = (*reading.notes, *_around(line, known.version))
    return FromCommand(document, tuple(dict.fromkeys(notes)), reading.longest_wanted, reading.split)


def _around(line: EngineLine, version: str) -> Iterator[str]:
    """Say what stands around the engine's own words."""
    if line.image:
        tag = line.image.partition("@")[0].rpartition("/")[2].partition(":")[2].removeprefix("v")
        if tag != version:
            yield f"image {line.image}: planned for vLLM {version}"
    if line.container:
        yield "options of the container: left out, a pod has its own"
    if line.variables:
        names = dict.fromkeys(line.variables)
        said = [f"environment ({', '.join(names)}): left out"]
        said += [_HUB] if not _HUB_TOKENS.isdisjoint(names) else []
        said += [_SERVER_KEY] if "VLLM_API_KEY" in names else []
        yield "; ".join(said)


@dataclass(slots=True)
class _Reading:
    """Flags taken one after the other; what is left at the end is the user's."""

    flags: CommandFlags
    catalog: Catalog
    gpu: GpuSpec
    default_sequences: int
    version: str
    pin: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    longest_wanted: bool = False
    split: tuple[int, int] = (1, 1)
    name: str = ""
    classifies: bool = False
    _left: dict[str, Given] = field(default_factory=dict)

    def read(self, found: FoundModel) -> None:
        """Turn everything into a pin."""
        self._left = dict(self.flags.given)
        self._take_model(found)
        self._refuse_deciding()
        self._take_parallel(found)
        self._take_limits(found)
        self._take_memory()
        self._take_start(found)
        self._take_speculative(found)
        self._take_task()
        self._take_unknown()
        self._take_rest()

    def document(self) -> dict[str, Any]:
        """Write the scenario."""
        length = self.pin["maxModelLen"]
        prompt, output = _lengths(length)
        workload: dict[str, Any] = {"concurrentUsers": 1, "promptTokens": prompt}
        if not self.classifies:
            workload["outputTokens"] = output
        spec: dict[str, Any] = {
            "useCase": "Custom",
            **({"task": "Classification"} if self.classifies else {}),
            "workload": workload,
            **({"model": self.model} if self.model else {}),
            **({"engine": self.engine} if self.engine else {}),
            "select": {"pin": {**self.pin, "engine": "vLLM"}},
        }
        self.notes.append(_load_in_words(workload))
        return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": self.name}, "spec": spec}

    # ── one group of flags each ──────────────────────────────────────────────────────────────────────────────

    def _take_model(self, found: FoundModel) -> None:
        model, stored = found.model, found.quantization
        asked = self._value("--quantization")
        served = self._left.pop("--served-model-name", None)
        self.name = _dns_name(served.value if served is not None else self.flags.model)
        if served is not None:
            names = f"{self.name} (the scenario's name) or {model.id}"
            self.notes.append(f"--served-model-name {' '.join(served.values)}: clients ask for {names}")
        revision = self._value("--revision")
        if found.pinned and revision is None:
            self.pin["model"] = model.id
        else:
            self.model["custom"] = {
                "repository": found.repository,
                "base": model.id,
                **({"revision": revision} if revision else {}),
                **({} if stored in _SIXTEEN_BIT else {"quantization": stored.value}),
            }
        wanted = self._made_while_loading(found, asked) if asked is not None else None
        self.pin["quantization"] = (wanted or stored).value
        if found.note:
            self.notes.append(found.note)

    def _made_while_loading(self, found: FoundModel, asked: str) -> Quantization | None:
        """Read ``--quantization``: a format made from 16-bit weights, or one that the checkpoint says itself."""
        if found.quantization not in _SIXTEEN_BIT:
            self.notes.append(f"--quantization {asked}: left out, the checkpoint says that it is {found.quantization}")
            return None
        made = _MADE_WHILE_LOADING.get(asked)
        if made is None:
            self.faults.append(
                Fault(
                    WHERE,
                    f"--quantization {asked} needs weights in that format, and {self.flags.model} is"
                    f" {found.quantization}",
                    f"name a checkpoint in that format, or use {', '.join(_MADE_WHILE_LOADING)}",
                )
            )
            return None
        if self.model:
            self.faults.append(
                Fault(WHERE, f"--quantization {asked} on weights of your own cannot be planned", "leave it out")
            )
        published = [c.repository for c in found.model.checkpoints if c.quantization is made]
        if published:
            self.notes.append(f"--quantization {asked}: planned with the published {made} weights {published[0]}")
        return made

    def _refuse_deciding(self) -> None:
        """Refuse what would have to be dropped and decides whether the server starts: the verdict cannot rest on it."""
        for name in _DECIDING:
            given = self._left.pop(name, None)
            if given is None or (given.flag.kind == "int" and given.value == "1"):
                continue
            fix = flags_for_fields(given.flag.fix(given.values)) or (
                "leave it out, or describe what it makes of the model in model.custom.architecture and name the flag in"
                " engine.extraArgs"
            )
            problem = f"{name} changes the model or its memory, which cannot be planned, so no verdict is possible"
            self.faults.append(Fault(WHERE, problem, fix))
        for unknown in self.flags.unknown:
            if unknown.name in _REMOVED_DECIDING:
                problem = f"{unknown.name}: vLLM {self.version} has no such flag, and the context depends on it"
                self.faults.append(Fault(WHERE, problem, unknown.instead or "leave it out"))

    def _take_parallel(self, found: FoundModel) -> None:
        tensor, pipeline = self._count("--tensor-parallel-size"), self._count("--pipeline-parallel-size")
        self.split = (tensor, pipeline)
        self.pin["gpu"] = self.gpu.id
        self.pin["gpusPerReplica"] = tensor * pipeline
        self.pin["replicas"] = self._count("--data-parallel-size")
        if pipeline > 1 and tensor * pipeline <= max(self.gpu.node_sizes):
            problem = (
                f"--pipeline-parallel-size {pipeline}: pipeline stages inside one machine cannot be planned,"
                " only from machine to machine"
            )
            self.faults.append(Fault(WHERE, problem, f"write --tensor-parallel-size {tensor * pipeline} instead"))
        self._take_data_parallel(found)

    def _take_data_parallel(self, found: FoundModel) -> None:
        """Take replicas of the whole model; ranks that share the experts of one model are none."""
        replicas, experts = self.pin["replicas"], self._left.get("--enable-expert-parallel")
        shares = experts is not None and experts.on
        if shares and found.model.moe is None:
            problem = f"--enable-expert-parallel: {found.model.id} has no experts, so vLLM does not start"
            self.faults.append(Fault(WHERE, problem, "leave it out"))
        elif replicas > 1 and found.model.moe is not None:
            names = f"--data-parallel-size {replicas}" + (" with --enable-expert-parallel" if shares else "")
            problem = (
                f"{names}: data-parallel attention over experts that all ranks share cannot be planned yet; vLLM splits"
                " the experts of a mixture over all of them"
            )
            fix = "leave --data-parallel-size out and raise --tensor-parallel-size, or plan select.pin.replicas servers"
            self.faults.append(Fault(WHERE, problem, fix))
        elif replicas > 1:
            self.notes.append(f"--data-parallel-size {replicas}: as many replicas, each a pod of its own")

    def _take_limits(self, found: FoundModel) -> None:
        tokens = self._left.pop("--max-num-batched-tokens", None)
        limit = None if tokens is None else human_readable_int(tokens.value)
        if limit is not None:
            self.pin["maxNumBatchedTokens"] = limit
        sequences = self._left.pop("--max-num-seqs", None)
        if sequences is None:
            self.pin["maxNumSeqs"] = min(self.default_sequences, limit or self.default_sequences)
            self.notes.append(f"no --max-num-seqs: the engine's default on {self.gpu.name}, {self.pin['maxNumSeqs']}")
        else:
            self.pin["maxNumSeqs"] = int(sequences.value)
        self._take_length(found)

    def _take_length(self, found: FoundModel) -> None:
        positions = found.model.max_position_embeddings
        length = self._left.pop("--max-model-len", None)
        asked = None if length is None or length.value.casefold() in AUTO else human_readable_int(length.value)
        if found.borrowed and (asked is None or asked > positions):
            said = "is needed" if asked is None else f"{asked} cannot be judged"
            problem = f"--max-model-len {said}: how long a context {found.repository} takes is not in the catalog"
            fix = f"write --max-model-len N, up to the {positions:,} tokens of {found.model.id}"
            if asked is not None:
                fix += ", or describe the model in model.custom.architecture (maximumPositions)"
            self.faults.append(Fault(WHERE, problem, fix))
        if length is None:
            self.pin["maxModelLen"] = positions
            self.notes.append(f"no --max-model-len: the model's own, {positions:,} tokens")
        elif asked is None:
            self.longest_wanted = True
            self.pin["maxModelLen"] = min(positions, ASSUMED_PROMPT[1] + ASSUMED_OUTPUT[1])
        else:
            self.pin["maxModelLen"] = asked

    def _take_memory(self) -> None:
        share = self._value("--gpu-memory-utilization")
        if share is not None:
            text = decimal_text(Decimal(share))
            if re.fullmatch(SHARE_PATTERN, text) is None:
                fix = "write a share above 0 and up to 1, with four digits at most"
                self.faults.append(Fault(WHERE, f"--gpu-memory-utilization {share} is not a share of a GPU", fix))
            self.pin["gpuMemoryUtilization"] = text
        cache = self._value("--kv-cache-dtype")
        if cache is not None and cache != "auto":
            if cache not in _KV_TYPES:
                self.faults.append(
                    Fault(WHERE, f"--kv-cache-dtype {cache} cannot be planned", f"known: {', '.join(_KV_TYPES)}, auto")
                )
            self.pin["kvCacheType"] = _KV_TYPES.get(cache, "fp8")
            if cache == "fp8_e5m2":
                self.notes.append("--kv-cache-dtype fp8_e5m2: planned as fp8, which is fp8_e4m3")
        for flag, name in (("--cpu-offload-gb", "cpuOffloadGib"), ("--kv-offloading-size", "kvOffloadGib")):
            size = self._value(flag)
            if size is None or float(size) == 0:
                continue
            if not 0 < float(size) < math.inf:
                self.faults.append(Fault(WHERE, f"{flag} {size} is not a size", "write GiB, a number above 0"))
                continue
            self.pin[name] = max(1, round(float(size)))
            if self.pin[name] != float(size):
                self.notes.append(f"{flag} {size}: planned as {self.pin[name]} GiB, in whole GiB")

    def _take_start(self, found: FoundModel) -> None:
        if self._switch("--enforce-eager"):
            self.pin["execution"] = "Eager"
        text_only = self._switch("--language-model-only")
        limits = self._left.get("--limit-mm-per-prompt")
        if limits is not None and limits.keys and not any(_counts(value) for value in limits.keys.values()):
            del self._left["--limit-mm-per-prompt"]
            text_only = True
        if found.model.multimodal:
            self.pin["modalities"] = "Text" if text_only else "All"
        kind = self._value("--dtype")
        native = found.model.native_dtype.value
        if kind in {"float", "float32"}:
            self.faults.append(Fault(WHERE, "--dtype float32 cannot be planned", "leave it out: 16 bit are planned"))
        elif kind not in {None, "auto", native} and (kind, native) != ("half", "float16"):
            self.notes.append(f"--dtype {kind}: left out, the model's own {native} takes as much memory")

    def _take_speculative(self, found: FoundModel) -> None:
        config = dict(given.keys) if (given := self._left.pop(CONFIG, None)) is not None else {}
        for flag, key in SHORT_FLAGS.items():
            value = self._value(flag)
            if value is not None:
                config[key] = value
        if config:
            decoding, notes, faults = read_drafting(config, found.model)
            self.pin["speculativeDecoding"] = decoding
            self.notes += notes
            self.faults += faults

    def _take_task(self) -> None:
        runner, convert = self._value("--runner"), self._value("--convert")
        task = next(
            (unknown.values[0] for unknown in self.flags.unknown if unknown.name == "--task" and unknown.values), None
        )
        if convert == "classify" or task == "classify":
            self.classifies = True
        elif convert == "embed" or runner == "pooling" or task not in {None, "generate", "auto"}:
            self.faults.append(
                Fault(WHERE, "embedding and scoring servers are not planned", "only generation and --convert classify")
            )

    def _take_unknown(self) -> None:
        for unknown in self.flags.unknown:
            fix = f" ({unknown.instead})" if unknown.instead else ""
            self.notes.append(f"{unknown.name}: vLLM {self.version} has no such flag{fix}")

    def _take_rest(self) -> None:
        """Keep what is the user's as extra arguments, and say what is dropped."""
        trusts = self._switch("--trust-remote-code")
        if trusts:
            self.engine["remoteCode"] = "Allow"
        dropped: dict[Owner, list[str]] = {}
        extra: list[str] = ["--trust-remote-code"] if trusts else []
        for given in self._left.values():
            values = (json.dumps(given.keys),) if given.keys else given.values
            owner = given.flag.decided_by(given.flag.name, values)
            if owner is None or (owner is Owner.CODE and trusts):
                extra.extend(word for word in given.words if len(word) <= LONGEST_ARGUMENT)
                if any(len(word) > LONGEST_ARGUMENT for word in given.words):
                    self.notes.append(f"{given.flag.name}: left out, longer than {LONGEST_ARGUMENT} characters")
            else:
                dropped.setdefault(owner, []).append(given.flag.name)
        if extra:
            self.engine["extraArgs"] = extra
        why = {
            Owner.POD: "decided by how the pod is wired",
            Owner.CODE: "needs engine.remoteCode: Allow; add it to engine.extraArgs if you trust it",
            Owner.PLAN: "not planned",
        }
        for name in dropped.pop(Owner.SECRET, ()):
            self.notes.append(f"{name}: left out; {_HUB if name == '--hf-token' else _SERVER_KEY}")
        for owner, names in dropped.items():
            self.notes.append(f"{', '.join(names)}: left out, {why[owner]}")

    # ── taking flags ─────────────────────────────────────────────────────────────────────────────────────────

    def _value(self, name: str) -> str | None:
        given = self._left.pop(name, None)
        return None if given is None else given.value

    def _count(self, name: str) -> int:
        """Take a number of GPUs or replicas; 1 where the command says nothing."""
        value = self._value(name)
        count = 1 if value is None else int(value)
        if count < 1:
            self.faults.append(Fault(WHERE, f"{name} {count}: must be at least 1", "write 1 or more, or leave it out"))
        return max(1, count)

    def _switch(self, name: str) -> bool:
        given = self._left.pop(name, None)
        return given is not None and given.on


def _counts(value: object) -> bool:
    """Whether a limit of images or the like lets any through."""
    return bool(value.get("count", 1)) if isinstance(value, dict) else bool(value)


def _lengths(length: int) -> Sequence[dict[str, int]]:
    """Lengths of prompt and answer that a context holds."""
    whole = ASSUMED_PROMPT[1] + ASSUMED_OUTPUT[1]
    scale = min(1.0, length / whole)
    return [
        {"mean": max(1, int(mean * scale)), "p95": max(1, int(p95 * scale))}
        for mean, p95 in (ASSUMED_PROMPT, ASSUMED_OUTPUT)
    ]


def _load_in_words(workload: Mapping[str, Any]) -> str:
    prompt, output = workload["promptTokens"], workload.get("outputTokens")
    answers = "" if output is None else f", answers of {output['mean']:,} ({output['p95']:,} at P95)"
    lengths = f"prompts of {prompt['mean']:,} tokens ({prompt['p95']:,} at P95){answers}"
    return f"load: one user at a time, {lengths}; a command says nothing about it, so that is assumed"


def _dns_name(text: str) -> str:
    """Name the scenario after what it serves.

    >>> _dns_name("meta-llama/Llama-3.1-8B-Instruct"), _dns_name("4090!")
    ('llama-3-1-8b-instruct', 'server-4090')
    """
    name = _NO_DNS.sub("-", text.rstrip("/").rsplit("/", 1)[-1].casefold()).strip("-")
    name = name if name[:1].isalpha() else f"server-{name}"
    return name[:_LONGEST_NAME].rstrip("-")

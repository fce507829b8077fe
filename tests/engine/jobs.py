"""What the engine is asked: a configuration, a GPU and a command line; and how its answers come back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import Dtype, ModelSpec
from tests.engine.configs import config_of
from tests.engine.verdicts import Form, Verdict, sixteen_bit

HERE = Path(__file__).parent
MODEL = "{model}"
"""Stands in a command line for the folder with the configuration."""
TOLD_EVERY = 50


@dataclass(frozen=True, slots=True)
class Job:
    """One question to the engine.

    Attributes
    ----------
    items
        Largest item of each kind that a prompt may hold [tokens].
    """

    config: dict[str, Any]
    compute_capability: int
    memory_bytes: int
    gpu: str
    command: str
    words: tuple[str, ...]
    items: dict[str, int]

    @property
    def line(self) -> str:
        """The question as the judge reads it."""
        gpu = {"compute_capability": self.compute_capability, "memory_bytes": self.memory_bytes, "name": self.gpu}
        return json.dumps(
            {"config": self.config, "gpu": gpu, "command": self.command, "words": self.words, "items": self.items}
        )


def job_of(form: Form, model: ModelSpec, gpu: GpuSpec) -> Job:
    """Ask for the verdict on a form."""
    config = config_of(model)
    if config is None:
        message = f"configs.py does not know {model.architecture}: add its model_type and what else the engine reads"
        raise LookupError(message)
    words = [MODEL, f"--dtype={sixteen_bit(form.compute_capability).value}", f"--kv-cache-dtype={form.cache_dtype}"]
    words += ["--max-model-len=2048", "--max-num-batched-tokens=8192"]
    if model.multimodal and form.text_only == "yes":
        words.append("--language-model-only")
    return Job(config, form.compute_capability, gpu.memory_bytes, gpu.name, "serve", tuple(words), items_of(model))


def items_of(model: ModelSpec) -> dict[str, int]:
    """Largest item of a model's prompts."""
    return {"largest": model.multimodal_item_tokens} if model.multimodal_item_tokens else {}


def verdict_of(form: Form, answer: dict[str, Any]) -> Verdict:
    """Read an answer; an engine that settles on another type of cache than it was asked for does not run as planned."""
    if "refusal" in answer:
        return Verdict("", " ".join(str(answer["refusal"]).split())[:160])
    given = answer["cache_dtype"]
    kernels = "+".join(answer["kernels"].values())
    sparse_in_words_of_its_own = form.cache_dtype != Dtype.FP8 and given == "auto"
    if given != form.cache_dtype and not sparse_in_words_of_its_own:
        return Verdict("", f"the engine takes a KV cache in {given}")
    if sparse_in_words_of_its_own and kernels.endswith("_SM120"):
        return Verdict("", "the engine takes a KV cache in fp8: this kernel reads no other")
    return Verdict(kernels, "")


def ask(python: Path, jobs: Sequence[Job], progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Put jobs to the engine, in order; yields an answer for each."""
    judge = subprocess.Popen(
        [str(python), str(HERE / "judge.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert judge.stdin is not None
    assert judge.stdout is not None
    try:
        for number, job in enumerate(jobs, start=1):
            judge.stdin.write(job.line + "\n")
            judge.stdin.flush()
            answer = judge.stdout.readline()
            if not answer:
                message = f"the judge ended at job {number} with exit status {judge.wait()}: run it by hand to see why"
                raise RuntimeError(message)
            if number % TOLD_EVERY == 0:
                progress(f"{number} of {len(jobs)} questions answered")
            yield dict(json.loads(answer))
    finally:
        judge.stdin.close()
        judge.stdout.close()
        judge.wait()

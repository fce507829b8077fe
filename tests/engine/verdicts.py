"""The table of the engine's own verdicts: which attention kernels it takes, form by form and GPU by GPU.

``verdicts.csv`` is written by the engine's code (``python -m tests.engine verdicts``) and read by a fast test that
holds our rules and every model and GPU of the catalog against it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from inferplan.domain.catalog import Catalog
from inferplan.domain.model import Dtype, LayerKind, ModelSpec

TABLE = Path(__file__).with_name("verdicts.csv")
LATENT_HEAD = "latent"


@dataclass(frozen=True, slots=True, order=True)
class Form:
    """What a verdict is about.

    Attributes
    ----------
    architecture, head_sizes
        Of the model; head sizes of its attending layers with ``+`` between them, the widest first, or ``latent``.
    compute_capability
        Of the GPU, x 10.
    cache_dtype
        KV-cache type that is asked for; 16 bit is that of the arithmetic.
    text_only
        Whether the engine is started so that it takes no images: ``yes``, ``no``.
    """

    architecture: str
    head_sizes: str
    compute_capability: int
    cache_dtype: str
    text_only: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine says of a form: its kernels in the order of the head sizes, or why it refuses."""

    kernels: str
    refusal: str

    @property
    def runs(self) -> bool:
        """Whether the engine starts."""
        return not self.refusal


def head_sizes(model: ModelSpec) -> str:
    """Head sizes of a model as a form has them."""
    attending = [group for group in model.attention if group.kind is not LayerKind.LINEAR]
    if any(group.kind is LayerKind.MLA for group in attending):
        return LATENT_HEAD
    return "+".join(str(size) for size in sorted({group.key_head_dim for group in attending}, reverse=True))


def sixteen_bit(capability: int) -> Dtype:
    """Type of the arithmetic of a bfloat16 model."""
    return Dtype.BFLOAT16 if capability >= 80 else Dtype.FLOAT16


def forms(catalog: Catalog) -> Iterator[tuple[Form, ModelSpec]]:
    """Every form that the catalog's models and GPUs make, each once, with a model of it."""
    engine = catalog.engine("vllm")
    assert engine is not None
    capabilities = sorted({gpu.compute_capability or 0 for gpu in catalog.gpus if gpu.vendor in engine.vendors})
    seen: set[Form] = set()
    for model in catalog.models:
        if model.not_sizable is not None:
            continue
        for capability in capabilities:
            if capability < engine.min_compute_capability:
                continue
            for cache in (sixteen_bit(capability), Dtype.FP8):
                for text_only in ("yes", "no") if model.multimodal else ("yes",):
                    form = Form(model.architecture, head_sizes(model), capability, cache.value, text_only)
                    if form not in seen:
                        seen.add(form)
                        yield form, model


def read(path: Path = TABLE) -> dict[Form, Verdict]:
    """Read the committed table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {Form(name, heads, int(gpu), cache, text): Verdict(*told) for name, heads, gpu, cache, text, *told in rows}


def write(verdicts: Iterable[tuple[Form, Verdict]], path: Path = TABLE) -> None:
    """Write the table anew, sorted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(field.name for field in fields(Form)), *(field.name for field in fields(Verdict))])
        writer.writerows(
            (*astuple(form), *astuple(verdict)) for form, verdict in sorted(verdicts, key=lambda pair: pair[0])
        )

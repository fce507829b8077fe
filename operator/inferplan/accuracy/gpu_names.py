"""Which catalog GPU a name means: chip, memory and form factor, in whatever spelling people put them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from inferplan.domain.hardware import GpuSpec

_IN_BRACKETS = re.compile(r"\([^)]*\)")
_COUNT = re.compile(r"^\s*\d+\s*[x×]\s*")
_WORDS = re.compile(r"[^a-z0-9]+")
_MEMORY = re.compile(r"^(\d+)(?:gb|gib|g)$")
_FORMS = {
    "sxm": "SXM",
    "sxm2": "SXM",
    "sxm3": "SXM",
    "sxm4": "SXM",
    "sxm5": "SXM",
    "sxm6": "SXM",
    "hgx": "SXM",
    "dgx": "SXM",
    "hbm3": "SXM",
    "pcie": "PCIe",
    "nvl": "NVL",
}
"""Words for a form factor; the driver's own name of the H100 SXM says HBM3 instead."""
_SIDE_WORDS = frozenset(
    {
        "nvidia",
        "amd",
        "intel",
        "tesla",
        "geforce",
        "instinct",
        "graphics",
        "gpu",
        "server",
        "edition",
        "workstation",
        "max",
        "q",
        "blackwell",
        "bw",
        "grace",
        "hopper",
        "generation",
        "superchip",
        "nvl72",
        "hbm",
        "hbm2",
        "hbm2e",
        "hbm3e",
        "oam",
        "aws",
        "ampere",
        "accelerator",
    }
)
_NEARLY = 0.12
"""Marketing figures of one card differ by up to so much (B200: 180, 186 or 192 GB)."""


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """A name taken apart; what it does not say is None."""

    chip: str
    memory_gb: int | None
    form: str | None


def take_apart(name: str) -> NamedGpu:
    """Take a GPU's name apart.

    >>> take_apart("A100-40GB-PCIe")
    NamedGpu(chip='a100', memory_gb=40, form='PCIe')
    >>> take_apart("NVIDIA GeForce RTX 4090"), take_apart("8x H100-SXM5-80GB").form
    (NamedGpu(chip='rtx4090', memory_gb=None, form=None), 'SXM')
    """
    chip, memory_gb, form = "", None, None
    plain = _COUNT.sub("", _IN_BRACKETS.sub(" ", name.casefold()))
    for word in _WORDS.split(plain):
        of_memory = _MEMORY.match(word)
        if of_memory is not None:
            memory_gb = int(of_memory[1])
        elif word in _FORMS:
            form = form or _FORMS[word]
        elif word not in _SIDE_WORDS:
            chip += word
    return NamedGpu(chip, memory_gb, form)


class GpuNames:
    """The catalog's GPUs by every name that is known for them."""

    def __init__(self, gpus: Iterable[GpuSpec]) -> None:
        self._exact: dict[str, GpuSpec] = {}
        self._by_chip: dict[str, list[GpuSpec]] = {}
        for gpu in gpus:
            for name in (gpu.id, gpu.name, *gpu.aliases, *gpu.product_labels):
                self._exact.setdefault(name.casefold(), gpu)
                named = self._by_chip.setdefault(take_apart(name).chip, [])
                if gpu not in named:
                    named.append(gpu)

    def find(self, name: str) -> GpuSpec | str:
        """Return the GPU that a name means, or why none is; SXM where the form factor is left open."""
        exact = self._exact.get(name.strip().casefold())
        if exact is not None:
            return exact
        asked = take_apart(name)
        of_chip = self._by_chip.get(asked.chip) or self._by_chip.get(f"rtx{asked.chip}", []) if asked.chip else []
        left = [gpu for gpu in of_chip if _fits(gpu, asked)]
        if not left:
            return f'GPU "{name}" is not in the catalog'
        if len(left) > 1 and asked.form is None:
            left = [gpu for gpu in left if _form(gpu) == "SXM"] or left
        if len(left) > 1:
            return f'GPU "{name}" may be any of {", ".join(gpu.id for gpu in left)}'
        return left[0]


def _fits(gpu: GpuSpec, asked: NamedGpu) -> bool:
    if asked.form is not None and _form(gpu) in _FORMS.values() and _form(gpu) != asked.form:
        return False
    return asked.memory_gb is None or abs(asked.memory_gb / gpu.memory_marketing_gb - 1.0) <= _NEARLY


def _form(gpu: GpuSpec) -> str:
    words = _WORDS.split(f"{gpu.id} {gpu.form_factor}".casefold())  # an NVL card is a PCIe card by its form
    return next((_FORMS[word] for word in words if word in _FORMS), gpu.form_factor)

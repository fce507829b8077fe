"""Which attention kernel an engine takes for a model: the kernels are data of its version, the needs are the model's.

An engine tries its kernels in order and takes the first that does all that a group of layers needs. Where none does, it
refuses to start, whatever the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferplan.domain.model import Dtype, LayerKind, ModelSpec


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """What one attention kernel of an engine does, on the GPUs of a range of compute capabilities.

    Parameters
    ----------
    min_compute_capability, max_compute_capability
        Compute capability x 10, both included; no upper end where None.
    cache_dtypes
        KV-cache types that it reads.
    head_sizes
        The only values per head; any where empty.
    head_size_multiple, min_head_size, max_head_size
        Bounds of the values per head where ``head_sizes`` is empty.
    latent, sparse
        Runs multi-head latent attention, and attention to chosen tokens alone. These it runs and no other.
    sinks, image_prefix, mixed_head_sizes
        Runs attention sinks; attention in both directions among the tokens of an image; models whose layers differ in
        head size. Other layers it runs too.
    latent_bytes_per_token
        What it keeps per token and layer of latent attention where it has a layout of its own [bytes]; None where it
        keeps the model's latent values in the cache's type.
    """

    name: str
    min_compute_capability: int
    max_compute_capability: int | None
    cache_dtypes: tuple[Dtype, ...]
    head_sizes: tuple[int, ...] = ()
    head_size_multiple: int = 1
    min_head_size: int = 1
    max_head_size: int | None = None
    latent: bool = False
    sparse: bool = False
    sinks: bool = False
    image_prefix: bool = False
    mixed_head_sizes: bool = False
    latent_bytes_per_token: int | None = None

    def on(self, compute_capability: int) -> bool:
        """Whether it runs on GPUs of a compute capability (x 10)."""
        highest = self.max_compute_capability
        return self.min_compute_capability <= compute_capability and (highest is None or compute_capability <= highest)

    def takes_head(self, size: int) -> bool:
        """Whether it runs heads of this many values."""
        if self.head_sizes:
            return size in self.head_sizes
        fits = self.min_head_size <= size and (self.max_head_size is None or size <= self.max_head_size)
        return fits and size % self.head_size_multiple == 0


@dataclass(frozen=True, slots=True)
class AttentionNeeds:
    """What a kernel has to do for one group of layers; ``head_size`` is that of queries and keys, 0 if latent."""

    head_size: int
    latent: bool = False
    sparse: bool = False
    sinks: bool = False
    image_prefix: bool = False
    mixed_head_sizes: bool = False

    def met_by(self, kernel: AttentionKernel) -> bool:
        """Whether a kernel does all of it."""
        return (
            self.latent == kernel.latent
            and self.sparse == kernel.sparse
            and (self.latent or kernel.takes_head(self.head_size))
            and kernel.sinks >= self.sinks
            and kernel.image_prefix >= self.image_prefix
            and kernel.mixed_head_sizes >= self.mixed_head_sizes
        )

    @property
    def words(self) -> str:
        """What is needed, in words."""
        kind = "latent attention (MLA)" if self.latent else f"head size {self.head_size}"
        return ", ".join((kind, *(words for need, words in _WORDS if getattr(self, need))))


_WORDS = (
    ("sparse", "sparse attention"),
    ("sinks", "attention sinks"),
    ("image_prefix", "two-way attention within images"),
    ("mixed_head_sizes", "head sizes that differ by layer"),
)


def attention_needs(model: ModelSpec, *, text_only: bool) -> tuple[AttentionNeeds, ...]:
    """List what a model's layers need of kernels, each once.

    Parameters
    ----------
    text_only
        The engine is started so that it takes no images: what they would need falls away.
    """
    groups = [group for group in model.attention if group.kind is not LayerKind.LINEAR]
    sizes = {group.key_head_dim for group in groups if group.kind is not LayerKind.MLA}
    needs = (
        AttentionNeeds(
            head_size=0 if group.kind is LayerKind.MLA else group.key_head_dim,
            latent=group.kind is LayerKind.MLA,
            sparse=model.sparse_attention,
            sinks=model.attention_sinks,
            image_prefix=model.image_prefix and not text_only,
            mixed_head_sizes=len(sizes) > 1,
        )
        for group in groups
    )
    return tuple(dict.fromkeys(needs))


def find_kernel(
    kernels: Sequence[AttentionKernel], needs: AttentionNeeds, compute_capability: int, cache_dtype: Dtype
) -> AttentionKernel | None:
    """Return the kernel that an engine takes for a group of layers; None where it has none."""
    for kernel in kernels:
        if kernel.on(compute_capability) and cache_dtype in kernel.cache_dtypes and needs.met_by(kernel):
            return kernel
    return None


def unmet_needs(
    kernels: Sequence[AttentionKernel],
    needs: Sequence[AttentionNeeds],
    compute_capability: int,
    cache_dtype: Dtype,
) -> AttentionNeeds | None:
    """Return the first group of layers for which an engine has no kernel; None where it has one for all."""
    for need in needs:
        if find_kernel(kernels, need, compute_capability, cache_dtype) is None:
            return need
    return None

"""LoRA adapters that an engine has room for, as the user's own flags ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_SLOTS, DEFAULT_RANK = 1, 16
"""``max_loras`` and ``max_lora_rank`` of vLLM 0.33.0 (``vllm/config/lora.py``)."""


@dataclass(frozen=True, slots=True)
class LoraRoom:
    """Room for LoRA adapters, which an engine takes when it starts, whether any is ever loaded.

    Parameters
    ----------
    slots
        Adapters of one batch [count].
    rank
        Largest rank of an adapter [count].
    fully_sharded
        Both halves of an adapter are split by tensor parallelism, not only the one that lies with split weights.
    """

    slots: int
    rank: int
    fully_sharded: bool = False


def lora_room(words: Sequence[str]) -> LoraRoom | None:
    """Read the user's own arguments; None where they switch LoRA off, or say nothing about it.

    A value that is not a number counts as the default here: what is wrong with it is said where flags are checked.

    Examples
    --------
    >>> lora_room(["--enable-lora", "--max-loras=4", "--max-lora-rank", "64"])
    LoraRoom(slots=4, rank=64, fully_sharded=False)
    >>> lora_room(["--max-loras=4"])
    """
    given: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            name = name.replace("_", "-")
            given[name] = value
        elif name:
            given[name] = word
            name = ""
    if "--enable-lora" not in given:
        return None
    return LoraRoom(
        slots=_count(given.get("--max-loras"), DEFAULT_SLOTS),
        rank=_count(given.get("--max-lora-rank"), DEFAULT_RANK),
        fully_sharded="--fully-sharded-loras" in given,
    )


def _count(text: str | None, otherwise: int) -> int:
    try:
        return max(1, int(text)) if text is not None else otherwise
    except ValueError:
        return otherwise

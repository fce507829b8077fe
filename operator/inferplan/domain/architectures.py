"""Which architectures the code of an engine runs, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.model import Task

_CLASSIFIER = "ForSequenceClassification"
_DECODERS = ("ForCausalLM", "ForConditionalGeneration", "ChatModel", "LMHeadModel")
"""Endings of the decoders under a classification head, in the order in which vLLM 0.33.0 looks for them
(``vllm/config/model.py``, ``_SUFFIX_TO_DEFAULTS``)."""


@dataclass(frozen=True, slots=True)
class Architectures:
    """Architectures of one engine, by the names that ``config.json`` has for them.

    Parameters
    ----------
    generate
        Decoders that generate text from text.
    classify
        What classifies with code of its own; classification heads on decoders go by the decoder.
    refuse_float16
        Those that the engine runs in bfloat16 alone.
    layers
        (architecture, what its layers have) for those that one size of heads and one window do not describe.
    """

    generate: frozenset[str]
    classify: frozenset[str] = frozenset()
    refuse_float16: frozenset[str] = frozenset()
    layers: tuple[tuple[str, str], ...] = ()

    def names(self, task: Task) -> frozenset[str]:
        """Architectures that do a task."""
        return self.generate if task is Task.GENERATION else self.classify | self.generate

    def runs(self, name: str, task: Task) -> bool:
        """Whether the engine has code of this name for the task."""
        if task is Task.GENERATION:
            return name in self.generate
        return name in self.classify or self._decoder(name) in self.generate

    def refuses_float16(self, name: str) -> bool:
        """Whether the engine runs an architecture in bfloat16 alone."""
        return self._decoder(name) in self.refuse_float16

    def layers_of_its_own(self, name: str) -> str:
        """What the layers of an architecture have beyond one size of heads and one window; empty for nothing."""
        return dict(self.layers).get(self._decoder(name), "")

    def _decoder(self, name: str) -> str:
        """Name of the decoder under a classification head; other names stay."""
        if name in self.classify or not name.endswith(_CLASSIFIER):
            return name
        decoders = (name.removesuffix(_CLASSIFIER) + ending for ending in _DECODERS)
        return next((decoder for decoder in decoders if decoder in self.generate), name)

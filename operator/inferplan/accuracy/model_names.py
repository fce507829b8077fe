"""Which catalog model a checkpoint's name means: by its words, in whatever order and spelling people put them.

A name is cut into words. Words that change neither the shape nor the weights' size are dropped (``instruct``, ``chat``,
dates), words that name a weight format are set aside, and the rest is compared. A fine-tune that carries the words of a
known model in a row (``Hermes-3-Llama-3.1-405B``) has that model's shape, unless another size or another kind of model
is named beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from inferplan.domain.model import ModelSpec

Words = tuple[str, ...]

_SEPARATORS = re.compile(r"[\s_/:@]+|(?<![0-9])\.|\.(?![0-9])|-")
_GLUED = re.compile(r"^([a-z]{3,})(\d+(?:\.\d+)?)$")
_DIGIT = re.compile(r"^\d$")
_SIZE = re.compile(r"^(?:\d+x)?[ae]?\d+(?:\.\d+)?[bm]$|^\d+e$|^\d+k?layers?$")
_DATE = re.compile(r"^(?:\d{4}|\d{6}|\d{8})$")
_RELEASE = re.compile(r"^v\d+(?:\.\d+)*$")

WITHOUT_SHAPE = frozenset(
    {
        "instruct",
        "instruction",
        "chat",
        "it",
        "hf",
        "base",
        "text",
        "meta",
        "preview",
        "thinking",
        "reasoning",
        "sft",
        "dpo",
        "rlhf",
        "aligned",
        "original",
        "latest",
        "assistant",
        "model",
        "release",
        "official",
        "coder",
        "code",
        "math",
        "nvidia",
        "ibm",
    }
)
"""Words that say how a checkpoint was trained or who packs it, not what shape it has."""

FORMATS = {
    "fp8": "fp8",
    "fp8dynamic": "fp8",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "mxfp4": "mxfp4",
    "awq": "awq",
    "gptq": "gptq",
    "int4": "int4",
    "w4a16": "w4a16",
    "int8": "int8",
    "w8a8": "w8a8",
    "w8a16": "w8a16",
    "eetq": "eetq",
    "bf16": "bf16",
    "fp16": "fp16",
    "bnb": "bnb",
    "gguf": "gguf",
}
"""Words that name a weight format, by the name that :mod:`inferplan.accuracy.weight_formats` knows."""
_FORMAT_FILLERS = frozenset(
    {
        "dynamic",
        "block",
        "quantized",
        "kv",
        "ct",
        "g128",
        "4bit",
        "8bit",
        "int",
        "modelopt",
        "marlin",
        "fbgemm",
        "autofp8",
    }
)

OTHER_SHAPE = frozenset(
    {
        "mini",
        "nano",
        "tiny",
        "small",
        "medium",
        "large",
        "lite",
        "air",
        "flash",
        "plus",
        "super",
        "ultra",
        "max",
        "next",
        "vl",
        "vision",
        "visual",
        "omni",
        "audio",
        "moe",
        "draft",
        "eagle",
        "eagle3",
        "mtp",
        "medusa",
        "embedding",
        "embed",
        "reranker",
        "rerank",
        "pruned",
        "minitron",
        "upscaled",
        "depth",
        "width",
        "merge",
        "mamba",
    }
)
"""Words beside a known model's that mean another shape, so nothing is concluded."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A name cut up: words of the shape, and the weight formats that it names."""

    words: Words
    formats: Words


def cut(name: str) -> NamedModel:
    """Cut a checkpoint's name into words.

    >>> cut("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16")
    NamedModel(words=('llama', '3.1', '8b'), formats=('w4a16',))
    >>> cut("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8").words
    ('qwen', '3', '30b', 'a3b')
    """
    local = name.strip().strip("/").rsplit("/", 1)[-1].casefold()
    words: list[str] = []
    formats: list[str] = []
    for piece in _SEPARATORS.split(local):
        for word in _unglued(piece):
            if word in FORMATS:
                formats.append(FORMATS[word])
            elif word and word not in WITHOUT_SHAPE and word not in _FORMAT_FILLERS and not _DATE.match(word):
                words.append(word)
    if _has_size(words):  # a release number then; without a size it names the model (DeepSeek-V3)
        words = [word for word in words if not _RELEASE.match(word)]
    return NamedModel(_joined(words), tuple(dict.fromkeys(formats)))


def _unglued(piece: str) -> tuple[str, ...]:
    """Part a family from its version (``qwen2.5``)."""
    if piece in FORMATS:
        return (piece,)
    glued = _GLUED.match(piece)
    return (piece,) if glued is None else (glued[1], glued[2])


def _joined(words: list[str]) -> Words:
    """Put back a version whose point became a dash (``llama-3-1-8b``)."""
    found: list[str] = []
    for word in words:
        if found and _DIGIT.match(word) and _DIGIT.match(found[-1]):
            found[-1] += f".{word}"
        else:
            found.append(word)
    return tuple(found)


def _has_size(words: Iterable[str]) -> bool:
    return any(_SIZE.match(word) for word in words)


def shape_of(model: ModelSpec) -> tuple[object, ...]:
    """What two models have to share to be predicted alike: everything but training, licence and trained positions."""
    return (
        model.layers,
        model.hidden_size,
        model.attention_heads,
        model.kv_heads,
        model.head_dim,
        model.intermediate_size,
        model.attention,
        model.moe,
        model.architecture,
    )


class ModelNames:
    """The catalog's models by every name that is known for them.

    Parameters
    ----------
    models
        In order of preference: of several with one name and one shape the first is taken.
    """

    def __init__(self, models: Iterable[ModelSpec]) -> None:
        self._exact: dict[str, ModelSpec] = {}
        self._by_words: dict[Words, list[ModelSpec]] = {}
        for model in models:
            for name in _names(model):
                self._exact.setdefault(name.casefold(), model)
                named = self._by_words.setdefault(cut(name).words, [])
                if model not in named:
                    named.append(model)
        self._sized = {words for words in self._by_words if _has_size(words) and len(words) > 1}

    def find(self, name: str) -> ModelSpec | str:
        """Return the model that a name means, or why none is."""
        exact = self._exact.get(name.strip().casefold())
        if exact is not None:
            return exact
        words = cut(name).words
        return self._alike(self._by_words.get(words) or self._within(words), name)

    def _alike(self, found: list[ModelSpec], name: str) -> ModelSpec | str:
        if not found:
            return f'model "{name}" is not in the catalog'
        if len({shape_of(model) for model in found}) > 1:
            return f'model "{name}" may be any of {", ".join(model.id for model in found)}'
        return found[0]

    def _within(self, words: Words) -> list[ModelSpec]:
        """Models whose words stand in a row within others that change no shape; the most words win."""
        fitting = [known for known in self._sized if _changes_nothing(known, words)]
        return self._by_words[max(fitting, key=lambda known: (len(known), known))] if fitting else []


def _changes_nothing(known: Words, words: Words) -> bool:
    """Whether ``words`` are those of a known model and others that leave its shape alone."""
    for at in range(len(words) - len(known) + 1):
        if words[at : at + len(known)] == known:
            rest = words[:at] + words[at + len(known) :]
            return not _has_size(rest) and OTHER_SHAPE.isdisjoint(rest)
    return False


def _names(model: ModelSpec) -> Iterable[str]:
    yield model.id
    yield from model.aliases
    yield from model.same_shape
    for checkpoint in model.checkpoints:
        yield checkpoint.repository

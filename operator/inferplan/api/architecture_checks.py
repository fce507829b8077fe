"""What cannot be meant in the shape of a custom model: numbers that do not go together, and totals below their sum."""

from __future__ import annotations

from collections.abc import Iterator

from inferplan.api.contradiction import Contradiction
from inferplan.api.v1alpha1.model import Architecture
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.domain.model import Dtype

_HERE = "spec.model.custom.architecture"
ASSUMED_LEAST_SHARE = 0.9
"""Published totals are rounded, and a few models keep an embedding narrower than their layers or split a projection in
two: a total may lie so far below the sum of the matrices that a shape names."""
LEAST_MATRICES_PER_MLP = 2
"""Up and down; most models have a gate as well."""
MATRICES_PER_EXPERT = 3
"""Gate, up and down: all mixtures of experts that a shape can describe."""


def architecture_fits(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Check that the numbers of a custom model's shape go together."""
    custom = spec.model.custom
    shape = custom.architecture if custom is not None else None
    if shape is None:
        return
    if shape.attention_heads % shape.kv_heads:
        yield Contradiction(
            f"{_HERE}.kvHeads", f"{shape.kv_heads} does not divide {shape.attention_heads} attention heads"
        )
    if shape.parameters_active is not None and shape.parameters_active > shape.parameters_total:
        yield Contradiction(f"{_HERE}.parametersActive", "exceeds parametersTotal")
    if shape.compute_type not in {Dtype.BFLOAT16, Dtype.FLOAT16}:
        yield Contradiction(f"{_HERE}.computeType", f"{shape.compute_type} is not possible", "bfloat16 or float16")
    experts = shape.experts
    if experts is not None and experts.layers > shape.layers:
        yield Contradiction(f"{_HERE}.experts.layers", f"{experts.layers} exceed the model's {shape.layers} layers")
    elif experts is not None and experts.experts_per_token > experts.experts:
        yield Contradiction(f"{_HERE}.experts.expertsPerToken", f"exceeds the {experts.experts} experts")
    else:
        yield from _totals_hold_the_shape(shape)


def _totals_hold_the_shape(shape: Architecture) -> Iterator[Contradiction]:
    """Check that no total lies below what the shape's own matrices come to."""
    embeddings = _embeddings(shape)
    total = embeddings + _layers(shape, 0 if shape.experts is None else shape.experts.experts)
    if shape.parameters_total < ASSUMED_LEAST_SHARE * total:
        tied = "" if shape.tied_embeddings else ", write tiedEmbeddings: true if they are one matrix"
        yield Contradiction(
            f"{_HERE}.parametersTotal",
            f"{shape.parameters_total:,} parameters do not hold the shape, whose embeddings ({embeddings:,})"
            f" and layers come to {total:,}",
            f"write the total that the model's weight files hold, or correct the widths{tied}",
        )
    if shape.experts is None or shape.parameters_active is None:
        return
    active = _layers(shape, shape.experts.experts_per_token)
    if shape.parameters_active < ASSUMED_LEAST_SHARE * active:
        yield Contradiction(
            f"{_HERE}.parametersActive",
            f"{shape.parameters_active:,} parameters do not hold the layers that a token passes, which come to"
            f" {active:,} with {shape.experts.experts_per_token} experts each",
            "write the active parameters that the model's maker publishes, or leave it out",
        )


def _embeddings(shape: Architecture) -> int:
    """Parameters of the embedding, and of the LM head where that is a matrix of its own [count]."""
    return shape.vocabulary_size * shape.hidden_size * (1 if shape.tied_embeddings else 2)


def _layers(shape: Architecture, experts_counted: int) -> int:
    """Parameters of the attention, the MLPs and some experts of every layer [count].

    Notes
    -----
    Projections of queries and output are ``hidden x heads x head_dim`` each, those of keys and values ``hidden x KV
    heads x head_dim``; an MLP has at least two matrices of ``hidden x inner width``.
    """
    experts = shape.experts
    attention = 2 * shape.hidden_size * shape.head_dim * (shape.attention_heads + shape.kv_heads)
    dense_layers = shape.layers - (0 if experts is None else experts.layers)
    inner = LEAST_MATRICES_PER_MLP * dense_layers * shape.intermediate_size
    if experts is not None:
        widths = (
            experts_counted * experts.expert_intermediate_size
            + experts.shared_experts * experts.shared_intermediate_size
        )
        inner += MATRICES_PER_EXPERT * experts.layers * widths
    return shape.layers * attention + shape.hidden_size * inner

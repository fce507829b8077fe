"""A model of the user's own, as the planner reads it."""

from __future__ import annotations

from inferplan.api.names import Names
from inferplan.api.v1alpha1 import model as v1alpha1
from inferplan.domain.model import AttentionLayers, LayerKind, MixtureOfExperts, ModelSpec, Task
from inferplan.domain.scenario import CustomModel


def custom_model(written: v1alpha1.CustomModel, task: Task, names: Names) -> CustomModel:
    """Describe a custom model; an unknown base is a fault."""
    base = None if written.base is None else names.model("spec.model.custom.base", written.base)
    return CustomModel(
        repository=written.repository,
        revision=written.revision,
        base=base,
        architecture=None
        if written.architecture is None
        else _architecture(written.repository, written.architecture, task),
        task=task,
        quantization=written.quantization,
    )


def _architecture(repository: str, shape: v1alpha1.Architecture, task: Task) -> ModelSpec:
    window = shape.sliding_window_tokens
    layers = AttentionLayers(
        kind=LayerKind.FULL if window is None else LayerKind.SLIDING,
        layers=shape.layers,
        kv_heads=shape.kv_heads,
        key_head_dim=shape.head_dim,
        value_head_dim=shape.head_dim,
        window_tokens=window,
    )
    experts = shape.experts
    return ModelSpec(
        id=repository,
        family="custom",
        architecture=shape.name,
        params_total=shape.parameters_total,
        params_active=shape.parameters_active or shape.parameters_total,
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        attention_heads=shape.attention_heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate_size,
        vocab_size=shape.vocabulary_size,
        tie_word_embeddings=shape.tied_embeddings,
        max_position_embeddings=shape.maximum_positions,
        attention=(layers,),
        moe=None
        if experts is None
        else MixtureOfExperts(
            experts=experts.experts,
            experts_per_token=experts.experts_per_token,
            expert_intermediate_size=experts.expert_intermediate_size,
            layers=experts.layers,
            shared_experts=experts.shared_experts,
            shared_intermediate_size=experts.shared_intermediate_size,
        ),
        native_dtype=shape.compute_type,
        license="custom",
        gated=None,
        checkpoints=(),
        task=task,
    )

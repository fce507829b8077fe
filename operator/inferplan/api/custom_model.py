"""A model of the user's own, as the planner reads it."""

from __future__ import annotations

from collections.abc import Sequence

from inferplan.api.names import Names
from inferplan.api.suggest import nearest
from inferplan.api.v1alpha1 import model as v1alpha1
from inferplan.domain.architectures import Architectures
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.model import AttentionLayers, Dtype, LayerKind, MixtureOfExperts, ModelSpec, Task
from inferplan.domain.scenario import CustomModel

_HERE = "spec.model.custom.architecture"


def custom_model(written: v1alpha1.CustomModel, task: Task, names: Names, engines: Sequence[EngineSpec]) -> CustomModel:
    """Describe a custom model; an unknown base is a fault, and so is a shape that the engines do not run.

    Parameters
    ----------
    engines
        Engines that a plan may come to.
    """
    if written.architecture is not None:
        _check_with_engines(written.architecture, task, names, engines)
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


def _check_with_engines(shape: v1alpha1.Architecture, task: Task, names: Names, engines: Sequence[EngineSpec]) -> None:
    """Refuse what none of the engines runs, what a shape cannot describe, and float16 where all of them refuse it.

    Notes
    -----
    Where one of several engines runs it, the search leaves the others out with a reason.
    """
    lists = [engine.architectures for engine in engines if engine.architectures is not None]
    if not engines or len(lists) < len(engines):
        return
    called = " and ".join(f"{engine.name} {engine.version}" for engine in engines)
    running = [known for known in lists if known.runs(shape.name, task)]
    peculiar = next((what for known in lists if (what := known.layers_of_its_own(shape.name))), "")
    if not running:
        does = "generate text with" if task is Task.GENERATION else "classify with"
        names.fault(
            f"{_HERE}.name",
            f'"{shape.name}" is none of the architectures that {called} can {does}',
            _instead(shape.name, task, lists),
        )
    elif peculiar:
        names.fault(
            f"{_HERE}.name",
            f"the layers of {shape.name} cannot be described here: they have {peculiar}",
            "name the catalog model that it was fine-tuned from in model.custom.base instead",
        )
    elif shape.compute_type is Dtype.FLOAT16 and all(known.refuses_float16(shape.name) for known in running):
        names.fault(
            f"{_HERE}.computeType", f"{called} can run {shape.name} in bfloat16 alone, not in float16", "write bfloat16"
        )


def _instead(name: str, task: Task, lists: Sequence[Architectures]) -> str:
    """What to write where no engine has an architecture for the task."""
    if task is Task.GENERATION and any(known.runs(name, Task.CLASSIFICATION) for known in lists):
        return "it classifies: write task: Classification, or name a decoder"
    near = _near(name, [other for known in lists for other in known.names(task)])
    return f"did you mean {' or '.join(near)}?" if near else "write architectures[0] of the model's config.json"


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Names whose family is near that of a name; what they end in is all the same and tells little."""
    families: dict[str, str] = {}
    family, _, ending = name.casefold().partition("for")
    for other in sorted(known, key=lambda other: (other.casefold().endswith(f"for{ending}"), other)):
        families[other.casefold().partition("for")[0]] = other
    return [families[close] for close in nearest(family, families)]


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

"""Shapes of a user's own models: architectures that the engine runs, layers that can be stated, totals that hold."""

from __future__ import annotations

import pytest

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.v1alpha1.scalars import MAXIMUM_TOKENS
from inferplan.catalog import load_catalog
from inferplan.domain.errors import InputError
from inferplan.domain.model import LayerKind
from tests.unit.api.catalogs import HEAD

CATALOG = load_catalog(None)
SHAPE = {
    "name": "LlamaForCausalLM",
    "parametersTotal": "6738415616",
    "layers": "32",
    "hiddenSize": "4096",
    "attentionHeads": "32",
    "kvHeads": "32",
    "headDim": "128",
    "intermediateSize": "11008",
    "vocabularySize": "32000",
    "maximumPositions": "4096",
}
EXPERTS = "{experts: 128, expertsPerToken: 8, expertIntermediateSize: 768, layers: 32}"


def described(task: str = "", **changes: str) -> list[str]:
    """What is wrong with a shape, by the real catalog; nothing if it is accepted."""
    written = ", ".join(f"{name}: {text}" for name, text in {**SHAPE, **changes}.items())
    custom = f"model: {{custom: {{repository: a/b, architecture: {{{written}}}}}}}"
    output = "" if task else ", outputTokens: {mean: 100, p95: 200}"
    load = f"workload: {{requestsPerSecond: '1', promptTokens: {{mean: 100, p95: 200}}{output}}}"
    lines = ["useCase: Custom", load, "contextTokens: 512", custom, *([task] if task else [])]
    try:
        to_scenario(read_scenarios(f"{HEAD}spec:\n  " + "\n  ".join(lines), "x.yaml").scenarios[0].resource, CATALOG)
    except InputError as error:
        return [str(fault) for fault in error.faults]
    return []


CLASSIFIES = "task: Classification"


@pytest.mark.parametrize(
    ("name", "task", "fault"),
    [
        ("LlamaForCausalLM", "", ""),
        ("LlamaForCausalLM", CLASSIFIES, ""),
        ("LlamaForSequenceClassification", CLASSIFIES, ""),
        ("BertForSequenceClassification", CLASSIFIES, ""),
        ("BertForSequenceClassification", "", "it classifies: write task: Classification"),
        ("LamaForCausalLM", "", "did you mean LlamaForCausalLM"),
        ("FooForCausalLM", "", '"FooForCausalLM" is none of the architectures that vLLM 0.33.0 can generate text with'),
        ("CLIPModel", "", "can generate text with"),
        ("CLIPModel", CLASSIFIES, "can classify with"),
        ("WhisperForConditionalGeneration", "", "can generate text with"),
        ("Phi4FlashForCausalLM", "", "can generate text with"),
        ("Eagle3LlamaForCausalLM", "", "can generate text with"),
        ("llamaforcausallm", "", "did you mean L"),
        ("DeepseekV3ForCausalLM", "", "they have latent attention (MLA) (name the catalog model"),
        ("DeepseekV32ForCausalLM", "", "model.custom.base instead"),
        ("MistralLarge3ForCausalLM", "", "latent attention (MLA)"),
        ("Qwen3NextForCausalLM", "", "which keep a state"),
        ("MambaForCausalLM", "", "which keep a state"),
        ("JambaForSequenceClassification", CLASSIFIES, "which keep a state"),
        ("Gemma4ForConditionalGeneration", "", "heads that differ"),
        ("DeciLMForCausalLM", "", "heads that differ"),
    ],
)
def test_a_shape_is_of_an_architecture_that_the_engine_runs_and_that_can_be_described(
    name: str, task: str, fault: str
) -> None:
    found = described(task, name=name)
    assert len(found) == bool(fault)
    assert all(found_.startswith("spec.model.custom.architecture.name: ") and fault in found_ for found_ in found)


@pytest.mark.parametrize("name", ["Glm4ForCausalLM", "Gemma2ForCausalLM", "Gemma3ForConditionalGeneration"])
def test_float16_is_refused_for_shapes_that_the_engine_runs_in_bfloat16_alone(name: str) -> None:
    (fault,) = described(name=name, computeType="float16")
    assert fault == (
        f"spec.model.custom.architecture.computeType: vLLM 0.33.0 can run {name} in bfloat16 alone, not in float16"
        " (write bfloat16)"
    )
    assert described(name=name) == described(computeType="float16") == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"parametersTotal": "1000"}, "parametersTotal: 1,000 parameters do not hold the shape, whose embeddings"),
        ({"parametersTotal": "1000"}, "(262,144,000) and layers come to 5,295,308,800"),
        ({"parametersTotal": "4700000000"}, "parametersTotal: 4,700,000,000 parameters do not hold the shape"),
        ({"parametersTotal": "7000000000"}, ""),
        ({"parametersTotal": "4800000000"}, ""),
        ({"vocabularySize": "400000"}, "write tiedEmbeddings: true if they are one matrix"),
        ({"vocabularySize": "400000", "tiedEmbeddings": "true"}, ""),
        ({"experts": EXPERTS}, "parametersTotal: 6,738,415,616 parameters do not hold the shape"),
        ({"experts": EXPERTS, "parametersTotal": "41000000000", "parametersActive": "5000000000"}, ""),
        ({"experts": EXPERTS, "parametersTotal": "41000000000", "parametersActive": "1000000000"}, "parametersActive:"),
    ],
)
def test_totals_hold_at_least_the_matrices_that_the_shape_names(changes: dict[str, str], fault: str) -> None:
    found = described(**changes)
    assert len(found) == bool(fault)
    assert all(fault in text for text in found)


def test_every_model_of_the_catalog_holds_its_own_shape() -> None:
    """What makers publish is accepted: of all models whose layers a shape can state."""
    tried = 0
    for model in CATALOG.models:
        kinds = {group.kind for group in model.attention}
        heads = {(group.kv_heads, group.key_head_dim, group.value_head_dim) for group in model.attention}
        if model.not_sizable or kinds & {LayerKind.MLA, LayerKind.LINEAR} or len(heads) > 1:
            continue
        tried += 1
        moe = model.moe
        experts = (
            None
            if moe is None
            else (
                f"{{experts: {moe.experts}, expertsPerToken: {moe.experts_per_token}, layers: {moe.layers},"
                f" expertIntermediateSize: {moe.expert_intermediate_size}, sharedExperts: {moe.shared_experts},"
                f" sharedIntermediateSize: {moe.shared_intermediate_size}}}"
            )
        )
        changes = {
            "name": model.architecture,
            "parametersTotal": str(model.params_total),
            "parametersActive": str(model.params_active),
            "layers": str(model.layers),
            "hiddenSize": str(model.hidden_size),
            "attentionHeads": str(model.attention_heads),
            "kvHeads": str(model.kv_heads),
            "headDim": str(model.head_dim),
            "intermediateSize": str(model.intermediate_size),
            "vocabularySize": str(model.vocab_size),
            "maximumPositions": str(min(model.max_position_embeddings, MAXIMUM_TOKENS)),
            "tiedEmbeddings": str(model.tie_word_embeddings).lower(),
        }
        assert described(**changes, **({} if experts is None else {"experts": experts})) == [], model.id
    assert tried > 40

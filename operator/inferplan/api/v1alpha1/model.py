"""Which models, how good they must be, and models of the user's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.scalars import (
    MAXIMUM_TOKENS,
    MINIMUM_PATTERN,
    Name,
    Pattern,
    Relaxed,
    Repository,
    Rule,
    SpecModel,
    rules,
)
from inferplan.domain.model import Dtype, Quantization, Task
from inferplan.domain.scenario import Lossy

Minimum = Annotated[str, Field(max_length=128, pattern=MINIMUM_PATTERN)]
Size = Annotated[int, Field(ge=1, le=10_000_000)]
Parameters = Annotated[int, Field(ge=1, le=100_000_000_000_000)]


class QuantizationPolicy(SpecModel):
    """Which weight formats are acceptable."""

    allow: Annotated[tuple[Relaxed[Quantization], ...], Field(strict=False, min_length=1, max_length=7)] | None = Field(
        default=None, description="Weight formats that may be used; absent: all."
    )
    lossy: Relaxed[Lossy] | None = Field(
        default=None,
        description=(
            "Avoid: only formats whose published accuracy after quantization stays close to the original."
            " Allow: any. Absent: the preset's."
        ),
    )


class Quality(SpecModel):
    """How good the answers must be. A model without a published score is unknown, which is not a pass."""

    minimum: Minimum | None = Field(
        default=None,
        description=(
            "Lowest acceptable quality: a named level of the catalog such as Good, or a score on a benchmark"
            ' such as "maker_mmlu_pro: 65".'
        ),
    )
    quantization: QuantizationPolicy = Field(
        default_factory=QuantizationPolicy, description="Which weight formats are acceptable."
    )


class Experts(SpecModel):
    """The routed part of a mixture-of-experts model, as its config.json states it."""

    experts: Size = Field(description="Routed experts per layer.")
    experts_per_token: Size = Field(description="Experts that one token uses.")
    expert_intermediate_size: Size = Field(description="Inner width of one expert.")
    layers: Size = Field(description="Layers that have experts.")
    shared_experts: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0, description="Experts that every token uses."
    )
    shared_intermediate_size: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=0, description="Inner width of one shared expert."
    )


class Architecture(SpecModel):
    """A model's shape as its config.json states it: full or sliding-window attention, dense or MoE."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule("self.kvHeads <= self.attentionHeads", "kvHeads must not exceed attentionHeads"),
            Rule(
                "!has(self.parametersActive) || self.parametersActive <= self.parametersTotal",
                "parametersActive must not exceed parametersTotal",
            ),
        )
    )

    name: Name = Field(description="architectures[0] of config.json, such as LlamaForCausalLM.")
    parameters_total: Parameters = Field(description="All weights [parameters].")
    parameters_active: Parameters | None = Field(
        default=None, description="Weights that one token uses; absent: all of them."
    )
    layers: Size = Field(description="num_hidden_layers.")
    hidden_size: Size = Field(description="hidden_size.")
    attention_heads: Size = Field(description="num_attention_heads.")
    kv_heads: Size = Field(description="num_key_value_heads.")
    head_dim: Size = Field(description="head_dim; hidden_size / num_attention_heads where config.json has none.")
    intermediate_size: Size = Field(description="intermediate_size.")
    vocabulary_size: Size = Field(description="vocab_size.")
    maximum_positions: Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)] = Field(
        description="max_position_embeddings: the longest sequence the model was trained for [tokens]."
    )
    tied_embeddings: bool = Field(default=False, description="tie_word_embeddings.")
    sliding_window_tokens: Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)] | None = Field(
        default=None, description="sliding_window, if every layer has one [tokens]."
    )
    compute_type: Relaxed[Dtype] = Field(default=Dtype.BFLOAT16, description="torch_dtype: bfloat16 or float16.")
    experts: Experts | None = Field(default=None, description="The routed part of a mixture of experts.")


class CustomModel(SpecModel):
    """A model of your own: fine-tuned from a catalog model (base) or with its own architecture."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "has(self.base) != has(self.architecture)",
                "name either base (a catalog model yours was fine-tuned from) or architecture, not both",
            )
        )
    )

    repository: Repository = Field(description="Repository of the weights, such as my-org/my-model.")
    revision: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Commit or tag of the repository; absent: its main branch."
    )
    base: Name | None = Field(default=None, description="Catalog model that this one was fine-tuned from.")
    architecture: Architecture | None = Field(
        default=None, description="Shape of the model, if it comes from no catalog model."
    )
    task: Relaxed[Task] | None = Field(
        default=None,
        description="Generation, or Classification by a classification head; absent: the scenario's task.",
    )
    quantization: Relaxed[Quantization] | None = Field(
        default=None, description="Format of the weights in the repository; absent: 16 bit."
    )


class ModelPolicy(SpecModel):
    """Which models may be chosen."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.custom) || !(has(self.allow) || has(self.deny))",
                "custom already names the one model to run: leave allow and deny out",
            ),
            Rule(
                "!has(self.allow) || !has(self.deny) || !self.allow.exists(name, name in self.deny)",
                "a name stands in both allow and deny",
            ),
        )
    )

    allow: Annotated[tuple[Pattern, ...], Field(strict=False, min_length=1, max_length=32)] | None = Field(
        default=None,
        description="Models that may be chosen, by name or shell pattern such as Qwen/*; absent: all.",
    )
    deny: Annotated[tuple[Pattern, ...], Field(strict=False, max_length=32)] | None = Field(
        default=None, description="Models that may not be chosen, by name or shell pattern."
    )
    licenses: Annotated[tuple[Name, ...], Field(strict=False, min_length=1, max_length=32)] | None = Field(
        default=None, description="Licences that are acceptable, such as apache-2.0; absent: all."
    )
    custom: CustomModel | None = Field(default=None, description="Your own model; then no other is considered.")
